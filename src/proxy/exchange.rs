//! One exchange: what the log line, the counters and the control plane are told of a request. It
//! is begun before anything can fail and ends, with its line, when the answer's body has ended or
//! the client is gone, whichever way the request went.

mod browser;
mod closing;
mod http2;
mod lasting;
mod telling;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::clock::UnixMs;
use crate::denylist::Hit;
use crate::desk::RenewalFault;
use crate::telemetry::access::Verdict;
use crate::telemetry::counters::Outcome;
use crate::telemetry::trace::{Parent, Trace};
use crate::telemetry::{Observation, Sighting};
use crate::verify::Signed;

use super::answer::Rejection;
use super::body::Body;
use super::client_address::Client;
use super::client_body::{ClientBody, Received};
use super::connection::Connection;
use super::core::Core;
use super::cors::Reader;
use super::credential::Judged;
use super::h2::Guard;
use super::headers::{self, X_REQUEST_ID};
use super::place::Place;
use super::request_ids::unlike_others;
use super::retry::Occupied;
use super::route::Route;
use super::route_load::Ticket;
use super::session::browser::Browser;
use super::streams::{Cause, Stream, StreamPolicy};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// See the module.
pub struct Exchange {
    core: Rc<Core>,
    connection: Rc<Connection>,
    client: Client,
    at: UnixMs,
    started: Instant,
    request_id: HeaderValue,
    method: Method,
    target: Option<PathAndQuery>,
    version: Version,
    /// Referer and User-Agent, where the log's format has them.
    named: Option<Box<[Option<HeaderValue>; 2]>>,
    host: Option<HeaderValue>,
    /// The gateway itself, under this name, and no route.
    answerer: Option<Arc<str>>,
    token: Option<Arc<Signed>>,
    status: u16,
    verdict: Verdict,
    code: &'static str,
    reason: Option<String>,
    hit: Option<Hit>,
    upstream: Option<Duration>,
    added: Option<Duration>,
    bytes_in: u64,
    bytes_out: u64,
    broken: bool,
    trace: Option<Box<Trace>>,
    stream: Option<Rc<Stream>>,
    /// Of its route, if it has one.
    policy: Option<Arc<StreamPolicy>>,
    /// The published state under which it is judged.
    generation: u64,
    /// Its body so far; `None`: it has none.
    uploaded: Option<Rc<Received>>,
    /// Headers of the request by which routes select, for as long as it is a stream.
    selected_by: HeaderMap,
    place: Option<Rc<Place>>,
    /// Where the route serves browsers.
    pub(super) browser: Option<Box<Browser>>,
    /// What it takes of its upstream's limits, until it ends.
    occupied: Occupied,
    ticket: Option<Ticket>,
    reader: Option<Reader>,
    /// Of its HTTP/2 stream.
    guard: Option<Rc<Guard>>,
    /// The answer's last byte was handed on.
    ended: bool,
    unlogged: bool,
}

impl Exchange {
    pub fn begin(
        core: &Rc<Core>,
        connection: &Rc<Connection>,
        request: &Request<Incoming>,
    ) -> Box<Self> {
        connection.begin_request();
        core.requests.set(core.requests.get() + 1);
        let headers = request.headers();
        let offered = connection.is_trusted().then(|| offered_id(headers)).flatten();
        Box::new(Self {
            core: Rc::clone(core),
            connection: Rc::clone(connection),
            client: client(core, connection, headers),
            at: UnixMs::now(),
            started: Instant::now(),
            request_id: offered.unwrap_or_else(|| core.ids.next()),
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            version: request.version(),
            named: core.log.names_clients().then(|| {
                Box::new([headers.get(REFERER).cloned(), headers.get(USER_AGENT).cloned()])
            }),
            host: headers.get(http::header::HOST).cloned(),
            answerer: None,
            token: None,
            status: 0,
            verdict: Verdict::Forwarded,
            code: "",
            reason: None,
            hit: None,
            upstream: None,
            added: None,
            bytes_in: 0,
            bytes_out: 0,
            broken: false,
            trace: None,
            stream: None,
            policy: None,
            generation: core.streams.generation(),
            uploaded: None,
            selected_by: HeaderMap::new(),
            place: None,
            browser: None,
            occupied: Occupied::default(),
            ticket: None,
            reader: None,
            guard: connection.is_multiplexed().then(Guard::current).flatten(),
            ended: false,
            unlogged: false,
        })
    }

    pub fn now(&self) -> UnixMs {
        self.at
    }

    pub fn client(&self) -> Client {
        self.client
    }

    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// Begins a span where one is due; `traceparent` goes on as it came where none is.
    pub fn trace(&mut self, one_in: u32, headers: &HeaderMap) {
        let parent = headers.get(&TRACEPARENT);
        let parent = parent.and_then(|value| Parent::read(value.as_bytes()));
        let trace = self.core.tracer.begin(parent, self.connection.is_trusted(), one_in);
        self.trace = trace.map(Box::new);
    }

    /// Makes the upstream's span a child of ours.
    pub fn pass_trace_on(&self, headers: &mut HeaderMap) {
        let Some(trace) = &self.trace else { return };
        if let Some(value) = trace.header() {
            headers.insert(TRACEPARENT, value);
        }
        if trace.is_new() {
            headers.remove(TRACESTATE);
        }
    }

    /// It counts against its route until it ends.
    pub fn enter(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }

    /// Every answer to it says who may read it.
    pub fn read_by(&mut self, reader: Option<Reader>) {
        self.reader = reader;
    }

    /// Its body is counted.
    pub fn counts(&mut self, body: &ClientBody) {
        self.uploaded = body.received();
        if let (Some(received), false) = (&self.uploaded, self.connection.is_multiplexed()) {
            received.keep_rest();
            self.connection.receives(received);
        }
    }

    pub fn routed(&mut self, route: &Route) {
        self.policy = Some(Arc::clone(&route.streams));
    }

    /// The name of what answers it.
    fn route(&self) -> Option<&Arc<str>> {
        self.policy.as_ref().map(|policy| &policy.route).or(self.answerer.as_ref())
    }

    /// Not by a route: by the gateway itself, under this name.
    pub fn answered_by(&mut self, name: &Arc<str>) {
        self.answerer = Some(Arc::clone(name));
    }

    /// Whose request it is, where that decides nothing more.
    pub fn known(&mut self, signed: &Arc<Signed>) {
        self.token = Some(Arc::clone(signed));
    }

    pub fn verified(&mut self, judged: &Judged<'_>) {
        self.ignored(judged.ignored.as_ref());
        let Some(verified) = &judged.token else { return };
        let signed = verified.token.signed();
        let fresh = verified.token.is_fresh();
        if !verified.renewed {
            signed.presented(self.at);
        }
        self.core.counters.accepted(&signed.policy().name, !fresh);
        if fresh {
            self.count_unrevocable(signed);
            self.count_ahead(signed);
            let sighting = || Sighting {
                at: self.at,
                token: Arc::clone(signed),
                address: self.client.address(),
            };
            self.core.observer.tell(|| Observation::Sighting(sighting()));
        }
        self.token = Some(Arc::clone(signed));
    }

    /// A probe was answered: its line would say nothing, each second.
    pub fn probed(&mut self) {
        self.answered();
        self.unlogged = true;
    }

    /// By the route itself, without an upstream.
    pub fn answered(&mut self) {
        self.verdict = Verdict::Answered;
    }

    /// The head of the upstream's answer has come; the request was sent on at `sent_at`.
    pub fn upstream_took(
        &mut self,
        upstream: &str,
        sent_at: Instant,
        status: StatusCode,
        reused: bool,
    ) {
        let now = Instant::now();
        self.upstream = Some(now.saturating_duration_since(sent_at));
        self.added = Some(sent_at.duration_since(self.started));
        let counters = &self.core.counters;
        counters.upstream_answered(upstream, status.as_u16(), (sent_at, now), reused);
    }

    pub fn occupy(&mut self, occupied: Occupied) {
        self.occupied = occupied;
    }

    /// It takes no place at its route any more, however long its client lets the answer wait.
    pub fn reject(&mut self, rejection: &Rejection) {
        self.end_stream();
        self.ticket = None;
        self.verdict = match rejection {
            Rejection::Upstream(_)
            | Rejection::Desk(_)
            | Rejection::NotSigned
            | Rejection::Capture(_)
            | Rejection::Renewal(RenewalFault::Later(_)) => Verdict::Failed,
            Rejection::BadRequest(_)
            | Rejection::NoRoute
            | Rejection::Method(_)
            | Rejection::NotTrusted
            | Rejection::Exchange(_)
            | Rejection::TokenMissing
            | Rejection::Token(_)
            | Rejection::TooManyFailures { .. }
            | Rejection::IssuerNotTaken(_)
            | Rejection::Denied(_)
            | Rejection::CrossSite(_)
            | Rejection::OriginNotAllowed
            | Rejection::BodyTooLarge
            | Rejection::BodyTooSlow
            | Rejection::Overloaded
            | Rejection::ScopeMissing { .. }
            | Rejection::TokenNotTaken(_)
            | Rejection::ClaimUnmet(_)
            | Rejection::TooOldLogin { .. }
            | Rejection::Cut(_)
            | Rejection::Renewal(RenewalFault::Over(_))
            | Rejection::ClaimUnfit(_) => Verdict::Refused,
        };
        self.code = rejection.code();
        self.reason = Some(rejection.reason());
        self.status = rejection.status().as_u16();
        if let Rejection::Denied(hit) | Rejection::Cut(Cause::Denied(hit)) = rejection {
            self.hit = Some(*hit);
            if let Some(token) = &self.token {
                self.core.counters.denied(&token.policy().name, hit.selector);
            }
        }
        if let Some(limit) = rejection.limit() {
            self.core.counters.shed(limit);
        }
        self.observe_refusal();
    }

    /// Hands itself to the answer, whose end is the exchange's end.
    pub fn attach(mut self: Box<Self>, mut response: Response<Body>) -> Response<Body> {
        if self.guard.is_some() {
            self.adapt(&mut response);
        }
        if let Some(reader) = &self.reader {
            reader.tell(response.headers_mut());
        }
        self.status = response.status().as_u16();
        let (parts, body) = response.into_parts();
        self.became_stream(&parts.headers, &body);
        Response::from_parts(parts, body.with_exchange(self))
    }

    /// The upstream broke off in the middle of its answer.
    pub fn broken(&mut self) {
        self.broken = true;
        // To whom the end of the connection is the end of the answer.
        if self.version == Version::HTTP_10 {
            self.connection.abort();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.guard.is_some() {
            self.leave_http2();
        }
        self.end_stream();
        self.connection.end_request();
        self.core.requests.set(self.core.requests.get().saturating_sub(1));
        let duration = self.started.elapsed();
        self.core.counters.ended(
            self.route().map(|name| &**name),
            &Outcome {
                status: self.status,
                verdict: self.verdict,
                code: self.code,
                duration,
                added: self.added,
            },
        );
        if let Some(trace) = self.trace.take() {
            self.end_span(*trace, duration);
        }
        self.write_line(&self.core.published(), duration);
    }
}

/// Looks at the headers only where the peer may speak for others.
fn client(core: &Core, connection: &Connection, headers: &HeaderMap) -> Client {
    match connection.is_trusted() {
        false => Client::peer(connection.peer),
        true => Client::behind(connection.peer, headers, &core.published().trusted_proxies),
    }
}

/// An id that a trusted proxy gave: visible, short, without what a log or a header could trip over.
fn offered_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(&X_REQUEST_ID)?;
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let bytes = value.as_bytes();
    let fits = (1..=128).contains(&bytes.len()) && bytes.iter().all(good);
    fits.then(|| unlike_others(value.clone()))
}

/// The request id goes into the answer as well.
pub fn stamp(response: &mut HeaderMap, request_id: &HeaderValue) {
    response.insert(headers::X_REQUEST_ID, request_id.clone());
}
