//! Keys and sets of keys.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::secret::Secret;
use crate::token::Compact;

use super::{Algorithm, KeyFault, Thumbprint, jwk, pem, secret};

/// One verification key.
pub struct Key {
    pub(super) thumbprint: Thumbprint,
    pub(super) kid: Option<String>,
    /// The client that signs with it, where only that one may.
    pub(super) client: Option<String>,
    /// The algorithms it may verify: the intersection of what the key can do, what the JWK says
    /// and what the issuer allows. Never empty.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: jsonwebtoken::DecodingKey,
}

/// The keys of one issuer. Immutable; a change is a new set with a new id.
pub struct KeySet {
    id: u64,
    keys: Vec<Key>,
    by_kid: HashMap<String, Vec<usize>>,
    by_thumbprint: HashMap<Thumbprint, Vec<usize>>,
    by_algorithm: HashMap<Algorithm, Vec<usize>>,
    /// Those that have no name.
    unnamed: HashMap<Algorithm, Vec<usize>>,
    /// Names of keys that earlier sets had, the last ones first.
    former: Vec<String>,
}

/// Names of former keys that are remembered.
const FORMER_MAX: usize = 100;

impl Key {
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Tokens by this key must be of this client.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Is the token's signature by this key under this algorithm? `false` for an algorithm that
    /// the key is not bound to, whatever the token's header says.
    pub fn verifies(&self, token: &Compact<'_>, algorithm: Algorithm) -> bool {
        self.allows(algorithm)
            && jsonwebtoken::crypto::verify(
                token.signature,
                token.signing_input.as_bytes(),
                &self.decoding,
                algorithm.to_jsonwebtoken(),
            )
            .unwrap_or(false)
    }
}

impl KeySet {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let mut by_kid: HashMap<String, Vec<usize>> = HashMap::new();
        let mut by_thumbprint: HashMap<Thumbprint, Vec<usize>> = HashMap::new();
        let mut by_algorithm: HashMap<Algorithm, Vec<usize>> = HashMap::new();
        let mut unnamed: HashMap<Algorithm, Vec<usize>> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            by_thumbprint.entry(key.thumbprint).or_default().push(index);
            for algorithm in &key.algorithms {
                by_algorithm.entry(*algorithm).or_default().push(index);
                if key.kid.is_none() {
                    unnamed.entry(*algorithm).or_default().push(index);
                }
            }
            if let Some(kid) = &key.kid {
                by_kid.entry(kid.clone()).or_default().push(index);
            }
        }
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self { id, keys, by_kid, by_thumbprint, by_algorithm, unnamed, former: Vec::new() }
    }

    /// One shared secret. Refused when shorter than the hash of its algorithm asks
    /// (RFC 7518 section 3.2): 32 bytes for HS256 and so on. With several allowed algorithms it is
    /// bound to those that it is long enough for.
    pub fn from_secret(
        secret: &Secret,
        kid: Option<&str>,
        allowed: &[Algorithm],
    ) -> Result<Self, KeyFault> {
        Ok(Self::new(vec![secret::key(secret, kid, allowed)?]))
    }

    /// One or more PEM public keys or certificates, concatenated. A certificate is a container of
    /// its key: neither its signature nor its dates are looked at.
    pub fn from_pem(
        pem: &[u8],
        kid: Option<&str>,
        allowed: &[Algorithm],
    ) -> Result<Self, KeyFault> {
        let keys = pem::keys(pem, kid, allowed)?;
        if kid.is_some() && keys.len() > 1 {
            return Err(KeyFault::OneNameForMany);
        }
        Ok(Self::new(keys))
    }

    /// A JWK set (RFC 7517 section 5). Keys that cannot be used are skipped and named in the
    /// second part; a set without a usable key is a fault.
    pub fn from_jwks(json: &[u8], allowed: &[Algorithm]) -> Result<(Self, Vec<String>), KeyFault> {
        let (keys, notes) = jwk::keys(json, allowed)?;
        Ok((Self::new(keys), notes))
    }

    /// Puts several sets together (secrets by kid).
    pub fn merge(sets: impl IntoIterator<Item = Self>) -> Self {
        Self::new(sets.into_iter().flat_map(|set| set.keys).collect())
    }

    /// The same keys, taking the place of `before`: what it named and this does not is gone for good,
    /// and not on its way.
    pub fn after(mut self, before: &Self) -> Self {
        let names = before.keys.iter().filter_map(Key::kid);
        let names = names.chain(before.former.iter().map(String::as_str));
        let gone = names.filter(|kid| !self.by_kid.contains_key(*kid));
        let former = gone.take(FORMER_MAX).map(str::to_owned).collect();
        self.former = former;
        self
    }

    /// An earlier set had a key of this name, and this one has not.
    pub fn had(&self, kid: &str) -> bool {
        self.former.iter().any(|former| former == kid)
    }

    /// The same keys, for tokens of this client only.
    pub fn of_client(mut self, client: &str) -> Self {
        for key in &mut self.keys {
            key.client = Some(client.to_owned());
        }
        self
    }

    /// The same keys under the same names for the same algorithms and clients.
    pub fn is_same(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(one, two)| {
                one.thumbprint == two.thumbprint
                    && one.kid == two.kid
                    && one.client == two.client
                    && one.algorithms == two.algorithms
            })
    }

    /// The keys of this set that `later` lacks, or has for less: fewer algorithms, one client only,
    /// another name.
    pub fn lost_in(&self, later: &Self) -> Vec<Thumbprint> {
        let lost = self.keys.iter().filter(|key| {
            let has = |algorithm: &Algorithm| {
                let mut same = later.at(later.by_thumbprint.get(&key.thumbprint));
                same.any(|now| {
                    now.allows(*algorithm)
                        && (now.client.is_none() || now.client == key.client)
                        && (now.kid.is_none() || now.kid == key.kid)
                })
            };
            !key.algorithms.iter().all(has)
        });
        lost.map(|key| key.thumbprint).collect()
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Unique in this process: two sets with the same id are the same set.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn contains(&self, thumbprint: &Thumbprint) -> bool {
        self.by_thumbprint.contains_key(thumbprint)
    }

    /// Is this key here, and would it be taken for a signature under this algorithm, of a token that
    /// has this `kid` and is of this client? What was verified once counts only where it is.
    pub fn vouches(
        &self,
        thumbprint: &Thumbprint,
        algorithm: Algorithm,
        kid: Option<&str>,
        client: Option<&str>,
    ) -> bool {
        self.at(self.by_thumbprint.get(thumbprint)).any(|key| {
            key.allows(algorithm)
                && (kid.is_none() || key.kid.is_none() || key.kid() == kid)
                && (key.client.is_none() || key.client() == client)
        })
    }

    /// The keys of this name.
    pub fn named(&self, kid: &str) -> impl Iterator<Item = &Key> {
        self.at(self.by_kid.get(kid))
    }

    /// The keys for this algorithm, whatever their names.
    pub fn of_algorithm(&self, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.at(self.by_algorithm.get(&algorithm))
    }

    /// Those of them that have no name, so that a token's `kid` says nothing about them.
    pub fn unnamed(&self, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.at(self.unnamed.get(&algorithm))
    }

    /// Some key has a name.
    pub fn has_names(&self) -> bool {
        !self.by_kid.is_empty()
    }

    fn at(&self, indices: Option<&Vec<usize>>) -> impl Iterator<Item = &Key> {
        let indices = indices.map_or(&[][..], Vec::as_slice);
        indices.iter().filter_map(|index| self.keys.get(*index))
    }
}

impl Default for KeySet {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.keys.iter().map(|key| key.thumbprint)).finish()
    }
}
