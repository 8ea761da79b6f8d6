//! Which key may have signed a token. The token's `kid` is a hint that narrows, its `alg` must be
//! one that the key is bound to; neither ever widens what is tried.

use std::sync::Arc;

use crate::denylist::IssuerId;
use crate::keys::{Algorithm, Key, KeySet};
use crate::token::Compact;

use super::explain::cut;
use super::{Issuer, TokenFault, facts};

/// Signatures tried for one token that names no key.
const TRIES_MAX: usize = 4;

/// The issuers that come into question, with the keys that they have now.
pub(super) struct Published<'i>(Vec<(&'i Arc<Issuer>, Arc<KeySet>)>);

/// A key that may have signed the token.
pub(super) struct Signer<'p> {
    pub issuer: &'p Arc<Issuer>,
    pub keys: &'p KeySet,
    pub key: &'p Key,
    pub algorithm: Algorithm,
}

/// What to try, never empty, and what to say when none of it fits.
pub(super) struct Candidates<'p> {
    pub signers: Vec<Signer<'p>>,
    otherwise: TokenFault,
}

impl<'i> Published<'i> {
    pub fn of(issuers: &'i [Arc<Issuer>]) -> Self {
        Self(issuers.iter().map(|issuer| (issuer, issuer.keys.load_full())).collect())
    }

    /// A token that names a key is tried with keys of that name only; where there is none, with
    /// keys that have no name at all (a PEM file, a secret). One that names none is tried with the
    /// keys of its algorithm, a few.
    pub fn candidates(&self, token: &Compact<'_>) -> Result<Candidates<'_>, TokenFault> {
        let alg = &token.header.alg;
        let algorithm = Algorithm::parse(alg)
            .ok_or_else(|| TokenFault::AlgorithmUnknown { alg: alg.clone() })?;
        let allowing = || {
            let allows = move |issuer: &Issuer| issuer.policy.algorithms.contains(&algorithm);
            self.0.iter().filter(move |(issuer, _)| allows(issuer))
        };
        if allowing().next().is_none() {
            return Err(TokenFault::AlgorithmNotAllowed { algorithm });
        }
        if allowing().all(|(_, keys)| keys.is_empty()) {
            return Err(TokenFault::KeysAbsent { issuers: ids(allowing()) });
        }
        // Indexed by the sets: ten thousand keys cost no more than one.
        let of = |keys: fn(&KeySet, Algorithm) -> Keys<'_>| -> Vec<Signer<'_>> {
            let signers = allowing().flat_map(move |(issuer, set)| {
                keys(set, algorithm).map(move |key| Signer { issuer, keys: set, key, algorithm })
            });
            signers.take(TRIES_MAX).collect()
        };
        let Some(kid) = &token.header.kid else {
            let signers = of(|set, algorithm| Box::new(set.of_algorithm(algorithm)));
            return match signers.is_empty() {
                true => Err(TokenFault::NoKeyForAlgorithm { algorithm }),
                false => Ok(Candidates { signers, otherwise: TokenFault::BadSignature }),
            };
        };
        let mut named = allowing()
            .flat_map(|(issuer, keys)| {
                keys.named(kid).map(move |key| Signer { issuer, keys, key, algorithm })
            })
            .peekable();
        if named.peek().is_some() {
            let fitting = named.filter(|signer| signer.key.allows(algorithm));
            let signers: Vec<_> = fitting.take(TRIES_MAX).collect();
            return match signers.is_empty() {
                true => Err(TokenFault::KeyAlgorithm { kid: kid.clone(), algorithm }),
                false => Ok(Candidates { signers, otherwise: TokenFault::BadSignature }),
            };
        }
        let unknown = || TokenFault::UnknownKey {
            kid: kid.clone(),
            issuers: ids(allowing()),
            issued_at: facts::said_to_be_issued_at(&token.claims),
            former: allowing().any(|(_, keys)| keys.had(kid)),
        };
        let signers = of(|set, algorithm| Box::new(set.unnamed(algorithm)));
        if signers.is_empty() {
            return Err(unknown());
        }
        // Where keys have names, the token may be of a new one that is not here yet.
        let has_names = allowing().any(|(_, keys)| keys.has_names());
        let otherwise = if has_names { unknown() } else { TokenFault::BadSignature };
        Ok(Candidates { signers, otherwise })
    }
}

/// Keys of a set, in its order.
type Keys<'s> = Box<dyn Iterator<Item = &'s Key> + 's>;

fn ids<'i>(issuers: impl Iterator<Item = &'i (&'i Arc<Issuer>, Arc<KeySet>)>) -> Vec<IssuerId> {
    issuers.map(|(issuer, _)| issuer.policy.id.clone()).collect()
}

impl<'p> Candidates<'p> {
    /// The one whose signature it is; or why there is none, and after how many tries.
    pub fn verify(self, token: &Compact<'_>) -> Result<Signer<'p>, (TokenFault, usize)> {
        let tries = self.signers.len();
        let mut signers = self.signers.into_iter();
        let found = signers.find(|signer| signer.key.verifies(token, signer.algorithm));
        found.ok_or((self.otherwise, tries))
    }

    /// For people: which key, or how many.
    pub fn describe(&self) -> String {
        match self.signers.as_slice() {
            [only] => {
                let kid = only.key.kid().map_or_else(|| "without kid".to_owned(), cut);
                let from = only.key.thumbprint().to_string();
                let short = from.get(..8).unwrap_or(&from);
                format!("{kid}, {}, thumbprint {short}…", only.algorithm.as_str())
            }
            several => format!("{} keys are tried: the token names none", several.len()),
        }
    }
}
