//! Which issuer and which key a token belongs to.

use super::*;

fn fresh(algorithm: Algorithm, kid: &str) -> SigningKey {
    SigningKey::generate(algorithm).unwrap().with_kid(kid)
}

fn other_policy(name: &str, iss: Option<&str>) -> Policy {
    let id = IssuerId::new(iss.unwrap_or(name));
    Policy { name: name.into(), id, iss: iss.map(str::to_owned), ..policy() }
}

fn try_token(verifier: &Verifier, key: &SigningKey, claims: &Value) -> Result<String, TokenFault> {
    let token = Credential::new(&key.sign(claims).unwrap());
    verdict(verifier, &token).map(|signed| signed.policy().name.clone())
}

// C9
#[test]
fn the_issuer_is_found_by_its_exact_iss() {
    let verifier = verifier(policy());
    passes(&verifier, &claims());
    for iss in [
        "https://id.example.com",
        "https://id.example.com//",
        "https://ID.example.com/",
        "https://id.example.com/evil",
        "https://id.example.com.attacker.example/",
        " https://id.example.com/",
        "",
    ] {
        let refused = fault(&verifier, &with("iss", iss.into()));
        assert_eq!(refused, TokenFault::UnknownIssuer { iss: iss.into() }, "{iss:?}");
    }
    assert_eq!(fault(&verifier, &with("iss", Value::Null)), TokenFault::IssuerMissing);
    for iss in [json!([ISS]), json!(7), json!({}), json!(true)] {
        assert_eq!(fault(&verifier, &with("iss", iss)), TokenFault::IssuerType);
    }
    let mut null = claims();
    null["iss"] = Value::Null;
    assert_eq!(verdict(&verifier, &sign(&null)).err(), Some(TokenFault::IssuerType));
}

// C9
#[test]
fn a_key_of_one_issuer_signs_nothing_for_another() {
    let (a, b) = (fresh(Algorithm::ES256, "shared-kid"), fresh(Algorithm::ES256, "shared-kid"));
    let verifier = verifier_of(vec![
        issuer(other_policy("a", Some("https://a.example/")), &[&a]),
        issuer(other_policy("b", Some("https://b.example/")), &[&b]),
    ]);
    let of = |iss: &str| with("iss", iss.into());
    assert_eq!(try_token(&verifier, &a, &of("https://a.example/")), Ok("a".into()));
    assert_eq!(try_token(&verifier, &b, &of("https://b.example/")), Ok("b".into()));
    assert_eq!(try_token(&verifier, &a, &of("https://b.example/")), Err(TokenFault::BadSignature));
    assert_eq!(try_token(&verifier, &b, &of("https://a.example/")), Err(TokenFault::BadSignature));
}

#[test]
fn a_token_without_iss_is_matched_only_among_issuers_that_allow_it() {
    let (strict, one, two) = (
        fresh(Algorithm::ES256, "k"),
        fresh(Algorithm::ES256, "one"),
        fresh(Algorithm::HS256, "two"),
    );
    let lax = |name: &str, iss: Option<&str>| {
        let mut policy = other_policy(name, iss);
        policy.missing.iss = true;
        policy
    };
    let verifier = verifier_of(vec![
        issuer(policy(), &[&strict]),
        issuer(lax("one", Some("https://one.example/")), &[&one]),
        issuer(lax("two", None), &[&two]),
    ]);
    let bare = with("iss", Value::Null);
    assert_eq!(try_token(&verifier, &one, &bare), Ok("one".into()));
    assert_eq!(try_token(&verifier, &two, &bare), Ok("two".into()));
    assert_eq!(unknown_kid(try_token(&verifier, &strict, &bare)), "k");
    assert_eq!(try_token(&verifier, &strict, &claims()), Ok("main".into()));
    let named = with("iss", "https://one.example/".into());
    assert_eq!(try_token(&verifier, &one, &named), Ok("one".into()));
    assert_eq!(unknown_kid(try_token(&verifier, &two, &named)), "two");
    // An `iss` that nobody has is not "no iss".
    assert!(matches!(try_token(&verifier, &two, &claims()), Err(TokenFault::UnknownKey { .. })));
    assert!(matches!(
        try_token(&verifier, &two, &with("iss", "https://nobody.example/".into())),
        Err(TokenFault::UnknownIssuer { .. })
    ));
}

#[test]
fn a_named_kid_selects_only_that_key() {
    let (one, two) = (fresh(Algorithm::ES256, "one"), fresh(Algorithm::ES256, "two"));
    let verifier = verifier_of(vec![issuer(policy(), &[&one, &two])]);
    assert!(try_token(&verifier, &one, &claims()).is_ok());
    assert!(try_token(&verifier, &two, &claims()).is_ok());
    let lying = SigningKey::from_pem(
        Algorithm::ES256,
        std::str::from_utf8(one.to_pem().unwrap().expose()).unwrap(),
    )
    .unwrap();
    let lying = lying.with_kid("two");
    assert_eq!(try_token(&verifier, &lying, &claims()), Err(TokenFault::BadSignature));
    let lost = lying.with_kid("three");
    assert_eq!(unknown_kid(try_token(&verifier, &lost, &claims())), "three");
}

// C6
#[test]
fn a_kid_that_is_a_path_or_a_query_is_only_an_unknown_name() {
    let verifier = verifier(policy());
    for kid in ["../../dev/null", "/etc/passwd", "' OR 1=1 --", "https://attacker.example/k", "\0"]
    {
        let token =
            key().sign_with_header(&json!({ "alg": "ES256", "kid": kid }), &claims()).unwrap();
        let refused = verdict(&verifier, &Credential::new(&token)).err().unwrap();
        assert_eq!(unknown_kid(Err::<(), _>(refused.clone())), kid);
        assert!(refused.detail().chars().all(|one| !one.is_control()));
    }
}

#[test]
fn a_token_without_kid_is_tried_with_the_keys_of_its_algorithm_and_only_a_few() {
    let many: Vec<_> = (0..5).map(|n| fresh(Algorithm::EdDSA, &format!("k{n}"))).collect();
    let mut all: Vec<&SigningKey> = vec![key()];
    all.extend(&many);
    let verifier = verifier_of(vec![issuer(policy(), &all)]);
    let unnamed = |key: &SigningKey| {
        let header = json!({ "alg": key.algorithm().as_str() });
        let token = key.sign_with_header(&header, &claims()).unwrap();
        verdict(&verifier, &Credential::new(&token)).map(|_| ())
    };
    assert_eq!(unnamed(key()), Ok(()));
    for known in &many[..4] {
        assert_eq!(unnamed(known), Ok(()));
    }
    assert_eq!(unnamed(&many[4]), Err(TokenFault::BadSignature));
    assert_eq!(
        unnamed(&fresh(Algorithm::HS256, "x")),
        Err(TokenFault::NoKeyForAlgorithm { algorithm: Algorithm::HS256 })
    );
}

#[test]
fn a_key_without_a_name_serves_tokens_of_any_kid_until_a_key_has_that_name() {
    let unnamed = fresh(Algorithm::ES256, "x");
    let mut jwk = unnamed.public_jwk().unwrap();
    jwk.as_object_mut().unwrap().remove("kid");
    let jwks = json!({ "keys": [jwk] }).to_string();
    let set = |jwks: &str| KeySet::from_jwks(jwks.as_bytes(), &Algorithm::ALL).unwrap().0;
    let alone = verifier_of(vec![Arc::new(Issuer::new(policy(), Arc::new(set(&jwks))))]);
    assert!(try_token(&alone, &unnamed, &claims()).is_ok());
    let stranger = fresh(Algorithm::ES256, "x");
    assert_eq!(try_token(&alone, &stranger, &claims()), Err(TokenFault::BadSignature));
    let named = fresh(Algorithm::ES256, "x");
    let both = KeySet::merge([set(&jwks), named.key_set(&Algorithm::ALL).unwrap()]);
    let both = verifier_of(vec![Arc::new(Issuer::new(policy(), Arc::new(both)))]);
    assert!(try_token(&both, &named, &claims()).is_ok());
    assert_eq!(try_token(&both, &unnamed, &claims()), Err(TokenFault::BadSignature));
    // A name that is not here may be that of a new key.
    let rotated = fresh(Algorithm::ES256, "new");
    assert_eq!(unknown_kid(try_token(&both, &rotated, &claims())), "new");
}

#[test]
fn an_issuer_without_keys_is_not_ready_rather_than_a_reason_to_log_people_out() {
    let verifier = verifier_of(vec![issuer(policy(), &[])]);
    let refused = fault(&verifier, &claims());
    assert!(matches!(refused, TokenFault::KeysAbsent { .. }));
    assert_eq!(refused.code(), "not_ready");
}

#[test]
fn a_thousand_issuers_each_find_their_own() {
    let issuers: Vec<_> = (0..1000)
        .map(|n| {
            issuer(other_policy(&format!("i{n}"), Some(&format!("https://{n}.example/"))), &[key()])
        })
        .collect();
    let verifier = verifier_of(issuers);
    for n in [0, 1, 500, 999] {
        let claims = with("iss", format!("https://{n}.example/").into());
        assert_eq!(try_token(&verifier, key(), &claims), Ok(format!("i{n}")));
    }
}

/// The kid that no key has, where that is the fault.
#[track_caller]
fn unknown_kid<T: std::fmt::Debug>(verdict: Result<T, TokenFault>) -> String {
    match verdict {
        Err(TokenFault::UnknownKey { kid, .. }) => kid,
        other => panic!("{other:?}"),
    }
}
