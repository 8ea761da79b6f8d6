//! What a request brings to the choice of a server: the key that it is placed by, and chance.

use std::cell::Cell;

use crate::config::HashKey;
use crate::upstreams::key_hash;

use super::client_address::Client;
use super::permit::Permit;
use super::upstream::Upstream;

/// The hash of what the upstream places requests by; `None` where this one does not have it, or
/// nothing is asked.
pub fn key(upstream: &Upstream, permit: &mut Permit<'_>, client: Client) -> Option<u64> {
    match upstream.group.hash_key()? {
        HashKey::Header(name) => {
            let headers = &permit.request_mut().parts.headers;
            headers.get(name).map(|value| key_hash(value.as_bytes()))
        }
        HashKey::Claim(path) => {
            let claim = path.find(permit.signed()?.claims())?;
            Some(key_hash(claim.to_string().as_bytes()))
        }
        HashKey::Address => Some(key_hash(client.address()?.to_string().as_bytes())),
    }
}

/// A random number, fast and predictable: for spreading load only.
pub fn random() -> u64 {
    thread_local! { static STATE: Cell<u64> = Cell::new(seed()); }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x
    })
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness every core draws the same numbers, which still spreads load.
    aws_lc_rs::rand::fill(&mut bytes).ok();
    u64::from_le_bytes(bytes) | 1
}
