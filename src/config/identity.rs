//! `identity` of a route: headers for the backend, each from a claim; and how a claim is named.

use http::HeaderName;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::{Item, Text};
use crate::token::ClaimPath;

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

pub fn identity(table: &Table<'_>) -> Vec<(HeaderName, ClaimPath)> {
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
    match own_header(&item.key) {
        Ok(name) => Some(name),
        Err(fault) => {
            let message = format!("\"{}\" {fault}", show(&item.key));
            let help = "take a name of its own: \"X-Auth-Subject\" = \"sub\"";
            let diagnostic = Diagnostic::error(Code::BadHeader, message).help(help);
            item.reader.report(&item.key_span, diagnostic);
            None
        }
    }
}

/// A header that the backend may believe to be the gateway's, or what is wrong with the name.
pub fn own_header(text: &str) -> Result<HeaderName, &'static str> {
    let lower = text.to_ascii_lowercase();
    let name = HeaderName::from_bytes(lower.as_bytes())
        .map_err(|_| "is not a header name: letters, digits and -")?;
    let alike = lower.replace(['_', '.'], "-");
    let reserved = RESERVED_HEADERS.contains(&alike.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| alike.starts_with(prefix));
    if reserved { Err("cannot carry an identity") } else { Ok(name) }
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
