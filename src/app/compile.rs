//! From a valid configuration to what the data plane knows. What did not change keeps its place:
//! an issuer with the same policy stays the same one, with its keys, and so do the signatures that
//! are remembered for it; a server of the same address keeps its pool.

use std::sync::Arc;

use crate::config::Config;
use crate::denylist::Denylist;
use crate::proxy::{self, Addresses, Published};
use crate::verify::{Issuer, SignatureCache, Verifier};

/// What a configuration compiles to when nothing was in force before it.
pub(crate) fn publish(
    config: &Config,
    denylist: &Arc<Denylist>,
    addresses: &mut Addresses,
) -> Published {
    let cache = Arc::new(SignatureCache::new(config.server.signature_cache_bytes));
    with(config, denylist, &[], cache, addresses)
}

/// What it compiles to after `before`; `before_config` is what that was compiled from.
pub(super) fn publish_after(
    config: &Config,
    before_config: &Config,
    before: &Published,
    addresses: &mut Addresses,
) -> Published {
    let bytes = config.server.signature_cache_bytes;
    let cache = if bytes == before_config.server.signature_cache_bytes {
        Arc::clone(before.verifier.cache())
    } else {
        Arc::new(SignatureCache::new(bytes))
    };
    with(config, &before.denylist, before.verifier.issuers(), cache, addresses)
}

fn with(
    config: &Config,
    denylist: &Arc<Denylist>,
    before: &[Arc<Issuer>],
    cache: Arc<SignatureCache>,
    addresses: &mut Addresses,
) -> Published {
    let issuers = config.issuers.iter().map(|issuer| {
        match before.iter().find(|before| before.policy == issuer.policy) {
            Some(same) => Arc::clone(same),
            None => Arc::new(Issuer::new(issuer.policy.clone(), Arc::clone(&issuer.keys))),
        }
    });
    let verifier = Verifier::new(issuers.collect(), denylist.fingerprinter().clone(), cache);
    proxy::compile(config, Arc::new(verifier), Arc::clone(denylist), addresses)
}

/// Gives the issuers that stayed the keys that were read with this configuration. A set of the
/// same keys is as good as the old one: what is remembered is asked about each new set once.
pub(super) fn renew_keys(config: &Config, published: &Published) {
    for issuer in &config.issuers {
        let stays = |one: &&Arc<Issuer>| one.policy == issuer.policy;
        if let Some(stays) = published.verifier.issuers().iter().find(stays) {
            stays.keys.store(Arc::clone(&issuer.keys));
        }
    }
}
