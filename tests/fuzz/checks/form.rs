//! Tokens and key sets.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portcullis::clock::UnixMs;
use portcullis::denylist::Fingerprinter;
use portcullis::keys::{Algorithm, KeySet, SigningKey};
use portcullis::token::{ClaimPath, Compact, Credential};
use portcullis::verify::{ClaimNames, Issuer, Outcome, Policy, SignatureCache, Verifier};
use serde_json::Value;

const ISS: &str = "https://id.example.com/";
const AUD: &str = "https://api.example.com";
const NOW_S: i64 = 1_800_000_000;
const NOW: UnixMs = UnixMs(NOW_S * 1000);
const LEEWAY_S: i64 = 30;
const LIFETIME_S: i64 = 86_400;

struct World {
    key: SigningKey,
    verifier: Verifier,
}

/// One issuer and its secret, which nobody knows.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let key = SigningKey::generate(Algorithm::HS256).unwrap().with_kid("k");
        let keys = Arc::new(key.key_set(&Algorithm::ALL).unwrap());
        let issuer = Arc::new(Issuer::new(policy(), keys));
        let cache = Arc::new(SignatureCache::new(1 << 16));
        World { key, verifier: Verifier::new(vec![issuer], Fingerprinter::random(), cache) }
    })
}

fn policy() -> Policy {
    let name = |text: &str| ClaimPath::parse(text).unwrap();
    let indexed = vec![("tenant".into(), name("tenant")), ("role".into(), name("/acl/roles"))];
    Policy {
        max_lifetime: Duration::from_secs(LIFETIME_S.unsigned_abs()),
        leeway: Duration::from_secs(LEEWAY_S.unsigned_abs()),
        claims: ClaimNames { indexed, ..ClaimNames::default() },
        display: Some(name("email")),
        ..Policy::new("main", ISS, &[AUD], &Algorithm::ALL)
    }
}

/// Any text as a token: nobody signed it, so it is refused; what has the form of a token has it in
/// one spelling; and no word of a refusal repeats it.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let world = world();
    let credential = Credential::new(text);
    let fault = world.verifier.verify(&credential, NOW).expect_err("nobody signed it");
    let (checks, known) = world.verifier.explain(&credential, NOW);
    assert!(known.is_none() && checks.iter().any(|check| check.outcome == Outcome::Fail));
    let Ok(compact) = Compact::parse(text) else { return };
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("a token of other than 3 parts") };
    assert_eq!(compact.signing_input, format!("{header}.{payload}"));
    assert_eq!(compact.signature, signature);
    for part in [header, payload, signature] {
        assert_eq!(encode(&decode(part)), part, "two spellings of the same bytes");
    }
    let read: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(read["alg"], compact.header.alg.as_str());
    assert!(!compact.header.alg.eq_ignore_ascii_case("none"));
    for member in ["crit", "b64", "zip", "enc", "jku", "jwk", "x5u"] {
        assert!(read.get(member).is_none(), "{member}");
    }
    let claims: Value = serde_json::from_slice(&decode(payload)).unwrap();
    assert_eq!(claims, Value::Object(compact.claims.0));
    for told in [fault.detail(), format!("{fault:?}"), format!("{credential:?}")] {
        assert!(signature.len() < 30 || !told.contains(signature), "the token is repeated");
    }
}

/// Plain decoding, which takes every spelling of the alphabet's letters.
fn decode(text: &str) -> Vec<u8> {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter).expect("the alphabet");
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let whole = three.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let whole = whole << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(ALPHABET[(whole >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A header and claims, parted by the first line break and signed by the issuer's own key: what
/// passes keeps each rule as it is read here a second time, and `explain` says the same.
pub fn claims(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((header, claims)) = text.split_once('\n') else { return };
    let world = world();
    let credential = Credential::new(&world.key.sign_text(header, claims).unwrap());
    let verdict = world.verifier.verify(&credential, NOW);
    let (checks, _) = world.verifier.explain(&credential, NOW);
    let all_good = checks.iter().all(|check| check.outcome == Outcome::Ok);
    assert_eq!(verdict.is_ok(), all_good, "{:?}: {checks:?}", verdict.err());
    let Ok(first) = verdict else { return };
    let header: Value = serde_json::from_str(header).unwrap();
    let claims: Value = serde_json::from_str(claims).unwrap();
    assert_eq!(header["alg"], "HS256");
    let kid = header.get("kid");
    assert!(kid.is_none_or(|kid| kid == "k"), "{kid:?}");
    let typ = header.get("typ").map(|typ| typ.as_str().unwrap().to_ascii_lowercase());
    let bare = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    assert!(matches!(bare, None | Some("jwt" | "at+jwt")), "{bare:?}");
    assert_eq!(claims["iss"], ISS);
    let audience = &claims["aud"];
    let audiences = audience.as_array().cloned().unwrap_or_else(|| vec![audience.clone()]);
    assert!(audiences.iter().any(|one| one == AUD), "{audiences:?}");
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().unwrap());
    let (now, leeway) = (NOW_S as f64, LEEWAY_S as f64);
    let (expires, issued) = (time("exp").unwrap(), time("iat").unwrap());
    // Fractions of a millisecond are cut off somewhere.
    let about = 0.002;
    assert!(expires > now - leeway - about && expires >= issued - about, "{expires} {issued}");
    assert!(issued <= now + leeway + about, "{issued}");
    assert!(expires - issued <= LIFETIME_S as f64 + leeway + about, "{expires} {issued}");
    for name in ["nbf", "auth_time"] {
        assert!(time(name).is_none_or(|at| at <= now + leeway + about), "{name}");
    }
    let signed = first.signed();
    assert_eq!(signed.subject().is_some(), claims.get("sub").is_some());
    let again = world.verifier.verify(&credential, NOW).expect("it passed a moment ago");
    assert_eq!(again.signed().token_id(), signed.token_id());
    let later = UnixMs(signed.expires_at().0 + LEEWAY_S * 1000 + 1);
    assert!(world.verifier.verify(&credential, later).is_err(), "it has expired");
}

/// Any bytes as a key set: only public keys of signature algorithms come out of it, no private or
/// shared one, and none that vouches for what it did not sign.
pub fn jwks(bytes: &[u8]) {
    let Ok((set, notes)) = KeySet::from_jwks(bytes, &Algorithm::ALL) else { return };
    let read: Value = serde_json::from_slice(bytes).unwrap();
    let listed = read["keys"].as_array().unwrap();
    let usable = listed.iter().filter(|key| {
        key.get("d").is_none() && key.get("k").is_none() && key["kty"].as_str() != Some("oct")
    });
    assert!(!set.is_empty() && set.keys().len() <= usable.count());
    assert!(set.keys().len() + notes.len() >= listed.len().min(100), "one is lost without a word");
    assert!(notes.iter().all(|note| !note.chars().any(char::is_control)), "{notes:?}");
    let token = world().key.sign_text(r#"{"alg":"HS256"}"#, "{}").unwrap();
    let token = Compact::parse(&token).unwrap();
    for key in set.keys() {
        assert!(!key.algorithms().is_empty());
        assert!(key.algorithms().iter().all(|algorithm| !algorithm.is_symmetric()));
        assert!(set.contains(key.thumbprint()));
        assert!(!Algorithm::ALL.iter().any(|algorithm| key.verifies(&token, *algorithm)));
        if let Some(kid) = key.kid() {
            assert!(set.named(kid).any(|found| found.thumbprint() == key.thumbprint()));
        }
    }
}
