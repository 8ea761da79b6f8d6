//! A backend that speaks HTTP/2 with prior knowledge, or over TLS, through the `h2` library.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::eventually;

/// Runs until it is dropped. What it does is said by the path: see [`answer`].
pub struct Http2Backend {
    pub port: u16,
    pub seen: Arc<Seen>,
    _runtime: Runtime,
}

/// What it has seen.
pub struct Seen {
    pub connections: AtomicUsize,
    /// Requests to `/hold` that wait for the gate, and to `/crumbs` that are not sent whole.
    pub held: AtomicUsize,
    pub gate: watch::Sender<bool>,
    heads: Mutex<Vec<Request<()>>>,
    resets: Mutex<Vec<(String, Reason)>>,
    /// Paths of `once` that were asked for.
    refused: Mutex<HashSet<String>>,
}

impl Seen {
    pub fn heads(&self, path: &str) -> Vec<Request<()>> {
        let heads = self.heads.lock().unwrap();
        let of = |head: &&Request<()>| head.uri().path() == path;
        let copy = |head: &Request<()>| {
            let mut copy = Request::new(());
            *copy.uri_mut() = head.uri().clone();
            *copy.headers_mut() = head.headers().clone();
            copy
        };
        heads.iter().filter(of).map(copy).collect()
    }

    /// Waits until a request to this path was reset.
    #[track_caller]
    pub fn reset(&self, path: &str) -> Reason {
        eventually("its stream is reset", || {
            let resets = self.resets.lock().unwrap();
            resets.iter().find(|(of, _)| of == path).map(|(_, reason)| *reason)
        })
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Http2Backend {
    pub fn new() -> Self {
        Self::with(Builder::new(), None)
    }

    /// One that allows so many requests on a connection.
    pub fn allowing(streams: u32) -> Self {
        let mut builder = Builder::new();
        builder.max_concurrent_streams(streams);
        Self::with(builder, None)
    }

    pub fn with(builder: Builder, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen {
            connections: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            gate: watch::channel(false).0,
            heads: Mutex::default(),
            resets: Mutex::default(),
            refused: Mutex::default(),
        });
        let shared = Arc::clone(&seen);
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (seen, builder) = (Arc::clone(&shared), builder.clone());
                let acceptor = tls.clone().map(TlsAcceptor::from);
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, builder, seen).await,
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            serve(stream, builder, seen).await;
                        }
                    }
                });
            }
        });
        Self { port, seen, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn serve<S>(stream: S, builder: Builder, seen: Arc<Seen>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    seen.connections.fetch_add(1, Ordering::SeqCst);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, responder))) = connection.accept().await {
        if request.uri().path() == "/bye" {
            connection.graceful_shutdown();
        }
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            // A stream that is gone is a test's doing, and looked at there.
            let _ = answer(request, responder, &seen).await;
        });
    }
}

/// Says that all is well, and ends before the end.
async fn unended(mut responder: SendResponse<Bytes>, seen: &Seen) -> Result<(), h2::Error> {
    let mut stream = responder.send_response(Response::new(()), false)?;
    send_all(&mut stream, &Bytes::from_static(b"half")).await?;
    let _ = seen.gate.subscribe().wait_for(|open| *open).await;
    stream.send_reset(Reason::NO_ERROR);
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut responder: SendResponse<Bytes>,
    seen: &Seen,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let (parts, mut body) = request.into_parts();
    let mut head = Request::new(());
    *head.uri_mut() = parts.uri;
    *head.headers_mut() = parts.headers;
    seen.heads.lock().unwrap().push(head);
    let ok = Response::new(());
    match path.as_str() {
        "/hold" => {
            seen.held.fetch_add(1, Ordering::SeqCst);
            let _ = seen.gate.subscribe().wait_for(|open| *open).await;
            responder.send_response(ok, true)?;
        }
        "/endless" | "/endless/of/another" => {
            let mut stream = responder.send_response(ok, false)?;
            let reason = loop {
                let reset = std::future::poll_fn(|context| stream.poll_reset(context));
                let pause = std::time::Duration::from_millis(20);
                match tokio::time::timeout(pause, reset).await {
                    Ok(reason) => break reason?,
                    Err(_) => stream.send_data(Bytes::from_static(b"tick\n"), false)?,
                }
            };
            seen.resets.lock().unwrap().push((path, reason));
        }
        "/upload" => {
            let mut stream = responder.send_response(ok, false)?;
            stream.send_data(Bytes::from_static(b"go on\n"), false)?;
            while let Some(piece) = body.data().await {
                match piece {
                    Ok(piece) => body.flow_control().release_capacity(piece.len())?,
                    Err(error) => {
                        let reason = error.reason().unwrap_or(Reason::NO_ERROR);
                        seen.resets.lock().unwrap().push((path, reason));
                        return Err(error);
                    }
                }
            }
        }
        "/big" => {
            let mut stream = responder.send_response(ok, false)?;
            send_all(&mut stream, &Bytes::from(vec![b'x'; 4 << 20])).await?;
            stream.send_data(Bytes::new(), true)?;
        }
        // Messages of a few bytes, as fast as they are taken.
        "/crumbs" => {
            let mut stream = responder.send_response(ok, false)?;
            seen.held.fetch_add(1, Ordering::SeqCst);
            for _ in 0..9_000 {
                send_all(&mut stream, &Bytes::from_static(b"few")).await?;
            }
            seen.held.fetch_sub(1, Ordering::SeqCst);
            stream.send_data(Bytes::new(), true)?;
        }
        "/unended" => unended(responder, seen).await?,
        "/refused-once" | "/broken-once" if seen.refused.lock().unwrap().insert(path.clone()) => {
            let refused = path == "/refused-once";
            let reason = if refused { Reason::REFUSED_STREAM } else { Reason::INTERNAL_ERROR };
            responder.send_reset(reason);
        }
        _ => {
            let mut all = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                all.extend_from_slice(&piece);
            }
            let sent = body.trailers().await?.unwrap_or_default();
            let mut stream = responder.send_response(ok, false)?;
            send_all(&mut stream, &Bytes::from(all)).await?;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-answered", http::HeaderValue::from_static("yes"));
            if let Some(value) = sent.get("x-sent") {
                trailers.insert("x-seen", value.clone());
            }
            stream.send_trailers(trailers)?;
        }
    }
    Ok(())
}

/// As the other side makes room.
async fn send_all(stream: &mut SendStream<Bytes>, bytes: &Bytes) -> Result<(), h2::Error> {
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        // `None`: the stream was reset.
        let Some(room) = room else { return Ok(()) };
        match room?.min(rest.len()) {
            0 => tokio::task::yield_now().await,
            room => stream.send_data(rest.split_to(room), false)?,
        }
    }
    Ok(())
}
