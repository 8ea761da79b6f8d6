//! A request of HTTP/2 in the words of HTTP/1.1, so that every later step and the backend see the
//! one form. What h2 has refused already (RFC 9113 section 8.2): connection headers, upper case,
//! CR, LF and NUL, a body that is longer or shorter than its Content-Length.

use base64::Engine as _;
use http::header::{CONNECTION, COOKIE, HOST, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Request, Version};
use hyper::ext::Protocol;

use super::Guard;
use crate::config::Limits;
use crate::proxy::answer::BadRequest;
use crate::proxy::grpc::Messages;

/// See the module. What it cannot say without doubt it leaves as it is, for the canonical request
/// to refuse: a Host beside another `:authority`, a CONNECT that is none of ours.
pub fn as_http1<B>(request: Request<B>) -> Request<B> {
    let (mut parts, body) = request.into_parts();
    if let Some(authority) = parts.uri.authority()
        && !parts.headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    join_cookies(&mut parts.headers);
    let guard = Guard::current();
    if let Some(guard) = &guard {
        guard.grpc.replace(Messages::of_call(&parts.headers));
    }
    let websocket = parts.method == Method::CONNECT
        && parts.extensions.get::<Protocol>().is_some_and(|name| name.as_str() == "websocket");
    if let (Some(guard), true) = (guard, websocket) {
        // RFC 8441 section 5: the same handshake without the fields that HTTP/2 does not need.
        let key = random_key();
        parts.method = Method::GET;
        parts.version = Version::HTTP_11;
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(value) = HeaderValue::from_str(&key) {
            parts.headers.insert(SEC_WEBSOCKET_KEY, value);
        }
        guard.websocket_key.replace(Some(key));
    }
    Request::from_parts(parts, body)
}

/// What HTTP/1.1's parser has checked by itself.
pub fn check<B>(request: &Request<B>, limits: &Limits) -> Result<(), BadRequest> {
    let headers = request.headers();
    // The pseudo-headers are no fields; Host and the joined cookies are one each.
    if headers.len() > limits.header_count_max {
        return Err(BadRequest::HeaderCount);
    }
    // As long as it would be in HTTP/1.1.
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bytes = target + headers.iter().map(field).sum::<usize>();
    if bytes > limits.header_bytes_max { Err(BadRequest::HeaderBytes) } else { Ok(()) }
}

/// Section 8.2.3: crumbs of the one Cookie field.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice()));
    headers.remove(COOKIE);
    if let Ok(mut joined) = joined {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// RFC 6455 section 4.1. It need not be secret; without randomness it is still well-formed.
fn random_key() -> String {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).ok();
    base64::engine::general_purpose::STANDARD.encode(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_become_one_cookie_and_the_authority_becomes_the_host() {
        let request = Request::builder()
            .version(Version::HTTP_2)
            .uri("https://a.example:8443/x?y")
            .header(COOKIE, "a=1")
            .header(COOKIE, "b=2; c=3")
            .body(())
            .unwrap();
        let request = as_http1(request);
        assert_eq!(request.headers()[HOST], "a.example:8443");
        let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
        let named = Request::builder().uri("https://a/").header(HOST, "b").body(()).unwrap();
        assert_eq!(as_http1(named).headers()[HOST], "b", "for the canonical request to refuse");
    }
}
