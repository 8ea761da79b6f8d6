//! The body of a server's answer, over whichever protocol it comes. It holds the connection, or the place
//! on one, and gives it back when it has ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::sockets::dial::ServerStream;

use super::upstream_h1::{Answer, WireFault};
use super::upstream_h2::Http2;

/// See the module.
pub enum AnswerBody {
    Http1(Answer),
    /// The place is free when it is dropped.
    Http2(Incoming, Option<Http2>),
}

/// Why an answer broke off.
#[derive(Debug)]
pub enum AnswerFault {
    Http1(WireFault),
    Http2(hyper::Error),
    /// It said that nothing was wrong, and ended its stream before the answer's end.
    Unended,
}

impl std::fmt::Display for AnswerFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http1(fault) => fault.fmt(out),
            Self::Http2(error) => error.fmt(out),
            Self::Unended => out.write_str("the server ended its stream before the end"),
        }
    }
}

impl std::error::Error for AnswerFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Http1(_) | Self::Unended => None,
            Self::Http2(error) => error.source(),
        }
    }
}

impl AnswerBody {
    /// Of an answer over HTTP/2.
    pub fn http2(response: Response<Incoming>, place: Http2) -> Response<Self> {
        response.map(|body| {
            let place = (!body.is_end_stream()).then_some(place);
            Self::Http2(body, place)
        })
    }

    /// The socket of a server that has switched protocols, and what has come behind its answer.
    pub fn into_switched(self) -> Option<(ServerStream, Bytes)> {
        match self {
            Self::Http1(answer) => answer.into_switched(),
            Self::Http2(..) => None,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        match &mut *self {
            Self::Http1(answer) => Pin::new(answer)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(AnswerFault::Http1))),
            Self::Http2(body, place) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(context));
                let has_ended = body.is_end_stream();
                if !matches!(frame, Some(Ok(_))) || has_ended {
                    *place = None;
                }
                // hyper takes every RST_STREAM with NO_ERROR for an end; it is one behind
                // END_STREAM only (RFC 9113 section 8.1).
                if frame.is_none() && !has_ended {
                    return Poll::Ready(Some(Err(AnswerFault::Unended)));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(AnswerFault::Http2)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(answer) => answer.is_end_stream(),
            Self::Http2(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(answer) => answer.size_hint(),
            Self::Http2(body, _) => body.size_hint(),
        }
    }
}
