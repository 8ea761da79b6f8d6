//! Tokens as bytes: the credential as presented, the compact JWS form (RFC 7515 section 7.1) and
//! its strict JSON. Nothing here decides whether a token is good; it decides whether it is one
//! token, spelled in the one way it can be spelled.

pub(crate) mod base64url;
mod claims;
mod compact;
mod fault;
pub(crate) mod json;

pub use claims::{ClaimPath, Claims};
pub(crate) use compact::check_length;
pub use compact::{Compact, Header, KID_BYTES_MAX, TOKEN_BYTES_MAX};
pub use fault::{FormFault, Part};

/// SHA-256, as RFC 7638 thumbprints and the names of tokens without `jti` use it.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    digest
}

/// What a token says of itself. Nothing of it is verified: for people who look at a token, never
/// for a decision.
#[derive(Debug)]
pub struct Unverified {
    pub header: Header,
    pub claims: Claims,
    pub bytes: usize,
}

impl Unverified {
    pub fn decode(credential: &Credential) -> Result<Self, FormFault> {
        let token = Compact::parse(credential.expose())?;
        let bytes = credential.expose().len();
        Ok(Self { header: token.header, claims: token.claims, bytes })
    }
}

/// A token as presented. Never printed: its `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Box<str>);

impl Credential {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The token itself, for verification and for a route that passes it on.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Credential({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
