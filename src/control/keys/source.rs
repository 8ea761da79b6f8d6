//! One issuer's keys: the cell that the data plane reads, the line by which it asks for fresher
//! ones, and what people may know of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::clock::UnixMs;
use crate::config::{self, RemoteKeys};
use crate::denylist::IssuerId;
use crate::keys::{Algorithm, KeySet, Phase, Refresh};
use crate::verify::KeyCell;

use super::kept::Keeper;
use super::report::{KeyReport, SourceReport};

/// How a request asks for fresher keys and learns when they are there.
#[derive(Clone)]
pub struct Line {
    pub issuer: IssuerId,
    pub asked: Arc<Notify>,
    pub refresh: watch::Receiver<Refresh>,
    /// How long a request may wait.
    pub wait: Duration,
}

/// See the module.
pub struct Source {
    /// Of the issuer, in the config.
    pub name: String,
    pub id: IssuerId,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) remote: Option<RemoteKeys>,
    pub(super) cell: KeyCell,
    standing: Mutex<Standing>,
    shown: String,
    pub(super) keeper: Keeper,
    pub(super) asked: Arc<Notify>,
    /// An administrator asks: without regard to the cooldown.
    pub(super) ordered: Notify,
    pub(super) refresh: watch::Sender<Refresh>,
    pub(super) state: Mutex<State>,
}

/// Whether the issuer's cell is this source's to fill. Sources of one issuer that follow each other
/// share the cell.
enum Standing {
    /// Not yet: what it will put there.
    Coming(Arc<KeySet>),
    InForce,
    /// Not any more, and never again.
    Retired,
}

/// How the fetching goes.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub fetches: u64,
    /// Of these.
    pub failed: u64,
    /// When the set in force was last confirmed.
    pub last_success: Option<UnixMs>,
    pub next: Option<UnixMs>,
    /// In a row.
    pub failures: u32,
    pub failure: Option<(UnixMs, String)>,
    /// The set in force is from the disk, of an earlier process.
    pub kept: bool,
    /// Keys that are not used, and why.
    pub skipped: Vec<String>,
    pub jwks_url: Option<String>,
}

impl Source {
    /// With the set that it begins with: the config's, or what was kept of an earlier fetch.
    pub(super) fn new(issuer: &config::Issuer, cell: KeyCell, directory: &Path) -> Self {
        let policy = &issuer.policy;
        let url = issuer.remote.as_ref().map(|remote| remote.location.url().to_string());
        let source = Self {
            name: policy.name.clone(),
            id: policy.id.clone(),
            algorithms: policy.algorithms.clone(),
            remote: issuer.remote.clone(),
            cell,
            standing: Mutex::new(Standing::Coming(Arc::clone(&issuer.keys))),
            shown: issuer.keys_source.clone(),
            keeper: Keeper::new(directory, policy.id.as_str(), url.as_deref().unwrap_or_default()),
            asked: Arc::new(Notify::new()),
            ordered: Notify::new(),
            // The first fetch begins at once: requests may wait for it.
            refresh: watch::Sender::new(Refresh { phase: Phase::Fetching, ..Refresh::default() }),
            state: Mutex::default(),
        };
        if let Some(remote) = &source.remote {
            let kept = source.kept(remote, UnixMs::now()).unwrap_or_default();
            *source.standing.lock() = Standing::Coming(kept);
        }
        source
    }

    /// What it has: in force, or to be.
    pub(super) fn set(&self) -> Arc<KeySet> {
        match &*self.standing.lock() {
            Standing::Coming(set) => Arc::clone(set),
            Standing::InForce | Standing::Retired => self.cell.load_full(),
        }
    }

    /// It has these from now on. `put` fills the cell, if that is this source's to fill.
    pub(super) fn have(&self, set: Arc<KeySet>, put: impl FnOnce(&Self, Arc<KeySet>)) {
        // Held meanwhile, so that a source that is retired fills the cell no more.
        let mut standing = self.standing.lock();
        match &mut *standing {
            Standing::Coming(coming) => *coming = set,
            Standing::InForce => put(self, set),
            Standing::Retired => {}
        }
    }

    /// The cell is its own from now on.
    pub(super) fn begin(&self, put: impl FnOnce(&Self, Arc<KeySet>)) {
        let mut standing = self.standing.lock();
        if let Standing::Coming(set) = &*standing {
            let set = Arc::clone(set);
            *standing = Standing::InForce;
            put(self, set);
        }
    }

    /// The cell is somebody else's. Whoever waits for a fetch need not wait any more.
    pub(super) fn retire(&self) {
        *self.standing.lock() = Standing::Retired;
        self.refresh.send_modify(|refresh| {
            refresh.round = refresh.begun + 1;
            refresh.phase = Phase::Cooling;
        });
    }

    /// Keeps the set on disk, unless another source may do so by now.
    pub(super) fn keep(&self, jwks_url: &str, jwks: &str, at: UnixMs) -> std::io::Result<()> {
        let standing = self.standing.lock();
        match &*standing {
            Standing::Coming(_) | Standing::InForce => self.keeper.write(jwks_url, jwks, at),
            Standing::Retired => Ok(()),
        }
    }

    /// What was kept on disk, unless it is too old or of no use.
    fn kept(&self, remote: &RemoteKeys, now: UnixMs) -> Option<Arc<KeySet>> {
        let kept = self.keeper.read()?;
        // A time in the future is no time: then the set is as old as it may be without being stale.
        let at = UnixMs(kept.fetched_at_ms.min(now.0));
        if now.since(at) >= remote.max_stale {
            return None;
        }
        let (set, skipped) = KeySet::from_jwks(kept.jwks.as_bytes(), &self.algorithms).ok()?;
        let mut state = self.state.lock();
        state.kept = true;
        state.last_success = Some(at);
        state.skipped = skipped;
        state.jwks_url = Some(kept.jwks_url);
        Some(Arc::new(set))
    }

    /// Would this issuer's table make the same source?
    pub(super) fn is_of(&self, issuer: &config::Issuer) -> bool {
        self.name == issuer.policy.name
            && self.algorithms == issuer.policy.algorithms
            && self.remote == issuer.remote
            && self.shown == issuer.keys_source
    }

    pub(super) fn line(&self) -> Option<Line> {
        let wait = self.remote.as_ref()?.wait;
        Some(Line {
            issuer: self.id.clone(),
            asked: Arc::clone(&self.asked),
            refresh: self.refresh.subscribe(),
            wait,
        })
    }

    /// A fetch begins.
    pub(super) fn begin_fetch(&self) {
        self.refresh.send_modify(|refresh| {
            refresh.begun += 1;
            refresh.phase = Phase::Fetching;
        });
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.refresh.send_modify(|refresh| refresh.phase = phase);
    }

    /// Orders a fetch now and waits until one that began after the order has ended.
    pub async fn refresh_now(&self) {
        let mut rounds = self.refresh.subscribe();
        let next = rounds.borrow_and_update().begun + 1;
        // One that is retired counts up once, and never again.
        if matches!(&*self.standing.lock(), Standing::Retired) {
            return;
        }
        self.ordered.notify_one();
        rounds.wait_for(|refresh| refresh.round >= next).await.ok();
    }

    pub(super) fn report(&self) -> SourceReport {
        let state = self.state.lock().clone();
        let keys = self.set();
        let failing = state.failures > 0;
        let word = match (keys.is_empty(), self.remote.is_some(), failing, state.kept) {
            (true, ..) => "none",
            (false, false, ..) => "fixed",
            (false, true, false, false) => "fresh",
            (false, true, false, true) => "kept",
            (false, true, true, _) => "failing",
        };
        let until = match (&self.remote, state.last_success) {
            (Some(remote), Some(at)) => Some(at.plus(remote.max_stale)),
            _ => None,
        };
        SourceReport {
            issuer: self.name.clone(),
            source: self.shown.clone(),
            url: self.remote.as_ref().map(|remote| remote.location.url().to_string()),
            jwks_url: state.jwks_url,
            state: word,
            from_disk: state.kept,
            fetches: state.fetches,
            last_success: state.last_success,
            usable_until: until.filter(|_| !keys.is_empty()),
            next_fetch: state.next,
            failures: state.failures,
            last_failure: state.failure,
            skipped: state.skipped,
            keys: keys.keys().iter().map(KeyReport::of).collect(),
        }
    }
}
