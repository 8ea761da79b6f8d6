//! An exchange of any length with the admin API: the body is read while it is sent, and the answer
//! comes line by line. Memory does not grow with either.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::client::{Client, must_be_ours};
use super::failure::{Attempt, Failure};
use super::http::{Address, ExchangeError, connected};
use super::progress::Done;

const READ_BYTES: usize = 64 * 1024;
/// Longer than the gateway lets a stream stall.
const STALLED: Duration = Duration::from_secs(90);
/// A line of an answer is a record; this is far more.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// A problem document, or an import's answer.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// A file, or `-`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place(pub PathBuf);

impl Place {
    pub fn is_standard(&self) -> bool {
        self.0.as_os_str() == "-"
    }

    /// Bytes of a file; of a pipe nobody knows.
    pub fn size(&self) -> Option<u64> {
        let about = std::fs::metadata(&self.0).ok()?;
        (!self.is_standard() && about.is_file()).then_some(about.len())
    }

    /// Read on a thread of its own: a pipe that has nothing to say yet must not keep the answers
    /// from being read.
    pub fn send(&self) -> Result<Sent, Failure> {
        let mut source: Box<dyn Read + Send> = if self.is_standard() {
            Box::new(io::stdin())
        } else {
            let file = File::open(&self.0)
                .map_err(|cause| Failure::Read { what: self.0.display().to_string(), cause })?;
            Box::new(file)
        };
        let (sender, chunks) = mpsc::channel(4);
        std::thread::spawn(move || {
            loop {
                let mut chunk = vec![0; READ_BYTES];
                let read = match source.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(length) => {
                        chunk.truncate(length);
                        Ok(Bytes::from(chunk))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let ended = read.is_err();
                if sender.blocking_send(read).is_err() || ended {
                    return;
                }
            }
        });
        Ok(Sent { chunks: Some(chunks), ..Sent::nothing() })
    }
}

/// A request body; without a source it is empty.
pub struct Sent {
    chunks: Option<mpsc::Receiver<io::Result<Bytes>>>,
    done: Option<Arc<Done>>,
    /// Count lines as they are sent, not as they are answered.
    with_lines: bool,
}

impl Sent {
    pub fn nothing() -> Self {
        Self { chunks: None, done: None, with_lines: false }
    }

    /// Tells how much of it was sent.
    pub fn counted(mut self, done: &Arc<Done>, with_lines: bool) -> Self {
        self.done = Some(Arc::clone(done));
        self.with_lines = with_lines;
        self
    }

    fn count(&self, chunk: &[u8]) {
        let Some(done) = &self.done else { return };
        done.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        if self.with_lines {
            let lines = chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            done.lines.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(chunks) = &mut self.chunks else { return Poll::Ready(None) };
        let chunk = std::task::ready!(chunks.poll_recv(context));
        if let Some(Ok(chunk)) = &chunk {
            self.count(chunk);
        }
        Poll::Ready(chunk.map(|read| read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_none()
    }
}

impl Client {
    /// Sends, and gives every line of a successful answer to `take`. What the last line must be is
    /// the caller's affair.
    pub fn transfer(
        &self,
        method: &Method,
        path: &str,
        body: Sent,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let (address, mut sender) = self.first_that_answers().await?;
            let broken = |detail: String| Failure::Answer { from: address.to_string(), detail };
            let (mut parts, _) = self.request(&address, method, path, None)?.into_parts();
            let ndjson = http::HeaderValue::from_static("application/x-ndjson");
            if body.chunks.is_some() {
                parts.headers.insert(header::CONTENT_TYPE, ndjson.clone());
            }
            parts.headers.insert(header::ACCEPT, ndjson);
            let answer = sender
                .send_request(http::Request::from_parts(parts, body))
                .await
                .map_err(|error| broken(error.to_string()))?;
            let (parts, body) = answer.into_parts();
            if !parts.status.is_success() {
                let document = http_body_util::Limited::new(body, DOCUMENT_BYTES_MAX).collect();
                let text = document.await.map(|body| body.to_bytes()).unwrap_or_default();
                let document = serde_json::from_slice(&text).ok();
                return Err(self.problem(&address, parts.status, document));
            }
            must_be_ours(&address, &parts.headers)?;
            read_lines(body, &broken, &mut take).await
        })
    }

    async fn first_that_answers(&self) -> Result<(Address, SendRequest<Sent>), Failure> {
        let mut tried = Vec::new();
        for address in &self.admin.addresses {
            match connect(address).await {
                Ok(sender) => return Ok((address.clone(), sender)),
                Err(ExchangeError::Connect(outcome)) => {
                    tried.push(Attempt { address: address.to_string(), outcome });
                }
                Err(ExchangeError::Broken(detail)) => {
                    return Err(Failure::Answer { from: address.to_string(), detail });
                }
            }
        }
        Err(self.unreachable(tried))
    }
}

async fn connect(address: &Address) -> Result<SendRequest<Sent>, ExchangeError> {
    let broken = |error: hyper::Error| ExchangeError::Broken(error.to_string());
    match address {
        Address::Tcp(authority) => {
            let stream = connected(TcpStream::connect(authority.as_str())).await?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
            // Ends with the sender or the peer; the exchange says what there is to say.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(sender)
        }
        Address::Unix(path) => {
            let stream = connected(UnixStream::connect(path)).await?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(sender)
        }
    }
}

async fn read_lines(
    mut body: Incoming,
    broken: &impl Fn(String) -> Failure,
    take: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut begun = Vec::new();
    loop {
        let frame = match tokio::time::timeout(STALLED, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(broken(error.to_string())),
            Ok(None) => break,
            Err(_) => return Err(broken("it stalled in the middle of its answer".to_owned())),
        };
        let Ok(data) = frame.into_data() else { continue };
        let mut parts = data.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            begun.extend_from_slice(part);
            if begun.len() > LINE_BYTES_MAX {
                return Err(broken("a line of its answer is too long".to_owned()));
            }
            if parts.peek().is_some() {
                take(&begun)?;
                begun.clear();
            }
        }
    }
    if begun.is_empty() { Ok(()) } else { take(&begun) }
}
