//! From a valid configuration to what the data plane knows. What did not change keeps its place:
//! an issuer with the same policy stays the same one, with its keys, and so do the signatures that
//! are remembered for it; a server of the same address keeps its pool.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::Config;
use crate::control::keys::{KeyRing, Prepared};
use crate::control::resolve;
use crate::denylist::Denylist;
use crate::proxy::{self, Kept, Nudge, Nudges, Published};
use crate::verify::{Issuer, SignatureCache, Verifier};

/// How long a start, or a reload, waits for the names of servers.
const RESOLVE_WAIT: Duration = Duration::from_secs(3);

/// How long a reload waits for the keys of issuers that would begin without any. Those of a first
/// start are waited for by the requests that need them.
pub(super) const KEYS_WAIT: Duration = Duration::from_secs(5);

/// What a configuration compiles to when nothing was in force before it.
pub(crate) fn publish(
    config: &Config,
    denylist: &Arc<Denylist>,
    keys: &[Prepared],
    kept: &mut Kept,
) -> Published {
    let cache = Arc::new(SignatureCache::new(config.server.signature_cache_bytes));
    with(config, denylist, (keys, &[]), cache, kept)
}

/// The first configuration, with its keys in force.
pub(super) fn publish_first(
    config: &Config,
    denylist: &Arc<Denylist>,
    keys: &Arc<KeyRing>,
    kept: &mut Kept,
) -> Arc<ArcSwap<Published>> {
    let prepared = keys.prepare(&config.issuers);
    let published = publish(config, denylist, &prepared, kept);
    keys.commit(prepared);
    resolve_names(&published);
    Arc::new(ArcSwap::from_pointee(published))
}

/// Waits a little for the addresses of servers that are new; what takes longer answers 503 until
/// then.
pub(super) fn resolve_names(published: &Published) {
    resolve::first(&published.groups(), RESOLVE_WAIT);
}

/// The keys that a configuration holds itself: for looking at it without fetching any.
pub(crate) fn unfetched(config: &Config, denylist: &Denylist) -> Vec<Prepared> {
    KeyRing::new(&config.store.path, denylist.fingerprinter().clone()).prepare(&config.issuers)
}

/// What it compiles to after `before`; `before_config` is what that was compiled from.
pub(super) fn publish_after(
    config: &Config,
    before_config: &Config,
    before: &Published,
    keys: &[Prepared],
    kept: &mut Kept,
) -> Published {
    let bytes = config.server.signature_cache_bytes;
    let cache = if bytes == before_config.server.signature_cache_bytes {
        Arc::clone(before.verifier.cache())
    } else {
        Arc::new(SignatureCache::new(bytes))
    };
    with(config, &before.denylist, (keys, before.verifier.issuers()), cache, kept)
}

fn with(
    config: &Config,
    denylist: &Arc<Denylist>,
    (keys, before): (&[Prepared], &[Arc<Issuer>]),
    cache: Arc<SignatureCache>,
    kept: &mut Kept,
) -> Published {
    // An issuer's cell is the same in every configuration, so one that stays needs no new keys here.
    let issuers = config.issuers.iter().zip(keys).map(|(issuer, keys)| {
        match before.iter().find(|before| before.policy == issuer.policy) {
            Some(same) if Arc::ptr_eq(&same.keys, &keys.cell) => Arc::clone(same),
            Some(_) | None => {
                Arc::new(Issuer::with_cell(issuer.policy.clone(), Arc::clone(&keys.cell)))
            }
        }
    });
    let verifier = Verifier::new(issuers.collect(), denylist.fingerprinter().clone(), cache);
    let lines = keys.iter().filter_map(|keys| keys.line.clone());
    let nudges = Nudges::new(
        lines.map(|line| (line.issuer, Nudge::new(line.asked, line.refresh, line.wait))),
    );
    proxy::compile(config, Arc::new(verifier), Arc::clone(denylist), nudges, kept)
}
