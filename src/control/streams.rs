//! The open streams of all cores, as the admin API asks about them. Each core is asked by a command
//! and answers when its turn comes; one that does not in time is left out, and the answer says that
//! it is not whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
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
    /// Denials whose question has not been asked yet.
    denials: Mutex<Vec<Denied>>,
}

/// A denial that was acknowledged; whoever made it waits to hear which streams it has ended.
struct Denied {
    mark: Fingerprint,
    since: Instant,
    answer: oneshot::Sender<Option<ByKind>>,
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
        Self { cores, denials: Mutex::default() }
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

    /// Streams that denials of a selector have ended since then; `None`: not known. Those that were
    /// acknowledged together are one question to a core: waking it for each of them costs both
    /// threads more than the answer.
    pub async fn ended_by(self: &Arc<Self>, mark: Fingerprint, since: Instant) -> Option<ByKind> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut denials = self.denials.lock();
            denials.push(Denied { mark, since, answer });
            denials.len() == 1
        };
        if is_first {
            let streams = Arc::clone(self);
            tokio::spawn(async move {
                // Whoever else was just acknowledged comes first.
                tokio::task::yield_now().await;
                streams.ask_for_denials().await;
            });
        }
        answered.await.ok().flatten()
    }

    async fn ask_for_denials(&self) {
        let denials = std::mem::take(&mut *self.denials.lock());
        let marks: Arc<[_]> = denials.iter().map(|one| (one.mark, one.since)).collect();
        let question = |answer| Question::EndedBy(Arc::clone(&marks), answer);
        let all = self.answers(PATIENCE_OF_DENIALS, question).await;
        for (place, denied) in denials.into_iter().enumerate() {
            let own = all.as_ref().map(|all| all.iter().filter_map(|one| one.get(place)));
            // Whoever asked may have gone.
            denied.answer.send(own.map(summed)).ok();
        }
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

    async fn sum(
        &self,
        patience: Duration,
        question: impl Fn(oneshot::Sender<ByKind>) -> Question,
    ) -> Option<ByKind> {
        Some(summed(self.answers(patience, question).await?.iter()))
    }

    /// Of each core that has not ended. All are asked before the first answer is waited for.
    async fn answers<T>(
        &self,
        patience: Duration,
        question: impl Fn(oneshot::Sender<T>) -> Question,
    ) -> Option<Vec<T>> {
        let mut answers = Vec::with_capacity(self.cores.len());
        for core in &self.cores {
            let (answer, answered) = oneshot::channel();
            if core(question(answer)) {
                answers.push(answered);
            }
        }
        let deadline = Instant::now() + patience;
        let mut all = Vec::with_capacity(answers.len());
        for answered in answers {
            let left = deadline.saturating_duration_since(Instant::now());
            all.push(within(left, true, answered).await?);
        }
        Some(all)
    }
}

fn summed<'c>(counts: impl Iterator<Item = &'c ByKind>) -> ByKind {
    let mut sum = ByKind::default();
    for counts in counts {
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    sum
}

async fn within<T>(patience: Duration, asked: bool, answered: oneshot::Receiver<T>) -> Option<T> {
    if !asked {
        return None;
    }
    tokio::time::timeout(patience, answered).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn mark(number: u8) -> Fingerprint {
        Fingerprint([number; 12])
    }

    /// A core with as many streams of a mark as its number says, and how often it was asked.
    fn core(asked: &Arc<AtomicUsize>) -> Ask {
        let asked = Arc::clone(asked);
        Box::new(move |question| {
            let Question::EndedBy(denials, answer) = question else { return false };
            asked.fetch_add(1, Ordering::Relaxed);
            let ended = |(mark, _): &(Fingerprint, Instant)| {
                let mut ended = ByKind::default();
                ended[0] = u64::from(mark.0[0]);
                ended
            };
            answer.send(denials.iter().map(ended).collect()).is_ok()
        })
    }

    #[tokio::test]
    async fn denials_that_are_acknowledged_together_are_one_question_and_each_gets_its_own_answer()
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let ended: Ask = Box::new(|_| false);
        let streams = Arc::new(OpenStreams::new(vec![core(&asked), core(&asked), ended]));
        let all: Vec<_> = (0..20)
            .map(|number| {
                let streams = Arc::clone(&streams);
                tokio::spawn(async move { streams.ended_by(mark(number), Instant::now()).await })
            })
            .collect();
        for (number, one) in all.into_iter().enumerate() {
            let counts = one.await.unwrap().expect("both cores answer");
            assert_eq!(counts.iter().sum::<u64>(), 2 * number as u64);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(streams.ended_by(mark(1), Instant::now()).await.is_some(), "and the next one too");
    }

    #[tokio::test]
    async fn a_core_that_says_nothing_holds_up_nobody_for_long() {
        let kept = Mutex::new(Vec::new());
        let silent: Ask = Box::new(move |question| {
            kept.lock().push(question);
            true
        });
        let streams = Arc::new(OpenStreams::new(vec![silent]));
        for _ in 0..2 {
            let since = Instant::now();
            assert_eq!(streams.ended_by(mark(1), since).await, None);
            assert!(since.elapsed() < PATIENCE_OF_DENIALS * 60);
        }
    }
}
