//! Why a key or a set of keys was not taken. No text holds key material.

use std::fmt;

use super::Algorithm;

/// Why a key or a set was not taken. Its text never holds key material.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyFault {
    /// A secret shorter than the output of its hash (RFC 7518 section 3.2).
    SecretTooShort { bytes: usize, needed: usize, algorithm: Algorithm },
    /// A secret that is a public key, certificate or JWK: with it anyone could sign (RFC 8725
    /// section 2.1).
    SecretIsKey { what: &'static str },
    /// No block `-----BEGIN …-----` at all.
    NotPem,
    /// Text that belongs to no block.
    Garbage,
    /// A block without its end, with another end, or whose body is not base64.
    BrokenPem,
    /// A private key where a public one belongs.
    Private,
    /// A block of a kind that we do not read.
    PemLabel(String),
    /// The DER inside is not a public key or certificate as RFC 5280 writes one.
    BrokenDer,
    /// A public key of an algorithm or curve that we do not verify.
    KeyType(String),
    /// RSA outside 2048 to 8192 bits (RFC 7518 section 3.3).
    RsaSize { bits: usize },
    /// RSA numbers that are no public key.
    RsaNumbers,
    /// A point that is not on its curve, or of the wrong length (RFC 7518 section 6.2.1).
    Point,
    /// An Ed25519 point of which anybody can make signatures (RFC 8032 section 5.1.7 lets them hold).
    SmallOrder,
    /// The key fits none of the issuer's algorithms.
    NoAlgorithm { key: &'static str },
    /// More than one key, and one name for all of them.
    OneNameForMany,
    /// Larger than [`super::JWKS_BYTES_MAX`].
    TooLarge { bytes: usize },
    /// Not strict JSON.
    NotJson,
    /// JSON without a `keys` array (RFC 7517 section 5).
    NotKeySet,
    /// A single JWK where a set belongs.
    SingleJwk,
    /// `keys` is empty, or none of them can be used; the notes say why each was skipped.
    NoUsableKey { notes: Vec<String> },
    /// A member of a JWK is missing or not what RFC 7518 section 6 says.
    JwkMember(&'static str),
    /// `use` is not `sig` (RFC 7517 section 4.2).
    JwkUse(String),
    /// `key_ops` without `verify` (RFC 7517 section 4.3).
    JwkOperations,
    /// `alg` that we do not verify, or that is not for this type of key (RFC 7517 section 4.4).
    JwkAlgorithm(String),
    /// A shared secret in a JWK set: published to everybody who reads it.
    JwkSecret,
    /// A key with private members (RFC 7518 sections 6.2.2 and 6.3.2).
    JwkPrivate,
    /// Longer than a name should be.
    JwkKidTooLong,
}

/// Text from a foreign file, cut to a length and with nothing that a terminal would act on.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{short:?}")
}

impl fmt::Display for KeyFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretTooShort { bytes, needed, algorithm } => write!(
                out,
                "the secret has {bytes} bytes, {} needs at least {needed} (RFC 7518 section 3.2)",
                algorithm.as_str()
            ),
            Self::SecretIsKey { what } => write!(
                out,
                "the secret is {what}: whoever has it could sign tokens; give it as a key instead"
            ),
            Self::NotPem => out.write_str("not PEM: there is no line -----BEGIN PUBLIC KEY-----"),
            Self::Garbage => out.write_str("there is text before, between or after the PEM blocks"),
            Self::BrokenPem => out.write_str("a PEM block is cut off or its body is not base64"),
            Self::Private => out.write_str(
                "this is a private key; the gateway only needs the public key \
                 (openssl pkey -in private.pem -pubout)",
            ),
            Self::PemLabel(label) => write!(
                out,
                "a PEM block {}; expected PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE",
                quoted(label)
            ),
            Self::BrokenDer => out.write_str("the PEM block does not hold a public key"),
            Self::KeyType(what) => {
                write!(out, "{what}: expected RSA, EC with P-256 or P-384, or Ed25519")
            }
            Self::RsaSize { bits } => {
                write!(out, "the RSA key has {bits} bits; 2048 to 8192 are accepted")
            }
            Self::RsaNumbers => out.write_str("its numbers are not an RSA public key"),
            Self::Point => out.write_str("its point is not on the curve"),
            Self::SmallOrder => {
                out.write_str("its point is of small order: anybody could sign with it")
            }
            Self::NoAlgorithm { key } => {
                write!(out, "an {key} key fits none of the issuer's algorithms")
            }
            Self::OneNameForMany => out.write_str("one kid is given for several keys"),
            Self::TooLarge { bytes } => {
                write!(out, "the key set has {bytes} bytes, more than {}", super::JWKS_BYTES_MAX)
            }
            Self::NotJson => out.write_str("not strict JSON (cut off, or a member twice)"),
            Self::NotKeySet => out.write_str("not a JWK set: there is no array \"keys\""),
            Self::SingleJwk => out.write_str("a single JWK; a set is written {\"keys\": [ … ]}"),
            Self::NoUsableKey { notes } if notes.is_empty() => {
                out.write_str("the key set is empty")
            }
            Self::NoUsableKey { notes } => {
                write!(out, "no key of the set can be used: {}", notes.join("; "))
            }
            Self::JwkMember(name) => write!(out, "{name} is missing or malformed"),
            Self::JwkUse(usage) => write!(out, "its use is {}, not \"sig\"", quoted(usage)),
            Self::JwkOperations => out.write_str("its key_ops do not include \"verify\""),
            Self::JwkAlgorithm(alg) => {
                write!(out, "its alg {} is not one we verify with such a key", quoted(alg))
            }
            Self::JwkSecret => out.write_str("a shared secret (kty oct) in a public key set"),
            Self::JwkPrivate => out.write_str(
                "it holds its private part: whoever reads the set can sign tokens; replace the key",
            ),
            Self::JwkKidTooLong => out.write_str("its kid is longer than 256 bytes"),
        }
    }
}

impl std::error::Error for KeyFault {}
