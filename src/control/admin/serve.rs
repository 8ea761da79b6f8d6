//! Connections of the admin listeners: bounded in number and in time.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Api;
use super::caller::Peer;
use super::handle::handle;
use super::listener::AdminListener;

/// Connections at once, per listener: a full TCP listener leaves the unix socket usable.
pub(super) const CONNECTIONS_MAX: u32 = 256;
/// A head must be complete in this time; an idle connection ends with it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after the request under way at this age: a client that does not read its
/// answer holds its slot no longer. Others connect anew.
const AGE_MAX: Duration = Duration::from_secs(300);
/// Requests under way at the end get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until `shutdown` ends, then lets requests under way finish. Runs on the control plane's
/// own runtime.
pub async fn serve(
    listeners: Vec<AdminListener>,
    api: Arc<Api>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(false);
    let tasks: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(listener, Arc::clone(&api), stopped.clone())))
        .collect();
    shutdown.await;
    // Every task holds a receiver; with none left there is nobody to tell.
    let _ = stop.send(true);
    for task in tasks {
        // A task ends by itself; one that panicked has nothing left to finish.
        let _ = task.await;
    }
}

async fn accept(listener: AdminListener, api: Arc<Api>, mut stopped: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let mut listener = Some(listener);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
            match &listener {
                Some(listener) => accept_one(listener, slot).await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = is_set(&mut stopped) => break,
        };
        match accepted {
            Ok(Accepted::Tcp(stream, peer, slot)) => {
                tokio::spawn(connection(stream, peer, slot, Arc::clone(&api), stopped.clone()));
            }
            Ok(Accepted::Unix(stream, peer, slot)) => {
                tokio::spawn(connection(stream, peer, slot, Arc::clone(&api), stopped.clone()));
            }
            Err(fault) => {
                // A connection that was gone before it was taken, or no file descriptor left.
                tracing::warn!(target: "portcullis::admin", %fault, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Nobody connects any more; the socket's name goes.
    drop(listener.take());
    let all = slots.acquire_many(CONNECTIONS_MAX);
    if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
        tracing::warn!(target: "portcullis::admin", "requests were still under way at the end");
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream, Peer, OwnedSemaphorePermit),
    Unix(tokio::net::UnixStream, Peer, OwnedSemaphorePermit),
}

async fn accept_one(listener: &AdminListener, slot: OwnedSemaphorePermit) -> io::Result<Accepted> {
    match listener {
        AdminListener::Tcp(listener) => {
            let (stream, remote) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?.ip();
            Ok(Accepted::Tcp(stream, Peer::Tcp { remote: remote.ip(), local }, slot))
        }
        AdminListener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            Ok(Accepted::Unix(stream, Peer::Unix { uid }, slot))
        }
    }
}

async fn connection<S>(
    stream: S,
    peer: Peer,
    slot: OwnedSemaphorePermit,
    api: Arc<Api>,
    mut stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let underway = Underway::default();
    let streams = underway.clone();
    let service = service_fn(move |mut request: http::Request<_>| {
        let api = Arc::clone(&api);
        request.extensions_mut().insert(streams.clone());
        async move { Ok::<_, Infallible>(handle(&api, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let _slot = slot;
    // A client that breaks off is its own affair: both results are dropped.
    let aged = tokio::select! {
        _ = connection.as_mut() => return,
        () = is_set(&mut stopped) => false,
        () = tokio::time::sleep(AGE_MAX) => true,
    };
    connection.as_mut().graceful_shutdown();
    loop {
        let ended = tokio::time::timeout(DRAIN_TIMEOUT, connection.as_mut()).await.is_ok();
        // A stream has limits of its own for a client that stalls.
        if ended || !aged || !underway.is_busy() || *stopped.borrow() {
            break;
        }
    }
}

/// Kept by what streams over a connection, for as long as it does: a batch of a million lines may
/// take longer than a connection otherwise may.
#[derive(Clone, Default)]
pub(super) struct Underway(Arc<()>);

impl Underway {
    /// Besides the connection's own two.
    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.0) > 2
    }
}

/// Waits for the stop. An error says that the server is gone: that is a stop too.
async fn is_set(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
