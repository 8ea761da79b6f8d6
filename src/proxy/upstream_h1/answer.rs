//! The body of an answer as its server sends it. While it comes, what is left of the request goes out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::chunked::Piece;
use super::framing::{End, Framing};
use super::{Call, WireFault};
use crate::sockets::dial::ServerStream;

/// See the module. The connection is used again, if it may be, as soon as the last byte was read; it is
/// closed if this is dropped before.
pub struct Answer {
    /// `None`: it has ended.
    call: Option<Box<Call>>,
    framing: Framing,
}

impl Answer {
    pub fn new(call: Box<Call>, head: Response<Framing>) -> Response<Self> {
        head.map(|framing| {
            let mut answer = Self { call: Some(call), framing };
            if matches!(answer.framing.end, End::Length(0)) {
                answer.finish();
            }
            answer
        })
    }

    /// The socket, where the server has switched protocols.
    pub fn into_switched(self) -> Option<(ServerStream, Bytes)> {
        let switched = matches!(self.framing.end, End::Switch);
        self.call.filter(|_| switched).map(|call| call.into_switched())
    }

    fn finish(&mut self) {
        if let Some(call) = self.call.take() {
            call.finish(self.framing.keep_alive);
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, WireFault>> {
        let Some(call) = &mut self.call else { return Poll::Ready(Ok(Piece::End)) };
        call.poll_upload(context)?;
        loop {
            let ahead = call.inbound.ahead();
            match &mut self.framing.end {
                End::Length(0) | End::Switch => return Poll::Ready(Ok(Piece::End)),
                End::Length(left) if !ahead.is_empty() => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let data = ahead.split_to(most.min(ahead.len()));
                    *left -= data.len() as u64;
                    return Poll::Ready(Ok(Piece::Data(data)));
                }
                End::Close if !ahead.is_empty() => {
                    return Poll::Ready(Ok(Piece::Data(std::mem::take(ahead))));
                }
                End::Chunked(chunked) => {
                    if let Some(piece) = chunked.next(ahead)? {
                        return Poll::Ready(Ok(piece));
                    }
                }
                End::Length(_) | End::Close => {}
            }
            if ready!(call.inbound.poll_fill(&mut call.wire.stream, context))? == 0 {
                return Poll::Ready(match self.framing.end {
                    End::Close => Ok(Piece::End),
                    End::Length(_) | End::Chunked(_) | End::Switch => Err(WireFault::Closed),
                });
            }
        }
    }

    /// The last byte of it has come.
    fn is_over(&mut self) -> bool {
        let ahead = self.call.as_mut().map(|call| call.inbound.ahead());
        match (&mut self.framing.end, ahead) {
            (End::Length(left), _) => *left == 0,
            (End::Chunked(chunked), Some(ahead)) => chunked.is_over(ahead),
            (End::Chunked(_) | End::Close | End::Switch, _) => false,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = WireFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireFault>>> {
        let this = &mut *self;
        Poll::Ready(match ready!(this.poll_piece(context)) {
            Ok(Piece::Data(data)) => {
                if this.is_over() {
                    this.finish();
                }
                Some(Ok(Frame::data(data)))
            }
            Ok(Piece::Trailers(trailers)) => {
                this.finish();
                Some(Ok(Frame::trailers(trailers)))
            }
            Ok(Piece::End) => {
                this.finish();
                None
            }
            Err(fault) => {
                this.call = None;
                Some(Err(fault))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.call, &self.framing.end) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), End::Length(left)) => SizeHint::with_exact(*left),
            (Some(_), End::Chunked(_) | End::Close | End::Switch) => SizeHint::default(),
        }
    }
}
