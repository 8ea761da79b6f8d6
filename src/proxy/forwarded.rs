//! What we tell the server of the client and its connection: `X-Forwarded-…`, and `Forwarded`
//! (RFC 7239). A listed proxy in front of us is believed, and added to; what a stranger says of it is
//! gone before.

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};

use crate::config::Forwarded;

use super::connection::Connection;
use super::outgoing::Added;
use super::rewrite;
use super::route::Route;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where a trusted proxy may have said of the client what we say. What a stranger says of it is gone.
pub fn said<'h>(headers: &'h mut HeaderMap, connection: &Connection) -> Option<&'h mut HeaderMap> {
    connection.is_trusted().then_some(headers)
}

pub fn add(headers: &mut HeaderMap, added: &mut Added, connection: &Connection, style: Forwarded) {
    let host = headers.get(HOST).cloned();
    if matches!(style, Forwarded::XForwarded | Forwarded::Both) {
        // Several lines are one list (RFC 9110 section 5.3): a proxy may add a line of its own below
        // that of its client.
        let chain = match connection.is_trusted() {
            true => chain_with(headers, &connection.peer_text),
            false => connection.peer_text.clone(),
        };
        added.replace(said(headers, connection), X_FORWARDED_FOR, chain);
        let is_said = |name: HeaderName| connection.is_trusted() && headers.contains_key(name);
        if !is_said(X_FORWARDED_PROTO) {
            added.push(X_FORWARDED_PROTO, HeaderValue::from_static(connection.scheme));
        }
        if let Some(host) = host.clone().filter(|_| !is_said(X_FORWARDED_HOST)) {
            added.push(X_FORWARDED_HOST, host);
        }
    }
    if matches!(style, Forwarded::Forwarded | Forwarded::Both) {
        let peer = connection.peer_text.to_str().unwrap_or("unknown");
        let peer = if peer.contains(':') { format!("\"[{peer}]\"") } else { peer.to_owned() };
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("");
        // The canonical request's Host holds no quote and no backslash (RFC 7239 section 4).
        let element = format!("for={peer};host=\"{host}\";proto={}", connection.scheme);
        if let Ok(value) = HeaderValue::try_from(element) {
            added.push(FORWARDED, value);
        }
    }
}

fn chain_with(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut chain = Vec::new();
    for before in headers.get_all(&X_FORWARDED_FOR) {
        chain.extend_from_slice(before.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer.as_bytes());
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| peer.clone())
}

/// What was taken from the path, behind what a trusted proxy took before us.
pub fn add_prefix(headers: &mut HeaderMap, route: &Route, style: Forwarded) {
    let Some(stripped) = route.rewrite.as_ref().and_then(rewrite::stripped) else { return };
    if matches!(style, Forwarded::XForwarded | Forwarded::Both) {
        let before = headers.get(X_FORWARDED_PREFIX).and_then(|value| value.to_str().ok());
        let before = before.unwrap_or_default().trim_end_matches('/');
        if let Ok(value) = HeaderValue::try_from(format!("{before}{stripped}")) {
            headers.insert(X_FORWARDED_PREFIX, value);
        }
    }
}
