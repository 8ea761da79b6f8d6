//! What a core does about its streams, a bounded amount in each turn: those that a change may have
//! hit, those of which something is due, questions. In order, so that an answer comes after what
//! was asked before.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::denylist::{Fingerprint, Fold};
use crate::telemetry::counters::CoreCounters;
use crate::telemetry::streams::{ByKind, StreamKind};

use super::super::published::Published;
use super::index::Index;
use super::rebase::Rebasing;
use super::recheck::objection;
use super::{Cause, Stream, Streams, YOUTH};

/// Streams of one turn; others on the core get theirs in between.
const STREAMS_PER_TURN: usize = 512;
/// Streams that one task of a sweep looks at.
pub(super) const SLICE: usize = 64;
/// The same where each of them may be cut.
const CUTS: usize = 16;
/// A request that still waits for its answer when its token expires is asked again this much later.
const EXPIRY_PATIENCE: Duration = Duration::from_secs(1);
/// Selectors whose cuts are remembered, for the answer to the denial.
const TALLIES: usize = 256;

/// Something to do.
pub enum Task {
    /// The table changed: which of these are denied now?
    Changed(Change),
    Due(u64),
    /// The gateway ends: those after this stream are told, as far as they end with it.
    Drain(Option<u64>),
    /// Other routes, policies or keys are published: all of a generation, after this one.
    Recheck(Option<u64>),
    Count(Counting),
    Rebase(Rebasing),
    /// It turned out to last, and there is other state or a newer token than when it began.
    Follow(u64),
    EndedBy(Arc<[(Fingerprint, Instant)]>, oneshot::Sender<Vec<ByKind>>),
}

impl Task {
    /// Streams that it looks at, at the most.
    fn streams(&self) -> usize {
        match self {
            Self::Changed(_) | Self::Drain(_) => CUTS,
            Self::Recheck(_) | Self::Count(_) | Self::Rebase(_) => SLICE,
            Self::Due(_) | Self::Follow(_) | Self::EndedBy(..) => 1,
        }
    }
}

/// A selector that changed in the table, and how far its streams have been asked about.
pub struct Change {
    mark: Fingerprint,
    at: Instant,
    after: Option<u64>,
}

/// A count under way.
pub struct Counting {
    pub mark: Fingerprint,
    pub fold: Fold,
    pub after: Option<u64>,
    pub found: ByKind,
    pub answer: oneshot::Sender<ByKind>,
}

/// Streams that one selector ended.
pub struct Tally {
    mark: Fingerprint,
    at: Instant,
    ended: ByKind,
}

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Nothing is left.
    Done,
    /// Others first, then more.
    More,
    /// So many streams are ending that these must come first.
    Full,
}

impl Streams {
    /// A group of changes is in the table: which of our streams do they hit?
    pub fn changed(&self, marks: &[Fingerprint], at: Instant) {
        let index = self.index.borrow();
        let mut work = self.work.borrow_mut();
        for mark in marks {
            if index.marked(mark, None).next().is_some() {
                self.begin_tally(*mark, at);
                work.push_back(Task::Changed(Change { mark: *mark, at, after: None }));
            }
        }
    }

    /// What is due by now joins what is to be done.
    pub fn gather_due(&self, now: UnixMs) {
        while let Some(id) = self.index.borrow_mut().take_due(now) {
            self.work.borrow_mut().push_back(Task::Due(id));
        }
    }

    /// Does some of what is to be done.
    pub fn turn(&self, published: &Published, counters: &CoreCounters) -> Turn {
        if self.work.borrow().is_empty() {
            return Turn::Done;
        }
        let now = UnixMs::now();
        let mut looked_at = 0;
        while looked_at < STREAMS_PER_TURN {
            if !self.pace.has_room() {
                return Turn::Full;
            }
            let Some(task) = self.work.borrow_mut().pop_front() else { return Turn::Done };
            looked_at += task.streams();
            match task {
                Task::Changed(change) => self.examine_some(change, published, now),
                Task::Drain(after) => self.drain_some(after),
                Task::Due(id) => {
                    if let Some(stream) = self.find(id) {
                        self.settle(&stream, published, now);
                    }
                }
                Task::Recheck(after) => self.recheck_some(after, published, counters, now),
                Task::Count(counting) => self.count_some(counting),
                Task::Rebase(rebasing) => self.rebase_some(rebasing, published, counters, now),
                Task::Follow(id) => self.follow_late(id, published, counters, now),
                Task::EndedBy(denials, answer) => {
                    if self.are_under_way(&denials) && !answer.is_closed() {
                        self.work.borrow_mut().push_back(Task::EndedBy(denials, answer));
                    } else {
                        let sums = denials.iter().map(|(mark, since)| self.tallied(*mark, *since));
                        // Whoever asked may have gone.
                        answer.send(sums.collect()).ok();
                    }
                }
            }
        }
        Turn::More
    }

    pub(super) fn find(&self, id: u64) -> Option<Rc<Stream>> {
        self.index.borrow().all.get(&id).map(Rc::clone)
    }

    /// A change with many streams lets others come between: what is denied after it waits for some
    /// of them and not for all.
    fn examine_some(&self, mut change: Change, published: &Published, now: UnixMs) {
        let some =
            self.some_of(|index| index.marked(&change.mark, change.after).take(CUTS).collect());
        for stream in &some {
            if !stream.is_to_end() {
                self.examine(stream, published, Some(change.at), now);
            }
        }
        if let Some(last) = some.last().filter(|_| some.len() == CUTS) {
            change.after = Some(last.id());
            self.work.borrow_mut().push_back(Task::Changed(change));
        }
    }

    /// A change of one of them has streams left to ask about.
    fn are_under_way(&self, denials: &[(Fingerprint, Instant)]) -> bool {
        let is_of = |change: &Change| denials.iter().any(|(mark, _)| change.mark == *mark);
        let work = self.work.borrow();
        work.iter().any(|task| matches!(task, Task::Changed(change) if is_of(change)))
    }

    fn drain_some(&self, after: Option<u64>) {
        let from = after.map_or(0, |after| after.saturating_add(1));
        let ids = |index: &Index| index.all.range(from..).take(CUTS).map(|(id, _)| *id).collect();
        let some = self.some_of(ids);
        some.iter().for_each(|stream| self.tell_of_drain(stream));
        if let Some(last) = some.last().filter(|_| some.len() == CUTS) {
            self.work.borrow_mut().push_back(Task::Drain(Some(last.id())));
        }
    }

    fn some_of(&self, ids: impl FnOnce(&Index) -> Vec<u64>) -> Vec<Rc<Stream>> {
        let index = self.index.borrow();
        let ids = ids(&index);
        ids.iter().filter_map(|id| index.all.get(id).map(Rc::clone)).collect()
    }

    /// Ends the stream if a token of it is denied, or its key gone.
    pub(super) fn examine(
        &self,
        stream: &Stream,
        published: &Published,
        since: Option<Instant>,
        now: UnixMs,
    ) {
        let cause = match stream.held.denied_by(&published.denylist) {
            Some(hit) => Some(Cause::Denied(hit)),
            None if stream.held.key_is_published() => None,
            None => Some(Cause::KeyRemoved),
        };
        if let Some(cause) = cause {
            self.end_for(stream, cause, since, now);
        }
    }

    /// At once, or when the route's grace is over. A request that waits for its answer gets none.
    pub(super) fn end_for(
        &self,
        stream: &Stream,
        cause: Cause,
        since: Option<Instant>,
        now: UnixMs,
    ) {
        if stream.is_to_end() {
            return;
        }
        if let Cause::Denied(hit) = cause {
            self.tally(hit.fingerprint, stream.kind.get());
        }
        let grace = stream.policy.borrow().revoked_grace;
        if grace.is_zero() || stream.waits_for_answer() {
            stream.wanted_since.set(since);
            stream.cut(cause);
        } else {
            stream.doom.set(Some(now.plus(grace)));
            self.schedule(stream, now);
        }
    }

    /// Something was due: a postponed cut, its expiry, a look whether anything moved.
    fn settle(&self, stream: &Stream, published: &Published, now: UnixMs) {
        if let Some(at) = stream.doom.get().filter(|at| *at <= now) {
            stream.doom.set(None);
            if let Some(cause) = objection(stream, published, now) {
                // The grace was granted: what comes after it is ours.
                stream.wanted_since.set(Instant::now().checked_sub(now.since(at)));
                stream.cut(cause);
                return;
            }
            tracing::debug!(at = at.0, "what a stream was to be cut for holds no more");
        }
        if self.expires_at(stream).is_some_and(|at| at <= now) {
            if stream.waits_for_answer() {
                let later = Some(now.plus(EXPIRY_PATIENCE));
                self.index.borrow_mut().due_at(stream, later);
            } else {
                stream.cut(Cause::Expired);
            }
            return;
        }
        self.announce_expiry(stream, now);
        let moved = stream.bytes_in.get() + stream.bytes_out.get();
        let (before, since) = stream.idle.get();
        if moved != before {
            stream.idle.set((moved, now));
        } else if idle_timeout(stream).is_some_and(|timeout| now.since(since) >= timeout) {
            stream.cut(Cause::Idle);
            return;
        }
        self.schedule(stream, now);
    }

    /// Enters when it must be looked at next.
    pub(super) fn schedule(&self, stream: &Stream, now: UnixMs) {
        let look = idle_timeout(stream).map(|timeout| {
            let (_, since) = stream.idle.get();
            now.plus(timeout / 4).min(since.plus(timeout)).max(now.plus(YOUTH))
        });
        let doomed = stream.doom.get();
        let announced = self.announced_at(stream);
        let next = [self.expires_at(stream), look, doomed, announced].into_iter().flatten().min();
        self.index.borrow_mut().due_at(stream, next);
    }

    /// When its token ends it, the route's grace included; `None`: never.
    pub(super) fn expires_at(&self, stream: &Stream) -> Option<UnixMs> {
        let grace = stream.policy.borrow().expired_grace?;
        Some(stream.held.expires_at()?.plus(grace))
    }

    /// When the end of its token is to be said; `None`: not, or it was.
    fn announced_at(&self, stream: &Stream) -> Option<UnixMs> {
        let margin = stream.policy.borrow().reauth_margin?;
        let events = stream.events()?;
        self.expires_at(stream)?;
        let end = stream.held.current()?.expires_at();
        (events.announced.get() != Some(end)).then(|| end.minus(margin))
    }

    fn announce_expiry(&self, stream: &Stream, now: UnixMs) {
        if let (Some(at), Some(events), Some(token)) =
            (self.announced_at(stream), stream.events(), stream.held.current())
            && at <= now
        {
            events.announce(token.expires_at(), now);
            stream.wake();
        }
    }

    fn begin_tally(&self, mark: Fingerprint, at: Instant) {
        let mut tallies = self.tallies.borrow_mut();
        if tallies.len() >= TALLIES {
            tallies.pop_front();
        }
        tallies.push_back(Tally { mark, at, ended: ByKind::default() });
    }

    fn tally(&self, mark: Fingerprint, kind: StreamKind) {
        let mut tallies = self.tallies.borrow_mut();
        let known = tallies.iter_mut().rev().find(|tally| tally.mark == mark);
        if let Some(count) = known.and_then(|tally| tally.ended.get_mut(kind.index())) {
            *count += 1;
        }
    }

    fn tallied(&self, mark: Fingerprint, since: Instant) -> ByKind {
        let mut sum = ByKind::default();
        let tallies = self.tallies.borrow();
        for tally in tallies.iter().filter(|tally| tally.mark == mark && tally.at >= since) {
            for (sum, ended) in sum.iter_mut().zip(tally.ended) {
                *sum += ended;
            }
        }
        sum
    }
}

fn idle_timeout(stream: &Stream) -> Option<Duration> {
    let timeout = stream.policy.borrow().idle_timeout;
    timeout.filter(|_| matches!(stream.kind.get(), StreamKind::WebSocket | StreamKind::Tunnel))
}
