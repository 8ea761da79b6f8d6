//! Signing keys, made fresh for each test process. Signatures come straight from aws-lc-rs, not
//! through the library that the gateway verifies with.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::base64url;

/// What a key is, apart from the algorithms it may be used with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    /// The kind of key that a JWS algorithm asks for.
    pub fn of(algorithm: &str) -> Self {
        match algorithm {
            "HS256" | "HS384" | "HS512" => Self::Secret,
            "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => Self::Rsa,
            "ES256" => Self::P256,
            "ES384" => Self::P384,
            "EdDSA" => Self::Ed25519,
            other => panic!("no key for {other}"),
        }
    }
}

/// One signing key. Cheap to clone.
#[derive(Clone)]
pub enum Key {
    Secret(Arc<[u8]>),
    Rsa(Arc<RsaKeyPair>),
    P256(Arc<EcdsaKeyPair>),
    P384(Arc<EcdsaKeyPair>),
    Ed25519(Arc<Ed25519KeyPair>),
}

impl Key {
    /// A fresh key, but for RSA, where it is the first of two that a process makes.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Secret => {
                // As text: a file may end in a line end, which is no part of the secret.
                let mut bytes = [0_u8; 48];
                fill(&mut bytes).unwrap();
                Self::Secret(Arc::from(base64url(bytes).as_bytes()))
            }
            Kind::Rsa => Self::Rsa(rsa(&FIRST_RSA)),
            Kind::P256 => Self::P256(Arc::new(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            )),
            Kind::P384 => Self::P384(Arc::new(
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            )),
            Kind::Ed25519 => Self::Ed25519(Arc::new(Ed25519KeyPair::generate().unwrap())),
        }
    }

    /// Another key of the same kind.
    pub fn other(&self) -> Self {
        match self {
            Self::Rsa(_) => Self::Rsa(rsa(&SECOND_RSA)),
            Self::Secret(_) | Self::P256(_) | Self::P384(_) | Self::Ed25519(_) => {
                Self::new(self.kind())
            }
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Secret(_) => Kind::Secret,
            Self::Rsa(_) => Kind::Rsa,
            Self::P256(_) => Kind::P256,
            Self::P384(_) => Kind::P384,
            Self::Ed25519(_) => Kind::Ed25519,
        }
    }

    /// The raw JWS signature; the algorithm must suit the key.
    pub fn sign(&self, algorithm: &str, input: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(secret) => {
                let hash = match algorithm {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    other => panic!("{other} with a secret"),
                };
                hmac::sign(&hmac::Key::new(hash, secret), input).as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    other => panic!("{other} with an RSA key"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), input, &mut signature).unwrap();
                signature
            }
            Self::P256(pair) | Self::P384(pair) => {
                pair.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
        }
    }

    /// SubjectPublicKeyInfo in PEM. A secret has none.
    pub fn public_pem(&self) -> String {
        let der = match self {
            Self::Secret(_) => panic!("a secret has no public key"),
            Self::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::P256(pair) | Self::P384(pair) => {
                pair.public_key().as_der().unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        };
        let text = STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// PKCS#8 in PEM, of a key of an elliptic curve.
    pub fn private_pem(&self) -> String {
        let der = match self {
            Self::P256(pair) | Self::P384(pair) => pair.to_pkcs8v1().unwrap(),
            Self::Ed25519(pair) => pair.to_pkcs8v1().unwrap(),
            Self::Secret(_) | Self::Rsa(_) => panic!("of an elliptic curve"),
        };
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    /// The public JWK (RFC 7517), or the `oct` JWK of a secret, without `kid` and `alg`.
    pub fn jwk(&self) -> Value {
        match self {
            Self::Secret(secret) => json!({"kty": "oct", "k": base64url(secret)}),
            Self::Rsa(pair) => json!({
                "kty": "RSA",
                "n": base64url(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": base64url(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
            Self::P256(pair) => point(pair, "P-256"),
            Self::P384(pair) => point(pair, "P-384"),
            Self::Ed25519(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()),
            }),
        }
    }

    /// RFC 7638 thumbprint of the public key, base64url.
    pub fn thumbprint(&self) -> String {
        // Members in lexicographic order, no white space: what serde_json writes for a sorted map.
        let text = serde_json::to_string(&self.jwk()).unwrap();
        base64url(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    }
}

/// The x and y of an uncompressed point.
fn point(pair: &EcdsaKeyPair, curve: &str) -> Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
}

static FIRST_RSA: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();
static SECOND_RSA: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();

/// Making an RSA key takes a noticeable while, so a process makes two and keeps them.
fn rsa(cell: &OnceLock<Arc<RsaKeyPair>>) -> Arc<RsaKeyPair> {
    Arc::clone(cell.get_or_init(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())))
}
