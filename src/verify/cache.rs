//! The cache of verified signatures, by the whole token. Bounded in bytes.
//!
//! It remembers that a signature was valid and what the claims say, never a verdict. It is filled
//! only after verification, so nothing that a stranger sends takes room in it. It outlives a change
//! of the config: what is in it counts for the issuer that it was verified for, as that issuer is;
//! one whose policy has changed is another.
//!
//! A token is found by a keyed 128-bit hash and then compared in full: a third of what SHA-256
//! costs, and nothing rests on the hash.

use std::sync::Arc;

use siphasher::sip128::SipHasher13;

use crate::token::Credential;

use super::Signed;

/// Name of a token in one cache.
pub(super) type CacheKey = u128;

/// What the map itself spends on an entry beside the value.
const ENTRY_BYTES: usize = 160;

/// See the module.
pub struct SignatureCache {
    /// Random, so that nobody can aim at another token's place.
    hasher: SipHasher13,
    entries: moka::sync::Cache<CacheKey, Arc<Entry>>,
}

struct Entry {
    credential: Credential,
    signed: Arc<Signed>,
}

impl SignatureCache {
    /// At most about this many bytes; 0 turns it off.
    pub fn new(bytes_max: u64) -> Self {
        let weigh = |_: &CacheKey, entry: &Arc<Entry>| {
            let bytes = entry.signed.size_bytes() + entry.credential.expose().len() + ENTRY_BYTES;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let mut key = [0; 16];
        // The operating system's generator does not fail on the platforms we build for.
        #[expect(clippy::expect_used, reason = "without randomness nothing here is safe")]
        aws_lc_rs::rand::fill(&mut key).expect("the operating system gives random bytes");
        Self {
            hasher: SipHasher13::new_with_key(&key),
            entries: moka::sync::Cache::builder().max_capacity(bytes_max).weigher(weigh).build(),
        }
    }

    pub(super) fn key(&self, credential: &Credential) -> CacheKey {
        self.hasher.hash(credential.expose().as_bytes()).as_u128()
    }

    /// What was put there for exactly this token.
    pub(super) fn find(&self, key: CacheKey, credential: &Credential) -> Option<Arc<Signed>> {
        let entry = self.entries.get(&key)?;
        (entry.credential == *credential).then(|| Arc::clone(&entry.signed))
    }

    pub(super) fn insert(&self, key: CacheKey, credential: &Credential, signed: &Arc<Signed>) {
        let entry = Entry { credential: credential.clone(), signed: Arc::clone(signed) };
        self.entries.insert(key, Arc::new(entry));
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
