//! The acceptor: one thread, one socket per address. Each new connection goes to the core that
//! serves the fewest; one wake-up a connection buys an even load and no connection lost when the
//! sockets change hands. Which sockets it serves may change while it runs.

mod pressure;

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::core::{Accepted, Command, Socket};
use super::entrance::Entrance;
use super::memory::Memory;
use super::place;
use crate::telemetry::counters::CoreCounters;

use pressure::Pressure;
pub use pressure::Room;

/// How long to wait when there is no room or the system has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(10);

/// A bound socket, not blocking.
pub enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket and how its connections begin. A reload gives a listener another entrance for the
/// connections that come then.
#[derive(Clone)]
pub struct Listener {
    pub bound: Arc<Bound>,
    pub entrance: Arc<Entrance>,
}

/// What is changed while it runs. The acceptor looks when it is woken.
struct Orders {
    /// `None`: nothing new.
    listeners: Option<Vec<Listener>>,
    stop: bool,
}

/// What the acceptor and its handle both see.
struct Desk {
    orders: Mutex<Orders>,
    connections_max: AtomicUsize,
    memory: Arc<Memory>,
}

/// A core as the acceptor sees it.
pub struct Target {
    pub commands: mpsc::UnboundedSender<Command>,
    pub open: Arc<AtomicUsize>,
    pub room: Arc<Room>,
}

/// The acceptor's thread; dropping or stopping it closes the sockets.
pub struct Acceptor {
    desk: Arc<Desk>,
    /// A byte wakes the thread; closing this end ends it.
    wake: UnixStream,
    thread: std::thread::JoinHandle<()>,
}

impl Acceptor {
    pub fn spawn(
        listeners: Vec<Listener>,
        targets: Vec<Target>,
        connections_max: usize,
        memory: Arc<Memory>,
        counters: CoreCounters,
    ) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let desk = Arc::new(Desk {
            orders: Mutex::new(Orders { listeners: Some(listeners), stop: false }),
            connections_max: AtomicUsize::new(connections_max),
            memory,
        });
        let seen = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
            if let Err(error) = run(&seen, &targets, &woken, Pressure::new(counters)) {
                tracing::error!(%error, "the acceptor has ended");
            }
        })?;
        Ok(Self { desk, wake, thread })
    }

    /// From now on these listeners and no others. What waits on one that goes is still taken.
    pub fn listen(&self, listeners: Vec<Listener>) {
        self.desk.orders.lock().listeners = Some(listeners);
        self.wake();
    }

    pub fn limit(&self, connections_max: usize) {
        self.desk.connections_max.store(connections_max, Ordering::Relaxed);
        self.wake();
    }

    /// Returns when the sockets are closed here.
    pub fn stop(self) {
        self.desk.orders.lock().stop = true;
        self.wake();
        drop(self.wake);
        self.thread.join().ok();
    }

    fn wake(&self) {
        // Full: it has been woken and has not looked yet.
        (&self.wake).write_all(&[1]).ok();
    }
}

fn run(
    desk: &Desk,
    targets: &[Target],
    woken: &UnixStream,
    mut pressure: Pressure,
) -> io::Result<()> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut look = true;
    loop {
        if std::mem::take(&mut look) {
            let (next, stop) = {
                let mut orders = desk.orders.lock();
                (orders.listeners.take(), orders.stop)
            };
            if let Some(next) = next {
                let gone = std::mem::replace(&mut listeners, next);
                let stays = |one: &Listener| {
                    listeners.iter().any(|other| Arc::ptr_eq(&one.bound, &other.bound))
                };
                gone.iter()
                    .filter(|one| !stays(one))
                    .for_each(|one| desk.accept_last(one, targets, &mut pressure));
            }
            if stop {
                listeners.iter().for_each(|one| desk.accept_last(one, targets, &mut pressure));
                return Ok(());
            }
        }
        // At the limit new clients wait in the kernel's queue for a moment, rather than take memory.
        let full = desk.is_full(targets);
        if full && pressure.is_on(targets, Instant::now()) {
            listeners.iter().for_each(|listener| pressure.turn_away(listener));
        }
        let watched: &[Listener] = if full { &[] } else { &listeners };
        let mut waits: Vec<PollFd<'_>> = vec![PollFd::new(woken, PollFlags::IN)];
        waits.extend(
            watched.iter().map(|one| PollFd::from_borrowed_fd(one.bound.as_fd(), PollFlags::IN)),
        );
        let pause = Timespec::try_from(PAUSE).ok().filter(|_| full);
        match poll(&mut waits, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = waits.iter().map(|wait| !wait.revents().is_empty());
        if ready.next() == Some(true) {
            look = true;
            let mut bytes = [0; 64];
            // Nothing to read means that the other end is gone, and with it the gateway.
            if let Ok(0) = (&*woken).read(&mut bytes) {
                desk.orders.lock().stop = true;
            }
        }
        let mut waiting = full;
        for (listener, ready) in watched.iter().zip(ready) {
            if ready {
                waiting |= desk.accept_waiting(listener, targets, &mut pressure);
            }
        }
        if !waiting {
            pressure.is_off();
        }
    }
}

impl Desk {
    fn is_full(&self, targets: &[Target]) -> bool {
        self.memory.is_short() || open(targets) >= self.connections_max.load(Ordering::Relaxed)
    }

    /// Those whose connection stands already are not turned away with the socket.
    fn accept_last(&self, listener: &Listener, targets: &[Target], pressure: &mut Pressure) {
        for _ in 0..64 {
            if self.is_full(targets) || !self.accept_waiting(listener, targets, pressure) {
                return;
            }
        }
    }

    /// Takes what waits on one socket, a bounded number at a time so that the others get their
    /// turn; `true`: more may wait.
    fn accept_waiting(
        &self,
        listener: &Listener,
        targets: &[Target],
        pressure: &mut Pressure,
    ) -> bool {
        for _ in 0..64 {
            if self.is_full(targets) {
                return true;
            }
            match listener.bound.accept() {
                Ok(socket) => {
                    let entrance = Arc::clone(&listener.entrance);
                    hand_over(Accepted { socket, entrance }, targets);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if is_of_client(&error) => {}
                Err(_) => {
                    // Out of file descriptors or memory.
                    if !pressure.out_of_descriptors(listener) {
                        std::thread::sleep(PAUSE);
                    }
                    return true;
                }
            }
        }
        true
    }
}

impl Bound {
    fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream, peer.ip()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Socket::Unix(stream))
            }
        }
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
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
        let entrance = Arc::clone(&accepted.entrance);
        place::take(&target.open, &entrance);
        if target.commands.send(Command::Serve(accepted)).is_err() {
            place::give_back(&target.open, &entrance);
        }
    }
}
