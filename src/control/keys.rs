//! Keys that are fetched: for each issuer with a URL a task that keeps its key set fresh, ahead of
//! time, one fetch at a time. The data plane only reads the cells that are filled here.
//!
//! What always holds: a set without a usable key is a failed fetch and changes nothing; a key that
//! is gone stops verifying before anybody is told, and then the open streams are told; the last
//! good set is served for a bounded time, also across a restart.

mod discovery;
mod fetch;
mod kept;
mod report;
mod schedule;
mod source;
mod task;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::clock::UnixMs;
use crate::config::{self, RemoteKeys};
use crate::denylist::{Fingerprint, Fingerprinter, IssuerId, Selector};
use crate::keys::{KeySet, Thumbprint};
use crate::verify::KeyCell;

pub use fetch::{FetchFault, Fetcher};
pub use report::{KeyReport, SourceReport};
pub use source::{Line, Source};

/// Tells every core which selectors changed, so that the streams that they mark are asked about.
pub type Announce = Box<dyn Fn(Vec<Fingerprint>) + Send + Sync>;

/// All sources of one gateway. Outlives configurations: an issuer that stays keeps its cell.
pub struct KeyRing {
    /// Where good sets are kept.
    directory: PathBuf,
    fingerprinter: Fingerprinter,
    announce: OnceLock<Announce>,
    runtime: OnceLock<Handle>,
    sources: Mutex<HashMap<IssuerId, Running>>,
}

struct Running {
    source: Arc<Source>,
    task: Option<JoinHandle<()>>,
}

/// The keys of one issuer as a new configuration is to have them.
pub struct Prepared {
    pub cell: KeyCell,
    /// How requests ask for fresher keys; `None` where nobody fetches any.
    pub line: Option<Line>,
    id: IssuerId,
    /// What is in force when the configuration is.
    set: Option<Arc<KeySet>>,
    /// To be started then.
    source: Option<Arc<Source>>,
}

impl KeyRing {
    /// `store` is the directory of the store.
    pub fn new(store: &Path, fingerprinter: Fingerprinter) -> Arc<Self> {
        Arc::new(Self {
            directory: store.join("keys"),
            fingerprinter,
            announce: OnceLock::new(),
            runtime: OnceLock::new(),
            sources: Mutex::default(),
        })
    }

    /// Who is told of keys that are gone. Once.
    pub fn listen(&self, announce: Announce) {
        self.announce.set(announce).ok();
    }

    /// Cells and lines for the issuers of a configuration, in its order. Nothing is in force yet.
    pub fn prepare(&self, issuers: &[config::Issuer]) -> Vec<Prepared> {
        let sources = self.sources.lock();
        issuers.iter().map(|issuer| self.prepare_one(issuer, &sources)).collect()
    }

    fn prepare_one(
        &self,
        issuer: &config::Issuer,
        sources: &HashMap<IssuerId, Running>,
    ) -> Prepared {
        let id = issuer.policy.id.clone();
        let known = sources.get(&id).map(|running| &running.source);
        if let Some(same) = known.filter(|source| source.is_of(issuer)) {
            let set = issuer.remote.is_none().then(|| Arc::clone(&issuer.keys));
            let source = Some(Arc::clone(same));
            return Prepared { cell: Arc::clone(&same.cell), line: same.line(), id, set, source };
        }
        let cell = known.map(|source| Arc::clone(&source.cell)).unwrap_or_default();
        let (source, set) = Source::new(issuer, cell, &self.directory);
        let source = Arc::new(source);
        Prepared {
            cell: Arc::clone(&source.cell),
            line: source.line(),
            id,
            set: Some(set),
            source: Some(source),
        }
    }

    /// Puts what was prepared in force and ends what is not part of it. Tasks begin when
    /// [`Self::run`] was called.
    pub fn commit(self: &Arc<Self>, prepared: Vec<Prepared>) {
        let mut sources = self.sources.lock();
        let mut before = std::mem::take(&mut *sources);
        for Prepared { id, set, source, .. } in prepared {
            let Some(source) = source else { continue };
            if let Some(set) = set {
                self.put(&source, set);
            }
            match before.remove(&id) {
                Some(same) if Arc::ptr_eq(&same.source, &source) => drop(sources.insert(id, same)),
                other => {
                    end(other);
                    let task = self.runtime.get().and_then(|runtime| self.start(runtime, &source));
                    sources.insert(id, Running { source, task });
                }
            }
        }
        for (_, gone) in before {
            self.put(&gone.source, Arc::default());
            end(Some(gone));
        }
    }

    /// Starts the tasks, and those of later configurations, on this runtime.
    pub fn run(self: &Arc<Self>, runtime: Handle) {
        let mut sources = self.sources.lock();
        for running in sources.values_mut() {
            running.task = self.start(&runtime, &running.source);
        }
        self.runtime.set(runtime).ok();
    }

    fn start(self: &Arc<Self>, runtime: &Handle, source: &Arc<Source>) -> Option<JoinHandle<()>> {
        let remote: RemoteKeys = source.remote.clone()?;
        let (ring, source) = (Arc::clone(self), Arc::clone(source));
        Some(runtime.spawn(async move { task::keep_fresh(&ring, &source, &remote).await }))
    }

    /// Another set for this issuer. First the cell, then the streams: whoever is entered in between
    /// asks the cell.
    fn put(&self, source: &Source, set: Arc<KeySet>) {
        let before = source.cell.swap(Arc::clone(&set));
        let lost = before.lost_in(&set);
        if lost.is_empty() {
            return;
        }
        let mark = |thumbprint: &Thumbprint| {
            self.fingerprinter.selector(&source.id, &Selector::Key(*thumbprint))
        };
        let marks: Vec<Fingerprint> = lost.iter().map(mark).collect();
        if let Some(announce) = self.announce.get() {
            announce(marks);
        }
    }

    pub fn is_fetched(&self, issuer: &str) -> bool {
        !self.fetched(Some(issuer)).is_empty()
    }

    /// When the keys of the issuer of this name were last confirmed by a fetch.
    pub fn read_at(&self, issuer: &str) -> Option<UnixMs> {
        let sources = self.sources.lock();
        let found = sources.values().find(|running| running.source.name == issuer);
        found.and_then(|running| running.source.state.lock().last_success)
    }

    /// Of each issuer whose keys are fetched: its name, fetches that succeeded and that failed.
    pub fn fetches(&self) -> Vec<(String, u64, u64)> {
        let count = |source: Arc<Source>| {
            let state = source.state.lock();
            (source.name.clone(), state.fetches.saturating_sub(state.failed), state.failed)
        };
        let mut all: Vec<_> = self.fetched(None).into_iter().map(count).collect();
        all.sort_unstable();
        all
    }

    /// Every source, for people.
    pub fn report(&self) -> Vec<SourceReport> {
        let sources = self.sources.lock();
        let mut reports: Vec<_> = sources.values().map(|running| running.source.report()).collect();
        reports.sort_by(|one, two| one.issuer.cmp(&two.issuer));
        reports
    }

    /// The sources with this issuer name, or all, that are fetched.
    pub fn fetched(&self, issuer: Option<&str>) -> Vec<Arc<Source>> {
        let sources = self.sources.lock();
        let wanted = |source: &&Arc<Source>| {
            source.remote.is_some() && issuer.is_none_or(|name| source.name == name)
        };
        sources.values().map(|running| &running.source).filter(wanted).map(Arc::clone).collect()
    }
}

fn end(running: Option<Running>) {
    if let Some(task) = running.and_then(|running| running.task) {
        task.abort();
    }
}
