//! Signing keys: the issuer of the demo, of `portcullis token mint` and of the tests, and the gateway's
//! own, by which it vouches to backends. It never signs a token that it would itself accept, unless it
//! is configured to.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::secret::Secret;
use crate::token::base64url::encode;

use super::public::{Curve, PublicKey};
use super::{Algorithm, KeyFault, KeySet, der, secret};

/// A private key or secret, bound to one algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    signer: Signer,
    /// PKCS#8 DER, or the secret itself.
    private: Secret,
    /// Absent for a secret.
    public: Option<PublicKey>,
}

enum Signer {
    Hmac(Box<hmac::Key>),
    Rsa(&'static dyn RsaEncoding, Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a key could not be made or used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MintError {
    /// The library refused; it does not say why.
    Crypto,
    /// Not a PKCS#8 private key in PEM (`-----BEGIN PRIVATE KEY-----`).
    NotPrivatePem,
    /// A private key, but not for this algorithm.
    OtherKey(Algorithm),
    Key(KeyFault),
}

impl SigningKey {
    /// A fresh key; its `kid` is its thumbprint.
    pub fn generate(algorithm: Algorithm) -> Result<Self, MintError> {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let private = match algorithm {
            HS256 | HS384 | HS512 => {
                let mut bytes = vec![0; algorithm.secret_bytes_min()];
                aws_lc_rs::rand::fill(&mut bytes).map_err(|_| MintError::Crypto)?;
                bytes
            }
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| MintError::Crypto)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| MintError::Crypto)?;
                der.as_ref().to_vec()
            }
            ES256 => ecdsa_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            ES384 => ecdsa_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
            EdDSA => Ed25519KeyPair::generate()
                .and_then(|pair| pair.to_pkcs8v1())
                .map_err(|_| MintError::Crypto)?
                .as_ref()
                .to_vec(),
        };
        Self::from_private(algorithm, Secret::new(private))
    }

    /// A shared secret, long enough for the algorithm.
    pub fn from_secret(algorithm: Algorithm, secret: Secret) -> Result<Self, MintError> {
        if algorithm.is_symmetric() {
            Self::from_private(algorithm, secret)
        } else {
            Err(MintError::OtherKey(algorithm))
        }
    }

    /// A private key in PEM, PKCS#8.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, MintError> {
        let body = pem
            .trim()
            .strip_prefix("-----BEGIN PRIVATE KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"))
            .ok_or(MintError::NotPrivatePem)?;
        let body: String = body.split_whitespace().collect();
        let der = base64::engine::general_purpose::STANDARD
            .decode(body)
            .map_err(|_| MintError::NotPrivatePem)?;
        if algorithm.is_symmetric() {
            return Err(MintError::OtherKey(algorithm));
        }
        Self::from_private(algorithm, Secret::new(der))
    }

    fn from_private(algorithm: Algorithm, private: Secret) -> Result<Self, MintError> {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let bytes = private.expose();
        let other = || MintError::OtherKey(algorithm);
        let (signer, public) = match algorithm {
            HS256 => (Signer::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))), None),
            HS384 => (Signer::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA384, bytes))), None),
            HS512 => (Signer::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA512, bytes))), None),
            RS256 => rsa(&RSA_PKCS1_SHA256, bytes).ok_or_else(other)?,
            RS384 => rsa(&RSA_PKCS1_SHA384, bytes).ok_or_else(other)?,
            RS512 => rsa(&RSA_PKCS1_SHA512, bytes).ok_or_else(other)?,
            PS256 => rsa(&RSA_PSS_SHA256, bytes).ok_or_else(other)?,
            PS384 => rsa(&RSA_PSS_SHA384, bytes).ok_or_else(other)?,
            PS512 => rsa(&RSA_PSS_SHA512, bytes).ok_or_else(other)?,
            ES256 => {
                ecdsa(Curve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING, bytes).ok_or_else(other)?
            }
            ES384 => {
                ecdsa(Curve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING, bytes).ok_or_else(other)?
            }
            EdDSA => ed25519(bytes).ok_or_else(other)?,
        };
        let thumbprint = match &public {
            Some(public) => public.thumbprint(),
            None => secret::key(&private, None, &[algorithm]).map_err(MintError::Key)?.thumbprint,
        };
        Ok(Self { algorithm, kid: thumbprint.to_string(), signer, private, public })
    }

    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The private key in PEM (PKCS#8), to be kept in a 0600 file; `None` for a secret.
    pub fn to_pem(&self) -> Option<Secret> {
        self.public.as_ref()?;
        let base64 = base64::engine::general_purpose::STANDARD.encode(self.private.expose());
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for (index, character) in base64.chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END PRIVATE KEY-----\n");
        Some(Secret::new(pem.into_bytes()))
    }

    /// The public key as a JWK with `kid`, `alg` and `use`; `None` for a secret, which belongs in
    /// no key set.
    pub fn public_jwk(&self) -> Option<Value> {
        let mut jwk: Map<String, Value> = self
            .public
            .as_ref()?
            .members()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        jwk.insert("kid".into(), self.kid.as_str().into());
        jwk.insert("alg".into(), self.algorithm.as_str().into());
        jwk.insert("use".into(), "sig".into());
        Some(Value::Object(jwk))
    }

    /// A JWK set of this one key.
    pub fn jwks(&self) -> Option<Value> {
        self.public_jwk().map(|jwk| json!({ "keys": [jwk] }))
    }

    /// What verifies its tokens, under its `kid`.
    pub fn key_set(&self, allowed: &[Algorithm]) -> Result<KeySet, KeyFault> {
        match self.jwks() {
            Some(jwks) => {
                KeySet::from_jwks(jwks.to_string().as_bytes(), allowed).map(|(set, _)| set)
            }
            None => KeySet::from_secret(&self.private, Some(&self.kid), allowed),
        }
    }

    /// A token with these claims; the header has `alg`, `kid` and `typ` JWT.
    pub fn sign(&self, claims: &Value) -> Result<String, MintError> {
        self.sign_with_header(
            &json!({ "alg": self.algorithm.as_str(), "kid": self.kid, "typ": "JWT" }),
            claims,
        )
    }

    /// A token with exactly this header, whatever it says.
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> Result<String, MintError> {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// A token of these two texts, which need not be JSON.
    pub fn sign_text(&self, header: &str, claims: &str) -> Result<String, MintError> {
        let input = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = self.sign_bytes(input.as_bytes())?;
        Ok(format!("{input}.{}", encode(&signature)))
    }

    fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Signer::Rsa(encoding, pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .map_err(|_| MintError::Crypto)?;
                Ok(signature)
            }
            Signer::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| MintError::Crypto)?;
                Ok(signature.as_ref().to_vec())
            }
            Signer::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

fn ecdsa_pkcs8(algorithm: &'static EcdsaSigningAlgorithm) -> Result<Vec<u8>, MintError> {
    let document = EcdsaKeyPair::generate(algorithm).and_then(|pair| pair.to_pkcs8v1());
    document.map(|der| der.as_ref().to_vec()).map_err(|_| MintError::Crypto)
}

fn rsa(encoding: &'static dyn RsaEncoding, pkcs8: &[u8]) -> Option<(Signer, Option<PublicKey>)> {
    let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
    let public = der::rsa(pair.public_key().as_ref()).ok()?;
    Some((Signer::Rsa(encoding, Box::new(pair)), Some(public)))
}

fn ecdsa(
    curve: Curve,
    algorithm: &'static EcdsaSigningAlgorithm,
    pkcs8: &[u8],
) -> Option<(Signer, Option<PublicKey>)> {
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).ok()?;
    let public = PublicKey::ec(curve, pair.public_key().as_ref()).ok()?;
    Some((Signer::Ecdsa(pair), Some(public)))
}

fn ed25519(pkcs8: &[u8]) -> Option<(Signer, Option<PublicKey>)> {
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
    let public = PublicKey::ed25519(pair.public_key().as_ref()).ok()?;
    Some((Signer::Ed25519(pair), Some(public)))
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SigningKey({} {})", self.algorithm.as_str(), self.kid)
    }
}

impl std::fmt::Display for MintError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Crypto => out.write_str("the cryptographic library refused"),
            Self::NotPrivatePem => {
                out.write_str("not a PKCS#8 private key in PEM (-----BEGIN PRIVATE KEY-----)")
            }
            Self::OtherKey(algorithm) => {
                write!(out, "the private key is not one for {}", algorithm.as_str())
            }
            Self::Key(fault) => fault.fmt(out),
        }
    }
}

impl std::error::Error for MintError {}

/// A `jti`: 96 random bits.
pub fn random_id() -> Result<String, MintError> {
    let mut bytes = [0_u8; 12];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| MintError::Crypto)?;
    Ok(crate::token::base64url::encode(&bytes))
}
