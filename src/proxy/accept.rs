//! The acceptor: one thread, one socket per address. Each new connection goes to the core that
//! serves the fewest; one wake-up a connection buys an even load and no connection lost when the
//! sockets change hands.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::core::{Accepted, Command, Socket};

/// How long to wait when there is no room or the system has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(10);

/// A bound socket, not blocking, and which of the published entrances its connections take.
pub struct Listener {
    pub bound: Bound,
    pub entrance: usize,
}

pub enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A core as the acceptor sees it.
pub struct Target {
    pub commands: mpsc::UnboundedSender<Command>,
    pub open: Arc<AtomicUsize>,
}

/// The acceptor's thread; dropping or stopping it closes the sockets.
pub struct Acceptor {
    /// Closing this end wakes the thread and ends it.
    stop: UnixStream,
    thread: std::thread::JoinHandle<()>,
}

impl Acceptor {
    pub fn spawn(
        listeners: Vec<Listener>,
        targets: Vec<Target>,
        connections_max: usize,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let thread = std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
            if let Err(error) = run(&listeners, &targets, connections_max, &stopped) {
                tracing::error!(%error, "the acceptor has ended");
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Returns when the sockets are closed.
    pub fn stop(self) {
        drop(self.stop);
        self.thread.join().ok();
    }
}

fn run(
    listeners: &[Listener],
    targets: &[Target],
    connections_max: usize,
    stopped: &UnixStream,
) -> io::Result<()> {
    loop {
        // At the limit new clients wait in the kernel's queue rather than take memory here.
        let full = open(targets) >= connections_max;
        let watched = if full { &[] } else { listeners };
        let mut waits: Vec<PollFd<'_>> = vec![PollFd::new(stopped, PollFlags::IN)];
        waits.extend(
            watched
                .iter()
                .map(|listener| PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)),
        );
        let pause = Timespec::try_from(PAUSE).ok().filter(|_| full);
        match poll(&mut waits, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = waits.iter().map(|wait| !wait.revents().is_empty());
        if ready.next() == Some(true) {
            return Ok(());
        }
        for (listener, ready) in watched.iter().zip(ready) {
            if ready {
                accept_waiting(listener, targets, connections_max);
            }
        }
    }
}

/// Takes what waits on one socket, a bounded number at a time so that the others get their turn.
fn accept_waiting(listener: &Listener, targets: &[Target], connections_max: usize) {
    for _ in 0..64 {
        if open(targets) >= connections_max {
            return;
        }
        match listener.accept() {
            Ok(accepted) => hand_over(accepted, targets),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: waiting is all that helps.
                tracing::warn!(%error, "a connection could not be accepted");
                std::thread::sleep(PAUSE);
                return;
            }
        }
    }
}

impl Listener {
    fn accept(&self) -> io::Result<Accepted> {
        let socket = match &self.bound {
            Bound::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream, peer.ip())
            }
            Bound::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Socket::Unix(stream)
            }
        };
        Ok(Accepted { socket, entrance: self.entrance })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.bound {
            Bound::Tcp(listener) => listener.as_fd(),
            Bound::Unix(listener) => listener.as_fd(),
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
