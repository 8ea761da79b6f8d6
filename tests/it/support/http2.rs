//! A client of HTTP/2 that sends exactly the frames it is told to, as far as the `h2` library lets it.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::PATIENCE;

/// One connection, with prior knowledge or over TLS.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    driver: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Whole {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Whole {
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Http2 {
    #[track_caller]
    pub fn open(address: &str) -> Self {
        Self::open_with(address, &mut h2::client::Builder::new())
    }

    #[track_caller]
    pub fn open_with(address: &str, builder: &mut h2::client::Builder) -> Self {
        Self::over(address, builder, async |stream| stream)
    }

    /// Over TLS with a server of this name.
    #[track_caller]
    pub fn secured(address: &str, tls: Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self::over(address, &mut h2::client::Builder::new(), async |stream| {
            TlsConnector::from(tls).connect(name, stream).await.unwrap()
        })
    }

    #[track_caller]
    fn over<S>(
        address: &str,
        builder: &mut h2::client::Builder,
        secure: impl AsyncFnOnce(TcpStream) -> S,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, driver) = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) = builder.handshake(secure(stream).await).await.unwrap();
            let driver = tokio::spawn(connection);
            (sender.ready().await.unwrap(), driver)
        });
        Self { runtime, sender, driver }
    }

    /// Waits, with a deadline.
    #[track_caller]
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
        waited.expect("in time")
    }

    /// Sends a request's head.
    #[track_caller]
    pub fn send(&mut self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let sender = self.sender.clone();
        let ready = self.wait(sender.ready()).unwrap();
        self.sender = ready;
        self.sender.send_request(request, end).unwrap()
    }

    /// A request without a body and its whole answer.
    pub fn try_get(&mut self, request: Request<()>) -> Result<Whole, h2::Error> {
        let ready = self.sender.clone().ready();
        self.sender = self.wait(ready)?;
        let (answer, _) = self.sender.send_request(request, true)?;
        self.wait(whole(answer))
    }

    #[track_caller]
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Whole {
        self.try_get(request("GET", path, headers)).unwrap()
    }

    /// Until the other side, or the failure of this one, has ended the connection.
    pub fn ended(mut self) -> Result<(), h2::Error> {
        drop(self.sender);
        let runtime = &self.runtime;
        let driver = &mut self.driver;
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, driver).await })
            .expect("in time")
            .unwrap()
    }

    pub fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }

    /// Whether the server offers extended CONNECT (RFC 8441).
    pub fn offers_connect(&self) -> bool {
        self.sender.is_extended_connect_protocol_enabled()
    }
}

/// To `app.example.com`.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder()
        .method(method)
        .version(http::Version::HTTP_2)
        .uri(format!("http://app.example.com{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

/// Everything of an answer.
pub async fn whole(answer: ResponseFuture) -> Result<Whole, h2::Error> {
    let (head, body) = answer.await?.into_parts();
    rest(Response::from_parts(head, body)).await
}

async fn rest(answer: Response<RecvStream>) -> Result<Whole, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Whole { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

/// The next bytes of a body; `None` at its end.
pub async fn next(stream: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = stream.data().await?;
    Some(data.inspect(|data| {
        stream.flow_control().release_capacity(data.len()).unwrap();
    }))
}
