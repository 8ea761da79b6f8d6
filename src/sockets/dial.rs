//! Connections to servers behind the gateway: TCP, a unix socket, or TLS over TCP. Both planes dial
//! the same way, so that what a health check says is what a request will meet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::upstreams::Address;

use super::keepalive::keep_alive;

/// How TLS is spoken to a server.
pub struct Secure {
    config: Arc<ClientConfig>,
    /// The name that its certificate must have.
    name: ServerName<'static>,
}

/// What is offered in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alpn {
    Http1,
    /// And HTTP/1.1, for servers without it.
    Http2,
}

const HTTP2: &[u8] = b"h2";

impl Secure {
    /// The configuration of an upstream, which offers HTTP/1.1. What is remembered of sessions is
    /// shared by both.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>, alpn: Alpn) -> Self {
        let config = match alpn {
            Alpn::Http1 => config,
            Alpn::Http2 => {
                let mut config = ClientConfig::clone(&config);
                config.alpn_protocols.insert(0, HTTP2.to_vec());
                Arc::new(config)
            }
        };
        Self { config, name }
    }
}

/// A byte stream to a server.
pub enum ServerStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ServerStream {
    /// By ALPN; without TLS there is only prior knowledge.
    pub fn speaks_http2(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(HTTP2),
        }
    }

    /// Something may have come. With TLS only reading tells.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// The socket below; `None`: a unix one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum DialFault {
    Connect(io::Error),
    /// Connected, and then the handshake failed.
    Tls(io::Error),
}

impl std::fmt::Display for DialFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(error) => write!(out, "{error}"),
            Self::Tls(error) => write!(out, "TLS: {error}"),
        }
    }
}

impl std::error::Error for DialFault {}

/// Connects. It takes as long as the system lets it: the caller sets a deadline.
pub async fn dial(address: &Address, secure: Option<&Secure>) -> Result<ServerStream, DialFault> {
    let stream = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(DialFault::Connect)?;
            return Ok(ServerStream::Unix(stream));
        }
        Address::Tcp(address) => TcpStream::connect(address).await.map_err(DialFault::Connect)?,
    };
    stream.set_nodelay(true).map_err(DialFault::Connect)?;
    keep_alive(&stream);
    let Some(secure) = secure else { return Ok(ServerStream::Tcp(stream)) };
    let connector = TlsConnector::from(Arc::clone(&secure.config));
    let stream = connector.connect(secure.name.clone(), stream).await.map_err(DialFault::Tls)?;
    Ok(ServerStream::Tls(Box::new(stream)))
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            ServerStream::Tcp($stream) => $call,
            ServerStream::Unix($stream) => $call,
            ServerStream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for ServerStream {
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
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
