//! A request's body whose small pieces are joined, as far as they have come. A client of HTTP/2 that
//! streams messages of a few bytes sends each in a frame of its own: handed on one by one they cost a
//! write each, and h2 takes a client for a flood when many of them wait.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

type Piece = Result<Frame<Bytes>, hyper::Error>;

/// What is as large as this goes on as it is, uncopied.
const SMALL_BYTES_MAX: usize = 1024;
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// See the module.
pub struct Joined {
    body: Incoming,
    /// What came behind small pieces and is none.
    ahead: Option<Box<Piece>>,
}

impl Joined {
    pub fn new(body: Incoming) -> Self {
        Self { body, ahead: None }
    }

    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(*ahead));
        }
        let piece = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(match piece {
            Some(Ok(frame)) if is_small(&frame) && !self.body.is_end_stream() => {
                Some(Ok(self.join(frame, context)))
            }
            other => other,
        })
    }

    /// With the small pieces that follow and are here.
    fn join(&mut self, first: Frame<Bytes>, context: &mut Context<'_>) -> Frame<Bytes> {
        let mut frame = first;
        let mut joined = BytesMut::new();
        while joined.len() < JOINED_BYTES_MAX {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(next))) if is_small(&next) => {
                    let former = std::mem::replace(&mut frame, next);
                    joined.extend_from_slice(former.data_ref().map_or(&[], |data| data));
                }
                Poll::Ready(Some(other)) => {
                    self.ahead = Some(Box::new(other));
                    break;
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if joined.is_empty() {
            return frame;
        }
        joined.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        Frame::data(joined.freeze())
    }

    pub fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let ahead = self.ahead.as_ref().and_then(|piece| piece.as_ref().as_ref().ok()?.data_ref());
        let Some(ahead) = ahead.map(|data| data.len() as u64) else { return rest };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

fn is_small(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(|data| data.len() < SMALL_BYTES_MAX)
}
