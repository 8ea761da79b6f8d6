//! Signatures that are none, and algorithms that the token would like to choose.

use proptest::prelude::*;

use crate::secret::Secret;
use crate::token::base64url::{decode, encode};

use super::*;

fn single(key: &SigningKey) -> Verifier {
    verifier_of(vec![issuer(policy(), &[key])])
}

fn refused(verifier: &Verifier, token: &str) -> TokenFault {
    verdict(verifier, &Credential::new(token)).err().expect("it should be refused")
}

#[test]
fn each_algorithm_passes_with_its_key_and_fails_with_another_signature_key_or_claims() {
    for algorithm in Algorithm::ALL {
        let (key, other) =
            (SigningKey::generate(algorithm).unwrap(), SigningKey::generate(algorithm).unwrap());
        let verifier = single(&key);
        let good = key.sign(&claims()).unwrap();
        assert!(verdict(&verifier, &Credential::new(&good)).is_ok(), "{algorithm:?}");
        let forged = other.with_kid(key.kid()).sign(&claims()).unwrap();
        assert_eq!(refused(&verifier, &forged), TokenFault::BadSignature, "{algorithm:?}");
        let (input, signature) = good.rsplit_once('.').unwrap();
        let mut bytes = decode(signature).unwrap();
        bytes[10] ^= 1;
        let flipped = format!("{input}.{}", encode(&bytes));
        assert_eq!(refused(&verifier, &flipped), TokenFault::BadSignature, "{algorithm:?}");
        for wrong in [&bytes[..bytes.len() - 1], &[bytes.as_slice(), &[0]].concat(), &[0]] {
            let token = format!("{input}.{}", encode(wrong));
            assert_eq!(refused(&verifier, &token), TokenFault::BadSignature, "{algorithm:?}");
        }
        let header = input.split_once('.').unwrap().0;
        let raised = encode(with("sub", "admin".into()).to_string().as_bytes());
        let moved = format!("{header}.{raised}.{signature}");
        assert_eq!(refused(&verifier, &moved), TokenFault::BadSignature, "{algorithm:?}");
    }
}

// C2
#[test]
fn a_token_signed_with_the_public_key_as_a_secret_is_refused_in_every_disguise() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let key = SigningKey::generate(algorithm).unwrap();
        let verifier = single(&key);
        let jwk = key.public_jwk().unwrap();
        let number = |name: &str| jwk[name].as_str().map(|text| decode(text).unwrap());
        let disguises: Vec<Vec<u8>> = [
            Some(jwk.to_string().into_bytes()),
            Some(key.jwks().unwrap().to_string().into_bytes()),
            number("n"),
            number("e"),
            number("x"),
            jwk["n"].as_str().map(|text| text.as_bytes().to_vec()),
            jwk["x"].as_str().map(|text| text.as_bytes().to_vec()),
            Some(key.kid().as_bytes().to_vec()),
            Some(Vec::new()),
        ]
        .into_iter()
        .flatten()
        .collect();
        for (hmac, hash) in [
            (Algorithm::HS256, aws_lc_rs::hmac::HMAC_SHA256),
            (Algorithm::HS384, aws_lc_rs::hmac::HMAC_SHA384),
            (Algorithm::HS512, aws_lc_rs::hmac::HMAC_SHA512),
        ] {
            for disguise in &disguises {
                let header = json!({ "alg": hmac.as_str(), "kid": key.kid() });
                let token = hmac_token(hash, disguise, &header);
                let expected = TokenFault::KeyAlgorithm { kid: key.kid().into(), algorithm: hmac };
                assert_eq!(refused(&verifier, &token), expected);
                let unnamed = hmac_token(hash, disguise, &json!({ "alg": hmac.as_str() }));
                let expected = TokenFault::NoKeyForAlgorithm { algorithm: hmac };
                assert_eq!(refused(&verifier, &unnamed), expected);
            }
        }
    }
}

/// An HMAC under any bytes, also too few.
fn hmac_token(hash: aws_lc_rs::hmac::Algorithm, secret: &[u8], header: &Value) -> String {
    use aws_lc_rs::hmac::{Key, sign};
    let input = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims().to_string().as_bytes())
    );
    let tag = sign(&Key::new(hash, secret), input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

// C2
#[test]
fn the_issuers_list_of_algorithms_binds_although_the_key_could_do_more() {
    let key = SigningKey::generate(Algorithm::PS256).unwrap();
    let pem = key.to_pem().unwrap();
    let rs256 =
        SigningKey::from_pem(Algorithm::RS256, std::str::from_utf8(pem.expose()).unwrap()).unwrap();
    let mut jwk = key.public_jwk().unwrap();
    jwk.as_object_mut().unwrap().remove("alg");
    let jwks = json!({ "keys": [jwk] }).to_string();
    let of = |allowed: &[Algorithm]| {
        let set = KeySet::from_jwks(jwks.as_bytes(), allowed).unwrap().0;
        let policy = Policy { algorithms: allowed.to_vec(), ..policy() };
        verifier_of(vec![Arc::new(Issuer::new(policy, Arc::new(set)))])
    };
    let both = of(&[Algorithm::PS256, Algorithm::RS256]);
    let (ps, rs) = (key.sign(&claims()).unwrap(), rs256.sign(&claims()).unwrap());
    assert!(verdict(&both, &Credential::new(&ps)).is_ok());
    assert!(verdict(&both, &Credential::new(&rs)).is_ok());
    let ps_only = of(&[Algorithm::PS256]);
    assert!(verdict(&ps_only, &Credential::new(&ps)).is_ok());
    assert_eq!(
        refused(&ps_only, &rs),
        TokenFault::AlgorithmNotAllowed { algorithm: Algorithm::RS256 }
    );
}

// C2
#[test]
fn one_secret_verifies_only_the_algorithms_it_is_bound_to() {
    let secret = Secret::new(vec![7; 64]);
    let set = KeySet::from_secret(&secret, None, &[Algorithm::HS256]).unwrap();
    let verifier = verifier_of(vec![Arc::new(Issuer::new(policy(), Arc::new(set)))]);
    let sign = |algorithm| {
        SigningKey::from_secret(algorithm, secret.clone()).unwrap().sign(&claims()).unwrap()
    };
    assert!(verdict(&verifier, &Credential::new(&sign(Algorithm::HS256))).is_ok());
    assert!(matches!(
        refused(&verifier, &sign(Algorithm::HS512)),
        TokenFault::UnknownKey { .. } | TokenFault::NoKeyForAlgorithm { .. }
    ));
}

// C3
#[test]
fn unsigned_tokens_and_unknown_algorithms_are_refused() {
    let verifier = verifier(policy());
    let good = key().sign(&claims()).unwrap();
    let body = good.split('.').nth(1).unwrap();
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = encode(json!({ "alg": alg, "kid": key().kid() }).to_string().as_bytes());
        for signature in ["", "AA", good.rsplit('.').next().unwrap()] {
            let fault = refused(&verifier, &format!("{header}.{body}.{signature}"));
            assert_eq!(fault.reason(), "alg_none");
        }
    }
    for alg in ["es256", "ES256 ", "ES256K", "ES512", "HS1", "", "RSA1_5", "dir", "Ed448"] {
        let token =
            key().sign_with_header(&json!({ "alg": alg, "kid": key().kid() }), &claims()).unwrap();
        let expected = TokenFault::AlgorithmUnknown { alg: alg.into() };
        assert_eq!(refused(&verifier, &token), expected);
    }
    let (input, _) = good.rsplit_once('.').unwrap();
    assert_eq!(refused(&verifier, &format!("{input}.")).reason(), "empty_part");
}

#[test]
fn a_token_beyond_the_size_limit_is_refused_and_one_at_the_limit_passes() {
    let verifier = verifier(policy());
    let filled = |bytes: usize| sign(&with("filler", "x".repeat(bytes).into()));
    assert!(verdict(&verifier, &filled(11_000)).is_ok());
    let long = filled(13_000);
    let bytes = long.expose().len();
    let expected = TokenFault::Form(crate::token::FormFault::TooLong { bytes });
    assert_eq!(verdict(&verifier, &long).err(), Some(expected));
}

// C4
#[test]
fn ecdsa_signatures_of_zeros_of_der_and_of_other_lengths_are_refused() {
    for (algorithm, half, order_hex) in [
        (Algorithm::ES256, 32, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
        (
            Algorithm::ES384,
            48,
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
             581a0db248b0a77aecec196accc52973",
        ),
    ] {
        let key = SigningKey::generate(algorithm).unwrap();
        let verifier = single(&key);
        let good = key.sign(&claims()).unwrap();
        let (input, signature) = good.rsplit_once('.').unwrap();
        let (r, s) = (
            decode(signature).unwrap()[..half].to_vec(),
            decode(signature).unwrap()[half..].to_vec(),
        );
        let order: Vec<u8> = (0..half)
            .map(|index| u8::from_str_radix(&order_hex[index * 2..index * 2 + 2], 16).unwrap())
            .collect();
        let try_it = |signature: &[u8]| {
            let token = format!("{input}.{}", encode(signature));
            verdict(&verifier, &Credential::new(&token))
        };
        assert!(try_it(&[r.clone(), s.clone()].concat()).is_ok());
        let zero = vec![0; half];
        for (r, s) in
            [(&zero, &zero), (&r, &zero), (&zero, &s), (&order, &s), (&r, &order), (&order, &order)]
        {
            let fault = try_it(&[r.as_slice(), s].concat()).err();
            assert_eq!(fault, Some(TokenFault::BadSignature));
        }
        for wrong in [der(&r, &s), [&[0], r.as_slice(), &[0], &s].concat(), r.clone()] {
            assert_eq!(try_it(&wrong).err(), Some(TokenFault::BadSignature));
        }
        // (r, n − s) is as good a signature for mathematics. It is another spelling of the same
        // token, so it must bear the same marks: what is denied stays denied.
        let twin = try_it(&[r.clone(), subtract(&order, &s)].concat()).expect("ECDSA allows it");
        let original = try_it(&[r, s].concat()).unwrap();
        assert_eq!(twin.token_id(), original.token_id());
        assert_eq!(twin.marks(), original.marks());
    }
}

// C4, C5
#[test]
fn a_token_without_jti_keeps_its_name_when_its_signature_is_respelled() {
    let verifier = verifier(policy());
    let claims = with("jti", Value::Null);
    // Each signature is random: the same claims signed twice are one token to the denylist.
    let (one, two) = (passes(&verifier, &claims), passes(&verifier, &claims));
    assert_eq!(one.marks().token, two.marks().token);
    let other = passes(&verifier, &{
        let mut claims = claims.clone();
        claims["nonce"] = "other".into();
        claims
    });
    assert_ne!(one.marks().token, other.marks().token);
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| [&[2, bytes.len() as u8 + 1, 0], bytes].concat();
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8], body.as_slice()].concat()
}

/// `a − b` of big-endian numbers, a > b.
fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut out: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let difference = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(difference < 0);
            (difference & 0xff) as u8
        })
        .collect();
    out.reverse();
    out
}

// C5
#[test]
fn every_other_spelling_of_a_good_token_is_refused() {
    let verifier = verifier(policy());
    let good = key().sign(&claims()).unwrap();
    assert!(verdict(&verifier, &Credential::new(&good)).is_ok());
    let parts: Vec<_> = good.split('.').collect();
    for other in [
        format!("{good}="),
        format!("{good}=="),
        format!("{good}."),
        format!(".{good}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}..{}.{}", parts[0], parts[1], parts[2]),
        good.replace('.', ". "),
        format!("Bearer {good}"),
        good.to_uppercase(),
        json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string(),
    ] {
        assert!(matches!(refused(&verifier, &other), TokenFault::Form(_)), "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_changed_byte_of_a_good_token_is_ever_verified(at: prop::sample::Index, to in 0_u8..128) {
        static WORLD: OnceLock<(Verifier, String)> = OnceLock::new();
        let (verifier, good) = WORLD.get_or_init(|| {
            (verifier(policy()), key().sign(&claims()).unwrap())
        });
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        let same = bytes[at] == to;
        bytes[at] = to;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(verifier.verify(&Credential::new(&changed), NOW).is_ok(), same);
    }

    #[test]
    fn no_inserted_or_removed_byte_is_ever_verified(at: prop::sample::Index, byte in 0_u8..128) {
        let verifier = verifier(policy());
        let good = key().sign(&claims()).unwrap();
        let at = at.index(good.len());
        let mut longer = good.clone();
        longer.insert(at, char::from(byte));
        prop_assert!(verifier.verify(&Credential::new(&longer), NOW).is_err());
        let mut shorter = good;
        shorter.remove(at);
        prop_assert!(verifier.verify(&Credential::new(&shorter), NOW).is_err());
    }
}
