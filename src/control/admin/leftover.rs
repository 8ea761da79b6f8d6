//! What is left of a request's body when its answer is ready: the endpoint takes none, or refused the
//! request before its end. hyper closes such a connection behind the answer and tells nobody, so that
//! a client with a pool sends its next request into a closed one. What is left is read and dropped
//! where it is little and comes at once; else the answer says that it is the last of its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf as _;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

const BYTES_MAX: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// A body while an endpoint has it. What it has not read comes back.
pub(super) struct Lent<B: Body> {
    /// `None`: it was read to its end, or broke.
    body: Option<B>,
    owner: Arc<Mutex<Option<B>>>,
}

/// What came back, if anything has.
pub(super) struct Leftover<B>(Arc<Mutex<Option<B>>>);

pub(super) fn lend<B: Body>(body: B) -> (Lent<B>, Leftover<B>) {
    let owner = Arc::new(Mutex::new(None));
    (Lent { body: Some(body), owner: Arc::clone(&owner) }, Leftover(owner))
}

impl<B: Body> Drop for Lent<B> {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !body.is_end_stream());
        if left.is_some() {
            *self.owner.lock() = left;
        }
    }
}

impl<B: Body + Unpin> Body for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let lent = self.get_mut();
        let Some(body) = &mut lent.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            lent.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body + Unpin> Leftover<B> {
    /// Whether another request may come on the connection. A body that an endpoint still reads, beside
    /// its answer, is its own affair.
    pub async fn clear(self, headers: &HeaderMap) -> bool {
        let left = self.0.lock().take();
        let Some(body) = left else { return true };
        // To read it would be to ask for it.
        if headers.contains_key(header::EXPECT) {
            return false;
        }
        matches!(tokio::time::timeout(PATIENCE, discard(body)).await, Ok(Some(())))
    }
}

/// `None`: it is too much, or broke.
async fn discard<B: Body + Unpin>(mut body: B) -> Option<()> {
    let mut room = BYTES_MAX;
    while let Some(frame) = body.frame().await {
        let bytes = frame.ok()?.data_ref().map_or(0, |data| data.remaining());
        room = room.checked_sub(bytes)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;

    async fn cleared(bytes: usize, read: bool, headers: HeaderMap) -> bool {
        let (lent, leftover) = lend(Full::new(Bytes::from(vec![b'x'; bytes])));
        if read {
            lent.collect().await.unwrap();
        } else {
            drop(lent);
        }
        leftover.clear(&headers).await
    }

    #[tokio::test]
    async fn little_is_read_and_much_ends_the_connection_unless_its_endpoint_read_it() {
        assert!(cleared(0, false, HeaderMap::new()).await);
        assert!(cleared(BYTES_MAX, false, HeaderMap::new()).await);
        assert!(!cleared(BYTES_MAX + 1, false, HeaderMap::new()).await);
        assert!(cleared(BYTES_MAX + 1, true, HeaderMap::new()).await);
        let waits: HeaderMap =
            [(header::EXPECT, "100-continue".parse().unwrap())].into_iter().collect();
        assert!(!cleared(1, false, waits.clone()).await);
        assert!(cleared(1, true, waits).await);
    }
}
