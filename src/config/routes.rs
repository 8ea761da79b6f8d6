//! `[[upstream]]` and `[[route]]`, and the one order in which routes are tried: exact host, then
//! the longest wildcard, then any host; within a host the exact path, then the longest prefix.
//! Never file order.

use std::cmp::Reverse;
use std::time::Duration;

use http::HeaderName;

use super::cursor::{Item, Table, Text, show};
use super::diagnostic::{Code, Diagnostic};
use super::server::{self, name};
use super::{
    Access, Carrier, Forward, HostPattern, PathPattern, Requirements, Route, ServerAddress,
    Upstream, UpstreamHost, value,
};
use crate::token::ClaimPath;

/// Smaller is tried first. The name of the host only keeps its routes together.
pub type Specificity = (u8, Reverse<usize>, String, u8, Reverse<usize>);

pub fn specificity(route: &Route) -> Specificity {
    let (host, length) = match &route.host {
        HostPattern::Exact(_) => (0, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
        HostPattern::Any => (2, 0),
    };
    let (path, depth) = match &route.path {
        PathPattern::Exact(path) => (0, path.len()),
        PathPattern::Prefix(prefix) => (1, prefix.trim_end_matches('/').len()),
    };
    (host, Reverse(length), route.host.shown(), path, Reverse(depth))
}

/// Indices into `routes` in the order in which they are tried.
pub fn order(routes: &[Route]) -> Vec<usize> {
    let mut order: Vec<(Specificity, usize)> =
        routes.iter().enumerate().map(|(index, route)| (specificity(route), index)).collect();
    order.sort();
    order.into_iter().map(|(_, index)| index).collect()
}

pub fn upstream(table: &Table<'_>) -> Option<Upstream> {
    let second = Duration::from_secs(1);
    let hour = 3600 * second;
    table.unsupported("health", "a server that does not answer gives 502");
    table.unsupported("tls", "reach the server over http:// or a unix socket");
    table.unsupported("retries", "a failed request is answered with 502");
    table.unsupported("balance", "servers are taken in turn");
    let name = name(table.required("name"));
    let servers = servers(table);
    let upstream = Upstream {
        name: name.unwrap_or_default(),
        servers: servers.unwrap_or_default(),
        connect_timeout: table.duration("connect_timeout", 5 * second, second / 100..=hour),
        response_timeout: table.duration("response_timeout", 60 * second, second / 100..=24 * hour),
        idle_timeout: table.duration("idle_timeout", 60 * second, Duration::ZERO..=hour),
        host: table.choice(
            "host",
            UpstreamHost::Preserve,
            &[("preserve", UpstreamHost::Preserve), ("server", UpstreamHost::Server)],
        ),
    };
    table.finish();
    (!upstream.name.is_empty()).then_some(upstream)
}

fn servers(table: &Table<'_>) -> Option<Vec<ServerAddress>> {
    let texts = table.strings("servers");
    let Some(texts) = texts else {
        if !table.has("servers") {
            table.require_also("servers");
        }
        return None;
    };
    if let (true, Some(item)) = (texts.is_empty(), table.get("servers")) {
        let message = "an upstream needs at least one server";
        table.reader.report(&item.span, Diagnostic::error(Code::Empty, message));
    }
    Some(texts.iter().filter_map(|text| server_address(table, text)).collect())
}

fn server_address(table: &Table<'_>, text: &Text) -> Option<ServerAddress> {
    let unsupported = ["https://", "h2://", "h2c://", "grpc://", "grpcs://", "h3://"];
    let diagnostic = if let Some(scheme) =
        unsupported.iter().find(|scheme| text.value.starts_with(**scheme))
    {
        let message = format!("{scheme} to an upstream is not supported by this version");
        Diagnostic::error(Code::Unsupported, message).help("http://host:port or unix:path")
    } else {
        let address = match text.value.strip_prefix("unix:") {
            Some(path) => server::unix_path(table.reader, path).map(ServerAddress::Unix),
            None => http_server(&text.value).map_err(str::to_owned),
        };
        match address {
            Ok(address) => return Some(address),
            // The address itself may hold a password: the line is printed masked, this is not.
            Err(expected) => Diagnostic::error(Code::BadUrl, "this is not the address of a server")
                .help(expected),
        }
    };
    table.reader.report(&text.span, diagnostic);
    None
}

/// `http://host:port`, with nothing after it.
fn http_server(text: &str) -> Result<ServerAddress, &'static str> {
    let form = "\"http://127.0.0.1:3000\", \"http://app:3000\" or \"unix:/run/app.sock\"";
    let rest = text.strip_prefix("http://").ok_or(form)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("no user and password: an upstream is named by host and port");
    }
    if !path.is_empty() || authority.contains(['?', '#']) {
        return Err("host and port only: the path of a request is sent on as it came");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or(form)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| form)?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("80")).ok_or(form)?)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
            if !value::is_host_name(host) {
                return Err(form);
            }
            (host, port)
        }
    };
    let port = port.parse().ok().filter(|port| *port != 0).ok_or("a port from 1 to 65535")?;
    Ok(ServerAddress::Http { host: host.to_ascii_lowercase(), port })
}

/// A route with where its references stand.
pub struct Parsed {
    pub route: Route,
    pub upstream: Text,
    pub issuers: Vec<Text>,
    /// Of the host or path, or the header where neither is written.
    pub span: std::ops::Range<usize>,
    pub access_span: std::ops::Range<usize>,
}

pub fn route(table: &Table<'_>) -> Option<Parsed> {
    unsupported(table);
    let host_item = table.get("host");
    let host = match &host_item {
        Some(item) => host(item),
        None => Some(HostPattern::Any),
    };
    let path = path(table);
    let given = table.get("name");
    let named = name(given);
    let access = table.choice(
        "access",
        Access::Required,
        &[
            ("required", Access::Required),
            ("optional", Access::Optional),
            ("public", Access::Public),
        ],
    );
    let credentials = credentials(table, access);
    let identity = identity(table);
    let require = require(&table.table("require", "route.require"));
    without_effect(table, access, &credentials, &identity);
    let issuers = table.strings("issuers");
    let forward = table.choice(
        "forward",
        Forward::Strip,
        &[("strip", Forward::Strip), ("pass", Forward::Pass), ("bearer", Forward::Bearer)],
    );
    let upstream = table.required("upstream").and_then(|item| item.string());
    table.finish();
    let (host, path, upstream) = (host?, path?, upstream?);
    let span = ["path", "path_exact"].into_iter().find_map(|key| table.get(key));
    let route = Route {
        name: named.unwrap_or_else(|| format!("{} {}", host.shown(), path.shown())),
        host,
        path,
        access,
        credentials,
        forward,
        identity,
        require,
        issuers: issuers.as_ref().map(|list| list.iter().map(|t| t.value.clone()).collect()),
        upstream: upstream.value.clone(),
        line: table.reader.source.line(table.span.start),
    };
    Some(Parsed {
        route,
        upstream,
        issuers: issuers.unwrap_or_default(),
        span: span.map_or_else(|| table.span.clone(), |item| item.span),
        access_span: table.get("access").map_or_else(|| table.span.clone(), |item| item.span),
    })
}

fn unsupported(table: &Table<'_>) {
    let one = "a single gateway is never stale";
    table.unsupported("max_staleness", one);
    table.unsupported("when_stale", one);
    table.unsupported("capture", "let the backend set the cookie, and name it in `credentials`");
    table.unsupported("login_url", "requests without a token are answered with 401");
    table.unsupported("assertion", "send claims as headers with `identity`");
    table.unsupported("methods", "routes select by host and path");
    table.unsupported("timeout", "set `response_timeout` on the upstream");
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
            Some(("cookie", name)) if value::is_token(name) => {
                Some(Carrier::Cookie(name.to_owned()))
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
                    .help("\"bearer\" or \"cookie:NAME\"; a cookie name has no spaces, no ; , = \"")
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

fn require(table: &Table<'_>) -> Requirements {
    let mut scopes = Vec::new();
    for text in table.strings("scopes").unwrap_or_default() {
        // RFC 6749 section 3.3: visible ASCII without quote and backslash.
        let is_scope = !text.value.is_empty()
            && text.value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
        if is_scope {
            scopes.push(text.value);
        } else {
            let message = format!("\"{}\" is not one scope", show(&text.raw));
            let help = "one scope each: scopes = [\"read\", \"write\"]";
            let diagnostic = Diagnostic::error(Code::BadName, message).help(help);
            table.reader.report(&text.span, diagnostic);
        }
    }
    let range = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);
    let max_age = table.get("max_age").and_then(|item| item.duration(&range));
    table.finish();
    Requirements { scopes, max_age }
}

/// Headers that the gateway or the protocol sets; an identity header must be none of them.
const RESERVED_HEADERS: [&str; 24] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-request-id",
    "referer",
    "content-range",
];
const RESERVED_PREFIXES: [&str; 5] =
    ["proxy-", "sec-", "x-forwarded-", "x-real-", "access-control-"];

fn identity(table: &Table<'_>) -> Vec<(HeaderName, ClaimPath)> {
    let mut headers: Vec<(HeaderName, ClaimPath)> = Vec::new();
    for item in table.table("identity", "route.identity").entries() {
        let Some(header) = identity_header(&item) else { continue };
        // Backends read `-`, `_` and `.` alike: two names that differ there are one.
        let alike = |name: &HeaderName| name.as_str().replace(['_', '.'], "-");
        if headers.iter().any(|(other, _)| alike(other) == alike(&header)) {
            let message = format!("header {header} is set twice");
            let diagnostic = Diagnostic::error(Code::Duplicate, message);
            item.reader.report(&item.key_span, diagnostic);
            continue;
        }
        if let Some(claim) = claim(&item) {
            headers.push((header, claim));
        }
    }
    headers
}

fn identity_header(item: &Item<'_>) -> Option<HeaderName> {
    let lower = item.key.to_ascii_lowercase();
    let (fault, help) = match HeaderName::from_bytes(lower.as_bytes()) {
        Ok(name) => {
            let alike = lower.replace(['_', '.'], "-");
            let reserved = RESERVED_HEADERS.contains(&alike.as_str())
                || RESERVED_PREFIXES.iter().any(|prefix| alike.starts_with(prefix));
            if !reserved {
                return Some(name);
            }
            ("cannot carry an identity", "take a name of its own: \"X-Auth-Subject\" = \"sub\"")
        }
        Err(_) => ("is not a header name", "letters, digits and -: \"X-Auth-Subject\" = \"sub\""),
    };
    let message = format!("\"{}\" {fault}", show(&item.key));
    item.reader.report(&item.key_span, Diagnostic::error(Code::BadHeader, message).help(help));
    None
}

/// The claim that a string names.
pub fn claim(item: &Item<'_>) -> Option<ClaimPath> {
    claim_of(item, &item.string()?)
}

pub fn claim_of(item: &Item<'_>, text: &Text) -> Option<ClaimPath> {
    match ClaimPath::parse(&text.value) {
        Ok(claim) => Some(claim),
        Err(_) => {
            let message = format!("\"{}\" does not name a claim", show(&text.raw));
            let help = "a name (\"sub\") or a JSON pointer (\"/data/id\")";
            item.reader.report(&text.span, Diagnostic::error(Code::BadClaim, message).help(help));
            None
        }
    }
}

/// Keys that say something about a token on a route that never looks at one.
fn without_effect(
    table: &Table<'_>,
    access: Access,
    credentials: &[Carrier],
    identity: &[(HeaderName, ClaimPath)],
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_host_and_port() {
        let http = |host: &str, port| Ok(ServerAddress::Http { host: host.to_owned(), port });
        assert_eq!(http_server("http://127.0.0.1:3000"), http("127.0.0.1", 3000));
        assert_eq!(http_server("http://App/"), http("app", 80));
        assert_eq!(http_server("http://[::1]:3000"), http("::1", 3000));
        for bad in [
            "127.0.0.1:3000",
            "http://",
            "http://a:0",
            "http://a:b",
            "http://a/b",
            "http://u:p@a",
            "http://a b",
            "http://[::1",
            "http://[::1]x",
            "ftp://a",
        ] {
            assert!(http_server(bad).is_err(), "{bad}");
        }
    }
}
