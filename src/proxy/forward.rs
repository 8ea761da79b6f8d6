//! Forwarding a permitted request: its head as the backend shall see it, the delivery ([`retry`]),
//! the answer.

use std::rc::Rc;
use std::time::Instant;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::upgrade::OnUpgrade;

use crate::config::{Carrier, Forward};

use super::answer::{Rejection, UpstreamFault};
use super::answer_body::AnswerBody;
use super::balance;
use super::body::Body;
use super::connection::Connection;
use super::core::Core;
use super::exchange::{self, Exchange};
use super::headers::{self, Signatory};
use super::outgoing::Added;
use super::patience::Patience;
use super::permit::Permit;
use super::published::Published;
use super::retry::{self, Delivered};
use super::rewrite;
use super::subprotocol;
use super::tunnel::{Answer, Switch, Tunnel};
use super::upgrade::Upgrade;
use super::upstream::Upstream;

/// Sends the request to the route's upstream and returns its answer.
pub async fn send(
    core: &Rc<Core>,
    connection: &Connection,
    exchange: &mut Exchange,
    mut permit: Permit<'_>,
    upstream: &Upstream,
    published: &Published,
) -> Result<Answer, Rejection> {
    let route = permit.route();
    let asked = permit.request_mut().upgrade.take();
    let asked = asked.filter(|asked| asked.is_granted(&route.upgrades));
    let chosen = chosen_subprotocol(&permit);
    let key = balance::key(upstream, &mut permit, exchange.client());
    let by = Signatory { published, memo: &core.assertions, now: exchange.now() };
    let added = rewrite(&mut permit, connection, by, exchange, asked.as_ref())?;
    let switch = asked.map(|to| {
        let client = take_upgrade(&mut permit.request_mut().parts);
        Switch { to, client, chosen }
    });
    let started = Instant::now();
    let Delivered { response, reused, occupied } =
        retry::deliver(core, permit, added, upstream, key, published).await?;
    exchange.upstream_took(&upstream.name, started, response.status(), reused);
    exchange.occupy(occupied);
    let patience = upstream.config().body_timeout.map(Patience::new);
    let mut answer = answer(response, switch, patience, exchange)?;
    if let Answer::Response(response) = &mut answer {
        rewrite::apply(&route.response_headers, response.headers_mut());
    }
    Ok(answer)
}

/// The name under which the handshake carries its token, for a server that chooses no subprotocol.
fn chosen_subprotocol(permit: &Permit<'_>) -> Option<HeaderValue> {
    match permit.carrier() {
        Some(Carrier::Protocol(name)) if permit.route().forward != Forward::Pass => {
            subprotocol::offered(permit.headers(), name)
        }
        Some(Carrier::Protocol(_) | Carrier::Bearer | Carrier::Cookie(_) | Carrier::Session)
        | None => None,
    }
}

/// The client's half of a connection that may be switched.
fn take_upgrade(parts: &mut Parts) -> OnUpgrade {
    let mut request = Request::new(());
    *request.extensions_mut() = std::mem::take(&mut parts.extensions);
    hyper::upgrade::on(&mut request)
}

/// Headers and target as the backend shall see them, and what is added to them.
fn rewrite(
    permit: &mut Permit<'_>,
    connection: &Connection,
    by: Signatory<'_>,
    exchange: &Exchange,
    upgrade: Option<&Upgrade>,
) -> Result<Added, Rejection> {
    let mut parts = permit.take_parts();
    let request_id = exchange.request_id();
    let result = headers::prepare(&mut parts, permit, connection, by, request_id, upgrade);
    let route = permit.route();
    let request = permit.request_mut();
    request.parts = parts;
    let added = result?;
    exchange.pass_trace_on(&mut request.parts.headers);
    if let Some(rewrite) = &route.rewrite {
        rewrite::target(&mut request.parts.uri, rewrite)?;
    }
    frame(&mut request.parts.headers, &request.parts.method, &request.body);
    request.parts.version = Version::HTTP_11;
    if request.parts.uri.authority().is_some() {
        let target = request.parts.uri.path_and_query().cloned();
        request.parts.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    Ok(added)
}

/// Framing that we compute ourselves where hyper would leave it out: an empty body of a method that
/// has one, and a GET whose body has no known length.
pub(super) fn frame(headers: &mut HeaderMap, method: &Method, body: &impl HttpBody) {
    if body.is_end_stream() {
        if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else if body.size_hint().exact().is_none() {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn answer(
    mut response: Response<AnswerBody>,
    switch: Option<Switch>,
    patience: Option<Patience>,
    exchange: &Exchange,
) -> Result<Answer, Rejection> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(switch) = switch else { return Err(UpstreamFault::UnexpectedSwitch.into()) };
        return Tunnel::open(response, switch, exchange);
    }
    let bodiless = response.body().is_end_stream();
    headers::clean_response(response.headers_mut(), bodiless);
    exchange::stamp(response.headers_mut(), exchange.request_id());
    let (parts, body) = response.into_parts();
    let body = Body::upstream(body, patience);
    Ok(Answer::Response(Response::from_parts(parts, body)))
}
