//! A new token for the open streams of its session: each that could begin with it stands on it from
//! here on, beside the one that opened it, and ends when the new one does. Where tokens name no session,
//! the streams are those that stand on the token before it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::denylist::Fingerprint;
use crate::telemetry::streams::ByKind;
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
        let rebasing = Rebasing { token, before, after: None, rebased, answer };
        self.work.borrow_mut().push_back(Task::Rebase(rebasing));
    }

    /// Goes on even where nobody waits for the answer any more: the token is good either way.
    pub(super) fn rebase_some(&self, mut task: Rebasing, published: &Published, now: UnixMs) {
        // It may be taken no more by what is published since it was handed in.
        let token = published.verifier.read_again(&task.token, now).ok();
        let token = token.filter(|token| token.key_is_published());
        let before = task.before;
        let found =
            token.and_then(|token| token.marks().session.or(before).map(|mark| (token, mark)));
        let Some((token, mark)) = found else {
            task.answer.send(task.rebased).ok();
            return;
        };
        let some: Vec<u64> = self.index.borrow().marked(&mark, task.after).take(SLICE).collect();
        for stream in some.iter().filter_map(|id| self.find(*id)) {
            if self.stands_on(&stream, (&token, before), published, now)
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

    /// First its marks are entered, then the table is asked: as when a stream begins.
    fn stands_on(
        &self,
        stream: &Stream,
        (token, before): (&Arc<Signed>, Option<Fingerprint>),
        published: &Published,
        now: UnixMs,
    ) -> bool {
        if stream.is_to_end() || !may_follow(stream, token, before, published) {
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

/// It is the same person's, in the same session and program, lasts longer, and could begin this
/// stream now. A stream of which it is not known what was asked for ends with what it began with.
fn may_follow(
    stream: &Stream,
    token: &Arc<Signed>,
    before: Option<Fingerprint>,
    published: &Published,
) -> bool {
    let Some(current) = stream.held.current() else { return false };
    let same_session = match current.session() {
        Some(session) => token.session() == Some(session),
        None => token.session().is_none() && before == Some(current.marks().token),
    };
    same_session
        && current.policy().id == token.policy().id
        && current.subject().is_some()
        && current.subject() == token.subject()
        && current.client() == token.client()
        && current.expires_at() < token.expires_at()
        && matches!(route_of(stream, Some(token), published), Ok(Some(_)))
}
