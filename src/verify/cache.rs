//! The cache of verified signatures, by SHA-256 of the whole token. Bounded in bytes.

/// See the module.
pub struct SignatureCache {}
