//! Connections to whatever is measured: plain, or TLS 1.3 with one trusted certificate; and the
//! heads of HTTP/1.1 answers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Arguments;

/// Either kind of stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Where to, and how.
pub struct Place {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Place {
    /// `address`, and `certificate` (a file) for TLS.
    pub fn of(arguments: &Arguments) -> Self {
        let tls = arguments.maybe("certificate").map(|file| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            // Every handshake is a full one.
            config.resumption = rustls::client::Resumption::disabled();
            TlsConnector::from(Arc::new(config))
        });
        Self { address: arguments.number("address"), tls }
    }

    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    pub async fn connect(&self) -> Connection {
        let stream = self.try_connect(false).await.expect("a connection");
        Connection { stream, buffer: BytesMut::new() }
    }

    /// With ALPN for HTTP/2 where that is wanted.
    pub async fn try_connect(&self, http2: bool) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from("localhost").unwrap();
        let protocols = if http2 { vec![b"h2".to_vec()] } else { Vec::new() };
        let connecting = tls.clone().with_alpn(protocols).connect(name, stream);
        Ok(Box::new(connecting.await?))
    }
}

/// A stream and what was read of it too early.
pub struct Connection {
    pub stream: Box<dyn Stream>,
    pub buffer: BytesMut,
}

impl Connection {
    pub async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.expect("the connection lives");
        assert!(read > 0, "the connection was closed");
    }

    /// The head of the next message.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = end_of_head(&self.buffer) {
                return String::from_utf8(self.buffer.split_to(end).to_vec()).unwrap();
            }
            self.more().await;
        }
    }

    /// Sends a request and gives the status and body of its answer, which must tell its length.
    pub async fn ask(&mut self, request: &str) -> (u16, Vec<u8>) {
        self.stream.write_all(request.as_bytes()).await.expect("the request is taken");
        let head = self.head().await;
        let length = length(&head);
        while self.buffer.len() < length {
            self.more().await;
        }
        let body = self.buffer[..length].to_vec();
        self.buffer.advance(length);
        (status(&head), body)
    }

    /// Becomes a WebSocket, if it may; the answer's head.
    pub async fn upgrade(&mut self, token: &str) -> String {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await.expect("the request is taken");
        let head = self.head().await;
        assert_eq!(status(&head), 101, "{head}");
        head
    }
}

pub fn end_of_head(buffer: &[u8]) -> Option<usize> {
    Some(buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4)
}

pub fn status(head: &str) -> u16 {
    head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{head}"))
}

/// What `Content-Length` says; 0 without it.
pub fn length(head: &str) -> usize {
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    field.map_or(0, |value| value.parse().unwrap())
}
