//! The last refused requests, so that support can ask why with the id that the user was shown.

use std::collections::VecDeque;
use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::clock::UnixMs;
use crate::denylist::{ConditionKind, Fingerprint};
use crate::telemetry::Refusal;

/// Refusals remembered.
const REFUSALS_MAX: usize = 4096;
/// Selectors whose last hit is remembered.
const HITS_MAX: u64 = 50_000;

/// See the module.
pub struct Refusals {
    last: Mutex<VecDeque<Arc<Refusal>>>,
    hits: Cache<(Fingerprint, ConditionKind), UnixMs>,
    watched: broadcast::Sender<Arc<Refusal>>,
}

/// What waits for a watcher; of more he is told how many.
const WATCHED_MAX: usize = 1024;

impl Default for Refusals {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            hits: Cache::builder()
                .max_capacity(HITS_MAX)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            watched: broadcast::Sender::new(WATCHED_MAX),
        }
    }
}

impl Refusals {
    pub fn add(&self, refusal: Refusal) {
        if let Some(hit) = &refusal.hit {
            self.hits.insert((hit.fingerprint, hit.condition), refusal.at);
        }
        let refusal = Arc::new(refusal);
        if self.watched.receiver_count() > 0 {
            // The last of them may have gone in between.
            self.watched.send(Arc::clone(&refusal)).ok();
        }
        let mut last = self.last.lock();
        if last.len() >= REFUSALS_MAX {
            last.pop_front();
        }
        last.push_back(refusal);
    }

    /// Refusals from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Refusal>> {
        self.watched.subscribe()
    }

    pub fn find(&self, request_id: &str) -> Option<Arc<Refusal>> {
        let last = self.last.lock();
        last.iter().rev().find(|refusal| refusal.request_id == request_id).cloned()
    }

    /// When a request was last refused by this selector under this kind of condition.
    pub fn last_hit(&self, selector: Fingerprint, condition: ConditionKind) -> Option<UnixMs> {
        self.hits.get(&(selector, condition))
    }
}
