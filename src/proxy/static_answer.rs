//! Answers that stand in the configuration: a fixed one, or a redirect. They are given to requests
//! that have a permit, like any other answer.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response};

use crate::config::{PathPattern, Piece, Redirect, StaticAnswer};

use super::answer::{BadRequest, Rejection};
use super::body::Body;
use super::canonical::Canonical;
use super::exchange::{self, Exchange};
use super::permit::Permit;
use super::rewrite;

pub fn fixed(answer: &StaticAnswer, permit: &Permit<'_>, exchange: &Exchange) -> Response<Body> {
    let mut response = Response::new(Body::full(answer.body.clone()));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if let Some(content_type) = &answer.content_type {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    rewrite::apply(&permit.route().response_headers, headers);
    exchange::stamp(headers, exchange.request_id());
    response
}

pub fn redirect(
    redirect: &Redirect,
    permit: &Permit<'_>,
    exchange: &Exchange,
) -> Result<Response<Body>, Rejection> {
    let pattern = &permit.route().path;
    let location = location(redirect, pattern, permit.request())?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = redirect.status;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    rewrite::apply(&permit.route().response_headers, headers);
    exchange::stamp(headers, exchange.request_id());
    Ok(response)
}

/// The config made sure that nothing of the request stands where a host would; a path that begins
/// with `//` would be read as one (RFC 3986 section 4.2).
fn location(
    redirect: &Redirect,
    pattern: &PathPattern,
    request: &Canonical,
) -> Result<HeaderValue, Rejection> {
    let uri = &request.parts.uri;
    let text = fill(redirect, pattern, &request.host, uri.path(), uri.query());
    let two_slashes = text.starts_with("//");
    let value = HeaderValue::try_from(text).ok().filter(|_| !two_slashes);
    value.ok_or_else(|| BadRequest::PathRewrite.into())
}

fn fill(
    redirect: &Redirect,
    pattern: &PathPattern,
    host: &str,
    path: &str,
    query: Option<&str>,
) -> String {
    let mut text = String::new();
    for piece in &redirect.to {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Host if host.contains(':') => {
                text.push('[');
                text.push_str(host);
                text.push(']');
            }
            Piece::Host => text.push_str(host),
            Piece::Path => text.push_str(path),
            Piece::Rest => text.push_str(below(pattern, path)),
            Piece::Query => {
                if let Some(query) = query {
                    text.push('?');
                    text.push_str(query);
                }
            }
        }
    }
    // A query alone leads back to where the request came from.
    if text.is_empty() || text.starts_with('?') {
        text.insert(0, '/');
    }
    text
}

/// The path below the route's own: empty, or beginning with `/`.
fn below<'p>(pattern: &PathPattern, path: &'p str) -> &'p str {
    match pattern {
        PathPattern::Exact(_) => "",
        PathPattern::Prefix(prefix) => {
            path.strip_prefix(prefix.trim_end_matches('/')).unwrap_or(path)
        }
    }
}
