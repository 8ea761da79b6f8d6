//! Clients and values of indexed claims that were seen, for whoever mistypes one. Bounded; names
//! nobody where people are off, because it is not kept then.

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::control::admin::distance;
use crate::denylist::IssuerId;
use crate::verify::Signed;

/// Suggestions for a name that nobody has.
const CLOSE_MAX: usize = 3;
const VALUES_MAX: u64 = 10_000;
/// A longer one is not remembered.
const VALUE_BYTES_MAX: usize = 128;

/// By issuer, claim (`None`: the client), value.
pub(super) struct Values(Cache<(IssuerId, Option<String>, String), ()>);

impl Default for Values {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(VALUES_MAX);
        Self(cache.eviction_policy(EvictionPolicy::lru()).build())
    }
}

impl Values {
    pub(super) fn note(&self, token: &Signed) {
        let client = token.client().map(|client| (None, client));
        let claims = token.indexed().map(|(name, value)| (Some(name.to_owned()), value));
        for (claim, value) in client.into_iter().chain(claims) {
            if value.len() <= VALUE_BYTES_MAX {
                self.0.insert((token.policy().id.clone(), claim, value.to_owned()), ());
            }
        }
    }

    /// Those that are like the one asked for.
    pub(super) fn close(
        &self,
        issuer: &IssuerId,
        claim: Option<&String>,
        asked: &str,
    ) -> Vec<String> {
        let asked = asked.to_lowercase();
        let mut found: Vec<(usize, String)> = Vec::new();
        for (key, ()) in &self.0 {
            let (of, name, value) = &*key;
            if of == issuer && name.as_ref() == claim {
                let far = likeness(&asked, &value.to_lowercase());
                found.extend(far.map(|far| (far, value.clone())));
            }
        }
        shorten(&mut found);
        found.into_iter().map(|(_, name)| name).collect()
    }
}

/// How unlike two names are; `None`: not alike.
pub(super) fn likeness(asked: &str, name: &str) -> Option<usize> {
    if asked.len() >= 3 && name.contains(asked) || name.len() >= 3 && asked.contains(name) {
        return Some(name.len().abs_diff(asked.len()).min(2));
    }
    // The cost is the product of the lengths.
    let allowed = (asked.len() / 4).clamp(1, 3);
    if asked.len() > 128 || name.len().abs_diff(asked.len()) > allowed {
        return None;
    }
    Some(distance(asked, name)).filter(|far| *far <= allowed)
}

pub(super) fn shorten(found: &mut Vec<(usize, String)>) {
    found.sort();
    found.dedup_by(|left, right| left.1 == right.1);
    found.truncate(CLOSE_MAX);
}
