//! The canonical request: one host, one path, no ambiguity. What cannot be read in one way only is
//! refused here, so that every later step and the backend see the same request.

use http::header::{HOST, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use hyper::body::{Body as _, Incoming};

use super::answer::{BadRequest, Rejection};
use super::client_body::ClientBody;
use super::path;
use super::upgrade::Upgrade;

/// A request whose host and path have one reading.
pub struct Canonical {
    pub(super) parts: Parts,
    pub(super) body: ClientBody,
    /// Lower case, without port.
    pub(super) host: String,
    /// The client asks to switch to it.
    pub(super) upgrade: Option<Upgrade>,
}

impl Canonical {
    /// On the heap: it is handed from step to step, and each would move some 350 bytes.
    pub fn from_request(request: Request<Incoming>) -> Result<Box<Self>, Rejection> {
        let (parts, body) = request.into_parts();
        let (host, upgrade) = Self::read(&parts, body.is_end_stream())?;
        Ok(Box::new(Self { parts, body: ClientBody::new(body), host, upgrade }))
    }

    /// Its host, and what it asks to switch to, if it has one reading.
    pub(super) fn read(
        parts: &Parts,
        bodiless: bool,
    ) -> Result<(String, Option<Upgrade>), BadRequest> {
        if parts.method == Method::CONNECT {
            return Err(BadRequest::Connect);
        }
        // It would show the client what we add for the backend (RFC 9110 section 9.3.8).
        if parts.method == Method::TRACE {
            return Err(BadRequest::Trace);
        }
        check_transfer_coding(&parts.headers)?;
        let host = host_of(parts)?;
        path::check(parts.uri.path(), parts.uri.query())?;
        if !parts.uri.path().starts_with('/') {
            return Err(BadRequest::TargetForm);
        }
        Ok((host, Upgrade::asked(parts, bodiless)?))
    }

    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    pub fn asks_for_websocket(&self) -> bool {
        self.upgrade.as_ref().is_some_and(Upgrade::is_websocket)
    }
}

/// hyper takes any list that ends in `chunked` and takes off that one alone: what is below it would
/// be lost on the way, or be read otherwise behind us (RFC 9112 section 6.1).
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), BadRequest> {
    match single(headers, &TRANSFER_ENCODING) {
        Ok(None) => Ok(()),
        Ok(Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        Ok(Some(_)) | Err(()) => Err(BadRequest::TransferCoding),
    }
}

/// Exactly one Host; in absolute-form the target's authority must say the same
/// (RFC 9112 section 3.2).
fn host_of(parts: &Parts) -> Result<String, BadRequest> {
    let value = single(&parts.headers, &HOST).map_err(|_| BadRequest::HostRepeated)?;
    let value = value.ok_or(BadRequest::HostMissing)?;
    let text = value.to_str().map_err(|_| BadRequest::HostInvalid)?;
    let host = host_name(text).ok_or(BadRequest::HostInvalid)?;
    if let Some(authority) = parts.uri.authority()
        && !authority.as_str().eq_ignore_ascii_case(text)
    {
        return Err(BadRequest::HostDisagrees);
    }
    // In absolute-form, what is of another scheme is asked of a proxy to anywhere.
    let ours = |scheme: &str| matches!(scheme, "http" | "https");
    if parts.uri.scheme_str().is_some_and(|scheme| !ours(scheme)) {
        return Err(BadRequest::Scheme);
    }
    Ok(host)
}

/// `host[:port]` without user info, of the characters that host names and addresses are made of.
pub(super) fn host_name(text: &str) -> Option<String> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            inside.parse::<std::net::Ipv6Addr>().ok()?;
            (inside, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
        }
        None => {
            let (name, port) = text.split_once(':').unwrap_or((text, ""));
            let good =
                name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
            // A trailing dot names the same host to some and another to others.
            let dots = name.starts_with('.')
                || name.ends_with('.')
                || name.as_bytes().windows(2).any(|two| two == b"..");
            (good && !dots).then_some((name, port))?
        }
    };
    let port_good =
        port.is_empty() || port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (!name.is_empty() && name.len() <= 255 && port_good).then(|| name.to_ascii_lowercase())
}

fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h http::HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue, TRANSFER_ENCODING};

    use super::{check_transfer_coding, host_name};

    #[test]
    fn chunked_is_the_only_transfer_coding_and_comes_once() {
        let check = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(value));
            }
            check_transfer_coding(&headers).is_ok()
        };
        assert!(check(&[]) && check(&["chunked"]) && check(&["Chunked"]));
        for bad in ["identity, chunked", "gzip, chunked", "chunked, chunked", "chunked;q=1", ""] {
            assert!(!check(&[bad]), "{bad}");
        }
        assert!(!check(&["chunked", "chunked"]));
        assert!(!check(&["gzip", "chunked"]));
    }

    #[test]
    fn a_host_has_one_spelling_or_is_refused() {
        for good in ["example.com", "Example.COM:8080", "127.0.0.1:1", "[::1]:80", "a_b.c"] {
            assert!(host_name(good).is_some(), "{good}");
        }
        assert_eq!(host_name("Example.COM:8080").unwrap(), "example.com");
        for bad in [
            "",
            ":80",
            "example.com.",
            ".example.com",
            "a..b",
            "user@example.com",
            "a b",
            "a;b",
            "example.com:80:80",
            "example.com:x",
            "example.com:65536",
            "example.com:+80",
            "[::1",
            "[::1]x",
            "a/b",
            "a\\b",
            "[zz]",
        ] {
            assert!(host_name(bad).is_none(), "{bad}");
        }
    }
}
