//! The plain listener beside an encrypted one: every request is answered with its `https://`
//! address (308, so that the method stays), and one that can be read in more than one way is
//! refused as on any other listener. Nothing is forwarded, no credential is looked at.

use std::rc::Rc;

use http::header::{CACHE_CONTROL, HOST, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::answer::{self, BadRequest, Rejection};
use super::body::Body;
use super::canonical::Canonical;
use super::connection::Connection;
use super::core::Core;
use super::exchange::{self, Exchange};

/// One answer, with its log line.
pub fn answer(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    request: Request<Incoming>,
    port: u16,
) -> Response<Body> {
    let mut exchange = Exchange::begin(core, connection, &request);
    let published = core.published();
    let asked = published.readiness.as_ref().filter(|readiness| readiness.is_asked(&request));
    let answered = match asked {
        Some(readiness) => readiness.answer(request.method(), &published.verifier, &mut exchange),
        None => elsewhere(request, port, &exchange),
    };
    let mut response = answered.unwrap_or_else(|rejection| {
        exchange.reject(&rejection);
        answer::respond(&rejection, published.answers, exchange.request_id(), false)
    });
    // Whoever was sent elsewhere does not come again.
    response.headers_mut().insert(http::header::CONNECTION, super::headers::CLOSE);
    exchange.attach(response)
}

fn elsewhere(
    request: Request<Incoming>,
    port: u16,
    exchange: &Exchange,
) -> Result<Response<Body>, Rejection> {
    let request = Canonical::from_request(request)?;
    let location = location(&request, port)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    exchange::stamp(response.headers_mut(), exchange.request_id());
    Ok(response)
}

/// The same host and path, byte for byte, with the other port.
fn location(request: &Canonical, port: u16) -> Result<HeaderValue, Rejection> {
    let host = request.parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => format!("[{inside}]"),
        None => request.host.clone(),
    };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = request.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    HeaderValue::try_from(format!("https://{name}{port}{path}"))
        .map_err(|_| BadRequest::PathBytes.into())
}
