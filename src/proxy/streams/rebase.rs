//! A new token for the open streams of its session: each that could begin with it stands on it from
//! here on, beside the one that opened it, and ends when the new one does. Where tokens name no session,
//! the streams are those that stand on the token before it. Those that are too young for the index are
//! entered first: a denial meets them when they are entered, and a token would not. Those that still wait
//! for their answer keep it until it is known what they are.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::denylist::Fingerprint;
use crate::telemetry::counters::CoreCounters;
use crate::telemetry::streams::{ByKind, StreamKind};
use crate::verify::Signed;

use super::super::published::Published;
use super::recheck::route_of;
use super::turns::{SLICE, Task};
use super::{Stream, Streams};

/// One token on its way through the streams of its session.
pub struct Rebasing {
    token: Arc<Signed>,
    /// Of the token that it takes the place of.
    before: Option<Fingerprint>,
    /// The young ones have been looked through.
    entered: bool,
    after: Option<u64>,
    rebased: ByKind,
    answer: oneshot::Sender<ByKind>,
}

impl Streams {
    /// The streams of the token's issuer, subject, client and session stand on it, where it lives
    /// longer than what they stand on. Answered with how many those were.
    pub fn rebase(
        &self,
        token: Arc<Signed>,
        before: Option<Fingerprint>,
        answer: oneshot::Sender<ByKind>,
    ) {
        let rebased = ByKind::default();
        let (entered, after) = (false, None);
        let rebasing = Rebasing { token, before, entered, after, rebased, answer };
        self.work.borrow_mut().push_back(Task::Rebase(rebasing));
    }

    /// Goes on even where nobody waits for the answer any more: the token is good either way.
    pub(super) fn rebase_some(
        &self,
        mut task: Rebasing,
        published: &Published,
        counters: &CoreCounters,
        now: UnixMs,
    ) {
        let before = task.before;
        let token = still_taken(&task.token, published, now);
        let found =
            token.and_then(|token| token.marks().session.or(before).map(|mark| (token, mark)));
        let Some((token, mark)) = found else {
            task.answer.send(task.rebased).ok();
            return;
        };
        if !task.entered {
            task.after = self.enter_young((&mark, task.after), published, counters, now);
            task.entered = task.after.is_none();
            self.work.borrow_mut().push_back(Task::Rebase(task));
            return;
        }
        let some: Vec<u64> = self.index.borrow().marked(&mark, task.after).take(SLICE).collect();
        let next = Next { token, before };
        for stream in some.iter().filter_map(|id| self.find(*id)) {
            if self.stands_on(&stream, &next, published, now)
                && let Some(count) = task.rebased.get_mut(stream.kind().index())
            {
                *count += 1;
            }
        }
        if some.len() < SLICE {
            task.answer.send(task.rebased).ok();
            return;
        }
        task.after = some.last().copied();
        self.work.borrow_mut().push_back(Task::Rebase(task));
    }

    /// It has turned out to last. While it waited for its answer other state was published, or its
    /// session was renewed.
    pub(super) fn follow_late(
        &self,
        id: u64,
        published: &Published,
        counters: &CoreCounters,
        now: UnixMs,
    ) {
        let Some(stream) = self.find(id) else { return };
        if stream.generation.get() != self.generation.get() {
            self.recheck(&stream, published, counters, now);
        }
        let Some(next) = stream.next.take() else { return };
        if let Some(token) = still_taken(&next.token, published, now) {
            self.stands_on(&stream, &Next { token, before: next.before }, published, now);
        }
    }

    /// First its marks are entered, then the table is asked: as when a stream begins.
    fn stands_on(&self, stream: &Stream, next: &Next, published: &Published, now: UnixMs) -> bool {
        self.spare(stream, published, now);
        if stream.is_to_end() || !next.is_of_the_same(stream) {
            return false;
        }
        let Next { token, .. } = next;
        if stream.origin.get().is_none() && stream.kind() == StreamKind::Request {
            stream.next.replace(Some(Box::new(next.clone())));
            return false;
        }
        if !matches!(route_of(stream, Some(token), published), Ok(Some(_))) {
            return false;
        }
        let mut index = self.index.borrow_mut();
        index.unmark(stream);
        stream.held.follow(Arc::clone(token));
        index.mark(stream);
        drop(index);
        self.schedule(stream, now);
        self.examine(stream, published, None, now);
        !stream.is_to_end()
    }
}

/// A token that comes after others.
#[derive(Clone)]
pub struct Next {
    token: Arc<Signed>,
    /// Of the token that it takes the place of.
    before: Option<Fingerprint>,
}

impl Next {
    /// It is the same person's, in the same session and program, and lasts longer. A stream that is
    /// known to be asked for follows it where it could begin with it now.
    fn is_of_the_same(&self, stream: &Stream) -> bool {
        let Self { token, before } = self;
        let Some(current) = stream.held.current() else { return false };
        let same_session = match current.session() {
            Some(session) => token.session() == Some(session),
            None => token.session().is_none() && *before == Some(current.marks().token),
        };
        same_session
            && current.policy().id == token.policy().id
            && current.subject().is_some()
            && current.subject() == token.subject()
            && current.client() == token.client()
            && current.expires_at() < token.expires_at()
    }
}

/// As what is published reads it, which may take it no more since it was handed in.
fn still_taken(token: &Arc<Signed>, published: &Published, now: UnixMs) -> Option<Arc<Signed>> {
    let token = published.verifier.read_again(token, now).ok();
    token.filter(|token| token.key_is_published())
}

#[cfg(test)]
mod tests;
