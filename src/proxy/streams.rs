//! Exchanges that last: WebSockets, event streams, long downloads and uploads. Each keeps the marks
//! of the token that opened it, so that a denial, an expiry or a removed key ends it.
//!
//! Nothing slips between: writers change the hot table first and tell the cores then; an exchange
//! is entered first and asks the table once more then. An exchange younger than [`YOUTH`] is in a
//! queue only, so that a short request pays for no index; it is entered, and asks, when it leaves
//! the queue. A denial costs what it hits: streams are indexed by every mark.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::UnixMs;
use crate::denylist::{Denylist, Fingerprint, Hit, Marks};
use crate::verify::Signed;

use super::published::Published;

/// How long an exchange must last to be indexed; with the core's pulse this bounds how much later
/// than others a young one is cut.
pub const YOUTH: Duration = Duration::from_millis(15);
/// Streams cut in one go; others on the core get their turn in between.
const CUTS_PER_TURN: usize = 256;
/// A request that still waits for its answer when its token expires is asked again this much later.
const EXPIRY_PATIENCE: Duration = Duration::from_secs(1);

/// What kind of exchange it is, once that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No answer yet.
    Request,
    Response,
    WebSocket,
}

/// Why a stream is ended by us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Denied(Hit),
    Expired,
    KeyRemoved,
    /// The gateway ends.
    Draining,
}

/// One lasting exchange. Shared by the exchange, the index and whoever moves its bytes.
pub struct Stream {
    id: u64,
    token: Arc<Signed>,
    opened_at: UnixMs,
    pub kind: Cell<Kind>,
    state: Cell<State>,
    cause: Cell<Option<Cause>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Young,
    Indexed,
    Ended,
}

/// All streams of one core.
#[derive(Default)]
pub struct Streams {
    young: RefCell<VecDeque<Rc<Stream>>>,
    index: RefCell<Index>,
    next_id: Cell<u64>,
    /// Told when the queue of the young is no longer empty.
    pub arrived: tokio::sync::Notify,
    to_examine: RefCell<VecDeque<u64>>,
    /// Up to which stream the published state has been asked anew; all are when it is 0.
    unasked: Cell<u64>,
}

#[derive(Default)]
struct Index {
    all: BTreeMap<u64, Rc<Stream>>,
    by_mark: BTreeSet<([u8; 12], u64)>,
    by_expiry: BTreeSet<(UnixMs, u64)>,
}

impl Stream {
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get()
    }

    /// It is to end, and has not yet.
    pub fn is_cut(&self) -> bool {
        self.cause.get().is_some() && self.state.get() != State::Ended
    }

    /// Ends it: whoever moves its bytes is woken and finds the cause.
    pub fn cut(&self, cause: Cause) {
        if self.cause.get().is_none() && self.state.get() != State::Ended {
            self.cause.set(Some(cause));
            if let Some(waker) = self.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    /// Who is to be woken by a cut.
    pub fn watch(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    /// The future's result, unless the stream is cut first.
    pub async fn unless_cut<T>(&self, future: impl Future<Output = T>) -> Result<T, Cause> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            if let Some(cause) = self.cause() {
                return Poll::Ready(Err(cause));
            }
            self.watch(context);
            Pin::new(&mut future).as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// The last instant at which its token counts.
    fn expires_at(&self) -> UnixMs {
        self.token.expires_at().plus(self.token.policy().leeway)
    }
}

impl Streams {
    /// A new exchange. It must be given back with [`Self::end`].
    pub fn open(&self, token: Arc<Signed>, now: UnixMs) -> Rc<Stream> {
        let id = self.next_id.replace(self.next_id.get() + 1);
        let stream = Rc::new(Stream {
            id,
            token,
            opened_at: now,
            kind: Cell::new(Kind::Request),
            state: Cell::new(State::Young),
            cause: Cell::new(None),
            waker: RefCell::new(None),
        });
        let mut young = self.young.borrow_mut();
        if young.is_empty() {
            self.arrived.notify_one();
        }
        young.push_back(Rc::clone(&stream));
        stream
    }

    pub fn end(&self, stream: &Stream) {
        if stream.state.replace(State::Ended) == State::Indexed {
            self.index.borrow_mut().remove(stream);
        }
        stream.waker.replace(None);
    }

    pub fn has_young(&self) -> bool {
        !self.young.borrow().is_empty()
    }

    /// Enters those that have lasted: first into the index, then the table is asked.
    pub fn enter_lasting(&self, published: &Published, now: UnixMs) {
        loop {
            let mut young = self.young.borrow_mut();
            let Some(first) = young.front() else { return };
            let ended = first.state.get() == State::Ended;
            if !ended && is_young(first.opened_at, now) {
                return;
            }
            let Some(stream) = young.pop_front() else { return };
            drop(young);
            if !ended {
                stream.state.set(State::Indexed);
                self.index.borrow_mut().insert(&stream);
                examine(&stream, &published.denylist);
                ask_anew(&stream, published, now);
            }
        }
    }

    /// A group of changes is in the table: which of our streams do they hit?
    pub fn changed(&self, marks: &[Fingerprint]) {
        let index = self.index.borrow();
        let mut queue = self.to_examine.borrow_mut();
        for mark in marks {
            let range = (mark.0, 0)..=(mark.0, u64::MAX);
            queue.extend(index.by_mark.range(range).map(|(_, id)| *id));
        }
    }

    /// Another state is published: every stream is asked about under it, from the newest on.
    pub fn republished(&self) {
        self.unasked.set(self.next_id.get());
    }

    /// Asks about some of those that a change may have hit; `true` when more wait.
    pub fn examine_some(&self, published: &Published) -> bool {
        let more = self.ask_some_anew(published);
        let denylist = &published.denylist;
        for _ in 0..CUTS_PER_TURN {
            let Some(id) = self.to_examine.borrow_mut().pop_front() else { return more };
            let stream = self.index.borrow().all.get(&id).map(Rc::clone);
            if let Some(stream) = stream {
                examine(&stream, denylist);
            }
        }
        more || !self.to_examine.borrow().is_empty()
    }

    fn ask_some_anew(&self, published: &Published) -> bool {
        let upto = self.unasked.get();
        if upto == 0 {
            return false;
        }
        let index = self.index.borrow();
        let some: Vec<Rc<Stream>> = index.by_id(upto).take(CUTS_PER_TURN).collect();
        drop(index);
        let last = some.last().map_or(0, |stream| stream.id);
        self.unasked.set(if some.len() < CUTS_PER_TURN { 0 } else { last });
        let now = UnixMs::now();
        some.iter().for_each(|stream| ask_anew(stream, published, now));
        self.unasked.get() != 0
    }

    /// Ends what outlived its token. A request without an answer gets a little longer.
    pub fn expire(&self, now: UnixMs) {
        loop {
            let mut index = self.index.borrow_mut();
            let Some(&(at, id)) = index.by_expiry.first() else { return };
            if at > now {
                return;
            }
            index.by_expiry.remove(&(at, id));
            let Some(stream) = index.all.get(&id).map(Rc::clone) else { continue };
            if stream.kind.get() == Kind::Request {
                index.by_expiry.insert((now.plus(EXPIRY_PATIENCE), id));
                continue;
            }
            drop(index);
            stream.cut(Cause::Expired);
        }
    }

    /// Tells every WebSocket that the gateway ends.
    pub fn drain(&self) {
        let all: Vec<Rc<Stream>> = self.index.borrow().all.values().map(Rc::clone).collect();
        let young: Vec<Rc<Stream>> = self.young.borrow().iter().map(Rc::clone).collect();
        for stream in all.into_iter().chain(young) {
            if stream.kind.get() == Kind::WebSocket {
                stream.cut(Cause::Draining);
            }
        }
    }
}

/// Opened in the future means that the clock was set back: that must not keep a stream young, and
/// all behind it in the queue with it.
fn is_young(opened_at: UnixMs, now: UnixMs) -> bool {
    opened_at <= now && now.since(opened_at) < YOUTH
}

/// Cuts the stream if its token is denied, or its key gone.
fn examine(stream: &Stream, denylist: &Denylist) {
    if let Some(hit) = denylist.check(stream.token.marks()) {
        stream.cut(Cause::Denied(hit));
    } else if !stream.token.key_is_published() {
        stream.cut(Cause::KeyRemoved);
    }
}

/// Cuts the stream if what is published now would not take its token: its issuer or key is gone,
/// or a rule of the issuer has changed.
fn ask_anew(stream: &Stream, published: &Published, now: UnixMs) {
    if !published.verifier.still_vouches(&stream.token, now) {
        stream.cut(Cause::KeyRemoved);
    }
}

impl Index {
    /// Those with a lower number, the newest first.
    fn by_id(&self, below: u64) -> impl Iterator<Item = Rc<Stream>> {
        self.all.range(..below).rev().map(|(_, stream)| Rc::clone(stream))
    }

    fn insert(&mut self, stream: &Rc<Stream>) {
        for mark in marks(stream.token.marks()) {
            self.by_mark.insert((mark.0, stream.id));
        }
        self.by_expiry.insert((stream.expires_at(), stream.id));
        self.all.insert(stream.id, Rc::clone(stream));
    }

    fn remove(&mut self, stream: &Stream) {
        for mark in marks(stream.token.marks()) {
            self.by_mark.remove(&(mark.0, stream.id));
        }
        self.by_expiry.remove(&(stream.expires_at(), stream.id));
        self.all.remove(&stream.id);
    }
}

fn marks(marks: &Marks) -> impl Iterator<Item = &Fingerprint> {
    [&marks.token, &marks.key, &marks.issuer]
        .into_iter()
        .chain(&marks.session)
        .chain(&marks.subject)
        .chain(&marks.client)
        .chain(&*marks.claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_keeps_no_stream_young() {
        let opened = UnixMs::from_secs(1_000);
        assert!(is_young(opened, opened));
        assert!(!is_young(opened, opened.plus(YOUTH)));
        assert!(!is_young(opened, UnixMs::from_secs(500)));
    }
}
