//! An issuer that mints tokens: good ones, and ones that are worse by one detail.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Key, Kind};

/// Unix time in whole seconds.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// One issuer with one key and one algorithm.
#[derive(Clone)]
pub struct Issuer {
    /// The table's name in the config.
    pub name: String,
    pub iss: String,
    pub audience: String,
    pub algorithm: String,
    pub key: Key,
    pub kid: Option<String>,
}

impl Issuer {
    pub fn new(algorithm: &str) -> Self {
        Self {
            name: "main".into(),
            iss: "https://id.example.com/".into(),
            audience: "https://api.example.com".into(),
            algorithm: algorithm.into(),
            key: Key::new(Kind::of(algorithm)),
            kid: None,
        }
    }

    /// Another issuer with a key of its own.
    pub fn named(name: &str, iss: &str, algorithm: &str) -> Self {
        Self { name: name.into(), iss: iss.into(), ..Self::new(algorithm) }
    }

    /// A token that is good for an hour, with `sub`, a fresh `jti` and no session.
    pub fn token(&self, subject: &str) -> Token {
        let mut jti = [0_u8; 12];
        aws_lc_rs::rand::fill(&mut jti).unwrap();
        let mut header = Map::new();
        header.insert("alg".into(), self.algorithm.clone().into());
        header.insert("typ".into(), "JWT".into());
        if let Some(kid) = &self.kid {
            header.insert("kid".into(), kid.clone().into());
        }
        let claims = json!({
            "iss": self.iss, "aud": self.audience, "sub": subject, "jti": base64url(jti),
            "iat": now() - 10, "exp": now() + 3600,
        });
        let Value::Object(claims) = claims else { unreachable!() };
        Token { header, claims, key: self.key.clone(), algorithm: self.algorithm.clone() }
    }

    /// A finished good token.
    pub fn mint(&self, subject: &str) -> String {
        self.token(subject).mint()
    }
}

/// A token being made. Every part can be spoilt.
#[derive(Clone)]
pub struct Token {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    pub key: Key,
    /// What it is really signed with; the header may say otherwise.
    pub algorithm: String,
}

impl Token {
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Signed by this key, with an algorithm that suits it.
    pub fn signed_by(mut self, key: &Key, algorithm: &str) -> Self {
        self.key = key.clone();
        self.algorithm = algorithm.into();
        self
    }

    /// `iat` and `exp` relative to now, in seconds.
    pub fn times(self, issued: i64, expires: i64) -> Self {
        let now = now();
        self.claim("iat", now + issued).claim("exp", now + expires)
    }

    /// Compact serialization.
    pub fn mint(&self) -> String {
        self.mint_raw(
            &serde_json::to_string(&self.header).unwrap(),
            &serde_json::to_string(&self.claims).unwrap(),
        )
    }

    /// Header and claims as given, rightly signed: for members that occur twice and numbers that
    /// no library writes.
    pub fn mint_raw(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.key.sign(&self.algorithm, input.as_bytes());
        format!("{input}.{}", base64url(signature))
    }

    /// Claims with one member's text replaced or added, e.g. `("exp", "1e400")`, rightly signed.
    pub fn mint_with_member(&self, name: &str, text: &str) -> String {
        let mut claims = self.claims.clone();
        claims.remove(name);
        let rest = serde_json::to_string(&claims).unwrap();
        let claims = format!("{{\"{name}\":{text},{}", &rest[1..]);
        self.mint_raw(&serde_json::to_string(&self.header).unwrap(), &claims)
    }
}
