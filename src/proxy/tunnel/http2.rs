//! A WebSocket whose client has it as a stream of HTTP/2 (RFC 8441).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use base64::Engine as _;
use http::header::{HeaderMap, SEC_WEBSOCKET_ACCEPT};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::answer::UpstreamFault;
use crate::proxy::exchange::Exchange;
use crate::proxy::h2::Guard;
use crate::proxy::io::ClientStream;
use crate::proxy::tunnel::half::Half;

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The client's half of a tunnel.
pub enum ClientSide {
    Connection(ClientStream),
    /// The guard of the task that carries its bytes.
    Http2(TokioIo<Upgraded>, Option<Rc<Guard>>),
}

impl Half for ClientSide {
    fn abort(&self) {
        match self {
            Self::Connection(stream) => stream.abort(),
            Self::Http2(_, Some(carrier)) => carrier.give_up(),
            Self::Http2(_, None) => {}
        }
    }
}

/// The backend's answer to the handshake that we made: section 4.1 has the client check it, and the
/// client of HTTP/2 sees no key.
pub fn accept(headers: &mut HeaderMap, exchange: &Exchange) -> Result<(), UpstreamFault> {
    let given = headers.remove(SEC_WEBSOCKET_ACCEPT).ok_or(UpstreamFault::UnexpectedSwitch)?;
    let key = exchange.guard().and_then(|guard| guard.websocket_key.borrow().clone());
    let key = key.ok_or(UpstreamFault::UnexpectedSwitch)?;
    if given.as_bytes() == accepted(&key).as_bytes() {
        Ok(())
    } else {
        Err(UpstreamFault::UnexpectedSwitch)
    }
}

fn accepted(key: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    base64::engine::general_purpose::STANDARD.encode(hash.finish())
}

macro_rules! carry {
    ($side:expr, $stream:ident => $call:expr) => {
        match $side.get_mut() {
            ClientSide::Connection($stream) => $call,
            ClientSide::Http2($stream, _) => $call,
        }
    };
}

impl AsyncRead for ClientSide {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        carry!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for ClientSide {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        carry!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        carry!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        carry!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_of_the_standard_is_accepted() {
        assert_eq!(super::accepted("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
