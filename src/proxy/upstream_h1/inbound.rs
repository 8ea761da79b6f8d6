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
        ready!(stream.poll_readable(context))?;
        if !self.ahead.is_empty() {
            self.buffer = BytesMut::with_capacity(self.ahead.len() + self.read_bytes);
            self.buffer.extend_from_slice(&std::mem::take(&mut self.ahead));
        }
        // What is left of the last one serves for a while, so that bytes which drip in, each held by
        // whoever takes them slowly, do not hold a buffer each.
        let spare = self.buffer.capacity() - self.buffer.len();
        if spare < self.read_bytes / 2 {
            self.buffer.reserve(self.read_bytes);
        }
        let offered = self.buffer.capacity() - self.buffer.len();
        let count = {
            let reading = pin!(stream.read_buf(&mut self.buffer));
            ready!(reading.poll(context))?
        };
        self.ahead = self.buffer.split().freeze();
        if count >= offered {
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
        self.ahead.is_empty() && self.buffer.is_empty()
    }

    pub fn into_rest(self) -> Bytes {
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn what_drips_in_and_is_kept_shares_its_memory_and_a_flood_is_read_in_large_pieces() {
        let (mut ours, mut theirs) = tokio::io::duplex(4 * READ_BYTES_MAX);
        let mut inbound = Inbound::default();
        let mut kept = Vec::new();
        for _ in 0..1000 {
            theirs.write_all(b"x").await.unwrap();
            std::future::poll_fn(|context| inbound.poll_fill(&mut ours, context)).await.unwrap();
            kept.push(std::mem::take(inbound.ahead()));
        }
        let neighbours = kept.windows(2);
        let apart =
            neighbours.filter(|two| two[1].as_ptr() as usize != two[0].as_ptr() as usize + 1);
        assert!(apart.count() <= 1);
        theirs.write_all(&vec![0; 4 * READ_BYTES_MAX]).await.unwrap();
        let mut largest = 0;
        for _ in 0..8 {
            let fill = std::future::poll_fn(|context| inbound.poll_fill(&mut ours, context));
            largest = fill.await.unwrap().max(largest);
            *inbound.ahead() = Bytes::new();
        }
        assert!(largest >= READ_BYTES_MAX / 2, "{largest}");
    }
}
