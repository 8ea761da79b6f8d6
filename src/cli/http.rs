//! One HTTP/1.1 exchange over TCP or a unix socket: what the admin client, `health` and the
//! demo's own checks need. Bounded in time and in size.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::words;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A page of 1,000 denials with long reasons is well below this.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where a listener is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(out, "http://{authority}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// What the Host header says.
    pub fn authority(&self) -> &str {
        match self {
            Self::Tcp(authority) => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ExchangeError {
    /// Nobody took the connection; another address may.
    Connect(String),
    /// The connection broke, or what came was not HTTP or too much of it.
    Broken(String),
}

/// Sends one request on a connection of its own and reads the whole answer.
pub async fn exchange(
    address: &Address,
    request: http::Request<Full<Bytes>>,
) -> Result<http::Response<Bytes>, ExchangeError> {
    match address {
        Address::Tcp(authority) => {
            let stream = connected(TcpStream::connect(authority.as_str())).await?;
            let _ = stream.set_nodelay(true);
            bounded(stream, request).await
        }
        Address::Unix(path) => bounded(connected(UnixStream::connect(path)).await?, request).await,
    }
}

pub(super) async fn connected<S>(
    connecting: impl Future<Output = std::io::Result<S>>,
) -> Result<S, ExchangeError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(ExchangeError::Connect(words::cause(&error.to_string()))),
        Err(_) => Err(ExchangeError::Connect(format!(
            "no connection within {}",
            words::span(CONNECT_TIMEOUT)
        ))),
    }
}

async fn bounded<S>(
    stream: S,
    request: http::Request<Full<Bytes>>,
) -> Result<http::Response<Bytes>, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match tokio::time::timeout(EXCHANGE_TIMEOUT, send(stream, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(ExchangeError::Broken(format!(
            "no answer within {}",
            words::span(EXCHANGE_TIMEOUT)
        ))),
    }
}

async fn send<S>(
    stream: S,
    request: http::Request<Full<Bytes>>,
) -> Result<http::Response<Bytes>, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| ExchangeError::Broken(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends when the sender is dropped below; what it has to say the exchange says too.
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let answer = sender.send_request(request).await.map_err(broken)?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| ExchangeError::Broken(error.to_string()))?
        .to_bytes();
    drop(sender);
    driver.abort();
    Ok(http::Response::from_parts(parts, body))
}
