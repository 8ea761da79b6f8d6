//! What a server has sent and nobody has taken yet. Reads grow while they fill what they are given, so
//! that a large body takes few of them, and shrink when they do not. Who waits holds no buffer.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use crate::sockets::dial::ServerStream;

const READ_BYTES_MIN: usize = 8 * 1024;
/// What a client that reads slowly can make one answer hold.
const READ_BYTES_MAX: usize = 128 * 1024;
/// What is no larger gets memory of its own: whoever keeps it keeps no buffer of thousands.
const SMALL_BYTES_MAX: usize = 1024;

/// See the module.
pub struct Inbound {
    ahead: Bytes,
    /// What is read into. It begins with what was ahead when more had to come.
    buffer: BytesMut,
    read_bytes: usize,
}

impl Default for Inbound {
    fn default() -> Self {
        Self { ahead: Bytes::new(), buffer: BytesMut::new(), read_bytes: READ_BYTES_MIN }
    }
}

impl Inbound {
    /// Reads more behind what is there; 0: the server has closed.
    pub fn poll_fill(
        &mut self,
        stream: &mut ServerStream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let filled = self.poll_read(stream, context);
        if filled.is_pending() {
            let before = std::mem::take(&mut self.buffer);
            if !before.is_empty() {
                self.ahead = before.freeze();
            }
        }
        filled
    }

    fn poll_read(
        &mut self,
        stream: &mut ServerStream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        ready!(stream.poll_readable(context))?;
        if !self.ahead.is_empty() {
            self.buffer = BytesMut::with_capacity(self.ahead.len() + self.read_bytes);
            self.buffer.extend_from_slice(&std::mem::take(&mut self.ahead));
        }
        self.buffer.reserve(self.read_bytes);
        let count = {
            let reading = pin!(stream.read_buf(&mut self.buffer));
            ready!(reading.poll(context))?
        };
        if self.buffer.len() <= SMALL_BYTES_MAX {
            self.ahead = Bytes::copy_from_slice(&self.buffer);
            self.buffer.clear();
        } else {
            self.ahead = self.buffer.split().freeze();
        }
        if count >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        } else if count < self.read_bytes / 4 {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
        Poll::Ready(Ok(count))
    }

    /// What has come.
    pub fn ahead(&mut self) -> &mut Bytes {
        &mut self.ahead
    }

    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    pub fn into_rest(self) -> Bytes {
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::*;

    async fn fill(inbound: &mut Inbound, stream: &mut ServerStream) -> Bytes {
        std::future::poll_fn(|context| inbound.poll_fill(stream, context)).await.unwrap();
        std::mem::take(inbound.ahead())
    }

    #[tokio::test]
    async fn what_drips_in_and_is_kept_keeps_no_buffer_and_who_waits_has_none() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut inbound) = (ServerStream::Unix(ours), Inbound::default());
        for byte in [b"a", b"b"] {
            theirs.write_all(byte).await.unwrap();
            let kept = fill(&mut inbound, &mut ours).await;
            assert_eq!(&*kept, byte);
            assert_eq!(BytesMut::from(kept).capacity(), 1);
        }
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(inbound.poll_fill(&mut ours, &mut context).is_pending());
        assert_eq!(inbound.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn what_floods_in_is_read_in_large_pieces() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut inbound) = (ServerStream::Unix(ours), Inbound::default());
        let total = 32 * READ_BYTES_MAX;
        let writing = tokio::spawn(async move { theirs.write_all(&vec![0; total]).await });
        let (mut read, mut largest) = (0, 0);
        while read < total {
            let count = fill(&mut inbound, &mut ours).await.len();
            read += count;
            largest = largest.max(count);
        }
        assert!((2 * READ_BYTES_MIN..=READ_BYTES_MAX).contains(&largest), "{largest}");
        writing.await.unwrap().unwrap();
    }
}
