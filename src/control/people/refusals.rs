//! The last refused requests, so that support can ask why with the id that the user was shown.

use std::collections::VecDeque;
use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

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
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            hits: Cache::builder()
                .max_capacity(HITS_MAX)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }
}

impl Refusals {
    pub fn add(&self, refusal: Refusal) {
        if let Some(hit) = &refusal.hit {
            self.hits.insert((hit.fingerprint, hit.condition), refusal.at);
        }
        let mut last = self.last.lock();
        if last.len() >= REFUSALS_MAX {
            last.pop_front();
        }
        last.push_back(Arc::new(refusal));
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
