//! The body of an answer as its server sends it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::aside::Aside;
use super::chunked::Piece;
use super::framing::{End, Framing};
use super::upload::Progress;
use super::{Call, WireFault};
use crate::sockets::dial::ServerStream;

/// See the module. The connection is used again, if it may be, as soon as the last byte was read; it is
/// closed if this is dropped before.
pub struct Answer {
    /// `None`: it has ended.
    call: Option<Rc<RefCell<Call>>>,
    framing: Framing,
}

impl Answer {
    pub fn new(call: Rc<RefCell<Call>>, head: Response<Framing>) -> Response<Self> {
        head.map(|framing| {
            let mut answer = Self { call: Some(call), framing };
            match (&answer.framing.end, &answer.call) {
                (End::Length(0), _) => answer.finish(),
                (End::Length(_) | End::Chunked(_) | End::Close, Some(call)) => Aside::begin(call),
                (End::Switch, _) | (_, None) => {}
            }
            answer
        })
    }

    /// The socket, where the server has switched protocols.
    pub fn into_switched(self) -> Option<(ServerStream, Bytes)> {
        let switched = matches!(self.framing.end, End::Switch);
        let call = self.call.filter(|_| switched).and_then(Rc::into_inner)?.into_inner();
        // A server that switches before it has been asked has not been asked.
        (call.upload.progress() == Progress::Sent).then(|| call.into_switched())
    }

    fn finish(&mut self) {
        if let Some(call) = self.call.take().and_then(Rc::into_inner) {
            call.into_inner().finish(self.framing.keep_alive);
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, WireFault>> {
        let Some(call) = &self.call else { return Poll::Ready(Ok(Piece::End)) };
        let call = &mut *call.borrow_mut();
        Aside::check(call, context.waker())?;
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
                    End::Close if !call.was_reset => Ok(Piece::End),
                    End::Close | End::Length(_) | End::Chunked(_) | End::Switch => {
                        Err(WireFault::Closed)
                    }
                });
            }
        }
    }

    /// The last byte of it has come.
    fn is_over(&mut self) -> bool {
        match (&mut self.framing.end, &self.call) {
            (End::Length(left), _) => *left == 0,
            (End::Chunked(chunked), Some(call)) => {
                chunked.is_over(call.borrow_mut().inbound.ahead())
            }
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
