//! HTTP/2 connections of one core to servers: each carries as many requests as its server allows,
//! and only one is being opened at a time, so that a burst of requests does not open one each.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use crate::sockets::dial::ServerStream;
use crate::telemetry::counters::OpenConnection;
use crate::upstreams::Key;

use super::answer::{Fault, UpstreamFault};
use super::body::{RequestBody, Stop};

type Sender = hyper::client::conn::http2::SendRequest<RequestBody>;

/// Requests on a connection at the most, also where the server would take more.
const STREAMS_MAX: usize = 100;
/// What a stream may hold of an answer that its client does not take yet.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// More than all streams together: slow clients must not stop the others that share it. Half of it is
/// also what h2 lets small DATA frames cost that nobody has read yet, 256 bytes each, before it ends
/// the connection: all windows may be full of gRPC messages of a few bytes.
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024 * 1024;
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// A connection with requests is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the server's first settings are looked for.
const SETTINGS_LOOK: Duration = Duration::from_millis(1);
/// A server that chose HTTP/1.1 in the handshake is asked again after this.
const HTTP1_FOR: Duration = Duration::from_secs(60);

/// All of a core, by slot and serial.
#[derive(Default)]
pub struct Http2Pool(RefCell<HashMap<usize, Rc<Server>>>);

/// The connections to one endpoint.
pub struct Server {
    serial: u64,
    connections: RefCell<Vec<Rc<Multiplexed>>>,
    opening: Cell<bool>,
    opened: Notify,
    /// Why the last one could not be opened; for those who waited for it.
    fault: RefCell<Option<Fault>>,
    http1_until: Cell<Option<Instant>>,
}

struct Multiplexed {
    sender: Sender,
    /// Requests on it, answers that are still being read included.
    streams: Cell<usize>,
    /// What the server allows; 0 until it has said so.
    streams_max: Rc<Cell<usize>>,
    idle_since: Cell<Instant>,
}

/// A request's place on a connection.
pub struct Http2 {
    pub(super) sender: Sender,
    connection: Rc<Multiplexed>,
    /// Ends what is still being sent of the request when its answer is no longer wanted.
    pub(super) stop: Option<Rc<Stop>>,
    /// The connection had been there before.
    pub(super) reused: bool,
}

/// The task to open a connection; others wait until it is dropped.
pub struct Opening(Rc<Server>);

/// What [`Server::acquire`] came to.
pub enum Acquired {
    Stream(Http2),
    Open(Opening),
    /// The server speaks HTTP/1.1.
    Http1,
    /// Somebody else tried to open one.
    Failed(Fault),
}

impl Http2Pool {
    pub fn server(&self, key: Key) -> Rc<Server> {
        let mut servers = self.0.borrow_mut();
        if let Some(server) = servers.get(&key.slot).filter(|server| server.serial == key.serial) {
            return Rc::clone(server);
        }
        let server = Rc::new(Server {
            serial: key.serial,
            connections: RefCell::default(),
            opening: Cell::new(false),
            opened: Notify::new(),
            fault: RefCell::new(None),
            http1_until: Cell::new(None),
        });
        servers.insert(key.slot, Rc::clone(&server));
        server
    }

    /// Whose connections have no request.
    pub fn each_idle(&self, mut count: impl FnMut(Key)) {
        for (slot, server) in self.0.borrow().iter() {
            let connections = server.connections.borrow();
            let idle = connections.iter().filter(|connection| connection.streams.get() == 0);
            idle.for_each(|_| count(Key { slot: *slot, serial: server.serial }));
        }
    }

    /// Closes connections without requests that were idle too long, or whose endpoint is no more.
    pub fn sweep(&self, timeout_of: impl Fn(Key) -> Option<Duration>) {
        let now = Instant::now();
        self.0.borrow_mut().retain(|slot, server| {
            let timeout = timeout_of(Key { slot: *slot, serial: server.serial });
            server.connections.borrow_mut().retain(|connection| {
                let keep = timeout.is_some_and(|timeout| {
                    connection.streams.get() > 0
                        || now.duration_since(connection.idle_since.get()) < timeout
                });
                keep && !connection.sender.is_closed()
            });
            timeout.is_some()
        });
    }
}

impl Server {
    /// A stream on a connection that has room, or the task to open one. Waits while another
    /// request does that.
    pub async fn acquire(self: &Rc<Self>) -> Acquired {
        let mut waited = false;
        loop {
            let opened = self.opened.notified();
            if let Some(until) = self.http1_until.get() {
                if Instant::now() < until {
                    return Acquired::Http1;
                }
                self.http1_until.set(None);
            }
            if let Some(stream) = self.stream() {
                return Acquired::Stream(stream);
            }
            if waited && let Some(fault) = self.fault.borrow().clone() {
                return Acquired::Failed(fault);
            }
            if !self.opening.replace(true) {
                self.fault.replace(None);
                return Acquired::Open(Opening(Rc::clone(self)));
            }
            opened.await;
            waited = true;
        }
    }

    fn stream(&self) -> Option<Http2> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.sender.is_closed());
        let room = |connection: &&Rc<Multiplexed>| {
            let most = connection.streams_max.get().min(STREAMS_MAX);
            connection.sender.is_ready() && connection.streams.get() < most
        };
        connections.iter().find(room).map(Multiplexed::stream)
    }

    /// A connection that no longer takes requests. Those that it has go on.
    pub fn forget(&self, stream: &Http2) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !Rc::ptr_eq(connection, &stream.connection));
    }
}

impl Multiplexed {
    fn stream(self: &Rc<Self>) -> Http2 {
        self.streams.set(self.streams.get() + 1);
        let (sender, connection) = (self.sender.clone(), Rc::clone(self));
        Http2 { sender, connection, stop: None, reused: true }
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.now();
        }
        let streams = &self.connection.streams;
        streams.set(streams.get().saturating_sub(1));
        self.connection.idle_since.set(Instant::now());
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.opened.notify_waiters();
    }
}

impl Opening {
    pub fn chose_http1(&self) {
        self.0.http1_until.set(Some(Instant::now() + HTTP1_FOR));
    }

    pub fn failed(&self, fault: Fault) {
        self.0.fault.replace(Some(fault));
    }

    /// Begins HTTP/2 and waits for the server's settings: a request that is sent before them may be
    /// one more than it takes. The driver runs on this core until either side closes.
    pub async fn begin(&self, stream: ServerStream, open: OpenConnection) -> Result<Http2, Fault> {
        let (sender, mut driver) = hyper::client::conn::http2::Builder::new(OnThisCore)
            .timer(TokioTimer::new())
            .initial_max_send_streams(0)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_BYTES_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::because(UpstreamFault::Broken, error))?;
        let streams_max = Rc::new(Cell::new(0));
        let told = Rc::new(Notify::new());
        let (most, tell) = (Rc::clone(&streams_max), Rc::clone(&told));
        // hyper reads the settings in a task of its own, which does not wake this one.
        let mut look = Some(tokio::time::interval(SETTINGS_LOOK));
        // Its errors reach the requests that suffer them.
        let driving = std::future::poll_fn(move |context| {
            let polled = Pin::new(&mut driver).poll(context);
            let allowed = driver.current_max_send_streams();
            if allowed > 0 {
                look = None;
            } else if let Some(look) = &mut look {
                while look.poll_tick(context).is_ready() {}
            }
            if most.replace(allowed) == 0 && allowed > 0 || polled.is_ready() {
                tell.notify_one();
            }
            polled.map(|_| ())
        });
        tokio::task::spawn_local(async move {
            driving.await;
            drop(open);
        });
        told.notified().await;
        if sender.is_closed() || streams_max.get() == 0 {
            let why = "it did not begin HTTP/2";
            return Err(Fault::because(UpstreamFault::Broken, why));
        }
        let connection = Rc::new(Multiplexed {
            sender,
            streams: Cell::new(0),
            streams_max,
            idle_since: Cell::new(Instant::now()),
        });
        let mut stream = connection.stream();
        stream.reused = false;
        self.0.connections.borrow_mut().push(connection);
        Ok(stream)
    }
}

#[derive(Clone, Copy)]
struct OnThisCore;

impl<F> hyper::rt::Executor<F> for OnThisCore
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
