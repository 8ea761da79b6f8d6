//! Request headers on their way to the backend. One pass decides what leaves; ours are added after
//! that, so that nothing a client names in `Connection` can take ours away (RFC 9110 section 7.6.1).

use std::sync::Arc;

use http::Method;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;

use crate::clock::UnixMs;
use crate::config::{
    Carrier, Forward, HeaderRules, is_hop_by_hop, normal_header_name as normal, speaks_of_client,
};
use crate::verify::Signed;

use super::answer::Rejection;
use super::assertion::Memo;
use super::claim_header;
use super::connection::Connection;
use super::cookie;
use super::forwarded;
use super::outgoing::Added;
use super::permit::Permit;
use super::published::Published;
use super::rewrite;
use super::route::Route;
use super::subprotocol;
use super::upgrade::Upgrade;

pub const CLOSE: HeaderValue = HeaderValue::from_static("close");
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Names that the backend trusts because we set them. A client's header that could be mistaken for
/// one (`_` or `.` for `-`, any case) never gets through.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuardedNames(Vec<String>);

impl GuardedNames {
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut all: Vec<String> = names.into_iter().map(|name| normal(name.as_str())).collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    pub fn guards(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        self.0.iter().any(|guarded| looks_like(name, guarded))
    }
}

/// What tells the backend of the client's certificate (RFC 9440).
pub const OF_CLIENT_CERT: [HeaderName; 2] = [CLIENT_CERT, CLIENT_CERT_CHAIN];

/// `name` equals the normal form `guarded` when `_` and `.` are read as `-`.
fn looks_like(name: &str, guarded: &str) -> bool {
    name.len() == guarded.len()
        && name.bytes().zip(guarded.bytes()).all(|(byte, wanted)| {
            let byte = if byte == b'_' || byte == b'.' { b'-' } else { byte };
            byte.eq_ignore_ascii_case(&wanted)
        })
}

/// The methods that a backend may take in place of the request's own, where its framework knows these
/// headers. `Err`: what nobody can read.
pub fn overriding_methods(headers: &HeaderMap) -> impl Iterator<Item = Result<Method, ()>> {
    const NAMES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
    let named = |name: &HeaderName| NAMES.iter().any(|wanted| looks_like(name.as_str(), wanted));
    let values = headers.iter().filter(move |(name, _)| named(name)).map(|(_, value)| value);
    values.map(|value| {
        let method = value.as_bytes().trim_ascii().to_ascii_uppercase();
        Method::from_bytes(&method).map_err(|_| ())
    })
}

/// Does a `Connection` header name this (lower-case) option?
pub fn nominates(headers: &HeaderMap, option: &str) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|name| name.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    })
}

/// Trailer fields that may pass (RFC 9110 section 6.5.1): nothing that frames, routes,
/// authenticates or names a person.
pub fn allowed_in_trailers(name: &HeaderName, guarded: Option<&GuardedNames>) -> bool {
    let text = name.as_str();
    let refused = matches!(
        normal(text).as_str(),
        "host"
            | "authorization"
            | "cookie"
            | "set-cookie"
            | "trailer"
            | "cache-control"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "max-forwards"
            | "range"
            | "www-authenticate"
    );
    !(refused
        || is_hop_by_hop(text)
        || speaks_of_client(text)
        || guarded.is_some_and(|guarded| guarded.guards(name)))
}

/// Rewrites the request's headers in place for the backend; what stands beside them.
pub fn prepare(
    parts: &mut Parts,
    permit: &Permit<'_>,
    connection: &Connection,
    by: Signatory<'_>,
    request_id: &HeaderValue,
    upgrade: Option<&Upgrade>,
) -> Result<Added, Rejection> {
    let published = by.published;
    let headers = &mut parts.headers;
    let foreign = foreign(headers, connection.is_trusted(), &published.guarded);
    let trailers_accepted = foreign.contains(&TE) && nominated_te_trailers(headers);
    remove(headers, foreign);
    drop_credentials(headers, permit, published);
    let route = permit.route();
    remove(headers, look_alikes(headers, &route.request_headers));
    rewrite::apply(&route.request_headers, headers);
    if trailers_accepted {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade.value());
    }
    let mut added = Added::default();
    forwarded::add(headers, &mut added, connection, published.forwarded);
    if permit.route().capture.is_some() {
        // What is compressed cannot be taken apart.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    forwarded::add_prefix(headers, route, published.forwarded);
    // The one that the log has: what a trusted proxy offered, if it was fit.
    added.replace(forwarded::said(headers, connection), X_REQUEST_ID, request_id.clone());
    if let Some(certificate) = &connection.client_cert {
        headers.insert(CLIENT_CERT, certificate.clone());
    }
    if let Some(signed) = permit.signed() {
        add_identity(headers, route, signed)?;
        add_assertion(headers, route, signed, by)?;
    }
    Ok(added)
}

fn nominated_te_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// A proxy spells its headers with hyphens; a look-alike came through it from its client.
fn is_plain(name: &HeaderName) -> bool {
    !name.as_str().contains(['_', '.'])
}

/// What a backend that reads `_` as `-` would take for a header that the route takes away or sets.
fn look_alikes(headers: &HeaderMap, rules: &HeaderRules) -> Vec<HeaderName> {
    let ruled = || rules.remove.iter().chain(rules.set.iter().map(|(name, _)| name));
    if ruled().next().is_none() {
        return Vec::new();
    }
    let is_one = |name: &&HeaderName| {
        !is_plain(name) && ruled().any(|ruled| looks_like(name.as_str(), &normal(ruled.as_str())))
    };
    headers.keys().filter(is_one).cloned().collect()
}

/// Hop-by-hop headers, what could be read as framing, what `Connection` names, and what only we or a
/// trusted proxy may set.
pub(super) fn foreign(
    headers: &HeaderMap,
    trusted: bool,
    guarded: &GuardedNames,
) -> Vec<HeaderName> {
    let leaves = |name: &HeaderName| {
        is_hop_by_hop(name.as_str())
            || looks_like(name.as_str(), "transfer-encoding")
            || looks_like(name.as_str(), "content-length")
            || (speaks_of_client(name.as_str()) && !(trusted && is_plain(name)))
            || guarded.guards(name)
    };
    with_nominated(headers, headers.keys().filter(|name| leaves(name)).cloned().collect())
}

/// And those that `Connection` names, where it is among these, as it always is if it is there.
fn with_nominated(headers: &HeaderMap, mut names: Vec<HeaderName>) -> Vec<HeaderName> {
    if names.contains(&CONNECTION) {
        names.extend(nominated_names(headers));
    }
    names
}

pub(super) fn remove(headers: &mut HeaderMap, names: Vec<HeaderName>) {
    for name in names {
        headers.remove(name);
    }
}

/// `Connection: close, X-Name` makes X-Name hop-by-hop. Host is never one.
fn nominated_names(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for name in value.as_bytes().split(|&byte| byte == b',') {
            let name = name.trim_ascii();
            if name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(name)
                && name != HOST
            {
                names.push(name);
            }
        }
    }
    names
}

/// Takes out every carrier of a credential that the config names anywhere, but the one that was
/// verified where the route passes it on.
fn drop_credentials(headers: &mut HeaderMap, permit: &Permit<'_>, published: &Published) {
    let forward = permit.route().forward;
    let carrier = permit.carrier();
    let keep_bearer = carrier == Some(&Carrier::Bearer) && forward != Forward::Strip;
    if published.carriers.bearer && !keep_bearer {
        let is_bearer = headers.get(AUTHORIZATION).is_some_and(super::credential::is_bearer);
        if is_bearer {
            headers.remove(AUTHORIZATION);
        }
    }
    if !published.carriers.cookies.is_empty() && headers.contains_key(COOKIE) {
        let kept_cookie = match carrier {
            Some(Carrier::Cookie(name)) if forward == Forward::Pass => Some(name),
            _ => None,
        };
        let ours = &published.carriers.cookies;
        let kept: Vec<HeaderValue> = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| cookie::without(value, ours, kept_cookie.map(String::as_str)))
            .collect();
        headers.remove(COOKIE);
        for value in kept {
            headers.append(COOKIE, value);
        }
    }
    if let Some(session) = &published.session {
        session.strip(headers);
    }
    let passed = |name: &String| match carrier {
        Some(Carrier::Protocol(kept)) => forward == Forward::Pass && kept == name,
        Some(Carrier::Bearer | Carrier::Cookie(_) | Carrier::Session) | None => false,
    };
    for name in published.carriers.protocols.iter().filter(|name| !passed(name)) {
        subprotocol::strip(headers, name);
    }
    let as_bearer = match carrier {
        Some(Carrier::Cookie(_) | Carrier::Protocol(_)) => forward == Forward::Bearer,
        // A backend cannot read our cookie: passed on, it is a bearer token.
        Some(Carrier::Session) => forward != Forward::Strip,
        Some(Carrier::Bearer) | None => false,
    };
    if let (true, Some(credential)) = (as_bearer, permit.credential())
        && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", credential.expose()))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// The headers that say who it is.
pub fn add_identity(
    headers: &mut HeaderMap,
    route: &Route,
    signed: &Signed,
) -> Result<(), Rejection> {
    for (name, path) in &route.identity {
        let Some(claim) = path.find(signed.claims()) else { continue };
        let value =
            claim_header::value(claim).map_err(|()| Rejection::ClaimUnfit(path.to_string()))?;
        if let Some(value) = value {
            headers.insert(name.clone(), value);
        }
    }
    Ok(())
}

/// Who vouches to the backend, and when.
#[derive(Clone, Copy)]
pub struct Signatory<'s> {
    pub published: &'s Published,
    pub memo: &'s Memo,
    pub now: UnixMs,
}

/// The assertion that says it signed.
pub fn add_assertion(
    headers: &mut HeaderMap,
    route: &Route,
    signed: &Arc<Signed>,
    by: Signatory<'_>,
) -> Result<(), Rejection> {
    let Some(rule) = &route.assertion else { return Ok(()) };
    let vouching = by.published.vouching.as_ref().ok_or(Rejection::NotSigned)?;
    let value = vouching.header(signed, rule, by.memo, by.now)?;
    headers.insert(rule.header.clone(), value);
    Ok(())
}

/// The upstream's answer on its way back: hop-by-hop headers leave, and with them the length,
/// which hyper computes from the body. An answer to HEAD or a 304 keeps it: there it describes a
/// body that is not sent (RFC 9110 section 8.6).
pub fn clean_response(headers: &mut HeaderMap, bodiless: bool) {
    let leaves = |name: &HeaderName| {
        let kept = bodiless && *name == CONTENT_LENGTH && headers.get_all(name).iter().count() == 1;
        is_hop_by_hop(name.as_str()) && !kept
    };
    let leaving = headers.keys().filter(|name| leaves(name)).cloned().collect();
    let leaving = with_nominated(headers, leaving);
    remove(headers, leaving);
    debug_assert!(!headers.contains_key(TRANSFER_ENCODING) && !headers.contains_key(EXPECT));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_identity_header_is_guarded() {
        let guarded = GuardedNames::new([HeaderName::from_static("x-auth-subject")]);
        for name in ["x-auth-subject", "x_auth_subject", "x.auth.subject", "x-auth_subject"] {
            assert!(guarded.guards(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
        for name in ["x-auth-subjects", "x-auth", "auth-subject", "x-auth-subjec"] {
            assert!(!guarded.guards(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
    }

    #[test]
    fn nominated_headers_leave_but_never_host() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("close, X-Drop, Host"));
        headers.insert("x-drop", HeaderValue::from_static("1"));
        headers.insert("x-keep", HeaderValue::from_static("1"));
        headers.insert(HOST, HeaderValue::from_static("a"));
        let foreign = foreign(&headers, false, &GuardedNames::default());
        remove(&mut headers, foreign);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-keep"]);
    }
}
