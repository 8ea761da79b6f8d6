//! The cache of verified signatures, by SHA-256 of the whole token. Bounded in bytes.
//!
//! It remembers that a signature was valid and what the claims say, never a verdict. It is filled
//! only after verification, so nothing that a stranger sends takes room in it. What is in it
//! belongs to one [`super::Verifier`]: after a change of the config every token is verified anew.

use std::sync::Arc;

use crate::token::{Credential, sha256};

use super::Signed;

/// Name of a token in the cache.
pub(super) type CacheKey = [u8; 32];

/// What the map itself spends on an entry beside the value, as measured with a million of them.
const ENTRY_BYTES: usize = 160;

/// See the module.
pub struct SignatureCache {
    entries: moka::sync::Cache<CacheKey, Arc<Signed>>,
}

impl SignatureCache {
    /// At most about this many bytes; 0 turns it off.
    pub fn new(bytes_max: u64) -> Self {
        let weigh = |_: &CacheKey, signed: &Arc<Signed>| {
            u32::try_from(signed.size_bytes() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self {
            entries: moka::sync::Cache::builder().max_capacity(bytes_max).weigher(weigh).build(),
        }
    }

    pub(super) fn key(credential: &Credential) -> CacheKey {
        sha256(credential.expose().as_bytes())
    }

    /// What the verifier of this number put there.
    pub(super) fn find(&self, key: &CacheKey, verifier: u64) -> Option<Arc<Signed>> {
        self.entries.get(key).filter(|signed| signed.verifier == verifier)
    }

    pub(super) fn insert(&self, key: CacheKey, signed: &Arc<Signed>) {
        self.entries.insert(key, Arc::clone(signed));
    }

    /// Tokens remembered, about.
    pub fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken, about.
    pub fn size_bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    /// Lets the map finish its housekeeping, so that its figures are exact.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.entries.run_pending_tasks();
    }
}
