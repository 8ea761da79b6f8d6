//! A JWK set to keys (RFC 7517). A key that cannot be used is skipped and named: one broken or
//! unknown key must not take the others with it (RFC 7517 section 5).

use serde_json::{Map, Value};

use crate::token::{KID_BYTES_MAX, base64url, json};

use super::fault::quoted;
use super::public::{Curve, PublicKey};
use super::set::Key;
use super::{Algorithm, JWKS_BYTES_MAX, KeyFault};

/// Keys taken from one set; the rest are skipped with a note.
pub(super) const KEYS_MAX: usize = 100;

/// Members that only a private key has (RFC 7518 sections 6.2.2, 6.3.2; RFC 8037 section 2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

pub(super) fn keys(
    bytes: &[u8],
    allowed: &[Algorithm],
) -> Result<(Vec<Key>, Vec<String>), KeyFault> {
    if bytes.len() > JWKS_BYTES_MAX {
        return Err(KeyFault::TooLarge { bytes: bytes.len() });
    }
    let set = json::object(bytes).map_err(|_| KeyFault::NotJson)?;
    let entries = match set.get("keys") {
        Some(Value::Array(entries)) => entries,
        None if set.contains_key("kty") => return Err(KeyFault::SingleJwk),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
        )
        | None => return Err(KeyFault::NotKeySet),
    };
    let mut keys: Vec<Key> = Vec::new();
    let mut notes = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if keys.len() == KEYS_MAX {
            notes.push(format!("only the first {KEYS_MAX} keys are used"));
            break;
        }
        let place = || match entry.get("kid") {
            Some(Value::String(kid)) => format!("key {} (kid {})", index + 1, quoted(kid)),
            _ => format!("key {}", index + 1),
        };
        match key(entry, allowed) {
            Ok(key) if is_duplicate(&keys, &key) => {
                notes.push(format!("{} skipped: its kid is taken by an earlier key", place()));
            }
            Ok(key) => keys.push(key),
            Err(fault) => notes.push(format!("{} skipped: {fault}", place())),
        }
    }
    if keys.is_empty() { Err(KeyFault::NoUsableKey { notes }) } else { Ok((keys, notes)) }
}

/// RFC 7517 section 4.5: two keys may share a `kid` where their types differ. For one algorithm a
/// name means one key, the first.
fn is_duplicate(keys: &[Key], key: &Key) -> bool {
    key.kid.is_some()
        && keys.iter().any(|earlier| {
            earlier.kid == key.kid
                && earlier.algorithms.iter().any(|algorithm| key.allows(*algorithm))
        })
}

fn key(entry: &Value, allowed: &[Algorithm]) -> Result<Key, KeyFault> {
    let Value::Object(jwk) = entry else { return Err(KeyFault::JwkMember("kty")) };
    let kty = text(jwk, "kty")?.ok_or(KeyFault::JwkMember("kty"))?;
    if kty == "oct" {
        return Err(KeyFault::JwkSecret);
    }
    if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
        return Err(KeyFault::JwkPrivate);
    }
    let public = match kty {
        "RSA" => PublicKey::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?)?,
        "EC" => elliptic(jwk)?,
        "OKP" => match text(jwk, "crv")? {
            Some("Ed25519") => PublicKey::ed25519(&bytes(jwk, "x")?)?,
            Some(other) => return Err(KeyFault::KeyType(format!("crv {}", quoted(other)))),
            None => return Err(KeyFault::JwkMember("crv")),
        },
        other => return Err(KeyFault::KeyType(format!("kty {}", quoted(other)))),
    };
    may_verify(jwk)?;
    let stated = match text(jwk, "alg")? {
        None => None,
        Some(alg) => {
            let known = Algorithm::parse(alg).filter(|alg| public.algorithms().contains(alg));
            Some(known.ok_or_else(|| KeyFault::JwkAlgorithm(alg.to_owned()))?)
        }
    };
    let kid = text(jwk, "kid")?;
    if kid.is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return Err(KeyFault::JwkKidTooLong);
    }
    public.bind(kid, stated, allowed)
}

/// RFC 7518 section 6.2.1: the coordinates have exactly the length of the curve's field.
fn elliptic(jwk: &Map<String, Value>) -> Result<PublicKey, KeyFault> {
    let curve = match text(jwk, "crv")? {
        Some("P-256") => Curve::P256,
        Some("P-384") => Curve::P384,
        Some(other) => return Err(KeyFault::KeyType(format!("crv {}", quoted(other)))),
        None => return Err(KeyFault::JwkMember("crv")),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != curve.bytes() || y.len() != curve.bytes() {
        return Err(KeyFault::Point);
    }
    PublicKey::ec(curve, &[&[4], x.as_slice(), y.as_slice()].concat())
}

/// `use` and `key_ops`, where they are there.
fn may_verify(jwk: &Map<String, Value>) -> Result<(), KeyFault> {
    match text(jwk, "use")? {
        None | Some("sig") => {}
        Some(other) => return Err(KeyFault::JwkUse(other.to_owned())),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|one| one == "verify") => Ok(()),
        Some(_) => Err(KeyFault::JwkOperations),
    }
}

fn text<'j>(jwk: &'j Map<String, Value>, name: &'static str) -> Result<Option<&'j str>, KeyFault> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyFault::JwkMember(name)),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    let text = text(jwk, name)?.ok_or(KeyFault::JwkMember(name))?;
    base64url::decode(text).map_err(|_| KeyFault::JwkMember(name))
}
