//! The data plane, in reading order. One request is one straight line:
//!
//! canonical request → route → credential → verified token → permit → forward → answer, log line.
//!
//! Each step takes the proof of the one before by move. [`forward::send`] asks for a
//! [`permit::Permit`], and only [`permit::decide`] makes one. Nothing here waits for the control
//! plane, takes a lock that it holds, or decides by I/O; what it knows is in [`Published`].

pub mod accept;
mod accepted;
pub mod answer;
mod answer_body;
pub mod ask;
mod assertion;
mod auth;
mod balance;
mod body;
mod canonical;
mod claim_header;
mod client_address;
mod client_body;
mod connection;
mod cookie;
pub mod core;
mod cors;
mod credential;
mod cross_site;
mod entrance;
mod exchange;
mod failures;
mod forward;
mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod h2;
mod headers;
mod held;
mod io;
mod kept;
#[doc(hidden)]
pub mod measuring;
mod memory;
mod nudge;
mod outgoing;
mod path;
mod patience;
mod peer;
mod permit;
mod place;
mod pool;
mod proxy_protocol;
mod published;
mod readiness;
mod redirect;
mod request_ids;
mod requirements;
mod rest;
mod retry;
mod rewrite;
pub mod route;
mod route_index;
mod route_load;
mod seats;
mod serve;
mod session;
mod sniff;
mod static_answer;
mod streams;
mod subprotocol;
pub mod tls;
mod tunnel;
mod turnstile;
mod unread;
mod upgrade;
mod upstream;
mod upstream_fault;
mod upstream_h1;
mod upstream_h2;

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{EXPECT, ORIGIN, STRICT_TRANSPORT_SECURITY};
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

pub use assertion::Signing;
pub use entrance::Entrance;
pub use kept::Kept;
pub use memory::Memory;
pub use nudge::{Nudge, Nudges};
pub use published::{Published, compile};
pub use upstream::Upstream;

use self::answer::{Fault, Rejection, UpstreamFault};
use self::body::Body;
use self::connection::Connection;
use self::core::Core;
use self::cors::Preflight;
use self::exchange::Exchange;
use self::route::Target;
use self::route_load::{RouteLoad, Ticket};
use self::session::browser::{Browser, Page};
use self::session::capture::Login;
use self::session::renewal;
use self::tunnel::Answer;

use crate::telemetry::counters::Limit;

/// Answers one request and leaves its log line, whichever way it went.
///
/// What it returns is moved as a whole, and a future keeps each argument twice: so the request goes to
/// the heap first, and so does what few requests come to.
pub fn handle(
    core: Rc<Core>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    let exchange = Exchange::begin(&core, &connection, &request);
    answering(core, connection, exchange, Box::new(request))
}

async fn answering(
    core: Rc<Core>,
    connection: Rc<Connection>,
    mut exchange: Box<Exchange>,
    request: Box<Request<Incoming>>,
) -> Result<Response<Body>, Infallible> {
    let accept = request.headers().get(http::header::ACCEPT).cloned();
    let mut close = request.headers().contains_key(http::header::TRANSFER_ENCODING);
    // Of a length that the request says.
    let length = request.body().size_hint().exact().unwrap_or(0);
    let body = (length, length > 0 && request.headers().contains_key(EXPECT));
    let mut response = match pass(&core, &connection, &mut exchange, request).await {
        Ok(Answer::Response(mut response)) => {
            exchange.dress(&mut response);
            close |= length > 0 && exchange.must_close(body, None).await;
            exchange.attach(response)
        }
        Ok(Answer::Switch(mut response, tunnel)) => {
            exchange.dress(&mut response);
            tunnel.start(exchange);
            response
        }
        Err(rejection) => {
            exchange.reject(&rejection);
            let published = core.published();
            let html = answer::wants_html(accept.as_ref());
            let id = exchange.request_id();
            let response = match exchange.is_grpc() {
                true => grpc::refusal(&rejection, published.answers, id),
                false => answer::respond(&rejection, published.answers, id, html),
            };
            let response = exchange.dress_refusal(&rejection, &published, response);
            close |= length > 0 && exchange.must_close(body, Some(&rejection)).await;
            exchange.attach(response)
        }
    };
    if let Some(hsts) = &connection.hsts {
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
    }
    if close || is_last(&core, &connection, &response) {
        // What is left of the body would be read as the next request, were it not closed. And
        // RFC 9112 section 6.1: hyper drops a Content-Length beside Transfer-Encoding before we
        // see it, so a connection that used Transfer-Encoding carries no further request.
        response.headers_mut().insert(http::header::CONNECTION, headers::CLOSE);
    }
    Ok(response)
}

/// The client finds the process that accepts now when it connects anew. Its idle connection is not
/// closed, because a request could be on its way.
fn is_last(core: &Core, connection: &Connection, response: &Response<Body>) -> bool {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    core.is_retiring() && !connection.is_multiplexed() && !switches
}

/// The straight line.
async fn pass(
    core: &Rc<Core>,
    connection: &Connection,
    exchange: &mut Exchange,
    request: Box<Request<Incoming>>,
) -> Result<Answer, Rejection> {
    let published = core.published();
    if let Some(readiness) = &published.readiness
        && readiness.is_asked(&request)
    {
        let answer = readiness.answer(request.method(), &published.verifier, exchange);
        return answer.map(Answer::Response);
    }
    admit(core, &published)?;
    if exchange.is_over_http2() {
        h2::check(&request, &published.limits)?;
    }
    if let Some(one_in) = published.trace_sample {
        exchange.trace(one_in, request.headers());
    }
    let request = canonical::Canonical::from_request(*request)?;
    exchange.counts(&request.body);
    if let Some(auth) = &published.auth
        && let Some(place) = auth.place(request.path())?
    {
        let answering =
            auth::answer(core, connection, exchange, request, (auth, place), &published);
        return Box::pin(answering).await.map(Answer::Response);
    }
    match cors::preflight(&request, &published.routes)? {
        None => {}
        Some(Preflight::Ours(route, policy)) => {
            exchange.routed(route);
            exchange.answered();
            return cors::answer(&policy, &request, exchange).map(Answer::Response);
        }
        Some(Preflight::Backends(route)) => {
            exchange.routed(route);
            if let Some(load) = &route.load {
                exchange.enter(enter(core, load)?);
            }
            let permit = permit::of_preflight(request, route);
            return answer_to(core, connection, exchange, permit, &published).await;
        }
    }
    let route = published.routes.select(&request)?;
    exchange.read_by(cors::Reader::of(&route.cors, request.parts.headers.get(ORIGIN)));
    exchange.routed(route);
    exchange.browser = Browser::of(&Page::of(&request, connection), route, &published);
    if let Some(load) = &route.load {
        exchange.enter(enter(core, load)?);
    }
    let credential = credential::present(&request, route, &published)?;
    exchange.presented(credential.as_ref());
    let (credential, now) =
        renewal::go_on((core, exchange, connection), &request, route, &published, credential)
            .await?;
    let judged = credential::verify(
        (core, exchange.client(), &request.parts.headers),
        credential,
        route,
        &published,
        now,
    )
    .await?;
    exchange.verified(&judged);
    let mut permit = permit::decide(request, route, judged.token, connection, &published, now)?;
    exchange.ignored(permit.ignored());
    let login = Login::of(&permit, (core, exchange.client()), &published, now).await?;
    let answer = match exchange.open_stream(&permit) {
        None => answer_to(core, connection, exchange, permit, &published).await,
        Some(stream) => {
            permit.request_mut().body.ends_with(&stream);
            let sending = pin!(answer_to(core, connection, exchange, permit, &published));
            stream.unless_cut(sending).await.unwrap_or_else(|cause| Err(Rejection::Cut(cause)))
        }
    }?;
    match login {
        None => Ok(answer),
        Some(login) => Box::pin(login.capture(answer, &published, core)).await,
    }
}

/// What is more than the gateway takes is turned away before anything is done for it.
fn admit(core: &Core, published: &Published) -> Result<(), Rejection> {
    let limit = if core.requests.get() > published.requests_max {
        Limit::Requests
    } else if core.memory.is_short() {
        Limit::Memory
    } else {
        return Ok(());
    };
    core.counters.shed(limit);
    Err(Rejection::Overloaded)
}

/// A place among the route's requests in flight.
fn enter(core: &Core, load: &Arc<RouteLoad>) -> Result<Ticket, Rejection> {
    let ticket = load.enter();
    if ticket.is_none() {
        core.counters.shed(Limit::RouteRequests);
    }
    ticket.ok_or(Rejection::Overloaded)
}

/// By the route's upstream, or by the route itself.
async fn answer_to(
    core: &Rc<Core>,
    connection: &Connection,
    exchange: &mut Exchange,
    mut permit: permit::Permit<'_>,
    published: &Published,
) -> Result<Answer, Rejection> {
    match &permit.route().target {
        Target::Upstream(upstream) => {
            let limits = &permit.route().limits;
            // Where calls are served, and not wherever somebody says that he calls.
            let calls = exchange.is_grpc() && upstream.config().http2;
            let pace = published.limits.body_pace.filter(|_| !calls);
            let watch = permit.request_mut().body.limit(limits, pace)?;
            let timeout = limits.timeout;
            let sending =
                pin!(forward::send(core, connection, exchange, permit, upstream, published));
            match watch {
                None => within(timeout, sending).await,
                Some(watch) => watch.unless_exceeded(pin!(within(timeout, sending))).await,
            }
        }
        Target::Answer(answer) => {
            exchange.answered();
            Ok(Answer::Response(static_answer::fixed(answer, &permit, exchange)))
        }
        Target::Redirect(redirect) => {
            exchange.answered();
            static_answer::redirect(redirect, &permit, exchange).map(Answer::Response)
        }
    }
}

/// Not longer than the route gives it.
async fn within(
    timeout: Option<Duration>,
    sending: Pin<&mut impl Future<Output = Result<Answer, Rejection>>>,
) -> Result<Answer, Rejection> {
    match timeout {
        None => sending.await,
        Some(timeout) => match tokio::time::timeout(timeout, sending).await {
            Ok(result) => result,
            Err(_) => {
                let why = format_args!("the route gives it {timeout:?}");
                Err(Fault::because(UpstreamFault::ResponseTimeout, why).into())
            }
        },
    }
}
