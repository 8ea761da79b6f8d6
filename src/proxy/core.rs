//! A core: one thread, one single-threaded runtime, and everything a request on it needs. From the
//! hand-over of its connection to the end of its answer a request lives on one core; nothing on its
//! way is shared with another but the published state.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::clock::UnixMs;
use crate::denylist::Fingerprint;
use crate::telemetry::access::CoreLog;
use crate::telemetry::counters::{Closed, CoreCounters, Counters, Limit};
use crate::telemetry::streams::Question;
use crate::telemetry::trace::{CoreTracer, Tracer};
use crate::telemetry::{CoreObserver, Observer};
use crate::upstreams::Key;

pub use super::accepted::{Accepted, Socket};

use super::accept::{Room, Target};
use super::assertion;
use super::connection::{Connection, Peer};
use super::entrance::Entrance;
use super::memory::Memory;
use super::nudge::Places;
use super::place::Place;
use super::pool::Pool;
use super::published::{Published, Snapshot};
use super::request_ids::RequestIds;
use super::seats::Seats;
use super::serve::serve;
use super::streams::{self, Streams, Turn};
use super::turnstile::Turnstile;
use super::upstream_h2::Http2Pool;
use crate::desk::Desk;

/// How often log lines are handed on and old connections looked for.
const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_SWEEP: u32 = 10;
/// An RSA signature takes about a millisecond.
const HANDSHAKES_PER_TURN: usize = 4;
/// Checking a signature takes a tenth of a millisecond, a few tenths on larger curves.
const VERIFICATIONS_PER_TURN: usize = 8;

/// State of one core; never leaves its thread.
pub struct Core {
    swap: Arc<ArcSwap<Published>>,
    current: RefCell<Rc<Snapshot>>,
    pub(super) pool: Pool,
    pub(super) http2: Http2Pool,
    pub(super) log: CoreLog,
    pub(super) observer: CoreObserver,
    pub(super) desk: Desk,
    pub(super) counters: CoreCounters,
    pub(super) tracer: CoreTracer,
    pub(super) ids: RequestIds,
    pub(super) streams: Streams,
    /// What it vouched with lately.
    pub(super) assertions: assertion::Memo,
    /// Places of requests that wait for keys.
    pub(super) waiting: Places,
    draining: Cell<bool>,
    retiring: Cell<bool>,
    /// In flight.
    pub(super) requests: Cell<usize>,
    connections: RefCell<Vec<Rc<Connection>>>,
    open: Arc<AtomicUsize>,
    room: Arc<Room>,
    seats: Arc<Seats>,
    pub(super) memory: Arc<Memory>,
    /// TLS handshakes wait here for their turn.
    pub(super) handshakes: Rc<Turnstile>,
    /// Tokens whose signature is not remembered wait here for theirs.
    pub(super) verifications: Rc<Turnstile>,
    beginnings_refused: Cell<u64>,
}

/// What a core is told.
pub enum Command {
    Serve(Accepted),
    /// These selectors changed in the hot table, then.
    Changed(Arc<[Fingerprint]>, Instant),
    /// Other state is published, or other keys: open streams are asked whether they may go on.
    Republished,
    /// There is no place left: who idles longest is to go.
    MakeRoom,
    /// About its open streams.
    Ask(Question),
    /// Somebody is about to say what was seen, and waits for what this core saw.
    Report(oneshot::Sender<()>),
    /// Another process accepts from now on. What is open goes on: a connection of HTTP/1.1 ends
    /// with its next answer, one of HTTP/2 is told to begin nothing new, streams are left alone.
    Retire,
    /// Finish the requests in flight, then end.
    Drain,
    /// The time for that is over: what is open is cut.
    BreakOff,
}

/// The handle of a running core.
pub struct CoreHandle {
    pub commands: mpsc::UnboundedSender<Command>,
    /// Connections it serves; the acceptor's measure of load.
    pub open: Arc<AtomicUsize>,
    pub room: Arc<Room>,
    /// Counts up while it turns.
    pub beat: Arc<AtomicU64>,
    pub thread: std::thread::JoinHandle<()>,
}

impl CoreHandle {
    /// The core as the acceptor sees it.
    pub fn target(&self) -> Target {
        Target {
            commands: self.commands.clone(),
            open: Arc::clone(&self.open),
            room: Arc::clone(&self.room),
        }
    }
}

/// What every core is started with.
#[derive(Clone)]
pub struct Shared {
    pub published: Arc<ArcSwap<Published>>,
    pub observer: Observer,
    pub counters: Counters,
    pub tracer: Tracer,
    pub log: crate::telemetry::access::AccessLogWriter,
    /// Connections by address.
    pub seats: Arc<Seats>,
    pub memory: Arc<Memory>,
    /// For what a request must ask of the control plane.
    pub desk: Desk,
}

/// Starts a core on its own thread.
pub fn spawn(index: usize, shared: Shared) -> std::io::Result<CoreHandle> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (open, room) = (Arc::new(AtomicUsize::new(0)), Arc::<Room>::default());
    let load = (Arc::clone(&open), Arc::clone(&room));
    let beat = Arc::new(AtomicU64::new(0));
    let beating = Arc::clone(&beat);
    let thread = std::thread::Builder::new().name(format!("data-{index}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(run(index, shared, load, &beating, inbox)),
            Err(error) => tracing::error!(%error, "a data-plane thread has no runtime"),
        }
    })?;
    Ok(CoreHandle { commands, open, room, beat, thread })
}

async fn run(
    index: usize,
    shared: Shared,
    (open, room): (Arc<AtomicUsize>, Arc<Room>),
    beat: &AtomicU64,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) {
    let current = RefCell::new(Rc::new(Snapshot(shared.published.load_full())));
    let core = Rc::new(Core {
        swap: shared.published,
        current,
        pool: Pool::default(),
        http2: Http2Pool::default(),
        log: shared.log.core_log(),
        observer: shared.observer.core_observer(),
        desk: shared.desk,
        counters: shared.counters.core_counters(),
        tracer: shared.tracer.core_tracer(),
        ids: RequestIds::new(index),
        streams: Streams::new(index),
        assertions: assertion::Memo::default(),
        waiting: Places::default(),
        draining: Cell::new(false),
        retiring: Cell::new(false),
        requests: Cell::new(0),
        connections: RefCell::default(),
        open,
        room,
        seats: shared.seats,
        memory: shared.memory,
        handshakes: Turnstile::new(HANDSHAKES_PER_TURN),
        verifications: Turnstile::new(VERIFICATIONS_PER_TURN),
        beginnings_refused: Cell::new(0),
    });
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pulse = tokio::time::interval(streams::YOUTH);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    let mut pulsing = false;
    loop {
        let turn = core.streams.turn(&core.published(), &core.counters);
        tokio::select! {
            command = inbox.recv() => match command {
                Some(command) => core.obey(command),
                // The gateway is gone: its deadline has passed.
                None => break,
            },
            () = core.streams.arrived.notified(), if !pulsing => {
                pulsing = true;
                pulse.reset();
            }
            _ = pulse.tick(), if pulsing => {
                core.streams.enter_lasting(&core.published(), &core.counters, UnixMs::now());
                pulsing = core.streams.has_young();
            }
            _ = tick.tick() => {
                ticks = ticks.wrapping_add(1);
                beat.fetch_add(1, Ordering::Relaxed);
                core.log.flush();
                core.observer.report();
                core.look_at_streams();
                core.tracer.flush();
                if ticks.is_multiple_of(TICKS_PER_SWEEP) {
                    core.log.summarise(UnixMs::now());
                    core.sweep();
                }
            }
            () = tokio::task::yield_now(), if turn == Turn::More => {}
            () = core.streams.pace.room.notified(), if turn == Turn::Full => {}
        }
        if core.draining.get() && core.open.load(Ordering::Relaxed) == 0 {
            break;
        }
    }
    core.log.flush();
}

impl Core {
    /// The published state of this moment. A request takes it once and keeps it.
    pub fn published(&self) -> Rc<Snapshot> {
        let latest = self.swap.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(&latest, &current.0) {
            *current = Rc::new(Snapshot(Arc::clone(&latest)));
            self.streams.republished();
        }
        Rc::clone(&current)
    }

    /// The place of a connection that the acceptor has counted already.
    pub(super) fn placed(&self, entrance: &Arc<Entrance>) -> Place {
        Place::taken(&self.open, entrance)
    }

    /// One more connection of this peer. `false`: it has as many as one address may have.
    pub(super) fn seat(&self, place: &Place, peer: Peer) -> bool {
        let published = self.published();
        let max = published.limits.connections_per_address;
        let Some(address) = peer.address() else { return true };
        if max == 0 || published.trusted_proxies.list(address) {
            return true;
        }
        let Some(seat) = self.seats.take(address, max) else {
            self.counters.shed(Limit::AddressConnections);
            self.refuse_beginning("its address has `limits.connections_per_address`", peer);
            return false;
        };
        place.sit(seat);
        true
    }

    /// From here the sweeper looks after it.
    pub(super) fn watch(&self, connection: &Rc<Connection>) {
        connection.trust(&self.published().trusted_proxies);
        self.connections.borrow_mut().push(Rc::clone(connection));
    }

    /// A connection ends before its first request. The first of them is told, and then few: a
    /// stranger chooses how many there are.
    pub(super) fn refuse_beginning(&self, why: &str, peer: Peer) {
        let count = self.beginnings_refused.get() + 1;
        self.beginnings_refused.set(count);
        if count.is_power_of_two() {
            let peer = peer.address().map(tracing::field::display);
            tracing::warn!(peer, count, "a connection was refused: {why}");
        }
    }

    /// Connections that are open here.
    pub(super) fn clients(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.get()
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Serve(accepted) => serve(self, accepted),
            Command::Changed(marks, at) => self.streams.changed(&marks, at),
            Command::Republished => self.republished(),
            Command::MakeRoom => self.make_room(),
            Command::Ask(question) => self.streams.answer(question),
            Command::Report(remembered) => self.observer.report_to(remembered),
            Command::Retire => self.retire(),
            Command::Drain => self.drain(),
            Command::BreakOff => self.streams.break_off(),
        }
    }

    /// With every tick: what is due, and whether the keys are others.
    fn look_at_streams(&self) {
        self.streams.pace.go_on();
        self.streams.gather_due(UnixMs::now());
        self.streams.look_at_keys(&self.published().verifier);
    }

    fn retire(&self) {
        self.retiring.set(true);
        for connection in self.connections.borrow().iter() {
            connection.wake();
        }
    }

    fn drain(&self) {
        self.draining.set(true);
        self.streams.drain();
        for connection in self.connections.borrow().iter() {
            connection.wake();
        }
    }

    /// Requests take what is published by themselves; what lasts longer than one is looked at here.
    fn republished(&self) {
        let published = self.published();
        self.streams.republished();
        for connection in self.connections.borrow().iter() {
            connection.trust(&published.trusted_proxies);
        }
    }

    /// Closes some of the connections that idle longest, and says whether there were any.
    fn make_room(&self) {
        let now = Instant::now();
        let connections = self.connections.borrow();
        let mut idle: Vec<(Instant, &Rc<Connection>)> = connections
            .iter()
            .filter_map(|connection| Some((connection.idles_since(now)?, connection)))
            .collect();
        // So few that the others are not punished, so many that this is seldom done.
        let some = (connections.len() / 64).max(1);
        if idle.len() > some {
            idle.select_nth_unstable_by_key(some, |(since, _)| *since);
            idle.truncate(some);
        }
        for (_, connection) in &idle {
            if connection.give_way() {
                self.counters.closed(Closed::Room);
            }
        }
        self.room.none.store(idle.is_empty(), Ordering::Release);
        self.room.asked.store(false, Ordering::Release);
    }

    /// Closes connections that idle too long or send their header too slowly.
    fn sweep(&self) {
        let published = self.published();
        self.assertions.sweep(UnixMs::now());
        self.connections.borrow_mut().retain(|connection| !connection.has_ended());
        let now = Instant::now();
        for connection in self.connections.borrow().iter() {
            connection.examine(now, &published.limits, |cause| self.counters.closed(cause));
        }
        let endpoints = published.endpoints();
        let upstream_of = |key: Key| {
            let (_, upstream) = endpoints.get(&key.slot).filter(|(of, _)| *of == key.serial)?;
            Some(*upstream)
        };
        let timeout_of = |key| Some(upstream_of(key)?.config().idle_timeout);
        self.pool.sweep(timeout_of);
        self.http2.sweep(timeout_of);
        let mut idle: HashMap<&str, u64> = HashMap::new();
        let mut count = |key| {
            if let Some(upstream) = upstream_of(key) {
                *idle.entry(&upstream.name).or_default() += 1;
            }
        };
        self.pool.each_idle(&mut count);
        self.http2.each_idle(&mut count);
        self.counters.idle(&idle);
    }
}
