//! Forwarding a permitted request: a connection, the request, the answer. What waits here asks the
//! denylist again before anything is sent.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::config::UpstreamHost;

use super::answer::{Rejection, UpstreamFault};
use super::body::{Body, Moved, RequestBody};
use super::connection::Connection;
use super::core::Core;
use super::exchange::{self, Exchange};
use super::headers;
use super::permit::Permit;
use super::pool::Lease;
use super::published::Published;
use super::tunnel::{Answer, Tunnel};
use super::upstream::{self, Server, Upstream};

/// However steadily it moves, an upload ends by then.
const UPLOAD_MAX: Duration = Duration::from_secs(3600);

/// Sends the request to the route's upstream and returns its answer.
pub async fn send(
    core: &Rc<Core>,
    connection: &Connection,
    exchange: &mut Exchange,
    mut permit: Permit<'_>,
    upstream: &Upstream,
    published: &Published,
) -> Result<Answer, Rejection> {
    let websocket = permit.request_mut().websocket;
    rewrite(&mut permit, connection, published, exchange, websocket)?;
    let switch = websocket.then(|| take_upgrade(&mut permit.request_mut().parts));
    let started = Instant::now();
    let (response, lease) = deliver(core, permit, upstream, published).await?;
    exchange.upstream_took(&upstream.name, started, response.status());
    answer(response, lease, switch, exchange)
}

/// The client's half of a connection that may be switched.
fn take_upgrade(parts: &mut Parts) -> OnUpgrade {
    let mut request = Request::new(());
    *request.extensions_mut() = std::mem::take(&mut parts.extensions);
    hyper::upgrade::on(&mut request)
}

/// Headers and target as the backend shall see them.
fn rewrite(
    permit: &mut Permit<'_>,
    connection: &Connection,
    published: &Published,
    exchange: &Exchange,
    websocket: bool,
) -> Result<(), Rejection> {
    let mut parts = permit.take_parts();
    let result = headers::prepare(
        &mut parts,
        permit,
        connection,
        published,
        exchange.request_id(),
        websocket,
    );
    let request = permit.request_mut();
    request.parts = parts;
    result?;
    if let Some(value) = exchange.traceparent() {
        request.parts.headers.insert(exchange::TRACEPARENT, value);
    }
    frame(&mut request.parts.headers, &request.parts.method, &request.body);
    request.parts.version = Version::HTTP_11;
    if request.parts.uri.authority().is_some() {
        let target = request.parts.uri.path_and_query().cloned();
        request.parts.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    Ok(())
}

/// Framing that we compute ourselves where hyper would leave it out: an empty body of a method that
/// has one, and a GET whose body has no known length.
fn frame(headers: &mut HeaderMap, method: &Method, body: &Incoming) {
    if body.is_end_stream() {
        if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else if body.size_hint().exact().is_none() {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Tries the upstream's servers until one has taken the request. A request is repeated only if
/// nothing of it was sent, or if it is safe to repeat and its connection was an old one that may
/// have been closed behind our back.
async fn deliver(
    core: &Rc<Core>,
    permit: Permit<'_>,
    upstream: &Upstream,
    published: &Published,
) -> Result<(Response<Incoming>, Lease), Rejection> {
    let mut fault = UpstreamFault::Unreachable;
    for server in upstream.order() {
        match core.pool.take(server.slot) {
            Some(sender) => {
                let lease = Lease::new(core, server, sender, true);
                return on_connection(core, lease, permit, upstream, server, published).await;
            }
            None => match upstream::connect(server, upstream.connect_timeout).await {
                Ok(sender) => {
                    permit.recheck().still_holds(published)?;
                    let lease = Lease::new(core, server, sender, false);
                    return on_connection(core, lease, permit, upstream, server, published).await;
                }
                Err(other) => fault = other,
            },
        }
    }
    Err(fault.into())
}

async fn on_connection(
    core: &Rc<Core>,
    mut lease: Lease,
    permit: Permit<'_>,
    upstream: &Upstream,
    server: &Server,
    published: &Published,
) -> Result<(Response<Incoming>, Lease), Rejection> {
    let check = permit.recheck();
    let mut request = outgoing(permit, upstream, server, published);
    let again = (lease.reused && is_repeatable(&request)).then(|| copy_head(&request));
    match attempt(&mut lease, request, upstream).await {
        Ok(response) => return Ok((response, lease)),
        Err(Failed { fault, unsent }) => match (unsent, again) {
            (Some(unsent), _) if lease.reused => request = unsent,
            (_, Some(copy)) if fault == UpstreamFault::Broken => request = copy,
            _ => return Err(fault.into()),
        },
    }
    drop(lease);
    let sender = upstream::connect(server, upstream.connect_timeout).await?;
    check.still_holds(published)?;
    let mut lease = Lease::new(core, server, sender, false);
    match attempt(&mut lease, request, upstream).await {
        Ok(response) => Ok((response, lease)),
        Err(Failed { fault, .. }) => Err(fault.into()),
    }
}

struct Failed {
    fault: UpstreamFault,
    /// The request, if nothing of it was written.
    unsent: Option<Request<RequestBody>>,
}

async fn attempt(
    lease: &mut Lease,
    request: Request<RequestBody>,
    upstream: &Upstream,
) -> Result<Response<Incoming>, Failed> {
    let started = Instant::now();
    let moved = request.body().moved();
    let mut sending = std::pin::pin!(lease.sender.try_send_request(request));
    loop {
        match tokio::time::timeout(upstream.response_timeout, &mut sending).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(mut error)) => {
                return Err(Failed { fault: UpstreamFault::Broken, unsent: error.take_message() });
            }
            // A long upload is no slow answer: time counts from its last byte.
            Err(_) if started.elapsed() < UPLOAD_MAX && moved.as_ref().is_some_and(Moved::take) => {
            }
            Err(_) => return Err(Failed { fault: UpstreamFault::ResponseTimeout, unsent: None }),
        }
    }
}

fn outgoing(
    permit: Permit<'_>,
    upstream: &Upstream,
    server: &Server,
    published: &Published,
) -> Request<RequestBody> {
    let request = permit.into_request();
    let mut parts = request.parts;
    if upstream.host == UpstreamHost::Server {
        parts.headers.insert(HOST, server.host_header.clone());
    }
    Request::from_parts(parts, RequestBody::new(request.body, &published.guarded))
}

/// Safe methods without a body (RFC 9110 section 9.2.1).
fn is_repeatable(request: &Request<RequestBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && request.body().is_none()
}

fn copy_head(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn answer(
    mut response: Response<Incoming>,
    lease: Lease,
    switch: Option<OnUpgrade>,
    exchange: &Exchange,
) -> Result<Answer, Rejection> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = switch else { return Err(UpstreamFault::UnexpectedSwitch.into()) };
        return Tunnel::open(response, client, exchange);
    }
    let bodiless = response.body().is_end_stream();
    headers::clean_response(response.headers_mut(), bodiless);
    exchange::stamp(response.headers_mut(), exchange.request_id());
    let (parts, body) = response.into_parts();
    let body = Body::upstream(body, lease);
    Ok(Answer::Response(Response::from_parts(parts, body)))
}
