//! The demo's issuer: one ES256 key, kept in the demo's directory so that its tokens survive a
//! restart, and tokens for two users.

use serde_json::{Value, json};

use crate::clock::UnixMs;
use crate::keys::{Algorithm, MintError, SigningKey, random_id};

/// `.invalid` (RFC 2606): it cannot be anybody's.
pub const ISS: &str = "https://issuer.demo.invalid/";
pub const AUDIENCE: &str = "portcullis-demo";
pub const USERS: [&str; 2] = ["alice", "bob"];
/// How long its tokens live.
pub const LIFETIME_S: i64 = 3600;

/// See the module.
pub struct DemoIssuer {
    key: SigningKey,
}

impl DemoIssuer {
    pub fn generate() -> Result<Self, MintError> {
        Ok(Self { key: SigningKey::generate(Algorithm::ES256)? })
    }

    pub fn from_pem(pem: &str) -> Result<Self, MintError> {
        Ok(Self { key: SigningKey::from_pem(Algorithm::ES256, pem)? })
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A fresh token; `device` names the session, as it would a phone or a browser.
    pub fn token(&self, user: &str, device: &str) -> Result<String, MintError> {
        self.key.sign(&claims(user, device, UnixMs::now(), &random_id()?))
    }
}

fn claims(user: &str, device: &str, now: UnixMs, id: &str) -> Value {
    json!({
        "iss": ISS,
        "aud": AUDIENCE,
        "sub": user,
        "email": format!("{user}@demo.invalid"),
        "sid": format!("{user}-{device}"),
        "jti": id,
        "iat": now.secs(),
        "exp": now.secs() + LIFETIME_S,
    })
}
