//! Keys that are fetched: for each issuer with a URL a task that keeps its key set fresh, ahead of
//! time, one fetch at a time. The data plane only reads the cells that are filled here.
//!
//! What always holds: a set without a usable key is a failed fetch and changes nothing; a key that
//! is gone stops verifying before anybody is told, and then the open streams are told; the last
//! good set is served for a bounded time, also across a restart.

mod discovery;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
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
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

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

/// Scheduled fetches that are under way at once, of all issuers. Those that a request or a person
/// asks for do not wait for them.
const FETCHES_MAX: usize = 32;

/// All sources of one gateway. Outlives configurations: an issuer that stays keeps its cell.
pub struct KeyRing {
    /// Where good sets are kept.
    directory: PathBuf,
    fingerprinter: Fingerprinter,
    announce: OnceLock<Announce>,
    runtime: OnceLock<Handle>,
    /// Places of scheduled fetches.
    fetches: Semaphore,
    sources: Mutex<HashMap<IssuerId, Running>>,
}

/// A source and its task. Dropping it ends both.
struct Running {
    source: Arc<Source>,
    task: Option<AbortHandle>,
}

/// The keys of one issuer as a new configuration is to have them.
pub struct Prepared {
    pub cell: KeyCell,
    /// How requests ask for fresher keys; `None` where nobody fetches any.
    pub line: Option<Line>,
    id: IssuerId,
    way: Way,
}

enum Way {
    /// The source of before goes on, with these keys where the config holds them.
    Stays(Option<Arc<KeySet>>),
    /// Another takes its place, or is the issuer's first.
    Begins(Running),
}

impl KeyRing {
    /// `store` is the directory of the store.
    pub fn new(store: &Path, fingerprinter: Fingerprinter) -> Arc<Self> {
        Arc::new(Self {
            directory: store.join("keys"),
            fingerprinter,
            announce: OnceLock::new(),
            runtime: OnceLock::new(),
            fetches: Semaphore::new(FETCHES_MAX),
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
        let (source, way) = match known.filter(|source| source.is_of(issuer)) {
            Some(same) => {
                let set = issuer.remote.is_none().then(|| Arc::clone(&issuer.keys));
                (Arc::clone(same), Way::Stays(set))
            }
            None => {
                let cell = known.map(|source| Arc::clone(&source.cell)).unwrap_or_default();
                let source = Arc::new(Source::new(issuer, cell, &self.directory));
                (Arc::clone(&source), Way::Begins(Running { source, task: None }))
            }
        };
        Prepared { cell: Arc::clone(&source.cell), line: source.line(), id, way }
    }

    /// Fetches the keys of those that would begin without any, side by side, for no longer than
    /// `bound`, so that another URL is no gap. Not from a task of a runtime: it blocks.
    pub fn fetch_first(self: &Arc<Self>, prepared: &mut [Prepared], bound: Duration) {
        let Some(runtime) = self.runtime.get() else { return };
        let mut begun = Vec::new();
        for Prepared { way, .. } in prepared {
            let Way::Begins(running) = way else { continue };
            if running.source.remote.is_some() && running.source.set().is_empty() {
                running.task = self.start(runtime, &running.source);
                begun.push(Arc::clone(&running.source));
            }
        }
        if begun.is_empty() {
            return;
        }
        let ended = async {
            for source in &begun {
                source.refresh.subscribe().wait_for(|refresh| refresh.round > 0).await.ok();
            }
        };
        runtime.block_on(async { tokio::time::timeout(bound, ended).await }).ok();
        for source in begun.iter().filter(|source| source.set().is_empty()) {
            tracing::warn!(
                issuer = source.name,
                "its keys could not be fetched before the config was put in force: its tokens get \
                 503 until they are"
            );
        }
    }

    /// Puts what was prepared in force and ends what is not part of it. Tasks begin when
    /// [`Self::run`] was called.
    pub fn commit(self: &Arc<Self>, prepared: Vec<Prepared>) {
        let mut sources = self.sources.lock();
        let mut before = std::mem::take(&mut *sources);
        for Prepared { id, way, .. } in prepared {
            let old = before.remove(&id);
            let running = match (way, old) {
                (Way::Stays(set), Some(same)) => {
                    if let Some(set) = set {
                        self.learn(&same.source, set);
                    }
                    same
                }
                // Prepared for what has gone since: there is nothing to go on with.
                (Way::Stays(_), None) => continue,
                (Way::Begins(mut running), old) => {
                    // The old one first: what it may still be fetching must not come after.
                    drop(old);
                    running.source.begin(|source, set| self.put(source, set));
                    if let (None, Some(runtime)) = (&running.task, self.runtime.get()) {
                        running.task = self.start(runtime, &running.source);
                    }
                    running
                }
            };
            sources.insert(id, running);
        }
        for (_, gone) in before {
            let source = Arc::clone(&gone.source);
            drop(gone);
            self.put(&source, Arc::default());
        }
    }

    /// Starts the tasks, and those of later configurations, on this runtime.
    pub fn run(self: &Arc<Self>, runtime: Handle) {
        let mut sources = self.sources.lock();
        let count = sources.len();
        for running in sources.values_mut() {
            running.task = self.start_among(&runtime, &running.source, count);
        }
        self.runtime.set(runtime).ok();
    }

    fn start(self: &Arc<Self>, runtime: &Handle, source: &Arc<Source>) -> Option<AbortHandle> {
        self.start_among(runtime, source, 1)
    }

    /// `count` tasks begin at the same time.
    fn start_among(
        self: &Arc<Self>,
        runtime: &Handle,
        source: &Arc<Source>,
        count: usize,
    ) -> Option<AbortHandle> {
        let remote: RemoteKeys = source.remote.clone()?;
        let (ring, source) = (Arc::clone(self), Arc::clone(source));
        let task = async move { task::keep_fresh(&ring, &source, &remote, count).await };
        Some(runtime.spawn(task).abort_handle())
    }

    /// The source has another set. One that is retired changes nothing.
    fn learn(&self, source: &Source, set: Arc<KeySet>) {
        source.have(set, |source, set| self.put(source, set));
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

impl Drop for Running {
    fn drop(&mut self) {
        self.source.retire();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
