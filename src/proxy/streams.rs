//! Exchanges that last: WebSockets, event streams, long downloads and uploads. Each keeps the marks
//! of the token that opened it, so that a denial, an expiry or a removed key ends it.
//!
//! Nothing slips between: writers change the hot table first and tell the cores then; an exchange
//! is entered first and asks the table once more then. An exchange younger than [`YOUTH`] is in a
//! queue only, so that a short request pays for no index; it is entered, and asks, when it leaves
//! the queue. A denial costs what it hits: streams are indexed by every mark.

mod asked;
mod cause;
mod events;
mod grace;
mod held;
mod index;
mod leaving;
mod pace;
mod policy;
mod rebase;
mod recheck;
mod turns;
mod young;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::telemetry::counters::CoreCounters;
use crate::telemetry::streams::{StreamId, StreamKind};
use crate::verify::Signed;

use super::client_address::Client;
use super::connection::Connection;
pub use cause::Cause;
pub use events::{Events, Parting};
use held::Held;
use index::Index;
use leaving::Leaving;
use pace::Pace;
pub use policy::StreamPolicy;
use rebase::Next;
pub use turns::Turn;
use turns::{Tally, Task};

/// How long an exchange must last to be indexed; with the core's pulse this bounds how much later
/// than others a young one is cut.
pub const YOUTH: Duration = Duration::from_millis(15);

/// What was asked for, so that new routes can be asked about it.
#[derive(Clone, Debug)]
pub struct Origin {
    pub method: Method,
    pub host: Option<HeaderValue>,
    pub target: Option<PathAndQuery>,
    /// Those that routes select by, and what a tunnel was switched to.
    pub headers: HeaderMap,
}

/// One lasting exchange. Shared by the exchange, the index and whoever moves its bytes.
pub struct Stream {
    id: StreamId,
    held: Held,
    policy: RefCell<Arc<StreamPolicy>>,
    connection: Rc<Connection>,
    client: Option<IpAddr>,
    origin: OnceCell<Origin>,
    opened_at: UnixMs,
    kind: Cell<StreamKind>,
    state: Cell<State>,
    /// The published state under which it was permitted, or looked at since.
    generation: Cell<u64>,
    cause: Cell<Option<Cause>>,
    /// Since when a change of the table wants it cut.
    wanted_since: Cell<Option<Instant>>,
    /// An operator who waits until it has ended.
    awaited: Cell<Option<oneshot::Sender<bool>>>,
    /// To be cut, but not before: its route's grace.
    doom: Cell<Option<UnixMs>>,
    /// Its entry among what is due.
    due: Cell<Option<UnixMs>>,
    /// The request's body has not come whole.
    uploading: Cell<bool>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    /// Bytes moved when it was looked at last, and when they were no more.
    idle: Cell<(u64, UnixMs)>,
    waker: RefCell<Option<Waker>>,
    /// Of the request's body on its way to the upstream.
    upload: RefCell<Option<Waker>>,
    pace: Rc<Pace>,
    /// What we say ourselves on an event stream.
    events: OnceCell<Events>,
    /// The token that its session got while it waited for its answer.
    next: RefCell<Option<Box<Next>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Young,
    Indexed,
    Ended,
}

/// All streams of one core.
pub struct Streams {
    core: usize,
    young: RefCell<VecDeque<Rc<Stream>>>,
    index: RefCell<Index>,
    next_count: Cell<u64>,
    generation: Cell<u64>,
    /// Of the key sets that were published when it was looked last.
    keys: Cell<u64>,
    /// Told when the queue of the young is no longer empty.
    pub arrived: tokio::sync::Notify,
    work: RefCell<VecDeque<Task>>,
    tallies: RefCell<VecDeque<Tally>>,
    leaving: Cell<Leaving>,
    pub(super) pace: Rc<Pace>,
}

impl Stream {
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get()
    }

    /// It is to end, and has not yet.
    pub fn is_cut(&self) -> bool {
        self.cause.get().is_some() && self.state.get() != State::Ended
    }

    pub fn kind(&self) -> StreamKind {
        self.kind.get()
    }

    pub fn policy(&self) -> Arc<StreamPolicy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Ends it: whoever moves its bytes is woken and finds the cause. `false`: it had ended.
    pub fn cut(&self, cause: Cause) -> bool {
        if self.cause.get().is_some() || self.state.get() == State::Ended {
            return false;
        }
        self.cause.set(Some(cause));
        if let Some(upload) = self.upload.take() {
            upload.wake();
        }
        if let Some(waker) = self.waker.borrow().as_ref() {
            self.pace.wait_for_one();
            self.connection.stream_cut();
            waker.wake_by_ref();
        }
        true
    }

    /// The same, for somebody who waits until its client was told.
    fn cut_and_tell(&self, cause: Cause, waiting: oneshot::Sender<bool>) {
        if self.cut(cause) {
            self.awaited.set(Some(waiting));
        } else {
            // Whoever asked may have gone.
            waiting.send(false).ok();
        }
    }

    /// Whoever moves its bytes has seen that it is cut.
    pub fn seen_cut(&self) {
        if self.waker.borrow_mut().take().is_some() {
            self.pace.one_has_seen();
            self.connection.cut_seen();
        }
    }

    /// Whoever moves its bytes has something to say.
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Who is to be woken by a cut.
    pub fn watch(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    /// The same for the request's body.
    pub fn watch_upload(&self, context: &Context<'_>) {
        let mut waker = self.upload.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    /// The future's result, unless the stream is cut first.
    /// It is lent: what is passed by value is kept twice, before and after it is pinned.
    pub async fn unless_cut<T>(
        &self,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Cause> {
        std::future::poll_fn(|context| {
            if let Some(cause) = self.cause() {
                self.seen_cut();
                return Poll::Ready(Err(cause));
            }
            self.watch(context);
            future.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Bytes went to the upstream and to the client.
    pub fn moved(&self, inward: u64, outward: u64) {
        self.bytes_in.set(self.bytes_in.get() + inward);
        self.bytes_out.set(self.bytes_out.get() + outward);
    }

    /// The request's body is on its way, or has come whole.
    pub fn uploads(&self, uploading: bool) {
        self.uploading.set(uploading);
    }

    /// The request is there, and nothing moves until its answer comes.
    fn waits_for_answer(&self) -> bool {
        self.kind.get() == StreamKind::Request && !self.uploading.get()
    }

    /// The client was told, or its connection is gone: the time since the denial counts.
    pub fn told(&self, counters: &CoreCounters) {
        if let Some(since) = self.wanted_since.take() {
            counters.cut_took(since.elapsed());
        }
        if let Some(awaited) = self.awaited.take() {
            awaited.send(true).ok();
        }
    }

    /// From here it can be asked about when routes change.
    pub fn came_from(&self, origin: impl FnOnce() -> Origin) {
        self.origin.get_or_init(origin);
    }

    /// An event stream to which we may say something.
    pub fn events(&self) -> Option<&Events> {
        self.events.get()
    }

    fn id(&self) -> u64 {
        self.id.0
    }

    fn is_to_end(&self) -> bool {
        self.cause.get().is_some() || self.doom.get().is_some()
    }
}

impl Streams {
    pub fn new(core: usize) -> Self {
        Self {
            core,
            young: RefCell::default(),
            index: RefCell::default(),
            next_count: Cell::new(StreamId::first_count()),
            generation: Cell::new(0),
            keys: Cell::new(0),
            arrived: tokio::sync::Notify::new(),
            work: RefCell::default(),
            tallies: RefCell::default(),
            leaving: Cell::default(),
            pace: Rc::default(),
        }
    }

    /// Counts up with each state that is published: what an exchange was permitted under.
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// A new exchange of whoever the token names, or of nobody in particular, which was permitted in
    /// this generation. It must be given back with [`Self::end`].
    pub fn open(
        &self,
        token: Option<Arc<Signed>>,
        policy: &Arc<StreamPolicy>,
        (connection, client): (&Rc<Connection>, Client),
        (now, generation): (UnixMs, u64),
    ) -> Rc<Stream> {
        let count = self.next_count.replace(self.next_count.get() + 1);
        let stream = Rc::new(Stream {
            id: StreamId::new(self.core, count),
            held: Held::new(token),
            policy: RefCell::new(Arc::clone(policy)),
            connection: Rc::clone(connection),
            client: client.address(),
            origin: OnceCell::new(),
            opened_at: now,
            kind: Cell::new(StreamKind::Request),
            state: Cell::new(State::Young),
            generation: Cell::new(generation),
            cause: Cell::new(None),
            wanted_since: Cell::new(None),
            awaited: Cell::new(None),
            doom: Cell::new(None),
            due: Cell::new(None),
            uploading: Cell::new(false),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            idle: Cell::new((0, now)),
            waker: RefCell::new(None),
            upload: RefCell::new(None),
            pace: Rc::clone(&self.pace),
            events: OnceCell::new(),
            next: RefCell::default(),
        });
        let mut young = self.young.borrow_mut();
        if young.is_empty() {
            self.arrived.notify_one();
        }
        young.push_back(Rc::clone(&stream));
        stream
    }

    /// What it turned out to be.
    pub fn became(&self, stream: &Stream, kind: StreamKind, counters: &CoreCounters) {
        if stream.state.get() == State::Indexed {
            let policy = stream.policy.borrow();
            counters.stream_ended(&policy.route, stream.kind.get());
            counters.stream_opened(&policy.route, kind);
        }
        stream.kind.set(kind);
        if stream.state.get() == State::Indexed {
            self.schedule(stream, UnixMs::now());
        }
        let missed = stream.generation.get() != self.generation.get();
        if (missed || stream.next.borrow().is_some()) && stream.origin.get().is_some() {
            self.work.borrow_mut().push_back(Task::Follow(stream.id()));
        }
        self.tell_of_drain(stream);
    }

    /// It is an event stream between whose events others can be put.
    pub fn speaks_in_events(&self, stream: &Stream) {
        let policy = stream.policy();
        if policy.last_event || policy.reauth_margin.is_some() {
            stream.events.get_or_init(|| Events::new(policy.last_event));
        }
    }

    pub fn end(&self, stream: &Stream, counters: &CoreCounters) {
        if stream.state.replace(State::Ended) == State::Indexed {
            self.index.borrow_mut().remove(stream);
            counters.stream_ended(&stream.policy.borrow().route, stream.kind.get());
        }
        if let Some(cause) = stream.cause.get() {
            counters.stream_cut(&stream.policy.borrow().route, cause.plain());
            stream.told(counters);
            stream.seen_cut();
        }
        stream.waker.replace(None);
        stream.upload.replace(None);
    }

    pub fn has_young(&self) -> bool {
        !self.young.borrow().is_empty()
    }
}
