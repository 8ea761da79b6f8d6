//! The open streams of all cores, as the admin API asks about them. Each core is asked by a command
//! and answers when its turn comes; one that does not in time is left out, and the answer says that
//! it is not whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::denylist::{Fingerprint, Fold, IssuerId};
use crate::telemetry::streams::{Ask, ByKind, Listed, OpenStream, Question, StreamId, Wanted};
use crate::verify::Signed;

/// A core that is busy for longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same where an acknowledgement waits: a denial is in force already.
const PATIENCE_OF_DENIALS: Duration = Duration::from_millis(300);

/// See the module.
pub struct OpenStreams {
    cores: Vec<Ask>,
}

/// A core did not answer in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slow;

/// A page of streams.
#[derive(Default)]
pub struct Page {
    pub items: Vec<OpenStream>,
    pub next: Option<StreamId>,
}

impl OpenStreams {
    pub fn new(cores: Vec<Ask>) -> Self {
        Self { cores }
    }

    /// By core, then by age; as many as wanted, or fewer where many had to be looked at.
    pub async fn list(&self, mut wanted: Wanted) -> Result<Page, Slow> {
        let mut page = Page::default();
        let most = wanted.limit;
        let deadline = Instant::now() + PATIENCE;
        let first = wanted.after.map_or(0, StreamId::core);
        for (number, core) in self.cores.iter().enumerate().skip(first) {
            loop {
                wanted.limit = most - page.items.len();
                if wanted.limit == 0 || Instant::now() >= deadline {
                    page.next = Some(wanted.after.unwrap_or(StreamId(0)));
                    return Ok(page);
                }
                let (answer, answered) = oneshot::channel();
                let asked = core(Question::List(wanted.clone(), answer));
                let Listed { items, next } = match within(PATIENCE, asked, answered).await {
                    Some(listed) => listed,
                    // It has ended, and so have its streams.
                    None if !asked => Listed::default(),
                    None => return Err(Slow),
                };
                page.items.extend(items);
                match next {
                    Some(next) => wanted.after = Some(next),
                    None => break,
                }
            }
            // Before the first of the next core.
            let following = StreamId::new(number + 1, 0);
            wanted.after = Some(StreamId(following.0.saturating_sub(1)));
        }
        Ok(page)
    }

    /// Open streams that this would deny; `None`: not known.
    pub async fn count(&self, mark: Fingerprint, fold: &Fold) -> Option<ByKind> {
        self.sum(PATIENCE, |answer| Question::Count(mark, fold.clone(), answer)).await
    }

    /// Streams that denials of a selector have ended since then; `None`: not known.
    pub async fn ended_by(&self, mark: Fingerprint, since: Instant) -> Option<ByKind> {
        self.sum(PATIENCE_OF_DENIALS, |answer| Question::EndedBy(mark, since, answer)).await
    }

    /// A session was renewed: its open streams stand on the new token, which was verified and is not
    /// denied. Those that it could not have opened, and those that end later anyway, stay as they
    /// are. `before` marks the token that it takes the place of: where tokens name no session, by that
    /// one its streams are known. `None`: not known how many; doing it again does no harm.
    pub async fn rebase(&self, token: &Arc<Signed>, before: Option<Fingerprint>) -> Option<u64> {
        let question = |answer| Question::Rebase(Arc::clone(token), before, answer);
        Some(self.sum(PATIENCE, question).await?.iter().sum())
    }

    /// `false`: no such stream is open, or not one of these issuers.
    pub async fn cut(&self, id: StreamId, issuers: Option<Vec<IssuerId>>) -> Result<bool, Slow> {
        let Some(core) = self.cores.get(id.core()) else { return Ok(false) };
        let (answer, answered) = oneshot::channel();
        let asked = core(Question::Cut(id, issuers, answer));
        match within(PATIENCE, asked, answered).await {
            Some(cut) => Ok(cut),
            None if !asked => Ok(false),
            None => Err(Slow),
        }
    }

    /// All are asked before the first answer is waited for.
    async fn sum(
        &self,
        patience: Duration,
        question: impl Fn(oneshot::Sender<ByKind>) -> Question,
    ) -> Option<ByKind> {
        let mut answers = Vec::with_capacity(self.cores.len());
        for core in &self.cores {
            let (answer, answered) = oneshot::channel();
            if core(question(answer)) {
                answers.push(answered);
            }
        }
        let deadline = Instant::now() + patience;
        let mut sum = ByKind::default();
        for answered in answers {
            let left = deadline.saturating_duration_since(Instant::now());
            let counts = within(left, true, answered).await?;
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        Some(sum)
    }
}

async fn within<T>(patience: Duration, asked: bool, answered: oneshot::Receiver<T>) -> Option<T> {
    if !asked {
        return None;
    }
    tokio::time::timeout(patience, answered).await.ok()?.ok()
}
