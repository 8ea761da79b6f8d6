//! Every claim rule, two-sided.

use super::*;
use crate::denylist::{ConditionKind, Fold};

fn secs(seconds: i64) -> Value {
    (NOW_SECS + seconds).into()
}

/// RFC 7519 section 3.1, as it is published, through the whole of the verifier.
#[test]
fn the_example_of_rfc_7519_passes_in_its_time_and_for_its_issuer_only() {
    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = crate::secret::Secret::new(crate::token::base64url::decode(secret).unwrap());
    let token = Credential::new(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog\
         Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    let of = |iss: &str| {
        let mut policy = Policy { iss: Some(iss.into()), audiences: vec![], ..policy() };
        policy.missing = Missing { aud: true, iat: true, iss: false };
        let keys = KeySet::from_secret(&secret, None, &[Algorithm::HS256]).unwrap();
        verifier_of(vec![Arc::new(Issuer::new(policy, Arc::new(keys)))])
    };
    let ends = UnixMs::from_secs(1_300_819_380);
    let signed = verdict_at(&of("joe"), &token, ends.minus(Duration::from_secs(1))).ok().unwrap();
    let claim = signed.claims().member("http://example.com/is_root");
    assert_eq!(claim, Some(&Value::Bool(true)));
    let late = verdict_at(&of("joe"), &token, ends.plus(Duration::from_secs(30)));
    assert!(matches!(late, Err(TokenFault::Expired { .. })));
    let other = verdict_at(&of("jo"), &token, ends.minus(Duration::from_secs(1)));
    assert!(matches!(other, Err(TokenFault::UnknownIssuer { .. })));
}

// C9, C22
#[test]
fn a_token_that_tells_of_an_event_is_no_access_token_whatever_its_typ() {
    let verifier = verifier(policy());
    let logout = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    assert_eq!(fault(&verifier, &with("events", logout)), TokenFault::SecurityEvent);
    assert_eq!(fault(&verifier, &with("events", json!({}))), TokenFault::SecurityEvent);
    // What a home-grown token calls so is another thing.
    passes(&verifier, &with("events", json!(["concert"])));
    passes(&verifier, &with("event", json!({})));
}

#[test]
fn a_good_token_passes_and_says_who_it_is() {
    let mut claims = claims();
    for (claim, value) in [
        ("sid", json!("s-1")),
        ("azp", json!("web")),
        ("ver", json!(3)),
        ("tenant", json!("acme")),
        ("acl", json!({ "roles": ["admin", 7] })),
        ("scope", json!("read  write")),
        ("email", json!("alice@example.com")),
        ("auth_time", secs(-600)),
    ] {
        claims[claim] = value;
    }
    let signed = passes(&verifier(policy()), &claims);
    assert_eq!(signed.policy().name, "main");
    assert_eq!(signed.subject(), Some("alice"));
    assert_eq!(signed.session(), Some("s-1"));
    assert_eq!(signed.client(), Some("web"));
    assert_eq!(signed.jti(), Some("t-1"));
    assert_eq!(signed.token_id(), &crate::denylist::TokenId::Jti("t-1".into()));
    assert_eq!(signed.version(), Some(3));
    assert_eq!(
        signed.indexed().collect::<Vec<_>>(),
        [("tenant", "acme"), ("role", "admin"), ("role", "7")]
    );
    assert_eq!(signed.marks().claims.len(), 3);
    assert_eq!(signed.scopes(), ["read", "write"]);
    let needed = ["write".to_owned(), "delete".to_owned()];
    assert_eq!(signed.missing_scopes(&needed), ["delete"]);
    assert_eq!(signed.display(), Some("alice@example.com"));
    assert_eq!(signed.auth_age(NOW), Some(Duration::from_secs(600)));
    assert_eq!(signed.issued_at(), Some(NOW.minus(Duration::from_secs(60))));
    assert_eq!(signed.expires_at(), NOW.plus(Duration::from_secs(3600)));
    assert_eq!(signed.kid(), Some(key().kid()));
    assert_eq!(signed.key().to_string(), key().kid());
    assert_eq!(signed.algorithm(), Algorithm::ES256);
}

// C1
#[test]
fn a_time_of_a_wrong_type_is_refused_and_never_taken_for_absent() {
    let verifier = verifier(policy());
    for claim in ["exp", "iat", "nbf", "auth_time"] {
        passes(&verifier, &with(claim, if claim == "exp" { secs(60) } else { secs(-60) }));
        let mut null = claims();
        null[claim] = Value::Null;
        assert_eq!(
            verdict(&verifier, &sign(&null)).err(),
            Some(TokenFault::TimeType { claim }),
            "{claim}: null"
        );
        for value in [json!("1800000060"), json!(true), json!([secs(0)]), json!({}), json!("")] {
            let expected = TokenFault::TimeType { claim };
            assert_eq!(fault(&verifier, &with(claim, value.clone())), expected, "{claim} {value}");
        }
        for value in [
            json!(-1),
            json!(-0.5),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
            json!(NOW.0),
            json!(253_402_300_800_i64),
        ] {
            let expected = TokenFault::TimeOutOfRange { claim };
            assert_eq!(fault(&verifier, &with(claim, value.clone())), expected, "{claim} {value}");
        }
    }
}

// C1
#[test]
fn a_number_that_no_double_holds_is_refused() {
    let verifier = verifier(policy());
    let text = |exp: &str| {
        let claims = format!(r#"{{"iss":"{ISS}","aud":"{AUD}","iat":{NOW_SECS},"exp":{exp}}}"#);
        let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key().kid());
        let token = Credential::new(&key().sign_text(&header, &claims).unwrap());
        verdict(&verifier, &token).map(|_| ())
    };
    assert_eq!(text("1800000060"), Ok(()));
    assert_eq!(text("1.80000006e9"), Ok(()));
    assert!(matches!(text("1e400"), Err(TokenFault::Form(_))));
    assert!(matches!(text("-1e400"), Err(TokenFault::Form(_))));
}

#[test]
fn exp_and_iat_are_required_and_iat_may_be_missing_where_the_issuer_says_so() {
    let strict = verifier(policy());
    assert_eq!(fault(&strict, &with("exp", Value::Null)), TokenFault::ExpiryMissing);
    assert_eq!(fault(&strict, &with("iat", Value::Null)), TokenFault::IssuedAtMissing);
    let mut lax = policy();
    lax.missing.iat = true;
    let lax = verifier(lax);
    assert_eq!(passes(&lax, &with("iat", Value::Null)).issued_at(), None);
    assert_eq!(fault(&lax, &with("exp", Value::Null)), TokenFault::ExpiryMissing);
    assert!(matches!(fault(&lax, &with("iat", "x".into())), TokenFault::TimeType { .. }));
    // What is left of its life is bounded instead.
    let mut far = with("iat", Value::Null);
    far["exp"] = secs(24 * 3600);
    passes(&lax, &far);
    far["exp"] = secs(24 * 3600 + 1);
    assert!(matches!(fault(&lax, &far), TokenFault::LifetimeTooLong { .. }));
}

#[test]
fn a_token_ends_at_exp_plus_leeway_to_the_millisecond() {
    let verifier = verifier(policy());
    let token = sign(&claims());
    let end = NOW.plus(Duration::from_secs(3600 + 30));
    assert!(verdict_at(&verifier, &token, UnixMs(end.0 - 1)).is_ok());
    let expired = verdict_at(&verifier, &token, end).err().unwrap();
    assert_eq!(expired.code(), "token_expired");
    assert_eq!(
        expired.detail(),
        "expired 2027-01-15T09:00:00Z, 30 s ago",
        "the detail has the time and no token"
    );
    // A fraction counts, rounded down.
    let mut exact = policy();
    exact.leeway = Duration::ZERO;
    let exact = verifier_of(vec![issuer(exact, &[key()])]);
    let token = sign(&with("exp", json!(NOW_SECS as f64 + 0.75)));
    assert!(verdict_at(&exact, &token, UnixMs(NOW.0 + 749)).is_ok());
    assert!(verdict_at(&exact, &token, UnixMs(NOW.0 + 750)).is_err());
}

#[test]
fn nbf_and_iat_may_be_ahead_by_the_leeway_and_no_more() {
    let verifier = verifier(policy());
    passes(&verifier, &with("nbf", secs(30)));
    assert!(matches!(fault(&verifier, &with("nbf", secs(31))), TokenFault::NotYetValid { .. }));
    passes(&verifier, &with("auth_time", secs(30)));
    let fault_of = fault(&verifier, &with("auth_time", secs(31)));
    assert!(matches!(fault_of, TokenFault::AuthenticatedInFuture { .. }));
    passes(&verifier, &with("iat", secs(30)));
    assert!(matches!(fault(&verifier, &with("iat", secs(31))), TokenFault::IssuedInFuture { .. }));
}

#[test]
fn a_token_that_lives_too_long_is_refused_at_once_and_says_so() {
    let verifier = verifier(policy());
    let day = 24 * 3600;
    let mut claims = claims();
    claims["iat"] = secs(-60);
    claims["exp"] = secs(day - 60);
    passes(&verifier, &claims);
    claims["exp"] = secs(day - 59);
    let fault = fault(&verifier, &claims);
    assert_eq!(fault.reason(), "lifetime_too_long");
    assert_eq!(fault.detail(), "it lives 1 d, longer than max_lifetime = 1 d");
}

#[test]
fn exp_before_iat_is_refused() {
    let verifier = verifier(policy());
    let mut claims = claims();
    claims["iat"] = secs(10);
    claims["exp"] = secs(10);
    passes(&verifier, &claims);
    claims["exp"] = secs(9);
    assert!(matches!(fault(&verifier, &claims), TokenFault::ExpiresBeforeIssued { .. }));
}

// C9
#[test]
fn one_of_our_audiences_must_be_there_byte_for_byte() {
    let verifier = verifier(policy());
    for aud in [json!(AUD), json!([AUD]), json!(["x", "https://other.example.com"])] {
        passes(&verifier, &with("aud", aud));
    }
    for aud in [
        json!("https://api.example.com/"),
        json!("https://api.example.co"),
        json!("HTTPS://api.example.com"),
        json!(["https://api.example.com.attacker.example"]),
        json!(["https://api.example.com https://other.example.com"]),
        json!(""),
    ] {
        let fault = fault(&verifier, &with("aud", aud.clone()));
        assert!(matches!(fault, TokenFault::WrongAudience { .. }), "{aud}");
    }
    for aud in [json!(7), json!({ "a": AUD }), json!([AUD, 7]), json!([[AUD]]), json!(true)] {
        assert_eq!(fault(&verifier, &with("aud", aud.clone())), TokenFault::AudienceType, "{aud}");
    }
    assert_eq!(fault(&verifier, &with("aud", Value::Null)), TokenFault::AudienceMissing);
    assert_eq!(fault(&verifier, &with("aud", json!([]))), TokenFault::AudienceMissing);
}

#[test]
fn a_missing_audience_passes_only_where_the_issuer_says_so_and_a_wrong_one_never() {
    let mut lax = policy();
    lax.missing.aud = true;
    let verifier = verifier(lax.clone());
    passes(&verifier, &with("aud", Value::Null));
    let wrong = fault(&verifier, &with("aud", "x".into()));
    assert!(matches!(wrong, TokenFault::WrongAudience { .. }));
    lax.audiences.clear();
    passes(&verifier_of(vec![issuer(lax, &[key()])]), &with("aud", "x".into()));
    let mut none = policy();
    none.audiences.clear();
    let none = verifier_of(vec![issuer(none, &[key()])]);
    assert!(matches!(fault(&none, &claims()), TokenFault::WrongAudience { .. }));
}

// C9
#[test]
fn a_token_made_for_another_purpose_is_refused_by_its_typ() {
    let typed = |verifier: &Verifier, typ: Option<&str>| {
        let mut header = json!({ "alg": "ES256", "kid": key().kid() });
        if let Some(typ) = typ {
            header["typ"] = typ.into();
        }
        let token = key().sign_with_header(&header, &claims()).unwrap();
        verdict(verifier, &Credential::new(&token)).map(|_| ())
    };
    let default = verifier(policy());
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
        assert_eq!(typed(&default, Some(typ)), Ok(()), "{typ}");
    }
    assert_eq!(typed(&default, None), Ok(()));
    for typ in [
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "id+jwt",
        "at+jwt ",
        "",
        "text/jwt",
        "application/application/jwt",
        "JOSE",
        "statuslist+jwt",
    ] {
        let refused = TokenFault::Type { typ: Some(typ.to_owned()) };
        assert_eq!(typed(&default, Some(typ)), Err(refused), "{typ:?}");
    }
    let mut strict = policy();
    strict.types = vec!["application/at+jwt".into()];
    let strict = verifier(strict);
    assert_eq!(typed(&strict, Some("at+jwt")), Ok(()));
    assert_eq!(typed(&strict, Some("JWT")), Err(TokenFault::Type { typ: Some("JWT".into()) }));
    assert_eq!(typed(&strict, None), Err(TokenFault::Type { typ: None }));
}

#[test]
fn required_claims_must_be_there() {
    let mut policy = policy();
    policy.required = vec![name("jti"), name("/acl/roles")];
    let verifier = verifier(policy);
    let mut claims = claims();
    claims["acl"] = json!({ "roles": [] });
    passes(&verifier, &claims);
    claims["acl"] = json!({ "roles": null });
    let missing = TokenFault::ClaimMissing { claim: "/acl/roles".into() };
    // Null is refused by type before it is missed, since roles are indexed.
    assert!(matches!(fault(&verifier, &claims), TokenFault::ClaimType { .. }));
    claims["acl"] = json!({});
    assert_eq!(fault(&verifier, &claims), missing);
}

#[test]
fn identifiers_are_strings_or_integers_and_nothing_else() {
    let verifier = verifier(policy());
    assert_eq!(passes(&verifier, &with("sub", json!(42))).subject(), Some("42"));
    assert_eq!(passes(&verifier, &with("sub", json!(-7))).subject(), Some("-7"));
    let big = passes(&verifier, &with("sub", json!(u64::MAX)));
    assert_eq!(big.subject(), Some("18446744073709551615"));
    for claim in ["sub", "sid", "client_id", "jti", "tenant"] {
        passes(&verifier, &with(claim, json!("x")));
        for value in [json!(1.0), json!(1e30), json!(true), json!({}), json!([["x"]])] {
            let fault = fault(&verifier, &with(claim, value.clone()));
            assert!(
                matches!(&fault, TokenFault::ClaimType { claim: found, .. } if found == claim),
                "{claim} {value}: {fault:?}"
            );
        }
        let mut null = claims();
        null[claim] = Value::Null;
        assert!(verdict(&verifier, &sign(&null)).is_err(), "{claim}: null");
    }
}

#[test]
fn a_name_that_no_denial_could_hold_is_refused_so_that_nobody_can_choose_one() {
    let verifier = verifier(policy());
    for claim in ["sub", "sid", "client_id", "azp", "jti", "tenant"] {
        passes(&verifier, &with(claim, json!("x".repeat(1024))));
        for name in [json!("x".repeat(1025)), json!("a\u{0}"), json!("a\nb"), json!("a\u{85}")] {
            let mut claims = with(claim, name);
            if claim == "azp" {
                claims.as_object_mut().unwrap().remove("client_id");
            }
            let fault = fault(&verifier, &claims);
            assert!(matches!(fault, TokenFault::ClaimType { .. }), "{claim}: {fault:?}");
        }
    }
    let list = with("tenant", json!(["acme", "a\tb"]));
    assert!(matches!(fault(&verifier, &list), TokenFault::ClaimType { .. }));
}

#[test]
fn an_empty_name_is_none_so_that_two_tokens_with_it_are_not_one() {
    let verifier = verifier(policy());
    let mut claims = with("jti", json!(""));
    for claim in ["sub", "sid", "client_id", "tenant"] {
        claims[claim] = json!("");
    }
    claims["azp"] = json!("app");
    let one = passes(&verifier, &claims);
    assert_eq!((one.subject(), one.session(), one.client()), (None, None, Some("app")));
    assert!(one.marks().claims.is_empty());
    claims["n"] = json!(2);
    assert_ne!(one.marks().token, passes(&verifier, &claims).marks().token);
}

// Some issuers put a version of their own format into `ver`.
#[test]
fn a_version_that_is_no_integer_passes_and_is_hit_by_every_denial_by_version() {
    let verifier = verifier(policy());
    let below = Fold { version_below: Some(3), ..Fold::default() };
    let passing = |ver: Value| passes(&verifier, &with("ver", ver));
    let kept = passing(json!(3));
    assert_eq!((kept.version(), below.denies(kept.marks())), (Some(3), None));
    let old = passing(json!(2));
    let hit = Some(ConditionKind::VersionBelow);
    assert_eq!((old.version(), below.denies(old.marks())), (Some(2), hit));
    for ver in [
        json!("2.0"),
        json!("9"),
        json!(-9),
        json!(9.0),
        json!(9.5),
        json!([9]),
        json!({ "n": 9 }),
        json!(true),
    ] {
        let token = passing(ver.clone());
        assert_eq!((token.version(), below.denies(token.marks())), (None, hit), "{ver}");
        assert_eq!(Fold::default().denies(token.marks()), None, "{ver}");
    }
}

#[test]
fn an_integer_and_its_decimal_string_are_one_identifier_and_other_spellings_are_another() {
    let verifier = verifier(policy());
    let mark = |sub: Value| passes(&verifier, &with("sub", sub)).marks().subject;
    assert_eq!(mark(json!(42)), mark(json!("42")));
    assert_ne!(mark(json!("42")), mark(json!("042")));
    assert_ne!(mark(json!("alice")), mark(json!("Alice")));
}

#[test]
fn scopes_come_as_a_string_or_a_list_under_either_name() {
    let verifier = verifier(policy());
    let scopes =
        |claim: &str, value: Value| passes(&verifier, &with(claim, value)).scopes().to_vec();
    assert_eq!(scopes("scope", json!("a b")), ["a", "b"]);
    assert_eq!(scopes("scp", json!(["a", "b c"])), ["a", "b c"]);
    assert_eq!(scopes("scp", json!("a b")), ["a", "b"]);
    assert_eq!(scopes("scope", json!("")), Vec::<String>::new());
    for value in [json!(7), json!([7]), json!({ "a": 1 })] {
        assert!(matches!(fault(&verifier, &with("scope", value)), TokenFault::ClaimType { .. }));
    }
}

#[test]
fn indexed_values_are_bounded_since_each_is_asked_on_every_request() {
    let verifier = verifier(policy());
    let tenants = |count: usize| with("tenant", (0..count).collect::<Vec<_>>().into());
    assert_eq!(passes(&verifier, &tenants(256)).marks().claims.len(), 256);
    assert!(matches!(fault(&verifier, &tenants(257)), TokenFault::ClaimType { .. }));
}

#[test]
fn a_home_grown_token_works_where_the_issuer_says_what_it_lacks() {
    let mut lax = policy();
    lax.missing = Missing { iss: true, aud: true, iat: false };
    lax.audiences.clear();
    lax.claims.subject = name("/data/id");
    let verifier = verifier(lax);
    let signed =
        passes(&verifier, &json!({ "data": { "id": 7 }, "iat": NOW_SECS, "exp": NOW_SECS + 60 }));
    assert_eq!(signed.subject(), Some("7"));
    assert!(matches!(signed.token_id(), crate::denylist::TokenId::Digest(_)));
}
