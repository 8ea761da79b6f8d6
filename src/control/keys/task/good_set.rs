//! The last good set of a source: fetched, put in force, kept on disk, and given up when it is too
//! old.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use tokio::time::Instant;

use crate::clock::UnixMs;
use crate::config::KeyLocation;
use crate::control::keys::discovery;
use crate::control::keys::fetch::{FetchFault, Fetched, Fetcher};
use crate::keys::KeySet;

use super::Task;

/// The time on disk is exact to this part of `max_stale`, on the side of too old.
const KEPT_WITHIN: u32 = 24;
/// Names of keys that a log line holds.
const KIDS_SHOWN: usize = 8;

/// The answer that is in force.
pub(super) struct Held {
    url: Uri,
    etag: Option<HeaderValue>,
    text: String,
    /// When it was last written to disk.
    kept_at: Option<UnixMs>,
}

impl Task<'_> {
    /// One fetch; how long what it brought is fresh, where the server says so.
    pub(super) async fn fetch(&mut self) -> Result<Option<Duration>, FetchFault> {
        let fetcher = match &self.fetcher {
            Some(fetcher) => fetcher.clone(),
            // Made here, so that one that cannot be made is a failed fetch and is tried again.
            None => self.fetcher.insert(Fetcher::new(self.remote)?).clone(),
        };
        let url = self.url(&fetcher).await?;
        let held = self.held.as_ref().filter(|held| held.url == url);
        let etag = held.and_then(|held| held.etag.clone());
        let fresh = match fetcher.get(&url, etag.as_ref()).await? {
            Fetched::Same { fresh } => fresh,
            Fetched::New { body, etag, fresh } => {
                let text = self.learn(&body)?;
                let same = held.filter(|held| held.text == text);
                let kept_at = same.and_then(|held| held.kept_at);
                self.held = Some(Held { url, etag, text, kept_at });
                fresh
            }
        };
        self.confirm().await;
        Ok(fresh)
    }

    async fn url(&mut self, fetcher: &Fetcher) -> Result<Uri, FetchFault> {
        let (document, issuer) = match &self.remote.location {
            KeyLocation::Jwks(url) => return Ok(url.clone()),
            KeyLocation::Discovery { document, issuer } => (document, issuer),
        };
        match &self.document {
            Some((url, until)) if Instant::now() < *until => Ok(url.clone()),
            _ => {
                let url = discovery::jwks_url(fetcher, document, issuer).await?;
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
        let before = self.source.set();
        if !before.is_same(&set) {
            let gone = before.lost_in(&set).len();
            tracing::info!(
                issuer = self.source.name,
                keys = set.keys().len(),
                gone,
                kids = kids(&set),
                "another set of keys is in force"
            );
            self.ring.learn(self.source, Arc::new(set.after(&before)));
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

    /// What is held is good as of now: noted, and kept on disk. There its time need not be exact: what
    /// says the same as before is not written again each time.
    async fn confirm(&mut self) {
        let now = UnixMs::now();
        let Some(held) = &mut self.held else { return };
        {
            let mut state = self.source.state.lock();
            state.last_success = Some(now);
            state.kept = false;
            state.jwks_url = Some(held.url.to_string());
        }
        let exact_to = self.remote.max_stale / KEPT_WITHIN;
        if held.kept_at.is_some_and(|at| now.since(at) < exact_to) {
            return;
        }
        let (source, url, text) =
            (Arc::clone(self.source), held.url.to_string(), held.text.clone());
        let writing = tokio::task::spawn_blocking(move || source.keep(&url, &text, now));
        let failed = match writing.await {
            Ok(Ok(())) => {
                held.kept_at = Some(now);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the writer broke off".to_owned(),
        };
        tracing::warn!(
            issuer = self.source.name,
            "keys could not be kept on disk, a restart would have to fetch them: {failed}"
        );
    }

    /// The last good set is too old to count, also for a server that says it still holds: it is to
    /// send it again.
    pub(super) fn give_up(&mut self) {
        tracing::error!(
            issuer = self.source.name,
            "the last good keys are older than max_stale and count no longer; its tokens get 503"
        );
        self.held = None;
        self.ring.learn(self.source, Arc::default());
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
