//! What the cache of signatures may remember, and what it must not.

use super::*;

fn fresh(verifier: &Verifier, token: &Credential, now: UnixMs) -> Result<bool, TokenFault> {
    verifier.verify(token, now).map(|verified| verified.is_fresh())
}

#[test]
fn a_signature_is_verified_once_and_remembered() {
    let verifier = verifier(policy());
    let (one, two) = (sign(&claims()), sign(&with("jti", "t-2".into())));
    assert_eq!(fresh(&verifier, &one, NOW), Ok(true));
    assert_eq!(fresh(&verifier, &one, NOW), Ok(false));
    assert_eq!(fresh(&verifier, &two, NOW), Ok(true));
    let first = verifier.verify(&one, NOW).unwrap();
    let again = verifier.verify(&one, NOW).unwrap();
    assert!(Arc::ptr_eq(first.signed(), again.signed()));
}

// C10
#[test]
fn another_token_in_the_same_place_of_the_cache_is_no_hit() {
    let verifier = verifier(policy());
    let (one, two) = (sign(&claims()), sign(&with("sub", "mallory".into())));
    assert_eq!(fresh(&verifier, &one, NOW), Ok(true));
    let cache = verifier.cache();
    let place = cache.key(&one);
    assert!(cache.find(place, &one).is_some());
    assert!(cache.find(place, &two).is_none());
    assert_ne!(place, cache.key(&two));
}

#[test]
fn a_refused_token_leaves_no_trace_unless_its_signature_held() {
    let verifier = verifier(policy());
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap().with_kid(key().kid());
    for n in 0..50 {
        let claims = with("jti", n.into());
        let forged = Credential::new(&stranger.sign(&claims).unwrap());
        assert_eq!(fresh(&verifier, &forged, NOW), Err(TokenFault::BadSignature));
    }
    verifier.cache().settle();
    assert_eq!(verifier.cache().len(), 0);
    assert_eq!(fresh(&verifier, &sign(&claims()), NOW), Ok(true));
    verifier.cache().settle();
    assert_eq!(verifier.cache().len(), 1);
}

// C10
#[test]
fn times_are_asked_on_every_hit() {
    let verifier = verifier(policy());
    let mut claims = claims();
    claims["nbf"] = (NOW_SECS - 60).into();
    let token = sign(&claims);
    assert_eq!(fresh(&verifier, &token, NOW), Ok(true));
    assert_eq!(fresh(&verifier, &token, NOW), Ok(false));
    let late = NOW.plus(Duration::from_secs(3630));
    assert!(matches!(fresh(&verifier, &token, late), Err(TokenFault::Expired { .. })));
    let early = NOW.minus(Duration::from_secs(91));
    assert!(matches!(fresh(&verifier, &token, early), Err(TokenFault::IssuedInFuture { .. })));
    assert_eq!(fresh(&verifier, &token, NOW), Ok(false));
}

// C11
#[test]
fn a_removed_key_stops_verifying_at_once_although_its_signatures_are_remembered() {
    let other = SigningKey::generate(Algorithm::ES256).unwrap();
    let issuer = issuer(policy(), &[key(), &other]);
    let verifier = verifier_of(vec![Arc::clone(&issuer)]);
    let token = sign(&claims());
    assert_eq!(fresh(&verifier, &token, NOW), Ok(true));
    issuer.keys.store(keys(&[key()]));
    assert_eq!(fresh(&verifier, &token, NOW), Ok(false), "a new set that still has it");
    issuer.keys.store(keys(&[&other]));
    let gone = TokenFault::UnknownKey {
        kid: key().kid().into(),
        issuers: vec![issuer.policy.id.clone()],
        issued_at: Some(UnixMs::from_secs(NOW_SECS - 60)),
        former: false,
    };
    assert_eq!(fresh(&verifier, &token, NOW), Err(gone.clone()));
    assert_eq!(fresh(&verifier, &token, NOW), Err(gone));
    issuer.keys.store(keys(&[]));
    assert!(matches!(fresh(&verifier, &token, NOW), Err(TokenFault::KeysAbsent { .. })));
    issuer.keys.store(keys(&[key()]));
    assert!(fresh(&verifier, &token, NOW).is_ok());
}

// C11
#[test]
fn a_key_that_is_now_for_one_client_only_stops_for_the_others() {
    let secret = SigningKey::generate(Algorithm::HS256).unwrap();
    let set = || secret.key_set(&Algorithm::ALL).unwrap();
    let issuer = Arc::new(Issuer::new(policy(), Arc::new(set())));
    let verifier = verifier_of(vec![Arc::clone(&issuer)]);
    let of =
        |client: &str| Credential::new(&secret.sign(&with("client_id", client.into())).unwrap());
    let (one, two) = (of("one"), of("two"));
    assert_eq!(fresh(&verifier, &one, NOW), Ok(true));
    assert_eq!(fresh(&verifier, &two, NOW), Ok(true));
    let open = verifier.verify(&two, NOW).unwrap();
    issuer.keys.store(Arc::new(set().of_client("one")));
    assert_eq!(fresh(&verifier, &one, NOW), Ok(false), "it stays remembered");
    assert!(matches!(fresh(&verifier, &two, NOW), Err(TokenFault::WrongClient { .. })));
    assert!(!open.signed().key_is_published(), "nor does a stream of it go on");
    issuer.keys.store(Arc::new(set()));
    assert!(fresh(&verifier, &two, NOW).is_ok());
}

// C11
#[test]
fn a_key_under_another_name_no_longer_vouches_for_what_named_the_old_one() {
    let mut jwk = key().public_jwk().unwrap();
    let mut set = |kid: &str| {
        jwk["kid"] = kid.into();
        let jwks = json!({ "keys": [jwk] }).to_string();
        Arc::new(KeySet::from_jwks(jwks.as_bytes(), &Algorithm::ALL).unwrap().0)
    };
    let issuer = Arc::new(Issuer::new(policy(), set(key().kid())));
    let verifier = verifier_of(vec![Arc::clone(&issuer)]);
    let token = sign(&claims());
    assert_eq!(fresh(&verifier, &token, NOW), Ok(true));
    issuer.keys.store(set("renamed"));
    assert!(matches!(fresh(&verifier, &token, NOW), Err(TokenFault::UnknownKey { .. })));
    issuer.keys.store(set(key().kid()));
    assert!(fresh(&verifier, &token, NOW).is_ok());
}

// C11
#[test]
fn a_key_that_is_no_longer_bound_to_the_algorithm_stops_too() {
    let key = SigningKey::generate(Algorithm::RS256).unwrap();
    let mut jwk = key.public_jwk().unwrap();
    let set = |alg: &str| {
        jwk["alg"] = alg.into();
        let jwks = json!({ "keys": [jwk] }).to_string();
        Arc::new(KeySet::from_jwks(jwks.as_bytes(), &Algorithm::ALL).unwrap().0)
    };
    let mut set = set;
    let issuer = Arc::new(Issuer::new(policy(), set("RS256")));
    let verifier = verifier_of(vec![Arc::clone(&issuer)]);
    let token = Credential::new(&key.sign(&claims()).unwrap());
    assert_eq!(fresh(&verifier, &token, NOW), Ok(true));
    issuer.keys.store(set("PS256"));
    assert!(matches!(fresh(&verifier, &token, NOW), Err(TokenFault::KeyAlgorithm { .. })));
}

// C11
#[test]
fn a_key_replaced_under_the_same_kid_ends_the_old_ones_signatures() {
    let (old, new) = (
        SigningKey::generate(Algorithm::ES256).unwrap().with_kid("k"),
        SigningKey::generate(Algorithm::ES256).unwrap().with_kid("k"),
    );
    let issuer = issuer(policy(), &[&old]);
    let verifier = verifier_of(vec![Arc::clone(&issuer)]);
    let token = Credential::new(&old.sign(&claims()).unwrap());
    assert_eq!(fresh(&verifier, &token, NOW), Ok(true));
    issuer.keys.store(keys(&[&new]));
    assert_eq!(fresh(&verifier, &token, NOW), Err(TokenFault::BadSignature));
}

// C10, C11
#[test]
fn nothing_remembered_by_one_configuration_counts_in_the_next() {
    let cache = Arc::new(SignatureCache::new(1 << 20));
    let build = |policy: Policy| {
        Verifier::new(vec![issuer(policy, &[key()])], Fingerprinter::random(), Arc::clone(&cache))
    };
    let before = build(policy());
    let token = sign(&claims());
    assert_eq!(fresh(&before, &token, NOW), Ok(true));
    let same = build(policy());
    assert_eq!(fresh(&same, &token, NOW), Ok(true), "verified anew");
    assert_eq!(fresh(&same, &token, NOW), Ok(false));
    let mut other = policy();
    other.audiences = vec!["https://elsewhere.example/".into()];
    assert!(matches!(fresh(&build(other), &token, NOW), Err(TokenFault::WrongAudience { .. })));
    let mut renamed = policy();
    renamed.claims.subject = name("jti");
    let renamed = build(renamed);
    assert_eq!(renamed.verify(&token, NOW).unwrap().signed().subject(), Some("t-1"));
    assert_eq!(fresh(&before, &token, NOW), Ok(true), "the older one takes nothing back either");
}

// C11
#[test]
fn an_issuer_that_stays_keeps_its_signatures_and_one_that_went_keeps_none() {
    let cache = Arc::new(SignatureCache::new(1 << 20));
    let build = |issuers: Vec<Arc<Issuer>>| {
        Verifier::new(issuers, Fingerprinter::random(), Arc::clone(&cache))
    };
    let stays = issuer(policy(), &[key()]);
    let token = sign(&claims());
    assert_eq!(fresh(&build(vec![Arc::clone(&stays)]), &token, NOW), Ok(true));
    let next = build(vec![Arc::clone(&stays)]);
    assert_eq!(fresh(&next, &token, NOW), Ok(false));
    let open = next.verify(&token, NOW).unwrap();
    let again = next.read_again(open.signed(), NOW).unwrap();
    assert!(Arc::ptr_eq(&again, open.signed()));
    let none = build(Vec::new());
    assert!(matches!(fresh(&none, &token, NOW), Err(TokenFault::UnknownIssuer { .. })));
    assert!(none.read_again(open.signed(), NOW).is_err());
}

#[test]
fn what_is_open_holds_under_another_policy_that_would_take_its_token_and_under_no_other() {
    let before = verifier(policy());
    let token = sign(&claims());
    let open = before.verify(&token, NOW).unwrap();
    let under = |change: &dyn Fn(&mut Policy), keys: &[&SigningKey]| {
        let mut policy = policy();
        change(&mut policy);
        let again = verifier_of(vec![issuer(policy, keys)]).read_again(open.signed(), NOW);
        again.is_ok_and(|again| again.key_is_published())
    };
    let other = SigningKey::generate(Algorithm::ES256).unwrap();
    assert!(under(&|policy| policy.name = "renamed".into(), &[key()]));
    assert!(!under(&|_| {}, &[&other]));
    assert!(!under(
        &|policy| policy.audiences = vec!["https://elsewhere.example/".into()],
        &[key()]
    ));
    assert!(!under(&|policy| policy.max_lifetime = Duration::from_secs(1), &[key()]));
    assert!(!under(&|policy| policy.types = vec!["at+jwt".into()], &[key()]));
    assert!(!under(&|policy| policy.required = vec![name("absent")], &[key()]));
    assert!(under(&|policy| policy.claims.subject = name("jti"), &[key()]));
}

#[test]
fn the_cache_is_bounded_in_bytes_and_zero_turns_it_off() {
    let small = Arc::new(SignatureCache::new(64 * 1024));
    let build = |cache: &Arc<SignatureCache>| {
        Verifier::new(vec![issuer(policy(), &[key()])], Fingerprinter::random(), Arc::clone(cache))
    };
    let verifier = build(&small);
    for n in 0..200 {
        let token = sign(&with("jti", json!(format!("{n}-{}", "x".repeat(1000)))));
        assert_eq!(fresh(&verifier, &token, NOW), Ok(true));
    }
    small.settle();
    assert!(small.size_bytes() <= 64 * 1024);
    assert!((5..64).contains(&small.len()), "{}", small.len());
    let off = Arc::new(SignatureCache::new(0));
    let verifier = build(&off);
    let token = sign(&claims());
    for _ in 0..3 {
        assert_eq!(fresh(&verifier, &token, NOW), Ok(true));
        off.settle();
    }
}

#[test]
fn the_last_sight_of_a_token_is_kept_to_the_second() {
    use std::sync::atomic::Ordering::Relaxed;
    let verifier = verifier(policy());
    let token = sign(&claims());
    let seen = |now: UnixMs| verifier.verify(&token, now).unwrap().signed().last_seen.load(Relaxed);
    assert_eq!(seen(NOW), NOW.0);
    assert_eq!(seen(UnixMs(NOW.0 + 999)), NOW.0);
    assert_eq!(seen(UnixMs(NOW.0 + 1000)), NOW.0 + 1000);
}
