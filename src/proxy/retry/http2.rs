//! Delivery over HTTP/2. A server that is about to go (GOAWAY), or has no room (REFUSED_STREAM),
//! says that it did not look at a request (RFC 9113 section 8.7): that one is sent once more,
//! whatever it asks for, if it has no body that has left already.
//!
//! A WebSocket does not come here: it gets an HTTP/1.1 connection of its own.

use std::pin::{Pin, pin};
use std::time::Duration;

use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::config::ServerAddress;
use crate::proxy::answer::{Fault, UpstreamFault};
use crate::proxy::answer_body::AnswerBody;
use crate::proxy::body::{Moved, RequestBody};
use crate::proxy::outgoing::Outgoing;
use crate::proxy::upstream::connect_http2;
use crate::proxy::upstream_h2::{Acquired, Http2};
use crate::proxy::{forward, grpc};
use crate::upstreams::Endpoint;

use super::{Again, Answered, Delivery, Missed, Spare, is_safe, within};

/// Connections that a request is tried on, when one after the other was about to close.
const CONNECTIONS_MAX: u32 = 3;

type Outcome = Result<Answered, Missed>;

pub(super) enum Http2Outcome {
    Done(Box<Outcome>),
    /// The server speaks HTTP/1.1 only.
    Http1(Box<Outgoing>),
}

/// A stream, and how it came to be.
enum Place {
    /// On a connection that was there.
    Old(Http2),
    New(Http2),
    Http1,
}

impl Delivery<'_> {
    pub(super) async fn on_http2(
        &mut self,
        endpoint: &Endpoint,
        mut request: Request<RequestBody>,
    ) -> Http2Outcome {
        let done = |outcome| Http2Outcome::Done(Box::new(outcome));
        let timeout = self.patience(&request);
        let mut left = CONNECTIONS_MAX;
        loop {
            left -= 1;
            let (mut stream, is_new) = match self.place(endpoint).await {
                Ok(Place::Old(stream)) => (stream, false),
                Ok(Place::New(stream)) => (stream, true),
                Ok(Place::Http1) => return Http2Outcome::Http1(boxed(request)),
                Err(fault) => {
                    return done(Err(self.failed(endpoint, fault, Some(boxed(request)), false)));
                }
            };
            // It may have waited for the connection.
            if let Err(rejection) = self.check.still_holds(self.published) {
                return done(Err(Missed::Rejected(rejection)));
            }
            let copy = request.body().is_none().then(|| Spare::of(&request));
            let repeatable = self.is_repeatable(&request);
            let safe = is_safe(&request);
            let moved = request.body().moved();
            stream.stop = request.body_mut().stoppable();
            let sending = stream.sender.try_send_request(self.as_http2(endpoint, request));
            let sending = pin!(sending);
            let failed = match attempt(sending, moved, timeout).await {
                Ok(response) => {
                    let again = copy.filter(|_| repeatable).map(Again::Spare);
                    let reused = stream.reused;
                    let response = AnswerBody::http2(response, stream);
                    return done(self.judge(endpoint, Answered { response, reused }, again));
                }
                Err(failed) => failed,
            };
            let Failed { fault, unsent, unseen } = failed;
            let copy = copy.and_then(Spare::into_request);
            let (again, sent) = match (unsent.map(as_http1), copy) {
                (Some(unsent), _) => (Some(unsent), false),
                (None, copy) if unseen => (copy, true),
                (None, Some(copy)) if fault.kind == UpstreamFault::Broken && repeatable => {
                    // An old connection may have been closed behind our back.
                    if is_new || !safe {
                        let copy = self.elsewhere.then(|| boxed(copy));
                        return done(Err(self.failed(endpoint, fault, copy, true)));
                    }
                    (Some(copy), true)
                }
                (None, _) => (None, true),
            };
            match again {
                Some(again) if left > 0 => {
                    self.core.http2.server(endpoint.key()).forget(&stream);
                    if sent {
                        self.upstream.group.retried();
                    }
                    request = again;
                }
                again => {
                    return done(Err(self.failed(endpoint, fault, again.map(boxed), sent)));
                }
            }
        }
    }

    async fn place(&self, endpoint: &Endpoint) -> Result<Place, Fault> {
        let server = self.core.http2.server(endpoint.key());
        match server.acquire().await {
            Acquired::Stream(stream) => Ok(Place::Old(stream)),
            Acquired::Http1 => Ok(Place::Http1),
            Acquired::Failed(fault) => Err(fault),
            Acquired::Open(opening) => {
                let group = &self.upstream.group;
                let opened = connect_http2(self.core, group, endpoint, &opening).await?;
                Ok(opened.map_or(Place::Http1, Place::New))
            }
        }
    }

    /// The request in the words of HTTP/2 (RFC 9113 section 8.3.1): its Host is the authority.
    fn as_http2(
        &self,
        endpoint: &Endpoint,
        mut request: Request<RequestBody>,
    ) -> Request<RequestBody> {
        let server = self.upstream.config().servers.get(endpoint.server);
        let scheme = match server.map(|server| &server.address) {
            Some(ServerAddress::Tcp { tls: true, .. }) => Scheme::HTTPS,
            Some(ServerAddress::Tcp { .. } | ServerAddress::Unix(_)) | None => Scheme::HTTP,
        };
        let host = request.headers_mut().remove(HOST);
        let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(scheme);
        parts.authority = authority.or_else(|| Some(Authority::from_static("localhost")));
        // All three parts are there, which is all that could be missing.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        let calls = grpc::is_call(request.headers());
        let headers = request.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONNECTION);
        if calls {
            // Servers of gRPC refuse calls without it.
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        request
    }
}

fn boxed(request: Request<RequestBody>) -> Box<Outgoing> {
    Box::new(request.into())
}

struct Failed {
    fault: Fault,
    /// The request, if nothing of it was written.
    unsent: Option<Request<RequestBody>>,
    /// The server has said that it did not look at it.
    unseen: bool,
}

type Unsent = TrySendError<Request<RequestBody>>;

async fn attempt(
    sending: Pin<&mut impl Future<Output = Result<Response<Incoming>, Unsent>>>,
    moved: Option<Moved>,
    response_timeout: Duration,
) -> Result<Response<Incoming>, Failed> {
    match within(sending, moved, response_timeout).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(mut error)) => {
            let unsent = error.take_message();
            let unseen = is_unseen(error.error());
            let fault = Fault::because(UpstreamFault::Broken, why(error.error()));
            Err(Failed { fault, unsent, unseen })
        }
        Err(fault) => Err(Failed { fault, unsent: None, unseen: false }),
    }
}

/// One that was not sent, as it was.
fn as_http1(mut request: Request<RequestBody>) -> Request<RequestBody> {
    let uri = std::mem::take(request.uri_mut());
    if let Some(authority) = uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    let target = uri.path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_11;
    if request.headers().contains_key(TE) {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let (mut parts, body) = request.into_parts();
    forward::frame(&mut parts.headers, &parts.method, &body);
    Request::from_parts(parts, body)
}

/// hyper says what went wrong in the cause of its error.
fn why(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// The server has said that it did not look at the request.
fn is_unseen(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &h2::Error| {
        // h2 gives the first to streams beyond the last one of a GOAWAY only.
        cause.is_remote()
            && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}
