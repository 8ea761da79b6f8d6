//! The exchange as a stream: from its permit to its end it can be cut.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;

use crate::telemetry::access::Verdict;
use crate::telemetry::streams::StreamKind;
use crate::verify::Signed;

use super::super::answer::Rejection;
use super::super::body::Body;
use super::super::permit::Permit;
use super::super::place::Place;
use super::super::streams::{Cause, Origin, Parting, Stream};
use super::super::tunnel::Closing;
use super::super::upgrade::Upgrade;
use super::Exchange;

/// A body of known size is a lasting stream from here on.
const LASTING_BYTES: u64 = 64 * 1024;

impl Exchange {
    /// From here a denial, an expiry or a removed key of the token ends the exchange, and a change of
    /// its route. What nobody in particular asked for is a stream when it has turned out to last.
    pub fn open_stream(&mut self, permit: &Permit<'_>) -> Option<Rc<Stream>> {
        permit.route().upstream()?;
        let selecting = permit.route().streams.selecting.iter();
        self.selected_by = selecting
            .flat_map(|name| permit.headers().get_all(name).iter().map(move |value| (name, value)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Some(Upgrade::Other(to)) = &permit.request().upgrade {
            self.selected_by.insert(UPGRADE, to.clone());
        }
        let token = permit.signed().map(Arc::clone);
        let body = &permit.request().body;
        let lasts = !body.is_end_stream() && lasts(body.size_hint().exact());
        if token.is_none() && !lasts {
            return None;
        }
        let stream = self.open(token)?;
        if !body.is_end_stream() {
            if lasts {
                self.let_go_of_the_head();
            }
            stream.came_from(|| self.origin());
        }
        Some(stream)
    }

    fn open(&mut self, token: Option<Arc<Signed>>) -> Option<Rc<Stream>> {
        let policy = self.policy.as_ref()?;
        let client = (&self.connection, self.client);
        let stream = self.core.streams.open(token, policy, client, (self.at, self.generation));
        self.stream = Some(Rc::clone(&stream));
        self.guarded(&stream);
        Some(stream)
    }

    /// What we answer ourselves is not cut.
    pub(super) fn end_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.core.streams.end(&stream, &self.core.counters);
        }
    }

    /// The head of the answer is known, and so is what the stream is.
    pub(super) fn became_stream(&mut self, headers: &HeaderMap, body: &Body) {
        let (kind, size) = (kind(headers), body.size_hint().exact());
        let lasts = body.is_forwarded() && (kind != StreamKind::Response || lasts(size));
        let known = self.stream.as_ref().map(Rc::clone);
        let Some(stream) = known.or_else(|| lasts.then(|| self.open(None)).flatten()) else {
            return;
        };
        if lasts {
            self.let_go_of_the_head();
            stream.came_from(|| self.origin());
        }
        // Nothing can be put into what is compressed, or has its length.
        if kind == StreamKind::EventStream
            && size.is_none()
            && !headers.contains_key(CONTENT_ENCODING)
        {
            self.core.streams.speaks_in_events(&stream);
        }
        self.core.streams.became(&stream, kind, &self.core.counters);
    }

    /// The connection becomes a tunnel, which owns the exchange until it ends, and counts as a
    /// connection until then. One that nobody in particular opened can be cut as well: its route
    /// may change, and the gateway may end.
    pub fn switched(&mut self, kind: StreamKind) -> Option<Rc<Stream>> {
        self.ended = true;
        if self.guard.is_none() {
            self.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
            self.place = self.connection.place();
        } else {
            self.status = StatusCode::OK.as_u16();
        }
        let known = self.stream.as_ref().map(Rc::clone);
        let stream = known.or_else(|| self.open(None))?;
        self.let_go_of_the_head();
        stream.came_from(|| self.origin());
        self.core.streams.became(&stream, kind, &self.core.counters);
        Some(stream)
    }

    /// Copies what it keeps of the request's head: each value that hyper read is a part of the whole
    /// buffer, 8 KiB or more, which would be held for as long as the stream lasts.
    fn let_go_of_the_head(&mut self) {
        self.host = self.host.as_ref().map(copy);
        self.request_id = copy(&self.request_id);
        let target = self.target.as_ref().map(|target| PathAndQuery::try_from(target.as_str()));
        // It was one before.
        self.target = target.and_then(Result::ok);
        for named in self.named.iter_mut().flat_map(|both| both.iter_mut()) {
            *named = named.as_ref().map(copy);
        }
        for value in self.selected_by.values_mut() {
            *value = copy(value);
        }
    }

    fn origin(&self) -> Origin {
        Origin {
            method: self.method.clone(),
            host: self.host.clone(),
            target: self.target.clone(),
            headers: self.selected_by.clone(),
        }
    }

    /// Bytes of the answer are on their way.
    pub fn sent(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.bytes_out += count;
        if let Some(stream) = &self.stream {
            stream.moved(0, count);
            if let Some(events) = stream.events() {
                events.pass(bytes);
            }
        }
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
        let cause = stream.cause();
        match cause {
            None => stream.watch(context),
            Some(_) => stream.seen_cut(),
        }
        cause
    }

    /// The answer was cut. What may still be said, and then the end: without that, the connection may
    /// not look as if the answer were whole.
    pub fn part(&mut self, cause: Cause) -> Parting {
        self.cut(cause);
        let Some(stream) = self.stream.as_ref().map(Rc::clone) else { return Parting::BreakOff };
        let reveal = self.core.published().answers.reveal_reason;
        let parting =
            stream.events().map_or(Parting::BreakOff, |events| events.part(cause, reveal));
        match &parting {
            Parting::Say(text) => {
                self.bytes_out += text.len() as u64;
                self.gave(Some(text));
            }
            Parting::End => {
                self.whole();
                stream.told(&self.core.counters);
            }
            Parting::BreakOff => {
                if self.guard.is_none() {
                    self.connection.abort();
                }
                stream.told(&self.core.counters);
            }
        }
        parting
    }

    /// What is to be said on an event stream between two events of its backend.
    pub fn announcement(&mut self) -> Option<Bytes> {
        let text = self.stream.as_ref()?.events()?.announcement()?;
        self.sent(&text);
        self.gave(Some(&text));
        Some(text)
    }

    /// The client of a tunnel was told that it ends.
    pub fn told(&self) {
        if let Some(stream) = &self.stream {
            stream.told(&self.core.counters);
        }
    }

    /// What a close frame says.
    pub fn closing(&self, cause: Cause) -> Closing {
        let reveal = self.core.published().answers.reveal_reason;
        match &self.stream {
            None => Closing { code: 1001, reason: String::new() },
            Some(stream) => {
                let policy = stream.policy();
                let (code, reason) = policy.closing(cause, reveal);
                Closing { code, reason: reason.to_owned() }
            }
        }
    }

    /// What a tunnel has moved, to the server and to the client.
    pub fn relayed(&mut self, (inward, outward): (u64, u64)) {
        self.bytes_in = inward;
        self.bytes_out = outward;
    }

    /// Its place among the connections, for a socket that outlives it.
    pub fn place(&mut self) -> Option<Rc<Place>> {
        self.place.take()
    }
}

/// The value in bytes of its own.
fn copy(value: &HeaderValue) -> HeaderValue {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    copy.set_sensitive(value.is_sensitive());
    copy
}

/// A body of this size takes long enough to be a stream.
fn lasts(size: Option<u64>) -> bool {
    size.is_none_or(|size| size > LASTING_BYTES)
}

fn kind(headers: &HeaderMap) -> StreamKind {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is = |name: &[u8]| {
        let start = value.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if is(b"text/event-stream") {
        StreamKind::EventStream
    } else if is(b"application/grpc") {
        StreamKind::Grpc
    } else {
        StreamKind::Response
    }
}
