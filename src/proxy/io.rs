//! A byte stream of any kind, so that one compiled connection serves TCP and unix sockets, plain
//! and with TLS.

mod client_stream;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

pub use client_stream::{Activity, ClientStream};

/// See the module.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A stream with what was read of it already, ahead of its reader.
pub struct Rewound<S = Stream> {
    stream: S,
    /// Read and not yet taken, from `taken` on.
    ahead: Vec<u8>,
    taken: usize,
}

impl<S> Rewound<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, ahead: Vec::new(), taken: 0 }
    }

    /// Puts bytes back in front. Only what was read may be: nothing else is ahead then.
    pub fn unread(&mut self, bytes: Vec<u8>) {
        (self.ahead, self.taken) = (bytes, 0);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let rest = this.ahead.get(this.taken..).unwrap_or_default();
        let (now, later) = rest.split_at(rest.len().min(buffer.remaining()));
        buffer.put_slice(now);
        if later.is_empty() {
            // Given back rather than kept: an idle connection holds no buffer.
            this.unread(Vec::new());
        } else {
            this.taken += now.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
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

/// Of so little a copy costs less than the kernel takes to look at several parts.
const FLAT_BYTES_MAX: usize = 2048;

/// Copies all parts into one, where they fit.
fn flattened<'f>(parts: &[io::IoSlice<'_>], flat: &'f mut [u8]) -> Option<&'f [u8]> {
    let mut length = 0;
    for part in parts {
        flat.get_mut(length..length + part.len())?.copy_from_slice(part);
        length += part.len();
    }
    flat.get(..length)
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
        if let [one] = parts {
            return self.poll_write(context, one);
        }
        if parts.iter().map(|part| part.len()).sum::<usize>() <= FLAT_BYTES_MAX {
            let mut flat = [0; FLAT_BYTES_MAX];
            if let Some(bytes) = flattened(parts, &mut flat) {
                return self.poll_write(context, bytes);
            }
        }
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
