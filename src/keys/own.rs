//! The gateway's own keys, by which it vouches to backends, and how they take turns. A key is
//! published for an hour before it signs and for an hour after the next one does, so that whoever
//! keeps a copy of the key set for a few minutes always has the key of what they are sent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::UnixMs;

use super::mint::{MintError, SigningKey};
use super::{Algorithm, KeyFault, KeySet};

/// What the gateway signs with.
pub const OWN_ALGORITHMS: [Algorithm; 2] = [Algorithm::ES256, Algorithm::EdDSA];
/// How long a copy of the published keys may be kept.
pub const COPY_MAX_AGE: Duration = Duration::from_secs(300);
/// A key is published so long before it signs. Longer than any copy is kept.
const AHEAD: Duration = Duration::from_secs(3600);
/// And so long after the next one signs: longer than a copy is kept and a signed thing lives.
const BEHIND: Duration = Duration::from_secs(3600);

/// One of them.
#[derive(Clone, Debug)]
pub struct OwnKey {
    pub key: Arc<SigningKey>,
    /// `None`: it is only published.
    pub signs_from: Option<UnixMs>,
}

/// Those of one moment.
pub struct OwnKeys {
    keys: Vec<OwnKey>,
    jwks: String,
    set: Arc<KeySet>,
}

/// How they take turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rota {
    pub algorithm: Algorithm,
    pub every: Duration,
}

impl OwnKeys {
    pub fn new(keys: Vec<OwnKey>) -> Result<Self, KeyFault> {
        let jwks: Vec<Value> = keys.iter().filter_map(|own| own.key.public_jwk()).collect();
        let sets: Result<Vec<KeySet>, KeyFault> =
            keys.iter().map(|own| own.key.key_set(&OWN_ALGORITHMS)).collect();
        let set = Arc::new(KeySet::merge(sets?));
        Ok(Self { keys, jwks: json!({ "keys": jwks }).to_string(), set })
    }

    /// The one that signs now: the last whose time has come. A clock that was set back leaves the
    /// first.
    pub fn signer(&self, now: UnixMs) -> Option<&Arc<SigningKey>> {
        let timed = || self.keys.iter().filter_map(|own| Some((own.signs_from?, &own.key)));
        let by_time = |(from, _): &(UnixMs, &Arc<SigningKey>)| *from;
        let begun = timed().filter(|(from, _)| *from <= now).max_by_key(by_time);
        begun.or_else(|| timed().min_by_key(by_time)).map(|(_, key)| key)
    }

    /// The public halves, as they are published.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// What verifies whatever any of them signed.
    pub fn verifying(&self) -> &Arc<KeySet> {
        &self.set
    }
}

/// The keys as they are to be at `now`: a new one where one is due, without those whose time is
/// over. `None`: as they are.
pub fn turn(keys: &[OwnKey], rota: Rota, now: UnixMs) -> Result<Option<Vec<OwnKey>>, MintError> {
    let mut sorted = keys.to_vec();
    sorted.sort_by_key(|own| own.signs_from);
    let followed_at = |at: usize| sorted.get(at + 1).and_then(|next| next.signs_from);
    let is_over = |at: usize| followed_at(at).is_some_and(|next| next.plus(BEHIND) <= now);
    let over: Vec<bool> = (0..sorted.len()).map(is_over).collect();
    let kept = sorted.iter().zip(&over).filter(|(_, over)| !**over).map(|(own, _)| own.clone());
    let mut kept: Vec<OwnKey> = kept.collect();
    let changed = kept.len() != keys.len();
    let signs_from = match kept.last() {
        // Nobody has a copy yet that lacks it.
        None => Some(now),
        Some(last) => {
            let due = last.signs_from.unwrap_or(now).plus(rota.every).minus(AHEAD);
            let other = last.key.algorithm() != rota.algorithm;
            (other || due <= now).then(|| now.plus(AHEAD))
        }
    };
    if signs_from.is_some() {
        let key = Arc::new(SigningKey::generate(rota.algorithm)?);
        kept.push(OwnKey { key, signs_from });
    }
    Ok((changed || signs_from.is_some()).then_some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Duration = Duration::from_secs(3600);
    const ROTA: Rota =
        Rota { algorithm: Algorithm::ES256, every: Duration::from_secs(30 * 86_400) };

    fn signer_of(keys: &[OwnKey], now: UnixMs) -> String {
        let own = OwnKeys::new(keys.to_vec()).unwrap();
        own.signer(now).unwrap().kid().to_owned()
    }

    fn published(keys: &[OwnKey]) -> Vec<String> {
        keys.iter().map(|own| own.key.kid().to_owned()).collect()
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_after_it_has_signed() {
        let start = UnixMs(1_700_000_000_000);
        let mut keys = turn(&[], ROTA, start).unwrap().expect("a first key");
        let first = signer_of(&keys, start);
        assert!(turn(&keys, ROTA, start.plus(29 * DAY)).unwrap().is_none());
        let due = start.plus(30 * DAY).minus(HOUR);
        keys = turn(&keys, ROTA, due).unwrap().expect("the next key");
        let second = published(&keys).pop().unwrap();
        assert_ne!(first, second);
        // Everybody has it before anything comes that is signed by it.
        assert_eq!(published(&keys), [first.clone(), second.clone()]);
        assert_eq!(signer_of(&keys, due), first);
        assert_eq!(signer_of(&keys, due.plus(HOUR)), second);
        // What the first signed last is long over when it goes.
        assert!(
            turn(&keys, ROTA, due.plus(2 * HOUR).minus(Duration::from_millis(1)))
                .unwrap()
                .is_none()
        );
        keys = turn(&keys, ROTA, due.plus(2 * HOUR)).unwrap().expect("without the first");
        assert_eq!(published(&keys), [second]);
    }

    #[test]
    fn another_algorithm_takes_the_turn_at_once_and_the_old_key_stays_for_a_while() {
        let start = UnixMs(1_700_000_000_000);
        let keys = turn(&[], ROTA, start).unwrap().unwrap();
        let other = Rota { algorithm: Algorithm::EdDSA, ..ROTA };
        let both = turn(&keys, other, start.plus(HOUR)).unwrap().unwrap();
        let own = OwnKeys::new(both).unwrap();
        let algorithm = |now| own.signer(now).unwrap().algorithm();
        assert_eq!(algorithm(start.plus(HOUR)), Algorithm::ES256);
        assert_eq!(algorithm(start.plus(2 * HOUR)), Algorithm::EdDSA);
        assert_eq!(own.verifying().keys().len(), 2);
        assert!(own.jwks().contains("EdDSA") && own.jwks().contains("ES256"));
        assert!(!own.jwks().contains("\"d\""), "no private half is published");
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_a_key_that_signs() {
        let start = UnixMs(1_700_000_000_000);
        let keys = turn(&[], ROTA, start).unwrap().unwrap();
        assert_eq!(signer_of(&keys, start.minus(DAY)), published(&keys)[0]);
        // A gateway that was off for a year: the old key signs until the new one is known.
        let later = start.plus(365 * DAY);
        let both = turn(&keys, ROTA, later).unwrap().unwrap();
        assert_eq!(signer_of(&both, later), published(&keys)[0]);
        assert_ne!(signer_of(&both, later.plus(HOUR)), published(&keys)[0]);
    }
}
