//! The task of one source: when to fetch, what to make of what came, and what to say about it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use tokio::time::{Instant, sleep_until};

use crate::clock::UnixMs;
use crate::config::{KeyLocation, RemoteKeys};
use crate::keys::{KeySet, Phase};

use super::fetch::{FetchFault, Fetched, Fetcher};
use super::source::Source;
use super::{KeyRing, discovery, schedule};

/// Names of keys that a log line holds.
const KIDS_SHOWN: usize = 8;

/// Keeps the source's keys fresh until the task is ended.
pub async fn keep_fresh(ring: &Arc<KeyRing>, source: &Arc<Source>, remote: &RemoteKeys) {
    let fetcher = match Fetcher::new(remote) {
        Ok(fetcher) => fetcher,
        Err(fault) => {
            tracing::error!(issuer = source.name, "keys cannot be fetched: {fault}");
            source.state.lock().failure = Some((UnixMs::now(), fault.to_string()));
            source.refresh.send_modify(|refresh| refresh.phase = Phase::Cooling);
            return;
        }
    };
    Task { ring, source, remote, fetcher, held: None, document: None }.run().await;
}

struct Task<'t> {
    ring: &'t Arc<KeyRing>,
    source: &'t Arc<Source>,
    remote: &'t RemoteKeys,
    fetcher: Fetcher,
    /// The answer that is in force, to ask whether it still holds.
    held: Option<Held>,
    /// Where discovery led, and when it is asked again.
    document: Option<(Uri, Instant)>,
}

struct Held {
    url: Uri,
    etag: Option<HeaderValue>,
    text: String,
}

impl Task<'_> {
    async fn run(mut self) {
        let mut next = Instant::now();
        // Unknown keys may ask for a fetch from then on. Scheduled fetches neither wait for it nor
        // move it: whoever sends invented key ids cannot keep a real rotation from being seen.
        let mut cool_until = next;
        let mut usable_until = self.usable_until();
        loop {
            let now = Instant::now();
            let cooling = now < cool_until;
            if now < next {
                self.source.set_phase(if cooling { Phase::Cooling } else { Phase::Ready });
            }
            let expiry = usable_until.unwrap_or(now + Duration::from_secs(3600));
            tokio::select! {
                // In this order: an order of an administrator is never starved.
                biased;
                () = self.source.ordered.notified() => {}
                () = sleep_until(next) => {}
                () = self.source.asked.notified(), if !cooling => {
                    // Claimed before the fetch, so that a fetch that hangs costs no more.
                    cool_until = Instant::now() + self.remote.cooldown;
                }
                () = sleep_until(cool_until), if cooling => continue,
                () = sleep_until(expiry), if usable_until.is_some() => {
                    self.give_up();
                    usable_until = None;
                    continue;
                }
            }
            self.source.set_phase(Phase::Fetching);
            let pause = self.refresh().await;
            next = Instant::now() + pause;
            self.source.state.lock().next = Some(UnixMs::now().plus(pause));
            usable_until = self.usable_until();
            self.source.refresh.send_modify(|refresh| refresh.round += 1);
        }
    }

    /// When the set in force is too old; `None` where there is none.
    fn usable_until(&self) -> Option<Instant> {
        let at = self.source.state.lock().last_success?;
        if self.source.cell.load().is_empty() {
            return None;
        }
        let age = UnixMs::now().since(at);
        Some(Instant::now() + self.remote.max_stale.saturating_sub(age))
    }

    /// One fetch; the pause until the next.
    async fn refresh(&mut self) -> Duration {
        let result = self.fetch().await;
        self.source.state.lock().fetches += 1;
        let chance = chance();
        match result {
            Ok(fresh) => {
                let recovered = std::mem::take(&mut self.source.state.lock().failures);
                if recovered > 0 {
                    tracing::info!(issuer = self.source.name, "keys are fetched again");
                }
                schedule::after_success(fresh, self.remote, chance)
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
                let pause = schedule::after_failure(failures, chance);
                self.complain(&fault, pause);
                pause
            }
        }
    }

    async fn fetch(&mut self) -> Result<Option<Duration>, FetchFault> {
        let url = self.url().await?;
        let held = self.held.as_ref().filter(|held| held.url == url);
        let etag = held.and_then(|held| held.etag.clone());
        match self.fetcher.get(&url, etag.as_ref()).await? {
            Fetched::Same { fresh } => {
                let text = held.map(|held| held.text.clone()).unwrap_or_default();
                self.confirm(&url, text).await;
                Ok(fresh)
            }
            Fetched::New { body, etag, fresh } => {
                let text = self.learn(&body)?;
                self.confirm(&url, text.clone()).await;
                self.held = Some(Held { url, etag, text });
                Ok(fresh)
            }
        }
    }

    async fn url(&mut self) -> Result<Uri, FetchFault> {
        let (document, issuer) = match &self.remote.location {
            KeyLocation::Jwks(url) => return Ok(url.clone()),
            KeyLocation::Discovery { document, issuer } => (document, issuer),
        };
        match &self.document {
            Some((url, until)) if Instant::now() < *until => Ok(url.clone()),
            _ => {
                let url = discovery::jwks_url(&self.fetcher, document, issuer).await?;
                self.document = Some((url.clone(), Instant::now() + self.remote.refresh_max));
                Ok(url)
            }
        }
    }

    /// Takes the set in force if it is one.
    fn learn(&self, body: &Bytes) -> Result<String, FetchFault> {
        let fault = |fault: crate::keys::KeyFault| FetchFault::Content(fault.to_string());
        let (set, skipped) = KeySet::from_jwks(body, &self.source.algorithms).map_err(fault)?;
        // Strict JSON is UTF-8.
        let text = String::from_utf8_lossy(body).into_owned();
        let before = self.source.cell.load_full();
        if !before.is_same(&set) {
            let gone = before.lost_in(&set).len();
            tracing::info!(
                issuer = self.source.name,
                keys = set.keys().len(),
                gone,
                kids = kids(&set),
                "another set of keys is in force"
            );
            self.ring.put(self.source, Arc::new(set));
        }
        let mut state = self.source.state.lock();
        if state.skipped != skipped {
            for why in &skipped {
                tracing::warn!(issuer = self.source.name, "a key is not used: {why}");
            }
            state.skipped = skipped;
        }
        Ok(text)
    }

    /// The set in force is good as of now: noted, and kept on disk.
    async fn confirm(&self, url: &Uri, text: String) {
        let now = UnixMs::now();
        {
            let mut state = self.source.state.lock();
            state.last_success = Some(now);
            state.kept = false;
            state.jwks_url = Some(url.to_string());
        }
        let (keeper, url) = (self.source.keeper.clone(), url.to_string());
        let writing = tokio::task::spawn_blocking(move || keeper.write(&url, &text, now));
        let failed = match writing.await {
            Ok(written) => written.err().map(|error| error.to_string()),
            Err(_) => Some("the writer broke off".to_owned()),
        };
        if let Some(error) = failed {
            tracing::warn!(
                issuer = self.source.name,
                "keys could not be kept on disk, a restart would have to fetch them: {error}"
            );
        }
    }

    /// The last good set is too old to count.
    fn give_up(&self) {
        tracing::error!(
            issuer = self.source.name,
            "the last good keys are older than max_stale and count no longer; its tokens get 503"
        );
        self.ring.put(self.source, Arc::default());
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

fn kids(set: &KeySet) -> String {
    let kids = set.keys().iter().take(KIDS_SHOWN).map(|key| key.kid().unwrap_or("(no kid)"));
    let mut text = kids.collect::<Vec<_>>().join(" ");
    if set.keys().len() > KIDS_SHOWN {
        text.push_str(" …");
    }
    text
}

/// Without randomness gateways fetch at the same time; nothing worse.
fn chance() -> u8 {
    let mut byte = [128];
    aws_lc_rs::rand::fill(&mut byte).ok();
    byte[0]
}
