//! What `check` shows of a good configuration: who listens, who issues, and the route table in the
//! order in which routes are tried. Holds no key, no secret and nothing of the environment but
//! what the configuration itself makes public.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::cursor::show;
use super::value::show_duration;
use super::{
    Access, Carrier, ClaimRule, Config, Diagnostic, Forward, HeaderCondition, Issuer, Listen,
    Loaded, ORDER, Route, Target, ordered,
};

/// For people.
pub fn report(loaded: &Loaded) -> String {
    let Loaded { config, notes } = loaded;
    let mut out = format!("{} is valid.\n\n", config.path.display());
    let _ = writeln!(out, "  listen    {}", all(&addresses(config, false)));
    let redirect = addresses(config, true);
    if !redirect.is_empty() {
        let _ = writeln!(out, "  redirect  {} to https", all(&redirect));
    }
    for line in aligned(&certificates(config)) {
        let _ = writeln!(out, "  tls       {line}");
    }
    let admin: Vec<String> = config.admin.listen.iter().map(Listen::url).collect();
    let _ = writeln!(out, "  admin     {}", all(&admin));
    let store = here(&config.store.path);
    let _ = writeln!(out, "  store     embedded in {store}: one gateway only");
    let names: Vec<Vec<String>> = config.issuers.iter().map(issuer_cells).collect();
    for line in aligned(&names) {
        let _ = writeln!(out, "  issuer    {line}");
    }
    if let Some(line) = session(config) {
        let _ = writeln!(out, "  session   {line}");
    }
    out.push('\n');
    let mut rows = vec![
        ["#", "host", "path", "if", "access", "needs", "upstream", ""].map(str::to_owned).to_vec(),
    ];
    for (number, route) in ordered(&config.routes).into_iter().enumerate() {
        rows.push(route_cells(number + 1, route, config));
    }
    if config.routes.iter().all(|route| route.conditions.is_empty()) {
        // Nobody's routes have any: no column for them.
        rows.iter_mut().for_each(|row| drop(row.remove(3)));
    }
    for line in aligned(&rows) {
        let _ = writeln!(out, "  {line}");
    }
    let _ = writeln!(out, "\n  Tried in this order: {ORDER}.");
    if !notes.items.is_empty() {
        let plural = if notes.items.len() == 1 { "" } else { "s" };
        let _ = writeln!(out, "\n{} note{plural}", notes.items.len());
        for item in &notes.items {
            note(item, &mut out);
        }
    }
    out
}

/// For programs: the same.
pub fn report_json(loaded: &Loaded) -> Value {
    let Loaded { config, notes } = loaded;
    let listen = |list: &[Listen]| list.iter().map(Listen::url).collect::<Vec<_>>();
    let issuers: Vec<Value> = config
        .issuers
        .iter()
        .map(|issuer| {
            let policy = &issuer.policy;
            json!({
                "name": policy.name,
                "id": policy.id.as_str(),
                "issuer": policy.iss,
                "audiences": policy.audiences,
                "algorithms": policy.algorithms.iter().map(|a| a.as_str()).collect::<Vec<_>>(),
                "keys": issuer.keys_source,
                "max_lifetime": show_duration(policy.max_lifetime),
                "session_lifetime_max": show_duration(policy.session_lifetime_max),
                "leeway": show_duration(policy.leeway),
                "renewed_at": issuer.renewal.as_ref().map(|renewal| renewal.url().to_string()),
            })
        })
        .collect();
    let routes: Vec<Value> = ordered(&config.routes)
        .into_iter()
        .enumerate()
        .map(|(index, route)| {
            json!({
                "number": index + 1,
                "name": route.name,
                "host": route.host.shown(),
                "path": route.path.shown(),
                "methods": methods(route),
                "headers": headers(route),
                "access": access(route.access),
                "credentials": route.credentials.iter().map(carrier).collect::<Vec<_>>(),
                "forward": forward(route.forward),
                "assertion": route.assertion.as_ref().map(|assertion| &assertion.audience),
                "scopes": route.require.scopes,
                "scopes_any": route.require.scopes_any,
                "audiences": route.require.audiences,
                "type": route.require.typ,
                "claims": route.require.claims.iter().map(ClaimRule::shown).collect::<Vec<_>>(),
                "max_lifetime": route.require.max_lifetime.map(show_duration),
                "max_age": route.require.max_age.map(show_duration),
                "issuers": route.issuers,
                "upstream": route.target.upstream(),
                "answers": answers(route),
                "servers": servers(config, route),
                "line": route.line,
            })
        })
        .collect();
    json!({
        "valid": true,
        "file": config.path.display().to_string(),
        "listen": addresses(config, false),
        "redirect_from": addresses(config, true),
        "certificates": certificates(config),
        "admin": listen(&config.admin.listen),
        "store": {
            "path": config.store.path.display().to_string(),
            "limit": config.store.limit,
            "audit_keep": show_duration(config.store.audit_keep),
            "audit_entries_max": config.store.audit_entries_max,
        },
        "issuers": issuers,
        "session": session_json(config),
        "routes": routes,
        "notes": notes.to_json(),
    })
}

/// The session's cookie, where some route takes or makes one.
fn session(config: &Config) -> Option<String> {
    if !config.uses_sessions() {
        return None;
    }
    let cookies = &config.session.cookies;
    let below = cookies.domain.as_ref().map(|domain| format!(", below {domain}"));
    let sealed = if cookies.seal { ", sealed" } else { "" };
    let logins = logins(config);
    Some(format!(
        "cookie {}{}, SameSite={}{sealed}; {logins} login route{}",
        cookies.full_name(""),
        below.unwrap_or_default(),
        cookies.same_site.as_str(),
        if logins == 1 { "" } else { "s" },
    ))
}

fn session_json(config: &Config) -> Option<Value> {
    let cookies = &config.session.cookies;
    config.uses_sessions().then(|| {
        json!({
            "cookie": cookies.full_name(""),
            "domain": cookies.domain,
            "same_site": cookies.same_site.as_str(),
            "sealed": cookies.seal,
            "login_routes": logins(config),
        })
    })
}

fn logins(config: &Config) -> usize {
    config.routes.iter().filter(|route| route.capture.is_some()).count()
}

fn note(item: &Diagnostic, out: &mut String) {
    let word = item.severity.as_str();
    let line = item.place.as_ref().map(|place| format!(" (line {})", place.line));
    let _ = writeln!(out, "  {word}: {}{}", item.message, line.unwrap_or_default());
    let indent = " ".repeat(word.len() + 4);
    for more in item.detail.iter().chain(&item.help) {
        let _ = writeln!(out, "{indent}{more}");
    }
}

fn addresses(config: &Config, redirecting: bool) -> Vec<String> {
    let listeners = config.listeners.iter().filter_map(|listener| {
        let entrance = config.entrances.get(listener.entrance)?;
        let wanted = entrance.redirect == redirecting;
        wanted.then(|| listener.listen.url_of(entrance.scheme()))
    });
    listeners.collect()
}

/// For whom each certificate is, and until when.
fn certificates(config: &Config) -> Vec<Vec<String>> {
    let tls = config.entrances.iter().filter_map(|entrance| entrance.tls.as_ref());
    let all = tls.flat_map(|tls| &tls.certificates);
    all.map(|one| vec![show(&one.shown()), format!("until {}", one.facts.not_after.rfc3339())])
        .collect()
}

fn all(list: &[String]) -> String {
    if list.is_empty() { "nowhere".to_owned() } else { list.join("  and  ") }
}

/// `./data` for a path below the working directory.
fn here(path: &Path) -> String {
    let shown = path.display();
    if path.is_absolute() || path.starts_with(".") || path.starts_with("..") {
        shown.to_string()
    } else {
        format!("./{shown}")
    }
}

fn issuer_cells(issuer: &Issuer) -> Vec<String> {
    let policy = &issuer.policy;
    let identity = match &policy.iss {
        Some(iss) => show(iss),
        None => format!("(no iss, id {})", show(policy.id.as_str())),
    };
    let lifetime = show_duration(policy.max_lifetime);
    let keys = &issuer.keys_source;
    let renewed = match &issuer.renewal {
        Some(renewal) => format!(", sessions renewed at {}", renewal.url()),
        None => String::new(),
    };
    let told = format!("{keys}, tokens live at most {lifetime}{renewed}");
    vec![policy.name.clone(), identity, told]
}

fn route_cells(number: usize, route: &Route, config: &Config) -> Vec<String> {
    vec![
        number.to_string(),
        route.host.shown(),
        route.path.shown(),
        dash(route.conditions.shown()),
        access(route.access).to_owned(),
        needs(route),
        route.target.shown(),
        servers(config, route).join(" "),
    ]
}

fn servers(config: &Config, route: &Route) -> Vec<String> {
    let name = route.target.upstream();
    let upstream = config.upstreams.iter().find(|upstream| Some(upstream.name.as_str()) == name);
    let servers = upstream.map(|upstream| upstream.servers.as_slice()).unwrap_or_default();
    servers.iter().map(|server| server.address.shown()).collect()
}

fn needs(route: &Route) -> String {
    let mut needs = route.require.shown();
    needs.extend(route.issuers.as_ref().map(|names| format!("issuer {}", names.join(" or "))));
    let cookies: Vec<String> = route.credentials.iter().map(carrier).collect();
    if route.access != Access::Public && route.credentials != [Carrier::Bearer] {
        needs.push(cookies.join(" or "));
    }
    dash(needs.join(", "))
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn methods(route: &Route) -> Vec<&str> {
    route.conditions.methods.iter().map(http::Method::as_str).collect()
}

fn headers(route: &Route) -> Vec<String> {
    route.conditions.headers.iter().map(HeaderCondition::shown).collect()
}

/// What a route without an upstream answers.
fn answers(route: &Route) -> Option<Value> {
    match &route.target {
        Target::Upstream(_) => None,
        Target::Answer(answer) => Some(json!({ "status": answer.status.as_u16() })),
        Target::Redirect(redirect) => {
            Some(json!({ "status": redirect.status.as_u16(), "to": redirect.shown }))
        }
    }
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Required => "required",
        Access::Optional => "optional",
        Access::Public => "public",
    }
}

fn carrier(carrier: &Carrier) -> String {
    match carrier {
        Carrier::Bearer => "bearer".to_owned(),
        Carrier::Session => "session".to_owned(),
        Carrier::Cookie(name) => format!("cookie:{name}"),
        Carrier::Protocol(name) => format!("protocol:{name}"),
    }
}

fn forward(forward: Forward) -> &'static str {
    match forward {
        Forward::Strip => "strip",
        Forward::Pass => "pass",
        Forward::Bearer => "bearer",
    }
}

/// Rows as lines, columns two spaces apart.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}
