//! The task of one source: when to fetch, and what to say when it fails. What to make of what came
//! is in [`good_set`].

mod good_set;

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep_until};

use crate::clock::UnixMs;
use crate::config::RemoteKeys;
use crate::keys::Phase;

use super::fetch::{FetchFault, Fetcher};
use super::source::Source;
use super::{KeyRing, schedule};
use good_set::Held;

/// Keeps the source's keys fresh until the task is ended. `count` begin at the same time.
pub async fn keep_fresh(
    ring: &Arc<KeyRing>,
    source: &Arc<Source>,
    remote: &RemoteKeys,
    count: usize,
) {
    let task = Task { ring, source, remote, fetcher: None, held: None, document: None };
    task.run(count).await;
}

struct Task<'t> {
    ring: &'t Arc<KeyRing>,
    source: &'t Arc<Source>,
    remote: &'t RemoteKeys,
    fetcher: Option<Fetcher>,
    /// The answer that is in force, to ask whether it still holds.
    held: Option<Held>,
    /// Where discovery led, and when it is asked again.
    document: Option<(Uri, Instant)>,
}

/// How one fetch went.
struct Round {
    is_good: bool,
    /// Until the next.
    pause: Duration,
    /// The server wants to be left alone for so long.
    leave: Duration,
}

impl Task<'_> {
    async fn run(mut self, count: usize) {
        let (ring, source) = (self.ring, self.source);
        let now = Instant::now();
        let in_hurry = self.source.set().is_empty();
        let spread = if in_hurry { Duration::ZERO } else { schedule::at_start(count, chance()) };
        let mut next = now + spread;
        // Unknown keys may ask for a fetch from then on. Scheduled fetches neither wait for it nor
        // move it: whoever sends invented key ids cannot keep a real rotation from being seen.
        let mut cool_until = now;
        let mut usable_until = self.usable_until();
        loop {
            let now = Instant::now();
            let cooling = now < cool_until;
            let idle = if cooling { Phase::Cooling } else { Phase::Ready };
            if now < next {
                self.source.set_phase(idle);
            }
            let expiry = usable_until.unwrap_or(now + Duration::from_secs(3600));
            let _place = tokio::select! {
                // In this order: an order of an administrator is never starved.
                biased;
                () = self.source.ordered.notified() => None,
                place = turn(ring, source, (next, idle)) => place,
                () = self.source.asked.notified(), if !cooling => {
                    // Claimed before the fetch, so that a fetch that hangs costs no more.
                    cool_until = Instant::now() + self.remote.cooldown;
                    None
                }
                () = sleep_until(cool_until), if cooling => continue,
                () = sleep_until(expiry), if usable_until.is_some() => {
                    self.give_up();
                    usable_until = None;
                    continue;
                }
            };
            self.source.begin_fetch();
            let began = UnixMs::now();
            let Round { is_good, pause, leave } = self.refresh().await;
            let now = Instant::now();
            next = now + pause;
            cool_until = cool_until.max(now + leave);
            self.source.state.lock().next = Some(UnixMs::now().plus(pause));
            usable_until = self.usable_until();
            // Together, so that nobody who sees the end takes it for a fetch under way.
            self.source.refresh.send_modify(|refresh| {
                refresh.round += 1;
                refresh.phase = if now < cool_until { Phase::Cooling } else { Phase::Ready };
                if is_good {
                    refresh.good += 1;
                    refresh.confirmed = Some(began);
                }
            });
        }
    }

    /// When the set in force is too old; `None` where there is none.
    fn usable_until(&self) -> Option<Instant> {
        let at = self.source.state.lock().last_success?;
        if self.source.set().is_empty() {
            return None;
        }
        let age = UnixMs::now().since(at);
        Some(Instant::now() + self.remote.max_stale.saturating_sub(age))
    }

    async fn refresh(&mut self) -> Round {
        let result = self.fetch().await;
        self.source.state.lock().fetches += 1;
        let chance = chance();
        match result {
            Ok(fresh) => {
                let recovered = std::mem::take(&mut self.source.state.lock().failures);
                if recovered > 0 {
                    tracing::info!(issuer = self.source.name, "keys are fetched again");
                }
                let pause = schedule::after_success(fresh, self.remote, chance);
                Round { is_good: true, pause, leave: Duration::ZERO }
            }
            Err(fault) => {
                // Where discovery led may be what is wrong.
                self.document = None;
                let failures = {
                    let mut state = self.source.state.lock();
                    state.failures = state.failures.saturating_add(1);
                    state.failed += 1;
                    state.failure = Some((UnixMs::now(), fault.to_string()));
                    state.failures
                };
                let leave = schedule::left_alone(fault.retry_after(), self.remote);
                let pause = schedule::after_failure(failures, chance).max(leave);
                self.complain(&fault, pause);
                Round { is_good: false, pause, leave }
            }
        }
    }

    fn complain(&self, fault: &FetchFault, pause: Duration) {
        let source = self.source;
        let again = pause.as_secs_f64().ceil();
        let url = self.remote.location.url();
        let until = source.report().usable_until;
        match until {
            None => tracing::error!(
                issuer = source.name,
                "issuer {}: {url}: {fault}. There are no keys: routes that need its tokens answer \
                 503. Trying again in {again} s.",
                source.name
            ),
            Some(until) => tracing::warn!(
                issuer = source.name,
                "issuer {}: {url}: {fault}. The last good keys are used until {}. Trying again in \
                 {again} s.",
                source.name,
                until.rfc3339()
            ),
        }
    }
}

/// When the next scheduled fetch is due and has a place. While it waits for one, requests may ask
/// for a fetch that does not.
async fn turn<'r>(
    ring: &'r KeyRing,
    source: &Source,
    (next, idle): (Instant, Phase),
) -> Option<SemaphorePermit<'r>> {
    sleep_until(next).await;
    if let Ok(place) = ring.fetches.try_acquire() {
        return Some(place);
    }
    source.set_phase(idle);
    ring.fetches.acquire().await.ok()
}

/// Without randomness gateways fetch at the same time; nothing worse.
fn chance() -> u8 {
    let mut byte = [128];
    aws_lc_rs::rand::fill(&mut byte).ok();
    byte[0]
}
