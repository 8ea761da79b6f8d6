//! Keys and sets of keys.

use crate::secret::Secret;

use super::{Algorithm, Thumbprint};

/// One verification key.
pub struct Key {
    pub(crate) thumbprint: Thumbprint,
    pub(crate) kid: Option<String>,
    /// The algorithms it may verify: the intersection of what the key can do, what the JWK says
    /// and what the issuer allows. Never empty.
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) decoding: jsonwebtoken::DecodingKey,
}

/// Why a key or a set was not taken. Its text never holds key material.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyFault {
    NotPem,
}

/// The keys of one issuer. Immutable; a change is a new set.
#[derive(Default)]
pub struct KeySet {
    pub(crate) keys: Vec<Key>,
}

impl Key {
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }
}

impl KeySet {
    /// One shared secret. Refused when shorter than the hash of its algorithm asks
    /// (RFC 7518 section 3.2): 32 bytes for HS256 and so on.
    pub fn from_secret(
        secret: &Secret,
        kid: Option<&str>,
        allowed: &[Algorithm],
    ) -> Result<Self, KeyFault> {
        let _ = (secret, kid, allowed);
        unimplemented!()
    }

    /// One or more PEM public keys or certificates, concatenated.
    pub fn from_pem(
        pem: &[u8],
        kid: Option<&str>,
        allowed: &[Algorithm],
    ) -> Result<Self, KeyFault> {
        let _ = (pem, kid, allowed);
        unimplemented!()
    }

    /// A JWK set (RFC 7517 section 5). Keys that cannot be used are skipped and named in the
    /// second part; a set without a usable key is a fault.
    pub fn from_jwks(json: &[u8], allowed: &[Algorithm]) -> Result<(Self, Vec<String>), KeyFault> {
        let _ = (json, allowed);
        unimplemented!()
    }

    /// Puts several sets together (secrets by kid).
    pub fn merge(sets: impl IntoIterator<Item = Self>) -> Self {
        Self { keys: sets.into_iter().flat_map(|set| set.keys).collect() }
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn contains(&self, thumbprint: &Thumbprint) -> bool {
        self.keys.iter().any(|key| key.thumbprint == *thumbprint)
    }
}
