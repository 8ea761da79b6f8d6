//! `[[route]]`: which requests go where, and what they need. Keys that contradict each other are
//! errors here; references to other tables are checked when all are read.

use http::HeaderName;

use super::assertion::route_assertion;
use super::cors::cors;
use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::identity::identity;
use super::item::{Item, Text};
use super::route_limits::limits;
use super::route_match::conditions;
use super::route_require::require;
use super::route_rewrite::{NamedAt, Way, header_rules, rewrite};
use super::route_target::target;
use super::server::name;
use super::{
    Access, Carrier, Conditions, Forward, HostPattern, PathPattern, Route, RouteAssertion, value,
};
use crate::token::ClaimPath;

/// A route with where its references stand.
pub struct Parsed {
    pub route: Route,
    pub upstream: Option<Text>,
    pub issuers: Vec<Text>,
    /// Request headers that its rules name.
    pub rules: Vec<NamedAt>,
    /// Of the host or path, or the header where neither is written.
    pub span: std::ops::Range<usize>,
    pub access_span: std::ops::Range<usize>,
    /// Where `capture` and `credentials` are written.
    pub session_spans: [Option<std::ops::Range<usize>>; 2],
}

pub fn route(table: &Table<'_>) -> Option<Parsed> {
    unsupported(table);
    let host = table.get("host").map_or(Some(HostPattern::Any), |item| host(&item));
    let path = path(table);
    let conditions = conditions(table);
    let given = table.get("name");
    let named = name(given);
    let access = access(table);
    let credentials = credentials(table, access);
    let identity = identity(table);
    let assertion = route_assertion(table);
    let require = require(&table.table("require", "route.require"));
    let capture = super::capture::capture(table);
    let login_url = super::capture::login_url(table);
    without_effect(table, access, &credentials, (&identity, assertion.as_ref()));
    let streams = super::streams::streams(&table.table("streams", "route.streams"));
    let issuers = table.strings("issuers");
    let forward = table.choice(
        "forward",
        Forward::Strip,
        &[("strip", Forward::Strip), ("pass", Forward::Pass), ("bearer", Forward::Bearer)],
    );
    let target = target(table, host.as_ref(), path.as_ref());
    let limits = limits(table);
    let cors = cors(table, &conditions.methods);
    let upgrades = super::upgrades::upgrades(table);
    let rewrite = rewrite(table, path.as_ref());
    let (request_headers, mut rules) =
        header_rules(table, "request_headers", "route.request_headers", Way::Request);
    let (response_headers, _) =
        header_rules(table, "response_headers", "route.response_headers", Way::Response);
    let forwards = target.as_ref().is_none_or(|(target, _)| target.upstream().is_some());
    if !forwards {
        without_upstream(table);
        rules.clear();
    }
    table.finish();
    let (host, path, (target, upstream)) = (host?, path?, target?);
    let route = Route {
        name: named.unwrap_or_else(|| unnamed(&host, &path, &conditions)),
        host,
        path,
        conditions,
        access,
        credentials,
        forward,
        identity,
        assertion,
        require,
        issuers: issuers.as_ref().map(|list| list.iter().map(|t| t.value.clone()).collect()),
        capture,
        login_url,
        streams,
        target,
        limits,
        cors,
        upgrades,
        rewrite,
        request_headers,
        response_headers,
        line: table.reader.source.line(table.span.start),
    };
    Some(Parsed {
        route,
        upstream,
        rules,
        issuers: issuers.unwrap_or_default(),
        span: span(table, &["path", "path_exact"]),
        session_spans: ["capture", "credentials"].map(|key| table.get(key).map(|item| item.span)),
        access_span: span(table, &["access"]),
    })
}

fn access(table: &Table<'_>) -> Access {
    let choices = [
        ("required", Access::Required),
        ("optional", Access::Optional),
        ("public", Access::Public),
    ];
    table.choice("access", Access::Required, &choices)
}

/// Of the first of these that is there, or of the table's header.
fn span(table: &Table<'_>, keys: &[&'static str]) -> std::ops::Range<usize> {
    let item = keys.iter().find_map(|key| table.get(key));
    item.map_or_else(|| table.span.clone(), |item| item.span)
}

/// How a route without a name is called.
fn unnamed(host: &HostPattern, path: &PathPattern, conditions: &Conditions) -> String {
    let mut name = format!("{} {}", host.shown(), path.shown());
    if !conditions.is_empty() {
        name = format!("{name} {}", conditions.shown());
    }
    name
}

fn unsupported(table: &Table<'_>) {
    let one = "a single gateway is never stale";
    table.unsupported("max_staleness", one);
    table.unsupported("when_stale", one);
}

/// Keys that say how a request is sent on, on a route that sends none.
fn without_upstream(table: &Table<'_>) {
    for key in [
        "assertion",
        "rewrite",
        "request_headers",
        "timeout",
        "body_bytes_max",
        "body_timeout",
        "upgrades",
    ] {
        if let Some(item) = table.get(key) {
            let message = format!("`{key}` on a route that sends nothing on");
            item.reader.report(&item.key_span, Diagnostic::error(Code::NoEffect, message));
        }
    }
}

fn host(item: &Item<'_>) -> Option<HostPattern> {
    let text = item.string()?;
    match value::host_pattern(&text.value) {
        Ok(host) => Some(host),
        Err(expected) => {
            let message = format!("\"{}\" is not a host", show(&text.raw));
            let diagnostic = Diagnostic::error(Code::BadHost, message).help(expected);
            item.reader.report(&item.span, diagnostic);
            None
        }
    }
}

fn path(table: &Table<'_>) -> Option<PathPattern> {
    let (prefix, exact) = (table.get("path"), table.get("path_exact"));
    let (item, is_exact) = match (prefix, exact) {
        (Some(item), None) => (item, false),
        (None, Some(item)) => (item, true),
        (Some(_), Some(item)) => {
            let message = "a route has exactly one of `path` and `path_exact`";
            table.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
            return None;
        }
        (None, None) => {
            table.require_also("path");
            return None;
        }
    };
    let text = item.string()?;
    if let Err(expected) = value::path(&text.value) {
        let message = format!("\"{}\" is not a path", show(&text.raw));
        table.reader.report(&item.span, Diagnostic::error(Code::BadPath, message).help(expected));
        return None;
    }
    Some(if is_exact { PathPattern::Exact(text.value) } else { PathPattern::Prefix(text.value) })
}

fn credentials(table: &Table<'_>, access: Access) -> Vec<Carrier> {
    let Some(texts) = table.strings("credentials") else { return vec![Carrier::Bearer] };
    let mut carriers = Vec::new();
    let mut faults = false;
    for text in texts {
        let carrier = match text.value.split_once(':') {
            None if text.value == "bearer" => Some(Carrier::Bearer),
            None if text.value == "session" => Some(Carrier::Session),
            Some(("cookie", name)) if value::is_token(name) => {
                Some(Carrier::Cookie(name.to_owned()))
            }
            Some(("protocol", name)) if value::is_token(name) => {
                Some(Carrier::Protocol(name.to_owned()))
            }
            _ => None,
        };
        let diagnostic = match carrier {
            Some(carrier) if carriers.contains(&carrier) => {
                let message = format!("\"{}\" is listed twice", show(&text.raw));
                Diagnostic::error(Code::Duplicate, message)
            }
            Some(carrier) => {
                carriers.push(carrier);
                continue;
            }
            None => {
                let message = format!("\"{}\" does not say where a token is", show(&text.raw));
                Diagnostic::error(Code::BadCredential, message)
                    .help("\"bearer\", \"session\", \"cookie:NAME\" or \"protocol:NAME\"; a name has no spaces, no ; , = \"")
            }
        };
        faults = true;
        table.reader.report(&text.span, diagnostic);
    }
    if let (true, false, Access::Required, Some(item)) =
        (carriers.is_empty(), faults, access, table.get("credentials"))
    {
        let message = "access is required and no credential is taken: nobody can pass";
        table.reader.report(
            &item.span,
            Diagnostic::error(Code::Impossible, message)
                .help("credentials = [\"bearer\"], or access = \"public\""),
        );
    }
    carriers
}

/// Keys that say something about a token on a route that never looks at one.
fn without_effect(
    table: &Table<'_>,
    access: Access,
    credentials: &[Carrier],
    (identity, assertion): (&[(HeaderName, ClaimPath)], Option<&RouteAssertion>),
) {
    if access != Access::Public {
        return;
    }
    let help = "access = \"optional\" lets requests without a token through as well";
    let report = |key: &'static str, message: &str| {
        if let Some(item) = table.get(key) {
            let diagnostic = Diagnostic::error(Code::NoEffect, message).help(help);
            table.reader.report(&item.key_span, diagnostic);
        }
    };
    report("require", "`require` on a public route: nobody is asked for a token");
    let looks = table.has("credentials") && !credentials.is_empty();
    if !identity.is_empty() && !looks {
        report("identity", "`identity` on a public route without `credentials`: it is never known");
    }
    if assertion.is_some() && !looks {
        report("assertion", "`assertion` on a public route without `credentials`: of nobody");
    }
}
