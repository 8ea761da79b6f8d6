//! The acceptor: one thread, one socket per address. Each new connection goes to the core that
//! serves the fewest; one wake-up a connection buys an even load and no connection lost when the
//! sockets change hands.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use super::core::{Accepted, Command};

/// A bound socket.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A core as the acceptor sees it.
pub struct Target {
    pub commands: mpsc::UnboundedSender<Command>,
    pub open: Arc<AtomicUsize>,
}

/// Accepts until told to stop; then the sockets are closed.
pub async fn run(
    listeners: Vec<Listener>,
    targets: Vec<Target>,
    connections_max: usize,
    stop: watch::Receiver<bool>,
) {
    let targets = Arc::new(targets);
    let mut tasks = tokio::task::JoinSet::new();
    for listener in listeners {
        let (targets, mut stop) = (Arc::clone(&targets), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = accept_all(listener, &targets, connections_max) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept_all(listener: Listener, targets: &[Target], connections_max: usize) {
    match listener {
        Listener::Tcp(listener) => {
            let accept = |listener: &TcpListener| {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, peer.ip()))
            };
            accept_from(listener, accept, targets, connections_max).await;
        }
        Listener::Unix(listener) => {
            let accept = |listener: &UnixListener| {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted::Unix(stream))
            };
            accept_from(listener, accept, targets, connections_max).await;
        }
    }
}

async fn accept_from<L: std::os::fd::AsRawFd>(
    listener: L,
    accept: impl Fn(&L) -> io::Result<Accepted>,
    targets: &[Target],
    connections_max: usize,
) {
    let listener = match AsyncFd::new(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be watched"),
    };
    loop {
        // At the limit new clients wait in the kernel's queue rather than take memory here.
        while open(targets) >= connections_max {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Ok(mut ready) = listener.readable().await else { return };
        match ready.try_io(|listener| accept(listener.get_ref())) {
            Ok(Ok(accepted)) => hand_over(accepted, targets),
            Ok(Err(error)) if is_of_client(&error) => {}
            Ok(Err(error)) => {
                // Out of file descriptors or memory: waiting is all that helps.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(_would_block) => {}
        }
    }
}

fn open(targets: &[Target]) -> usize {
    targets.iter().map(|target| target.open.load(Ordering::Relaxed)).sum()
}

/// The client was gone before we came.
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotConnected
    )
}

fn hand_over(accepted: Accepted, targets: &[Target]) {
    let least = targets.iter().min_by_key(|target| target.open.load(Ordering::Relaxed));
    if let Some(target) = least {
        target.open.fetch_add(1, Ordering::Relaxed);
        if target.commands.send(Command::Serve(accepted)).is_err() {
            target.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
