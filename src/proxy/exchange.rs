//! One exchange: what the log line, the counters and the control plane are told of a request. It
//! is begun before anything can fail and ends, with its line, when the answer's body has ended or
//! the client is gone, whichever way the request went.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use http::header::{REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::clock::UnixMs;
use crate::config::AccessLog;
use crate::denylist::Hit;
use crate::telemetry::access::{Entry, Verdict};
use crate::telemetry::counters::{Outcome, Unrevocable};
use crate::telemetry::{Observation, Refusal, Sighting};
use crate::verify::Signed;

use super::answer::Rejection;
use super::body::Body;
use super::connection::Connection;
use super::core::{Core, Place};
use super::credential::{Presented, Verified};
use super::headers::{self, X_REQUEST_ID};
use super::permit::Permit;
use super::published::Published;
use super::route::Route;
use super::session::browser::Browser;
use super::streams::{Cause, Kind, Stream};

const PATH_BYTES_REMEMBERED: usize = 2048;
const METHOD_BYTES_REMEMBERED: usize = 32;

/// See the module.
pub struct Exchange {
    core: Rc<Core>,
    connection: Rc<Connection>,
    at: UnixMs,
    started: Instant,
    request_id: HeaderValue,
    method: Method,
    target: Option<PathAndQuery>,
    version: Version,
    /// Referer and User-Agent, where the log's format has them.
    named: Option<Box<[Option<HeaderValue>; 2]>>,
    host: Option<HeaderValue>,
    route: Option<Arc<str>>,
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
    stream: Option<Rc<Stream>>,
    place: Option<Place>,
    /// Where the route serves browsers.
    pub(super) browser: Option<Box<Browser>>,
}

impl Exchange {
    pub fn begin(
        core: &Rc<Core>,
        connection: &Rc<Connection>,
        request: &Request<Incoming>,
    ) -> Box<Self> {
        connection.begin_request();
        let headers = request.headers();
        let offered = connection.trusted.then(|| offered_id(headers)).flatten();
        Box::new(Self {
            core: Rc::clone(core),
            connection: Rc::clone(connection),
            at: UnixMs::now(),
            started: Instant::now(),
            request_id: offered.unwrap_or_else(|| core.next_request_id()),
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            version: request.version(),
            named: core.log.names_clients().then(|| {
                Box::new([headers.get(REFERER).cloned(), headers.get(USER_AGENT).cloned()])
            }),
            host: headers.get(http::header::HOST).cloned(),
            route: None,
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
            stream: None,
            place: None,
            browser: None,
        })
    }

    pub fn now(&self) -> UnixMs {
        self.at
    }

    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    pub fn routed(&mut self, route: &Route) {
        self.route = Some(Arc::clone(&route.name));
    }

    /// Not by a route: by the gateway itself, under this name.
    pub fn answered_by(&mut self, name: &Arc<str>) {
        self.route = Some(Arc::clone(name));
    }

    /// Whose request it is, where that decides nothing more.
    pub fn known(&mut self, signed: &Arc<Signed>) {
        self.token = Some(Arc::clone(signed));
    }

    pub fn presented(&mut self, credential: Option<&Presented<'_>>) {
        if let Some(browser) = &mut self.browser {
            browser.presented_by(credential.map(Presented::carrier));
        }
    }

    /// Adds the cookies that the request's session came to.
    pub fn dress(&mut self, response: &mut Response<Body>) {
        if let Some(browser) = &mut self.browser {
            browser.dress(response);
        }
    }

    /// The same for a refusal, which may become the way to the login page.
    pub fn dress_refusal(
        &mut self,
        rejection: &Rejection,
        published: &Published,
        response: Response<Body>,
    ) -> Response<Body> {
        match &mut self.browser {
            None => response,
            Some(browser) => browser.refused(rejection, published, response),
        }
    }

    pub fn verified(&mut self, verified: Option<&Verified<'_>>) {
        let Some(verified) = verified else { return };
        let signed = verified.token.signed();
        let fresh = verified.token.is_fresh();
        self.core.counters.accepted(&signed.policy().name, !fresh);
        if fresh {
            self.count_unrevocable(signed);
            let sighting = || Sighting {
                at: self.at,
                token: Arc::clone(signed),
                address: self.connection.peer,
            };
            self.core.observer.tell(|| Observation::Sighting(sighting()));
        }
        self.token = Some(Arc::clone(signed));
    }

    /// The head of the upstream's answer has come; the request was sent on at `sent_at`.
    pub fn upstream_took(&mut self, upstream: &str, sent_at: Instant, status: StatusCode) {
        let took = sent_at.elapsed();
        self.upstream = Some(took);
        self.added = Some(sent_at.duration_since(self.started));
        self.core.counters.upstream_answered(upstream, status.as_u16(), took);
    }

    pub fn reject(&mut self, rejection: &Rejection) {
        self.end_stream();
        self.verdict = match rejection {
            Rejection::Upstream(_) | Rejection::Desk(_) | Rejection::Capture(_) => Verdict::Failed,
            Rejection::BadRequest(_)
            | Rejection::NoRoute
            | Rejection::Method(_)
            | Rejection::NotTrusted
            | Rejection::TokenMissing
            | Rejection::Token(_)
            | Rejection::IssuerNotTaken(_)
            | Rejection::Denied(_)
            | Rejection::CrossSite(_)
            | Rejection::ScopeMissing(_)
            | Rejection::TooOldLogin { .. }
            | Rejection::Cut(_)
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
        self.observe_refusal();
    }

    /// Hands itself to the answer, whose end is the exchange's end.
    pub fn attach(mut self: Box<Self>, response: Response<Body>) -> Response<Body> {
        self.status = response.status().as_u16();
        if let Some(stream) = &self.stream {
            stream.kind.set(Kind::Response);
        }
        let (parts, body) = response.into_parts();
        Response::from_parts(parts, body.with_exchange(self))
    }

    pub fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// From here a denial, an expiry or a removed key of the token ends the exchange.
    pub fn open_stream(&mut self, permit: &Permit<'_>) -> Option<Rc<Stream>> {
        let token = Arc::clone(permit.signed()?);
        let stream = self.core.streams.open(token, self.at);
        self.stream = Some(Rc::clone(&stream));
        Some(stream)
    }

    /// What we answer ourselves is not cut.
    fn end_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.core.streams.end(&stream);
        }
    }

    pub fn stream(&self) -> Option<&Rc<Stream>> {
        self.stream.as_ref()
    }

    /// Cut in the middle: the cause becomes the log line's reason.
    pub fn cut(&mut self, cause: Cause) {
        let rejection = Rejection::Cut(cause);
        self.verdict = Verdict::Cut;
        self.code = rejection.code();
        self.reason = Some(rejection.reason());
    }

    /// Asks whether the answer that is being sent was cut, and to be woken if it will be.
    pub fn cause(&self, context: &Context<'_>) -> Option<Cause> {
        let stream = self.stream.as_ref()?;
        stream.watch(context);
        stream.cause()
    }

    /// The answer was cut: the connection may not look as if it were whole.
    pub fn abort(&mut self, cause: Cause) {
        self.cut(cause);
        self.connection.abort();
    }

    /// The connection becomes a tunnel, which owns the exchange until it ends, and counts as a
    /// connection until then.
    pub fn switched(&mut self) {
        self.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        self.place = Some(self.core.place());
    }

    /// A tunnel has ended.
    pub fn relayed(&mut self, inward: u64, outward: u64) {
        self.bytes_in = inward;
        self.bytes_out = outward;
    }

    /// The upstream broke off in the middle of its answer.
    pub fn broken(&mut self) {
        self.broken = true;
    }

    fn observe_refusal(&self) {
        let refusal = || Refusal {
            at: self.at,
            request_id: self.request_id.to_str().unwrap_or("").to_owned(),
            method: remembered_method(&self.method),
            host: self.host_text().to_owned(),
            path: remembered_path(&printable(self.path())).to_owned(),
            route: self.route.clone(),
            status: self.status,
            code: self.code,
            detail: self.reason.clone().unwrap_or_default(),
            address: self.connection.peer,
            token: self.token.clone(),
            hit: self.hit,
        };
        self.core.observer.tell(|| Observation::Refusal(refusal()));
    }

    fn host_text(&self) -> &str {
        self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("")
    }

    fn path(&self) -> &str {
        self.target.as_ref().map_or("", PathAndQuery::path)
    }

    fn count_unrevocable(&self, signed: &Signed) {
        let name = &signed.policy().name;
        let lacks = [
            (signed.jti().is_none(), Unrevocable::Token),
            (signed.session().is_none(), Unrevocable::Session),
            (signed.issued_at().is_none(), Unrevocable::IssuedAt),
        ];
        for (_, missing) in lacks.into_iter().filter(|(lacks, _)| *lacks) {
            self.core.counters.unrevocable(name, missing);
        }
    }

    fn write_line(&self, published: &Published, duration: Duration) {
        let refused = self.verdict != Verdict::Forwarded;
        match published.access_log {
            AccessLog::Off => return,
            AccessLog::Refused if !refused => return,
            AccessLog::Refused | AccessLog::On => {}
        }
        if !refused && published.log_sample > 1 && !self.core.log.samples(published.log_sample) {
            return;
        }
        let subject = self.token.as_ref().filter(|_| published.log_subject);
        let named = |index: usize| {
            let value = self.named.as_ref()?.get(index)?.as_ref()?;
            value.to_str().ok()
        };
        let entry = Entry {
            at: self.at,
            request_id: self.request_id.to_str().unwrap_or(""),
            client: self.connection.peer,
            method: self.method.as_str(),
            version: self.version,
            host: self.host_text(),
            path: &printable(self.path()),
            route: self.route.as_deref(),
            status: self.status,
            verdict: self.verdict,
            code: self.code,
            reason: self.reason.as_deref(),
            issuer: self.token.as_ref().map(|token| token.policy().name.as_str()),
            subject: subject.and_then(|token| token.subject()),
            duration,
            upstream: self.upstream,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            broken: self.broken,
            referer: named(0),
            agent: named(1),
        };
        self.core.log.write(&entry, published.log_repeats_max);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end_stream();
        self.connection.end_request();
        let duration = self.started.elapsed();
        self.core.counters.ended(
            self.route.as_deref(),
            &Outcome {
                status: self.status,
                verdict: self.verdict,
                code: self.code,
                duration,
                added: self.added,
            },
        );
        self.write_line(&self.core.published(), duration);
    }
}

/// An id that a trusted proxy gave: visible, short, without what a log or a header could trip over.
fn offered_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(&X_REQUEST_ID)?;
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let bytes = value.as_bytes();
    let fits = (1..=128).contains(&bytes.len()) && bytes.iter().all(good);
    fits.then(|| value.clone())
}

/// What is written of a path: a byte that is not visible ASCII, which only a refused path can hold,
/// becomes an escape. A terminal that shows a log obeys U+009B and U+202E.
fn printable(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(path);
    }
    let mut text = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text)
}

/// The beginning of a path. Thousands of refusals are remembered, and a stranger chooses how long
/// their paths are.
fn remembered_path(path: &str) -> &str {
    path.get(..PATH_BYTES_REMEMBERED).unwrap_or(path)
}

/// A method may be as long as a head; none that exists is.
fn remembered_method(method: &Method) -> Method {
    let long = method.as_str().as_bytes().get(..METHOD_BYTES_REMEMBERED);
    long.and_then(|start| Method::from_bytes(start).ok()).unwrap_or_else(|| method.clone())
}

/// The request id goes into the answer as well.
pub fn stamp(response: &mut HeaderMap, request_id: &HeaderValue) {
    response.insert(headers::X_REQUEST_ID, request_id.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_a_refusal_is_bounded_and_the_usual_is_whole() {
        assert_eq!(remembered_path("/a/b"), "/a/b");
        let long = "/".repeat(60_000);
        assert_eq!(remembered_path(&long).len(), PATH_BYTES_REMEMBERED);
        assert_eq!(remembered_method(&Method::DELETE), Method::DELETE);
        let long = Method::from_bytes("M".repeat(60_000).as_bytes()).unwrap();
        assert_eq!(remembered_method(&long).as_str().len(), METHOD_BYTES_REMEMBERED);
    }

    #[test]
    fn a_path_that_steers_terminals_is_written_in_escapes_and_others_as_they_are() {
        assert!(matches!(printable("/a%20b;c"), Cow::Borrowed("/a%20b;c")));
        assert_eq!(printable("/\u{9b}2J\u{202e}\u{7f}é"), "/%C2%9B2J%E2%80%AE%7F%C3%A9");
    }
}
