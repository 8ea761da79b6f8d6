//! A client's connection, as its requests and the core's sweeper see it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use base64::Engine as _;
use http::HeaderValue;

use crate::config::{Limits, TrustedProxies};
use crate::telemetry::counters::Closed;

use super::client_body::Received;
use super::h2::{Examined, Guard};
use super::io::Activity;
pub use super::peer::Peer;
use super::place::Place;

/// A request may be on its way to a connection that has just become idle.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// How long a connection is idle before it rests: busy ones never are.
const REST_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub struct Connection {
    pub peer: Peer,
    pub peer_text: HeaderValue,
    trusted: Cell<bool>,
    /// `https` where the connection has TLS, else `http`.
    pub scheme: &'static str,
    /// `Strict-Transport-Security` for its answers.
    pub hsts: Option<HeaderValue>,
    /// `Client-Cert` for the backend (RFC 9440).
    pub client_cert: Option<HeaderValue>,
    activity: Arc<Activity>,
    /// Until its serving task ends.
    place: RefCell<Option<Rc<Place>>>,
    busy: Cell<u32>,
    /// When it last became idle, and how many reads there had been.
    idle_since: Cell<Instant>,
    idle_reads: Cell<u32>,
    /// When the sweeper first saw part of a header.
    head_since: Cell<Option<Instant>>,
    /// The stall that the sweeper saw last, and since when.
    stall: Cell<(u32, Instant)>,
    served: Cell<bool>,
    close: Cell<bool>,
    leaving: Cell<bool>,
    /// Streams on it that were cut and have not seen it.
    cuts_unseen: Cell<u32>,
    /// One answer after the other: a cut of one is the end of all.
    in_turn: Cell<bool>,
    /// The sweeper found it idle: what serves it may let it rest.
    rest: Cell<bool>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// It speaks HTTP/2: each exchange is a stream of it.
    multiplexed: Cell<bool>,
    /// Streams whose client takes nothing.
    stalled: RefCell<Vec<Rc<Guard>>>,
    /// Of its last request that had one: as long as somebody has it, what comes is part of it.
    body: RefCell<Weak<Received>>,
    /// Exchanges that the client gave up since the last sweep.
    resets: Cell<usize>,
    resets_max: Cell<usize>,
}

impl Connection {
    pub(super) fn new(peer: Peer, activity: Arc<Activity>, place: Option<Place>) -> Self {
        Self {
            peer,
            peer_text: peer.text(),
            trusted: Cell::new(false),
            scheme: "http",
            hsts: None,
            client_cert: None,
            activity,
            place: RefCell::new(place.map(Rc::new)),
            busy: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            idle_reads: Cell::new(0),
            head_since: Cell::new(None),
            stall: Cell::new((0, Instant::now())),
            served: Cell::new(false),
            close: Cell::new(false),
            leaving: Cell::new(false),
            cuts_unseen: Cell::new(0),
            in_turn: Cell::new(false),
            rest: Cell::new(false),
            ended: Cell::new(false),
            waker: RefCell::new(None),
            multiplexed: Cell::new(false),
            stalled: RefCell::default(),
            body: RefCell::default(),
            resets: Cell::new(0),
            resets_max: Cell::new(usize::MAX),
        }
    }

    /// The peer is a listed proxy: what it says of the client is believed.
    pub fn is_trusted(&self) -> bool {
        self.trusted.get()
    }

    pub(super) fn trust(&self, proxies: &TrustedProxies) {
        self.trusted.set(match self.peer {
            Peer::Address(address) => proxies.list(address),
            Peer::Unix => proxies.unix,
            Peer::Unknown => false,
        });
    }

    /// The connection has TLS; `client` is the certificate that the client showed, in DER.
    pub(super) fn secure(&mut self, hsts: Option<HeaderValue>, client: Option<&[u8]>) {
        self.scheme = "https";
        self.hsts = hsts;
        self.client_cert = client.and_then(|der| {
            let base64 = base64::engine::general_purpose::STANDARD.encode(der);
            HeaderValue::try_from(format!(":{base64}:")).ok()
        });
    }

    pub(super) fn begin_request(&self) {
        self.busy.set(self.busy.get() + 1);
        self.served.set(true);
        self.head_since.set(None);
    }

    pub(super) fn end_request(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        self.idle_since.set(Instant::now());
        self.idle_reads.set(self.activity.reads.load(Ordering::Relaxed));
    }

    /// The connection ends with a reset when its stream is dropped.
    pub(super) fn abort(&self) {
        self.activity.abort.store(true, Ordering::Relaxed);
    }

    /// A stream on it was cut: whoever drives the connection is woken.
    pub(super) fn stream_cut(&self) {
        self.cuts_unseen.set(self.cuts_unseen.get() + 1);
    }

    pub(super) fn cut_seen(&self) {
        self.cuts_unseen.set(self.cuts_unseen.get().saturating_sub(1));
    }

    /// A stream was cut, and the answer's body is not asked for because the client takes nothing.
    pub(super) fn has_unseen_cut(&self) -> bool {
        self.in_turn.get() && self.cuts_unseen.get() > 0
    }

    pub(super) fn answer_in_turn(&self) {
        self.in_turn.set(true);
    }

    /// The sweeper wants it closed.
    pub(super) fn is_to_close(&self) -> bool {
        self.close.get()
    }

    /// It is to end in good form.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// It was idle for a while and still is: nothing is under way, nothing was read that was not
    /// answered, nothing is left to be taken. Said once.
    pub(super) fn may_rest(&self) -> bool {
        self.rest.replace(false) && self.is_idle()
    }

    pub(super) fn wakes_up(&self) {
        self.rest.set(false);
    }

    /// A request's body comes on it.
    pub(super) fn receives(&self, body: &Rc<Received>) {
        *self.body.borrow_mut() = Rc::downgrade(body);
    }

    fn is_idle(&self) -> bool {
        self.busy.get() == 0
            && self.body.borrow().strong_count() == 0
            && self.activity.reads.load(Ordering::Relaxed) == self.idle_reads.get()
            && self.activity.stalls.load(Ordering::Relaxed).is_multiple_of(2)
    }

    /// Its serving task has ended.
    pub(super) fn set_ended(&self) {
        self.ended.set(true);
        self.place.take();
    }

    /// For what outlives its serving task, as a tunnel does.
    pub(super) fn place(&self) -> Option<Rc<Place>> {
        self.place.borrow().clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whom to wake for a drain or a close.
    pub(super) fn watch(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// From here it speaks HTTP/2.
    pub(super) fn multiplex(&self, resets_max: usize) {
        self.resets_max.set(resets_max);
        self.multiplexed.set(true);
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    /// The sweeper will ask it.
    pub(super) fn list_stalled(&self, stream: &Rc<Guard>) {
        self.stalled.borrow_mut().push(Rc::clone(stream));
    }

    /// An exchange was given up by the client before its answer was whole. Who does that all the
    /// time makes us work for nothing (CVE-2023-44487); a listed proxy passes on what many people give
    /// up. `true`: the connection ends for it.
    pub(super) fn count_reset(&self) -> bool {
        self.resets.set(self.resets.get() + 1);
        let few = self.resets.get() <= self.resets_max.get();
        if few || self.is_trusted() || self.ended.get() {
            return false;
        }
        let first = !self.close.replace(true);
        self.wake();
        first
    }

    /// Since when it has no request, where that is long enough that none may be on its way.
    pub(super) fn idles_since(&self, now: Instant) -> Option<Instant> {
        let since = self.idle_since.get();
        let idles = self.busy.get() == 0 && !self.ended.get() && !self.close.get();
        (idles && now.duration_since(since) >= IDLE_MIN).then_some(since)
    }

    /// Somebody else needs its place. A client of HTTP/2 is told first, and closed when it is asked
    /// again. `true`: this is the first that it hears.
    pub(super) fn give_way(&self) -> bool {
        let first = !self.leaving.get();
        let told = !self.multiplexed.get() || self.leaving.replace(true);
        self.close.set(told);
        self.wake();
        first
    }

    /// Looks after it once a second; `closed` is told why it ends, if it does.
    pub(super) fn examine(&self, now: Instant, limits: &Limits, closed: impl Fn(Closed)) {
        self.resets.set(0);
        self.stalled.borrow_mut().retain(|stream| {
            let found = stream.examine(now, limits.idle_timeout);
            if found == Examined::GivenUp {
                closed(Closed::Stalled);
            }
            found == Examined::Waits
        });
        if self.close.get() || self.ended.get() {
            return;
        }
        if self.has_stalled(now, limits) {
            closed(Closed::Stalled);
            // What it has of the answer must not look whole.
            self.abort();
            self.close.set(true);
            return self.wake();
        }
        if self.busy.get() > 0 {
            return;
        }
        let reading = self.activity.reads.load(Ordering::Relaxed) != self.idle_reads.get();
        // What an idle connection of HTTP/2 reads is pings and the like.
        let too_slow = reading && !self.multiplexed.get() && {
            let since = self.head_since.get().unwrap_or(now);
            self.head_since.set(Some(since));
            now.duration_since(since) >= limits.header_timeout
        };
        let idle_limit = if self.has_begun() { limits.idle_timeout } else { limits.header_timeout };
        let too_idle = now.duration_since(self.idle_since.get()) >= idle_limit;
        let idle = now.duration_since(self.idle_since.get());
        if self.in_turn.get() && idle >= REST_AFTER && self.is_idle() && !self.rest.replace(true) {
            self.wake();
        }
        if too_slow || too_idle {
            // A client of HTTP/2 is told first, so that no request of its crosses the end.
            let leaving = self.leaving.get();
            let told = !self.multiplexed.get() || self.leaving.replace(true);
            self.close.set(told);
            self.wake();
            if !leaving {
                let idled = self.has_begun() && !too_slow;
                closed(if idled { Closed::Idle } else { Closed::Header });
            }
        }
    }
}

impl Connection {
    /// It has had a request. A client of HTTP/2 has begun with its preface, and may wait then.
    fn has_begun(&self) -> bool {
        let spoke = || self.activity.reads.load(Ordering::Relaxed) != 0;
        self.served.get() || self.multiplexed.get() && spoke()
    }

    /// The client has taken nothing of its answer for as long as it might have been idle. Until it
    /// does, its answer holds an upstream connection, and nobody asks whether it was cut.
    fn has_stalled(&self, now: Instant, limits: &Limits) -> bool {
        let stalls = self.activity.stalls.load(Ordering::Relaxed);
        let (seen, since) = self.stall.get();
        if stalls.is_multiple_of(2) || stalls != seen {
            self.stall.set((stalls, now));
            return false;
        }
        now.duration_since(since) >= limits.idle_timeout
    }
}

#[cfg(test)]
mod tests;
