//! What runs in the background, and for which part of the configuration: the refresh of an issuer's
//! keys, the health checks of an upstream. A reload says what is wanted from now on; work whose
//! identity and settings are the same goes on undisturbed, what is new starts, the rest is stopped.

use std::collections::BTreeMap;
use std::pin::Pin;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// A future on the control plane's own runtime.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a piece of work is for: its kind and the identity of what it serves, as `keys` of an
/// issuer's id or `health` of an upstream's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Identity {
    pub kind: &'static str,
    pub of: String,
}

/// Work that is wanted.
pub struct Work {
    pub identity: Identity,
    /// Everything that it depends on, as text: compared, never shown.
    pub settings: String,
    /// Called only if it does not run already with these settings.
    pub start: Box<dyn FnOnce() -> Running + Send>,
}

/// See the module. Dropping it stops all.
pub struct Tasks {
    runtime: Handle,
    running: BTreeMap<Identity, Entry>,
}

struct Entry {
    settings: String,
    abort: AbortHandle,
}

impl Tasks {
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, running: BTreeMap::new() }
    }

    /// From now on this and nothing else. Of several with one identity the first counts.
    pub fn settle(&mut self, wanted: Vec<Work>) {
        let mut before = std::mem::take(&mut self.running);
        for Work { identity, settings, start } in wanted {
            if self.running.contains_key(&identity) {
                continue;
            }
            let same = |entry: &Entry| entry.settings == settings && !entry.abort.is_finished();
            let entry = match before.remove(&identity) {
                Some(entry) if same(&entry) => entry,
                old => {
                    // The old one first: two of a kind must not write to the same place.
                    drop(old);
                    Entry { settings, abort: self.runtime.spawn(start()).abort_handle() }
                }
            };
            self.running.insert(identity, entry);
        }
    }

    /// Identities of what runs.
    pub fn running(&self) -> impl Iterator<Item = &Identity> {
        self.running.keys()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_is_the_same_goes_on_and_what_is_not_wanted_ends() {
        let starts = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicUsize::new(0));
        struct Guard(Arc<AtomicUsize>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let work = |of: &str, settings: &str| {
            let (starts, ends) = (Arc::clone(&starts), Arc::clone(&ends));
            Work {
                identity: Identity { kind: "keys", of: of.to_owned() },
                settings: settings.to_owned(),
                start: Box::new(move || {
                    starts.fetch_add(1, Ordering::SeqCst);
                    let guard = Guard(ends);
                    Box::pin(async move {
                        std::future::pending::<()>().await;
                        drop(guard);
                    })
                }),
            }
        };
        let count = |of: &Arc<AtomicUsize>| of.load(Ordering::SeqCst);
        let mut tasks = Tasks::new(Handle::current());
        tasks.settle(vec![work("a", "1"), work("b", "1")]);
        tasks.settle(vec![work("a", "1"), work("b", "1")]);
        tokio::task::yield_now().await;
        assert_eq!((count(&starts), count(&ends)), (2, 0));
        tasks.settle(vec![work("a", "2"), work("c", "1"), work("c", "2")]);
        tokio::task::yield_now().await;
        assert_eq!((count(&starts), count(&ends)), (4, 2));
        assert_eq!(tasks.running().map(|one| one.of.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        drop(tasks);
        tokio::task::yield_now().await;
        assert_eq!((count(&starts), count(&ends)), (4, 4));
    }
}
