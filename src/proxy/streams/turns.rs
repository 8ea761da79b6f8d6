//! What a core does about its streams, a bounded amount in each turn: those that a change may have
//! hit, those of which something is due, questions. In order, so that an answer comes after what
//! was asked before.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::denylist::{Fingerprint, Fold};
use crate::telemetry::counters::CoreCounters;
use crate::telemetry::streams::{ByKind, StreamKind};

use super::super::published::Published;
use super::rebase::Rebasing;
use super::{Cause, State, Stream, Streams, YOUTH};

/// Tasks of one turn; others on the core get theirs in between.
const TASKS_PER_TURN: usize = 128;
/// Streams that one task of a sweep looks at.
pub(super) const SLICE: usize = 64;
/// A request that still waits for its answer when its token expires is asked again this much later.
const EXPIRY_PATIENCE: Duration = Duration::from_secs(1);
/// Selectors whose cuts are remembered, for the answer to the denial.
const TALLIES: usize = 256;

/// Something to do.
pub enum Task {
    /// The table changed then: is it denied now?
    Examine(u64, Instant),
    Due(u64),
    /// Other routes, policies or keys are published: all of a generation, after this one.
    Recheck(Option<u64>),
    Count(Counting),
    Rebase(Rebasing),
    EndedBy(Fingerprint, Instant, oneshot::Sender<ByKind>),
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
            let mut any = false;
            for id in index.marked(mark, None) {
                any = true;
                let stream = index.all.get(&id);
                if stream.is_some_and(|stream| !stream.is_to_end() && !stream.queued.replace(true))
                {
                    work.push_back(Task::Examine(id, at));
                }
            }
            if any {
                self.begin_tally(*mark, at);
            }
        }
    }

    /// Enters those that have lasted: first into the index, then the table is asked.
    pub fn enter_lasting(&self, published: &Published, counters: &CoreCounters, now: UnixMs) {
        loop {
            let mut young = self.young.borrow_mut();
            let Some(first) = young.front() else { return };
            let ended = first.state.get() == State::Ended;
            if !ended && is_young(first.opened_at, now) {
                return;
            }
            let Some(stream) = young.pop_front() else { return };
            drop(young);
            if ended {
                continue;
            }
            stream.state.set(State::Indexed);
            self.index.borrow_mut().insert(&stream);
            counters.stream_opened(&stream.policy.borrow().route, stream.kind.get());
            self.schedule(&stream, now);
            if stream.generation.get() == self.generation.get() {
                self.examine(&stream, published, None, now);
            } else {
                self.recheck(&stream, published, counters, now);
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
        for _ in 0..TASKS_PER_TURN {
            if !self.pace.has_room() {
                return Turn::Full;
            }
            let Some(task) = self.work.borrow_mut().pop_front() else { return Turn::Done };
            match task {
                Task::Examine(id, at) => {
                    if let Some(stream) = self.find(id) {
                        stream.queued.set(false);
                        self.examine(&stream, published, Some(at), now);
                    }
                }
                Task::Due(id) => {
                    if let Some(stream) = self.find(id) {
                        self.settle(&stream, published, now);
                    }
                }
                Task::Recheck(after) => self.recheck_some(after, published, counters, now),
                Task::Count(counting) => self.count_some(counting),
                Task::Rebase(rebasing) => self.rebase_some(rebasing, published, now),
                Task::EndedBy(mark, since, answer) => {
                    // Whoever asked may have gone.
                    answer.send(self.tallied(mark, since)).ok();
                }
            }
        }
        Turn::More
    }

    pub(super) fn find(&self, id: u64) -> Option<Rc<Stream>> {
        self.index.borrow().all.get(&id).map(Rc::clone)
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

    /// At once, or when the route's grace is over. A request without an answer gets none.
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
        if grace.is_zero() || stream.kind.get() == StreamKind::Request {
            stream.wanted_since.set(since);
            stream.cut(cause);
        } else {
            stream.doom.set(Some((now.plus(grace), cause)));
            self.schedule(stream, now);
        }
    }

    /// Something was due: a postponed cut, its expiry, a look whether anything moved.
    fn settle(&self, stream: &Stream, published: &Published, now: UnixMs) {
        if let Some((at, cause)) = stream.doom.get().filter(|(at, _)| *at <= now) {
            stream.doom.set(None);
            if let Some(cause) = still_holds(stream, cause, published) {
                stream.cut(cause);
                return;
            }
            tracing::debug!(at = at.0, "what a stream was to be cut for holds no more");
        }
        if self.expires_at(stream).is_some_and(|at| at <= now) {
            if stream.kind.get() == StreamKind::Request {
                let later = Some(now.plus(EXPIRY_PATIENCE));
                self.index.borrow_mut().due_at(stream, later);
            } else {
                stream.cut(Cause::Expired);
            }
            return;
        }
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
        let doomed = stream.doom.get().map(|(at, _)| at);
        let next = [self.expires_at(stream), look, doomed].into_iter().flatten().min();
        self.index.borrow_mut().due_at(stream, next);
    }

    /// When its token ends it, the route's grace included; `None`: never.
    pub(super) fn expires_at(&self, stream: &Stream) -> Option<UnixMs> {
        let grace = stream.policy.borrow().expired_grace?;
        Some(stream.held.expires_at()?.plus(grace))
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

fn still_holds(stream: &Stream, cause: Cause, published: &Published) -> Option<Cause> {
    match cause {
        Cause::Denied(_) => stream.held.denied_by(&published.denylist).map(Cause::Denied),
        Cause::KeyRemoved => (!stream.held.key_is_published()).then_some(cause),
        Cause::RouteChanged | Cause::Expired | Cause::Operator | Cause::Idle | Cause::Draining => {
            Some(cause)
        }
    }
}

fn idle_timeout(stream: &Stream) -> Option<Duration> {
    let timeout = stream.policy.borrow().idle_timeout;
    timeout.filter(|_| stream.kind.get() == StreamKind::WebSocket)
}

/// Opened in the future means that the clock was set back: that must not keep a stream young, and
/// all behind it in the queue with it.
fn is_young(opened_at: UnixMs, now: UnixMs) -> bool {
    opened_at <= now && now.since(opened_at) < YOUTH
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
