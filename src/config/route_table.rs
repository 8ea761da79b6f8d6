//! What only all routes together can tell: routes that never match, routes of which nothing says
//! which is tried first, and conditions that lead around what another route asks for.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::cursor::Reader;
use super::diagnostic::{Code, Diagnostic};
use super::header_name::normal;
use super::order::specificity;
use super::route::Parsed;
use super::{Access, HostPattern, PathPattern, Route, Target};

pub fn check(reader: &Reader<'_>, routes: &[&Parsed]) {
    let mut ordered: Vec<&Parsed> = routes.to_vec();
    ordered.sort_by_cached_key(|parsed| {
        let Route { host, path, conditions, .. } = &parsed.route;
        (specificity(host, path, conditions), parsed.route.line)
    });
    names(reader, routes);
    rules(reader, routes);
    for group in ordered.chunk_by(|one, two| is_same_place(&one.route, &two.route)) {
        same_place(reader, group);
    }
    for parsed in &ordered {
        way_to_login(reader, parsed, &ordered);
    }
    for (at, parsed) in ordered.iter().enumerate() {
        if !parsed.route.conditions.is_empty() {
            way_around(reader, parsed, ordered.get(at + 1..).unwrap_or_default());
        }
    }
}

fn names(reader: &Reader<'_>, routes: &[&Parsed]) {
    let mut names: BTreeMap<&str, &Route> = BTreeMap::new();
    for parsed in routes {
        let Route { name, .. } = &parsed.route;
        match names.get(name.as_str()) {
            // The same place and conditions are reported as what they are.
            Some(first)
                if is_same_place(first, &parsed.route)
                    && first.conditions == parsed.route.conditions => {}
            Some(first) => {
                let message =
                    format!("two routes are named \"{name}\" (the other on line {})", first.line);
                reader.report(&parsed.span, Diagnostic::error(Code::Duplicate, message));
            }
            None => drop(names.insert(name, &parsed.route)),
        }
    }
}

/// No rule may set what another route's backend believes to be said by the gateway.
fn rules(reader: &Reader<'_>, routes: &[&Parsed]) {
    let guarded: BTreeSet<String> = routes
        .iter()
        .flat_map(|parsed| parsed.route.own_headers())
        .map(|name| normal(name.as_str()))
        .collect();
    for (name, span) in routes.iter().flat_map(|parsed| &parsed.rules) {
        if guarded.contains(&normal(name.as_str())) {
            let message = format!("{name} carries an identity: no rule can change it");
            reader.report(span, Diagnostic::error(Code::BadHeaderRule, message));
        }
    }
}

fn is_same_place(one: &Route, two: &Route) -> bool {
    one.host == two.host && one.path.normal() == two.path.normal()
}

/// Routes of one host and path, in their order: each two of the same weight must exclude each
/// other, or chance would choose.
fn same_place(reader: &Reader<'_>, group: &[&Parsed]) {
    for (at, parsed) in group.iter().enumerate() {
        let conditions = &parsed.route.conditions;
        let rivals = group.iter().take(at).map(|other| &other.route).filter(|other| {
            other.conditions.weight() == conditions.weight()
                && !other.conditions.excludes(conditions)
        });
        let Some(rival) = rivals.min_by_key(|rival| rival.line) else { continue };
        let first = rival.line;
        let diagnostic = if rival.conditions == *conditions {
            let message = format!(
                "this route never matches: the one on line {first} has the same host and path"
            );
            let same = "and the same conditions";
            let message = if conditions.is_empty() { message } else { format!("{message} {same}") };
            Diagnostic::error(Code::Unreachable, message)
        } else {
            let message = format!(
                "a request can match this route and the one on line {first}, and neither goes first"
            );
            let help = "let one ask for more than the other, or for something else";
            Diagnostic::error(Code::Ambiguous, message).help(help)
        };
        reader.report(&parsed.span, diagnostic);
    }
}

/// A client chooses its method and its headers. Where that choice leads to a route that asks for
/// less, the config says so on purpose or by mistake.
fn way_around(reader: &Reader<'_>, parsed: &Parsed, behind: &[&Parsed]) {
    let route = &parsed.route;
    let below = behind.iter().map(|other| &other.route).find(|other| {
        covers_host(&other.host, &route.host)
            && covers_path(&other.path, &route.path)
            && !other.conditions.excludes(&route.conditions)
    });
    let Some(below) = below.filter(|below| below.conditions.is_empty()) else { return };
    let forwards = |route: &Route| matches!(route.target, Target::Upstream(_));
    let (here, there) = (rank(route.access), rank(below.access));
    let line = below.line;
    let (message, help) = if here > there && forwards(below) {
        (
            format!(
                "what does not meet the conditions of this route gets the one on line {line}, \
                     which asks for less"
            ),
            "give that one conditions of its own, or the same `access`",
        )
    } else if here < there && !route.conditions.headers.is_empty() && forwards(route) {
        (
            format!(
                "any client can send these headers, and so get around the route on line {line}, \
                     which asks for more"
            ),
            "a header of the client's is no proof: give both the same `access`",
        )
    } else {
        return;
    };
    reader.report(&parsed.span, Diagnostic::warning(Code::WayAround, message).help(help));
}

/// Who is sent to log in has no token: where the page asks for one itself, he is sent round in a circle.
fn way_to_login(reader: &Reader<'_>, parsed: &Parsed, ordered: &[&Parsed]) {
    let route = &parsed.route;
    let Some(login) = route.login_url.as_deref().filter(|url| url.starts_with('/')) else { return };
    let page = PathPattern::Exact(login.split('?').next().unwrap_or_default().to_owned());
    let serves = |other: &&Route| {
        covers_host(&other.host, &route.host)
            && covers_path(&other.path, &page)
            && other.conditions.headers.is_empty()
            && other.conditions.takes_method(&Method::GET)
    };
    let Some(found) = ordered.iter().map(|other| &other.route).find(serves) else { return };
    if found.access == Access::Required {
        let message = format!(
            "the page to log in at is on the route on line {}, which asks for a token itself",
            found.line
        );
        let help = "give it a route of its own: path_exact, and access = \"public\"";
        let diagnostic = Diagnostic::warning(Code::BadLoginUrl, message);
        reader.report(&parsed.span, diagnostic.help(help));
    }
}

fn rank(access: Access) -> u8 {
    match access {
        Access::Public => 0,
        Access::Optional => 1,
        Access::Required => 2,
    }
}

/// Every host that `inner` matches, `outer` matches.
fn covers_host(outer: &HostPattern, inner: &HostPattern) -> bool {
    match (outer, inner) {
        (HostPattern::Any, _) => true,
        (HostPattern::Suffix(suffix), HostPattern::Exact(host)) => host.ends_with(suffix.as_str()),
        (HostPattern::Suffix(suffix), HostPattern::Suffix(longer)) => {
            longer.ends_with(suffix.as_str())
        }
        (HostPattern::Exact(one), HostPattern::Exact(two)) => one == two,
        (HostPattern::Suffix(_) | HostPattern::Exact(_), _) => false,
    }
}

fn covers_path(outer: &PathPattern, inner: &PathPattern) -> bool {
    match (outer.normal(), inner.normal()) {
        (PathPattern::Prefix(stem), PathPattern::Prefix(path) | PathPattern::Exact(path)) => path
            .strip_prefix(stem.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        (PathPattern::Exact(one), PathPattern::Exact(two)) => one == two,
        (PathPattern::Exact(_), PathPattern::Prefix(_)) => false,
    }
}
