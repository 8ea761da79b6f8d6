//! A byte stream of either kind, so that one compiled connection serves TCP and unix sockets.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// See the module.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client's stream that counts its reads, so that a connection which sends a header slowly can be
/// told from one that is idle, and that can end with a reset.
pub struct ClientStream {
    stream: Stream,
    activity: Arc<Activity>,
}

/// What a connection and its stream tell each other.
#[derive(Default)]
pub struct Activity {
    pub reads: AtomicU32,
    /// Counts each time the client stops to take what is written, and each time it goes on: odd
    /// while it takes nothing.
    pub stalls: AtomicU32,
    /// End with a reset, so that nobody takes what was sent for a whole answer.
    pub abort: AtomicBool,
}

impl Activity {
    fn note_write<T>(&self, polled: &Poll<T>) {
        // One writer, as with the reads.
        let stalls = self.stalls.load(Ordering::Relaxed);
        if polled.is_pending() != (stalls % 2 == 1) {
            self.stalls.store(stalls.wrapping_add(1), Ordering::Relaxed);
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.activity.abort.load(Ordering::Relaxed)
            && let Stream::Tcp(stream) = &self.stream
        {
            // Where it cannot be set the connection ends with a FIN: cut all the same.
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
        }
    }
}

impl ClientStream {
    pub fn new(stream: Stream) -> (Self, Arc<Activity>) {
        let activity = Arc::<Activity>::default();
        (Self { stream, activity: Arc::clone(&activity) }, activity)
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            // One writer; a plain load and store is enough and cheaper than an atomic addition.
            let reads = &this.activity.reads;
            reads.store(reads.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.activity.note_write(&polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.activity.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
