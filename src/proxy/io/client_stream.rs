//! A client's stream: what its connection and it tell each other (reads, stalls, the reset at its
//! end), and the turns in which it is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Rewound, Stream};

/// A client's stream that counts its reads, so that a connection which sends a header slowly can be
/// told from one that is idle, and that can end with a reset.
pub struct ClientStream {
    transport: Transport,
    activity: Arc<Activity>,
}

enum Transport {
    Plain(Rewound),
    Tls(Box<Rewound<TlsStream<Rewound>>>),
}

/// The same for either transport of a client's stream.
macro_rules! carry {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Plain($stream) => $call,
            Transport::Tls($stream) => $call,
        }
    };
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
    /// What is read before others have their turn, and what is left of it; 0: any number of bytes.
    turn_bytes: AtomicU32,
    turn_left: AtomicU32,
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
            && let Some(stream) = self.tcp()
        {
            // Where it cannot be set the connection ends with a FIN: cut all the same.
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
        }
    }
}

impl ClientStream {
    pub fn plain(stream: Rewound) -> (Self, Arc<Activity>) {
        Self::new(Transport::Plain(stream))
    }

    /// After the handshake.
    pub fn tls(stream: TlsStream<Rewound>) -> (Self, Arc<Activity>) {
        Self::new(Transport::Tls(Box::new(Rewound::new(stream))))
    }

    fn new(transport: Transport) -> (Self, Arc<Activity>) {
        let activity = Arc::<Activity>::default();
        (Self { transport, activity: Arc::clone(&activity) }, activity)
    }

    /// After so many bytes whoever reads it waits until all others have had their turn.
    pub fn take_turns(&self, bytes: u32) {
        self.activity.turn_bytes.store(bytes, Ordering::Relaxed);
        self.activity.turn_left.store(bytes, Ordering::Relaxed);
    }

    /// Part of a turn of so many bytes.
    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        turn: u32,
    ) -> Poll<io::Result<()>> {
        let left = self.activity.turn_left.load(Ordering::Relaxed);
        if left == 0 {
            self.activity.turn_left.store(turn, Ordering::Relaxed);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = if buffer.remaining() <= left as usize {
            carry!(&mut self.transport, stream => Pin::new(stream).poll_read(context, buffer))
        } else {
            // All of a part has to be zeroed before it is read into.
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(left as usize));
            let polled = carry!(&mut self.transport, stream => Pin::new(stream).poll_read(context, &mut part));
            let read = part.filled().len();
            buffer.advance(read);
            polled
        };
        let read = buffer.filled().len() - before;
        let rest = left.saturating_sub(u32::try_from(read).unwrap_or(left));
        // Who waits for the client has given the others their turn.
        let next = if polled.is_pending() { turn } else { rest };
        self.activity.turn_left.store(next, Ordering::Relaxed);
        polled
    }

    /// When it is dropped it ends with a reset.
    pub fn abort(&self) {
        self.activity.abort.store(true, Ordering::Relaxed);
    }

    fn lowest(&self) -> &Stream {
        match &self.transport {
            Transport::Plain(rewound) => &rewound.stream,
            Transport::Tls(tls) => &tls.stream.get_ref().0.stream,
        }
    }

    /// The socket below; `None`: a unix one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self.lowest() {
            Stream::Tcp(stream) => Some(stream),
            Stream::Unix(_) => None,
        }
    }

    /// The client has said something that was not read yet, or is gone. May be ready for nothing.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.lowest() {
            Stream::Tcp(stream) => stream.poll_read_ready(context).map(drop),
            Stream::Unix(stream) => stream.poll_read_ready(context).map(drop),
        }
    }

    /// Puts bytes that were read off it back in front of it.
    pub fn unread(&mut self, bytes: Vec<u8>) {
        carry!(&mut self.transport, stream => stream.unread(bytes));
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
        let polled = match this.activity.turn_bytes.load(Ordering::Relaxed) {
            0 => carry!(&mut this.transport, stream => Pin::new(stream).poll_read(context, buffer)),
            turn => this.poll_turn(context, buffer, turn),
        };
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
        let polled =
            carry!(&mut this.transport, stream => Pin::new(stream).poll_write(context, bytes));
        this.activity.note_write(&polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = carry!(&mut this.transport, stream => Pin::new(stream).poll_write_vectored(context, parts));
        this.activity.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        carry!(&mut self.get_mut().transport, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        carry!(&mut self.get_mut().transport, stream => Pin::new(stream).poll_shutdown(context))
    }
}
