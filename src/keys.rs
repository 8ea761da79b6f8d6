//! Keys and key sets (RFC 7517): what may verify an issuer's signatures. Each key is bound to its
//! algorithm; a token's header never chooses. Pure: files and URLs are read elsewhere.

mod algorithm;
mod der;
mod fault;
mod jwk;
mod mint;
mod own;
mod pem;
mod public;
mod refresh;
mod secret;
mod set;

pub use algorithm::Algorithm;
pub use fault::KeyFault;
pub use mint::{MintError, SigningKey, random_id};
pub use own::{COPY_MAX_AGE, OWN_ALGORITHMS, OwnKey, OwnKeys, Rota, turn};
pub use refresh::{Phase, Refresh};
pub use set::{Key, KeySet};

/// The largest key set that is read.
pub const JWKS_BYTES_MAX: usize = 1024 * 1024;

/// RFC 7638 SHA-256 thumbprint of a public key; for a secret a keyed digest that says nothing
/// about the secret. What a key denial names, since kids are reused. Base64url in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint(pub [u8; 32]);

impl std::fmt::Display for Thumbprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use base64::Engine as _;
        out.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl std::fmt::Debug for Thumbprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Thumbprint({self})")
    }
}

impl std::str::FromStr for Thumbprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        use base64::Engine as _;
        let bytes =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).map_err(|_| ())?;
        Ok(Self(bytes.try_into().map_err(|_| ())?))
    }
}

#[cfg(test)]
mod tests;
