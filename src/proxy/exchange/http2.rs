//! What of an exchange is another on HTTP/2, where it is one stream among others of its connection.

use std::rc::Rc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use super::Exchange;
use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;
use crate::proxy::grpc;
use crate::proxy::h2::Guard;
use crate::proxy::streams::{Cause, Stream};
use crate::telemetry::counters::Limit;

impl Exchange {
    pub fn is_over_http2(&self) -> bool {
        self.guard.is_some()
    }

    pub fn guard(&self) -> Option<&Rc<Guard>> {
        self.guard.as_ref()
    }

    /// The request is a call of gRPC.
    pub fn is_grpc(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.grpc.borrow().is_some())
    }

    /// Cut between two messages of a gRPC call's answer: the trailers that say so. `None` where the
    /// answer cannot end in good form.
    pub fn end_call(&mut self, cause: Cause) -> Option<HeaderMap> {
        let guard = self.guard.as_ref()?;
        guard.grpc.borrow().as_ref().filter(|messages| messages.can_end())?;
        let trailers = grpc::status(&Rejection::Cut(cause), self.core.published().answers);
        self.cut(cause);
        self.ended = true;
        Some(trailers)
    }

    /// The answer's body gave these bytes, or nothing yet.
    pub fn gave(&self, bytes: Option<&[u8]>) {
        if let Some(guard) = &self.guard {
            guard.asked(bytes.is_some());
            if let (Some(messages), Some(bytes)) = (guard.grpc.borrow_mut().as_mut(), bytes) {
                messages.pass(bytes);
            }
        }
    }

    /// The answer's last byte was handed on.
    pub fn whole(&mut self) {
        self.ended = true;
    }

    pub(super) fn guarded(&self, stream: &Rc<Stream>) {
        if let Some(guard) = &self.guard {
            guard.hold(stream);
        }
    }

    /// hyper sends what HTTP/1.1 would leave out by itself.
    pub(super) fn adapt(&mut self, response: &mut Response<Body>) {
        let asked = self.guard.as_ref().is_some_and(|guard| guard.websocket_key.borrow().is_some());
        if asked && response.status().is_success() {
            // RFC 8441 section 5: a 2xx would open the socket, and nobody has.
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        if self.method == Method::HEAD && !response.body().is_end_stream() {
            if let Some(length) = response.body().size_hint().exact() {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            *response.body_mut() = Body::empty();
        }
        self.ended = response.body().is_end_stream();
    }

    /// The stream is over: by its end, by its server, by a cut that nobody could be told of, or by the
    /// client.
    pub(super) fn leave_http2(&mut self) {
        if self.ended || self.broken {
            return;
        }
        let cut = self.stream.as_ref().filter(|stream| stream.is_cut());
        match cut.and_then(|stream| stream.cause()) {
            Some(cause) if self.code.is_empty() => self.cut(cause),
            // By us, and said so already: no reset of the client's.
            Some(_) => {}
            None if self.connection.count_reset() => self.core.counters.shed(Limit::Http2Resets),
            None => {}
        }
    }
}
