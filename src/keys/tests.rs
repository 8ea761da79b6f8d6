//! Keys: published vectors, what is read from each format, and everything that must not become a
//! key.

use serde_json::{Value, json};

use crate::secret::Secret;
use crate::token::{Claims, Compact, Header, base64url};

use super::*;

const RSA: &str = include_str!("fixtures/rsa.pem");
const RSA_PKCS1: &str = include_str!("fixtures/rsa-pkcs1.pem");
const RSA_CERTIFICATE: &str = include_str!("fixtures/rsa-certificate.pem");
const RSA_1024: &str = include_str!("fixtures/rsa-1024.pem");
const P256: &str = include_str!("fixtures/p256.pem");
const P256_CERTIFICATE: &str = include_str!("fixtures/p256-certificate.pem");
const P384: &str = include_str!("fixtures/p384.pem");
const P521: &str = include_str!("fixtures/p521.pem");
const SECP256K1: &str = include_str!("fixtures/secp256k1.pem");
const ED25519: &str = include_str!("fixtures/ed25519.pem");
const X25519: &str = include_str!("fixtures/x25519.pem");

fn pem(text: &str) -> Result<KeySet, KeyFault> {
    KeySet::from_pem(text.as_bytes(), None, &Algorithm::ALL)
}

fn pem_fault(text: &str) -> KeyFault {
    pem(text).expect_err("it should be refused")
}

fn secret(bytes: &[u8], allowed: &[Algorithm]) -> Result<KeySet, KeyFault> {
    KeySet::from_secret(&Secret::new(bytes.to_vec()), None, allowed)
}

fn jwks(keys: &[Value]) -> Result<(KeySet, Vec<String>), KeyFault> {
    KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), &Algorithm::ALL)
}

/// The note with which a JWK beside a good one is skipped.
fn skipped(jwk: Value) -> String {
    let good = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().unwrap();
    let (set, notes) = jwks(&[jwk, good.clone()]).unwrap();
    assert_eq!(set.keys().len(), 1, "the good key stays");
    assert_eq!(set.keys()[0].kid(), good["kid"].as_str());
    assert_eq!(notes.len(), 1);
    notes[0].clone()
}

fn es256() -> Value {
    let mut jwk = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().unwrap();
    jwk["kid"] = "other".into();
    jwk
}

/// `es256` with one member changed or, with null, removed.
fn but(name: &str, value: Value) -> Value {
    let mut jwk = es256();
    let members = jwk.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.into(), value)
    };
    jwk
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638_and_rfc_8037() {
    let rsa = json!({
        "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6t\
              Soc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-\
              65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08q\
              NLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8a\
              wapJzKnqDKgw",
    });
    let ed = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let (set, notes) = jwks(&[rsa, ed]).unwrap();
    assert!(notes.is_empty());
    let thumbprints: Vec<_> = set.keys().iter().map(|key| key.thumbprint().to_string()).collect();
    assert_eq!(
        thumbprints,
        [
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        ]
    );
    assert_eq!(thumbprints[0].parse::<Thumbprint>(), Ok(*set.keys()[0].thumbprint()));
}

#[test]
fn a_key_has_one_thumbprint_whatever_it_is_written_in() {
    let one = |text: &str| *pem(text).unwrap().keys()[0].thumbprint();
    assert_eq!(one(RSA), one(RSA_PKCS1));
    assert_eq!(one(RSA), one(RSA_CERTIFICATE));
    assert_eq!(one(P256), one(P256_CERTIFICATE));
    assert_ne!(one(P256), one(P384));
    // A leading zero octet in `n`, as some servers write it, is the same number.
    let key = SigningKey::generate(Algorithm::RS256).unwrap();
    let jwk = key.public_jwk().unwrap();
    let n = crate::token::base64url::decode(jwk["n"].as_str().unwrap()).unwrap();
    let mut padded = jwk.clone();
    padded["n"] = crate::token::base64url::encode(&[&[0], n.as_slice()].concat()).into();
    padded["kid"] = "padded".into();
    let (set, _) = jwks(&[jwk, padded]).unwrap();
    assert_eq!(set.keys()[0].thumbprint(), set.keys()[1].thumbprint());
}

#[test]
fn pem_keys_are_read_and_bound_to_what_their_type_can_do() {
    use Algorithm::*;
    let algorithms = |text: &str| pem(text).unwrap().keys()[0].algorithms().to_vec();
    assert_eq!(algorithms(RSA), [RS256, RS384, RS512, PS256, PS384, PS512]);
    assert_eq!(algorithms(P256), [ES256]);
    assert_eq!(algorithms(P384), [ES384]);
    assert_eq!(algorithms(ED25519), [EdDSA]);
    let both = format!("{P256}\n{RSA_CERTIFICATE}\r\n");
    let set = KeySet::from_pem(both.as_bytes(), None, &[ES256, PS256]).unwrap();
    assert_eq!(set.keys()[0].algorithms(), [ES256]);
    assert_eq!(set.keys()[1].algorithms(), [PS256]);
    let named = |text: &str| KeySet::from_pem(text.as_bytes(), Some("k"), &Algorithm::ALL);
    assert_eq!(named(P256).unwrap().keys()[0].kid(), Some("k"));
    assert_eq!(named(&both).unwrap_err(), KeyFault::OneNameForMany);
    let only_hmac = KeySet::from_pem(RSA.as_bytes(), None, &[HS256]).unwrap_err();
    assert_eq!(only_hmac, KeyFault::NoAlgorithm { key: "RSA" });
}

#[test]
fn pem_that_is_anything_else_is_refused() {
    assert!(pem(&format!("\n\n{P256}\n")).is_ok());
    assert_eq!(pem_fault(""), KeyFault::NotPem);
    assert_eq!(pem_fault("secret"), KeyFault::NotPem);
    assert_eq!(KeySet::from_pem(b"\xff", None, &Algorithm::ALL).unwrap_err(), KeyFault::NotPem);
    assert_eq!(pem_fault(&format!("garbage\n{P256}")), KeyFault::Garbage);
    assert_eq!(pem_fault(&format!(" {P256}")), KeyFault::Garbage);
    assert_eq!(pem_fault(&format!("{P256}garbage")), KeyFault::Garbage);
    assert_eq!(pem_fault(P256.trim_end().trim_end_matches('-')), KeyFault::BrokenPem);
    assert_eq!(pem_fault(&P256.replace("END PUBLIC", "END RSA PUBLIC")), KeyFault::BrokenPem);
    assert_eq!(pem_fault(&P256.replacen("MFk", "M*k", 1)), KeyFault::BrokenPem);
    assert_eq!(pem_fault(&P256.replacen("MFk", "MFo", 1)), KeyFault::BrokenDer);
    assert_eq!(pem_fault(&P256.replace("PUBLIC KEY", "CERTIFICATE")), KeyFault::BrokenDer);
    let other = P256.replace("PUBLIC KEY", "EC PARAMETERS");
    assert_eq!(pem_fault(&other), KeyFault::PemLabel("EC PARAMETERS".into()));
    assert_eq!(pem_fault(RSA_1024), KeyFault::RsaSize { bits: 1024 });
    for (text, word) in [(P521, "curve"), (SECP256K1, "curve"), (X25519, "kind")] {
        let fault = pem_fault(text);
        assert!(matches!(&fault, KeyFault::KeyType(what) if what.contains(word)), "{fault:?}");
    }
}

#[test]
fn a_private_key_is_refused_with_a_text_that_says_what_to_do() {
    let private = SigningKey::generate(Algorithm::ES256).unwrap().to_pem().unwrap();
    let private = std::str::from_utf8(private.expose()).unwrap().to_owned();
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let text = private.replace("PRIVATE KEY", label);
        assert_eq!(pem_fault(&text), KeyFault::Private);
    }
    assert!(KeyFault::Private.to_string().contains("openssl pkey -in private.pem -pubout"));
}

#[test]
fn a_public_point_off_its_curve_is_refused() {
    let x = es256()["x"].as_str().unwrap().to_owned();
    assert!(skipped(but("y", x.into())).contains("not on the curve"));
    assert!(skipped(but("x", "AA".into())).contains("not on the curve"));
    assert!(skipped(but("crv", "P-384".into())).contains("not on the curve"));
}

// C2
#[test]
fn a_secret_must_be_as_long_as_the_hash() {
    use Algorithm::*;
    let kept = |bytes, allowed: &[Algorithm]| {
        secret(&vec![7; bytes], allowed).map(|set| set.keys()[0].algorithms().to_vec())
    };
    assert_eq!(kept(32, &[HS256]), Ok(vec![HS256]));
    assert_eq!(kept(32, &[HS256, HS384, HS512]), Ok(vec![HS256]));
    assert_eq!(kept(64, &[HS256, HS384, HS512, RS256]), Ok(vec![HS256, HS384, HS512]));
    let short = kept(31, &[HS256]).unwrap_err();
    assert_eq!(short, KeyFault::SecretTooShort { bytes: 31, needed: 32, algorithm: HS256 });
    assert_eq!(
        short.to_string(),
        "the secret has 31 bytes, HS256 needs at least 32 (RFC 7518 section 3.2)"
    );
    assert!(matches!(kept(63, &[HS512]), Err(KeyFault::SecretTooShort { needed: 64, .. })));
    assert!(matches!(kept(0, &[HS256]), Err(KeyFault::SecretTooShort { .. })));
    assert_eq!(kept(64, &[RS256, ES256]), Err(KeyFault::NoAlgorithm { key: "HMAC" }));
}

// C2
#[test]
fn a_secret_that_is_a_public_key_is_refused() {
    use base64::Engine as _;
    let body: String = RSA.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(&body).unwrap();
    let jwk = es256().to_string();
    let private = SigningKey::generate(Algorithm::ES256).unwrap().to_pem().unwrap();
    for bytes in [
        RSA.as_bytes(),
        RSA_CERTIFICATE.as_bytes(),
        private.expose(),
        format!("  \n{P256}").as_bytes(),
        format!("# our key\n{P256}").as_bytes(),
        body.as_bytes(),
        der.as_slice(),
        jwk.as_bytes(),
        format!("\u{feff} {}", json!({ "keys": [] })).as_bytes(),
        b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ",
    ] {
        let fault = secret(bytes, &Algorithm::ALL).unwrap_err();
        assert!(matches!(fault, KeyFault::SecretIsKey { .. }), "{fault:?}");
    }
    // Secrets of the usual shapes stay secrets.
    for bytes in [&body.as_bytes()[9..80], b"{\"not\":\"a key, but 32 bytes long\"}", &[0x30; 40]] {
        assert!(secret(bytes, &Algorithm::ALL).is_ok());
    }
}

#[test]
fn a_secret_is_named_by_a_keyed_digest() {
    let thumbprint =
        |bytes: &[u8]| *secret(bytes, &[Algorithm::HS256]).unwrap().keys()[0].thumbprint();
    assert_eq!(thumbprint(&[1; 32]), thumbprint(&[1; 32]));
    assert_ne!(thumbprint(&[1; 32]), thumbprint(&[2; 32]));
    assert_ne!(thumbprint(&[1; 32]).0, crate::token::sha256(&[1; 32]));
}

// C8
#[test]
fn a_jwk_that_cannot_be_used_is_skipped_by_name_and_the_others_are_kept() {
    for (jwk, reason) in [
        (json!(7), "kty is missing"),
        (json!({}), "kty is missing"),
        (json!({ "kty": 1 }), "kty is missing"),
        (json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }), "kty \"AKP\""),
        (json!({ "kty": "oct", "k": "AAAA" }), "shared secret"),
        (but("d", "AAAA".into()), "private part"),
        (but("use", "enc".into()), "its use is \"enc\""),
        (but("key_ops", json!(["sign"])), "key_ops"),
        (but("key_ops", json!("verify")), "key_ops"),
        (but("alg", "HS256".into()), "its alg \"HS256\""),
        (but("alg", "RS256".into()), "its alg \"RS256\""),
        (but("alg", "ES512".into()), "its alg \"ES512\""),
        (but("alg", "none".into()), "its alg \"none\""),
        (but("alg", json!(["ES256"])), "alg is missing or malformed"),
        (but("kid", json!(7)), "kid is missing or malformed"),
        (but("kid", "k".repeat(257).into()), "longer than 256"),
        (but("crv", "secp256k1".into()), "crv \"secp256k1\""),
        (but("crv", Value::Null), "crv is missing"),
        (but("x", Value::Null), "x is missing"),
        (but("x", "a b=".into()), "x is missing or malformed"),
        (json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }), "crv \"X25519\""),
        (json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }), "17 bits"),
    ] {
        let note = skipped(jwk.clone());
        assert!(note.contains(reason), "{jwk}: {note}");
    }
    for harmless in [
        but("use", Value::Null),
        but("alg", Value::Null),
        but("kid", Value::Null),
        but("key_ops", json!(["verify", "sign"])),
        but("x5c", json!(["AAAA"])),
        but("future_member", json!({ "a": 1 })),
    ] {
        let (set, notes) = jwks(std::slice::from_ref(&harmless)).unwrap();
        assert_eq!((set.keys().len(), notes.len()), (1, 0), "{harmless}");
        assert_eq!(set.keys()[0].algorithms(), [Algorithm::ES256]);
    }
}

// C2
#[test]
fn an_rsa_key_with_weak_numbers_is_refused() {
    let key = SigningKey::generate(Algorithm::RS256).unwrap().public_jwk().unwrap();
    let with = |name: &str, bytes: &[u8]| {
        let mut jwk = key.clone();
        jwk[name] = crate::token::base64url::encode(bytes).into();
        jwks(&[jwk]).map(|_| ())
    };
    assert_eq!(with("e", &[1, 0, 1]), Ok(()));
    assert_eq!(with("e", &[3]), Ok(()));
    for e in [&[1][..], &[4], &[0], &[], &[1; 6]] {
        assert!(with("e", e).is_err(), "{e:?}");
    }
    let mut n = vec![0xff; 256];
    assert_eq!(with("n", &n), Ok(()));
    n[255] = 0xfe;
    assert!(with("n", &n).is_err(), "an even modulus");
    assert!(with("n", &[0xff; 255]).is_err());
    assert!(with("n", &[0xff; 1025]).is_err());
}

// C8
#[test]
fn a_set_that_is_none_is_refused_as_a_whole() {
    let fault = |text: &str| KeySet::from_jwks(text.as_bytes(), &Algorithm::ALL).unwrap_err();
    assert_eq!(fault(""), KeyFault::NotJson);
    assert_eq!(fault("<html>"), KeyFault::NotJson);
    assert_eq!(fault(r#"{"keys":[],"keys":[]}"#), KeyFault::NotJson);
    assert_eq!(fault("{}"), KeyFault::NotKeySet);
    assert_eq!(fault(r#"{"keys":{}}"#), KeyFault::NotKeySet);
    assert_eq!(fault(&es256().to_string()), KeyFault::SingleJwk);
    assert_eq!(fault(r#"{"keys":[]}"#), KeyFault::NoUsableKey { notes: vec![] });
    assert!(matches!(fault(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#),
        KeyFault::NoUsableKey { notes } if notes.len() == 1 && !notes[0].contains("c2VjcmV0")));
    let large = format!("{{\"keys\":[]{}}}", " ".repeat(JWKS_BYTES_MAX));
    assert!(matches!(fault(&large), KeyFault::TooLarge { .. }));
}

// C8
#[test]
fn two_keys_share_a_kid_only_for_different_algorithms() {
    let key = |algorithm| {
        let key = SigningKey::generate(algorithm).unwrap().with_kid("shared");
        key.public_jwk().unwrap()
    };
    let (set, notes) = jwks(&[key(Algorithm::ES256), key(Algorithm::EdDSA)]).unwrap();
    assert_eq!((set.keys().len(), notes.len()), (2, 0));
    assert_eq!(set.named("shared").count(), 2);
    let first = key(Algorithm::ES256);
    let (set, notes) = jwks(&[first.clone(), key(Algorithm::ES256)]).unwrap();
    assert_eq!(notes, ["key 2 (kid \"shared\") skipped: its kid is taken by an earlier key"]);
    let (alone, _) = jwks(&[first]).unwrap();
    assert_eq!(set.keys()[0].thumbprint(), alone.keys()[0].thumbprint());
}

#[test]
fn a_set_takes_a_bounded_number_of_keys() {
    let jwk = es256();
    let many: Vec<_> = (0..101)
        .map(|index| {
            let mut jwk = jwk.clone();
            jwk["kid"] = format!("k{index}").into();
            jwk
        })
        .collect();
    let (set, notes) = jwks(&many[..100]).unwrap();
    assert_eq!((set.keys().len(), notes.len()), (100, 0));
    let (set, notes) = jwks(&many).unwrap();
    assert_eq!((set.keys().len(), notes.len()), (100, 1));
}

#[test]
fn a_merged_set_finds_keys_by_name_and_thumbprint() {
    let named = |byte: u8, kid: &str| {
        KeySet::from_secret(&Secret::new(vec![byte; 32]), Some(kid), &Algorithm::ALL).unwrap()
    };
    let (one, two) = (named(1, "one"), named(2, "two"));
    let (one_id, thumbprint) = (one.id(), *one.keys()[0].thumbprint());
    assert!(!two.contains(&thumbprint));
    let both = KeySet::merge([one, two]);
    assert_ne!(both.id(), one_id);
    assert!(both.contains(&thumbprint));
    assert!(both.vouches(&thumbprint, Algorithm::HS256, None, None));
    assert!(!both.vouches(&thumbprint, Algorithm::HS512, None, None));
    assert_eq!(both.named("one").map(|key| *key.thumbprint()).collect::<Vec<_>>(), [thumbprint]);
    assert_eq!(both.named("three").count(), 0);
    assert_eq!(both.unnamed(Algorithm::HS256).count(), 0);
}

#[test]
fn a_key_is_lost_where_it_vouches_for_less_than_before() {
    let set = |kid: Option<&str>, client: Option<&str>, algorithms: &[Algorithm]| {
        let set = KeySet::from_secret(&Secret::new(vec![1; 64]), kid, algorithms).unwrap();
        match client {
            Some(client) => set.of_client(client),
            None => set,
        }
    };
    let both = [Algorithm::HS256, Algorithm::HS512];
    let before = || set(Some("a"), None, &both);
    let lost = |before: &KeySet, after: &KeySet| !before.lost_in(after).is_empty();
    assert!(!lost(&before(), &before()));
    assert!(!lost(&before(), &set(None, None, &both)), "one without a name takes every kid");
    assert!(lost(&before(), &set(Some("b"), None, &both)));
    assert!(lost(&before(), &set(Some("a"), Some("one"), &both)));
    assert!(lost(&before(), &set(Some("a"), None, &both[..1])));
    assert!(lost(&before(), &KeySet::default()));
    let bound = set(Some("a"), Some("one"), &both);
    assert!(!lost(&bound, &before()) && !lost(&bound, &bound));
    assert!(lost(&bound, &set(Some("a"), Some("two"), &both)));
}

#[test]
fn a_signing_key_comes_back_from_its_pem() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::PS384] {
        let key = SigningKey::generate(algorithm).unwrap();
        let pem = key.to_pem().unwrap();
        let pem = std::str::from_utf8(pem.expose()).unwrap();
        assert_eq!(SigningKey::from_pem(algorithm, pem).unwrap().kid(), key.kid());
        let other = SigningKey::from_pem(Algorithm::HS256, pem).unwrap_err();
        assert_eq!(other, MintError::OtherKey(Algorithm::HS256));
    }
    let p256 = SigningKey::generate(Algorithm::ES256).unwrap().to_pem().unwrap();
    let p256 = std::str::from_utf8(p256.expose()).unwrap();
    assert!(SigningKey::from_pem(Algorithm::ES384, p256).is_err());
    assert!(SigningKey::from_pem(Algorithm::ES256, P256).is_err());
    let short = SigningKey::from_secret(Algorithm::HS256, Secret::new(vec![1; 8])).unwrap_err();
    assert!(matches!(short, MintError::Key(KeyFault::SecretTooShort { .. })));
}

/// A vector's parts as a token; RFC 8037's payload is no JSON, so it is not parsed.
fn vector(token: &str) -> Compact<'_> {
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let header = Header { alg: String::new(), kid: None, typ: None };
    Compact { signing_input, header, claims: Claims::default(), signature }
}

#[test]
fn the_vectors_of_rfc_7515_and_rfc_8037_verify_and_fail_with_one_bit_changed() {
    let hs256 = crate::token::base64url::decode(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    )
    .unwrap();
    let rs256 = json!({ "kty": "RSA", "e": "AQAB", "n":
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0\
         Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXnd\
         S5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5Ihl\
         JH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" });
    let es256 = json!({ "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let eddsa = json!({ "kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let public = |jwk: Value| jwks(&[jwk]).unwrap().0;
    for (set, algorithm, header, payload, signature) in [
        (
            secret(&hs256, &Algorithm::ALL).unwrap(),
            Algorithm::HS256,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            payload,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            public(rs256),
            Algorithm::RS256,
            "eyJhbGciOiJSUzI1NiJ9",
            payload,
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2\
             Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjt\
             QBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6\
             IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            public(es256),
            Algorithm::ES256,
            "eyJhbGciOiJFUzI1NiJ9",
            payload,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            public(eddsa),
            Algorithm::EdDSA,
            "eyJhbGciOiJFZERTQSJ9",
            "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let key = &set.keys()[0];
        let token = format!("{header}.{payload}.{signature}");
        assert!(key.verifies(&vector(&token), algorithm), "{algorithm:?}");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert!(!key.verifies(&vector(&token), other), "{algorithm:?} as {other:?}");
        }
        let changed = format!("{header}.f{}.{signature}", &payload[1..]);
        assert!(!key.verifies(&vector(&changed), algorithm), "{algorithm:?} with other claims");
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let changed = format!("{header}.{payload}.{first}{}", &signature[1..]);
        assert!(!key.verifies(&vector(&changed), algorithm), "{algorithm:?} other signature");
    }
}

#[test]
fn every_algorithm_verifies_its_own_signature_and_no_other_keys() {
    for algorithm in Algorithm::ALL {
        let (one, two) =
            (SigningKey::generate(algorithm).unwrap(), SigningKey::generate(algorithm).unwrap());
        let token = one.sign(&json!({ "sub": "alice" })).unwrap();
        assert!(crate::token::Compact::parse(&token).is_ok());
        let set = |key: &SigningKey| key.key_set(&Algorithm::ALL).unwrap();
        assert!(set(&one).keys()[0].verifies(&vector(&token), algorithm), "{algorithm:?}");
        assert!(!set(&two).keys()[0].verifies(&vector(&token), algorithm), "{algorithm:?}");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert!(
                !set(&one).keys()[0].verifies(&vector(&token), other),
                "{algorithm:?} taken for {other:?}"
            );
        }
    }
}

// C2
#[test]
fn a_key_verifies_nothing_under_an_algorithm_it_is_not_bound_to() {
    let ps256 = SigningKey::generate(Algorithm::PS256).unwrap();
    let pem = ps256.to_pem().unwrap();
    let pem = std::str::from_utf8(pem.expose()).unwrap();
    let rs256 = SigningKey::from_pem(Algorithm::RS256, pem).unwrap();
    let token = rs256.sign(&json!({})).unwrap();
    let bound_to = |key: &SigningKey| key.key_set(&Algorithm::ALL).unwrap();
    assert!(bound_to(&rs256).keys()[0].verifies(&vector(&token), Algorithm::RS256));
    assert!(!bound_to(&ps256).keys()[0].verifies(&vector(&token), Algorithm::RS256));
}

/// RFC 7515 appendix A, RFC 7520 section 4 and RFC 8037 appendix A.4, as they are published.
#[test]
fn published_signatures_verify_and_the_same_with_one_bit_changed_do_not() {
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../tests/vectors/jws.json")).unwrap();
    assert_eq!(vectors.len(), 7);
    for case in vectors {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        let (source, compact) = (text("source"), text("compact"));
        let algorithm = Algorithm::parse(&text("alg")).unwrap();
        let set = match case["jwk"]["k"].as_str() {
            Some(secret) => {
                let secret = Secret::new(crate::token::base64url::decode(secret).unwrap());
                KeySet::from_secret(&secret, None, &[algorithm]).unwrap()
            }
            None => {
                let set = json!({ "keys": [case["jwk"]] }).to_string();
                KeySet::from_jwks(set.as_bytes(), &[algorithm]).unwrap().0
            }
        };
        let key = &set.keys()[0];
        assert!(key.verifies(&vector(&compact), algorithm), "{source}");
        for at in [compact.find('.').unwrap() + 1, compact.rfind('.').unwrap() + 1] {
            let changed = if compact[at..].starts_with('A') { "B" } else { "A" };
            let spoilt = format!("{}{changed}{}", &compact[..at], &compact[at + 1..]);
            assert!(!key.verifies(&vector(&spoilt), algorithm), "{source} at {at}");
        }
    }
}

#[test]
fn the_fully_specified_name_of_rfc_9864_is_the_same_algorithm() {
    assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::EdDSA));
    for other in ["Ed448", "ed25519", "ESP256", "EdDSA "] {
        assert_eq!(Algorithm::parse(other), None, "{other}");
    }
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "Ed25519",
                      "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let set = json!({ "keys": [key] }).to_string();
    let (set, notes) = KeySet::from_jwks(set.as_bytes(), &Algorithm::ALL).unwrap();
    assert_eq!((set.keys()[0].algorithms(), notes.len()), (&[Algorithm::EdDSA][..], 0));
}

#[test]
fn an_ed25519_key_of_small_order_is_skipped_since_anybody_could_sign_with_it() {
    let jwk = |x: &[u8; 32]| json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(x) });
    let y = |low: u8, rest: u8, high: u8| {
        let mut point = [rest; 32];
        (point[0], point[31]) = (low, high);
        point
    };
    let of_order_8 = [
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
    ];
    let of_order_8 = of_order_8.map(|text| base64url::decode(text).unwrap().try_into().unwrap());
    let points =
        [y(0, 0, 0), y(1, 0, 0), y(0xec, 0xff, 0x7f), y(0xed, 0xff, 0x7f), y(0xee, 0xff, 0x7f)];
    for mut point in points.into_iter().chain(of_order_8) {
        for sign in [0, 0x80] {
            point[31] = point[31] & 0x7f | sign;
            let fault = jwks(&[jwk(&point)]).unwrap_err();
            assert!(fault.to_string().contains("small order"), "{point:x?}: {fault}");
        }
    }
    let good = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let (set, notes) = jwks(&[good, jwk(&[0; 32])]).unwrap();
    assert_eq!((set.keys().len(), notes.len()), (1, 1), "the rest is kept");
}
