//! `init`: the file that it writes loads once the keys are there, and says what the token lacks.

use serde_json::{Value, json};

use super::*;
use crate::keys::{Algorithm, SigningKey};

fn token(algorithm: Algorithm, claims: &Value) -> String {
    SigningKey::generate(algorithm).unwrap().with_kid("k-2026").sign(claims).unwrap()
}

/// The configuration that comes of a token, once JWT_SECRET and issuer.jwks.json are there.
fn loaded(initial: &Initial) -> Loaded {
    let place = Place::new();
    place.file("issuer.jwks.json", JWKS.as_bytes());
    place.good(&initial.toml)
}

#[test]
fn a_complete_token_gives_a_file_without_weaknesses() {
    let claims = json!({
        "iss": "https://id.example.com/", "aud": ["https://api.example.com", "other"], "sub": "alice",
        "sid": "s-1", "jti": "t-1", "client_id": "app", "iat": 1_000_000, "exp": 1_043_200,
        "email": "alice@example.com", "ver": 3,
    });
    let initial = init(&format!("{}\n", token(Algorithm::ES256, &claims))).unwrap();
    let loaded = loaded(&initial);
    assert_eq!(loaded.notes.items, []);
    let policy = &loaded.config.issuers[0].policy;
    assert_eq!(policy.iss.as_deref(), Some("https://id.example.com/"));
    assert_eq!(policy.audiences, ["https://api.example.com"]);
    assert_eq!(policy.algorithms, [Algorithm::ES256]);
    assert_eq!(policy.max_lifetime, Duration::from_secs(12 * 3600));
    assert_eq!(policy.claims.subject.to_string(), "sub");
    assert_eq!(policy.display.as_ref().map(ToString::to_string).as_deref(), Some("email"));
    let expected = "\
Read a token of https://id.example.com/ for user alice

  keys       public: save them as issuer.jwks.json; ES256, key id k-2026
  audience   https://api.example.com
  lifetime   12h, so max_lifetime = \"12h\"
  revoke by  token (jti), user (sub), session (sid), client (client_id), key

Set `servers` in gateway.toml to your backend, then: portcullis check && portcullis run
";
    assert_eq!(initial.report, expected);
}

#[test]
fn a_home_made_token_gives_a_line_and_a_warning_for_each_weakness() {
    let claims = json!({
        "data": { "id": 7, "email": "alice@example.com" }, "iat": 1_000_000, "exp": 1_086_400,
    });
    let initial = init(&token(Algorithm::HS256, &claims)).unwrap();
    assert!(initial.toml.contains("missing = [\"iss\", \"aud\"]"), "{}", initial.toml);
    assert!(initial.toml.contains("claims = { subject = \"/data/id\" }"), "{}", initial.toml);
    assert!(initial.toml.contains("keys = { secret_env = \"JWT_SECRET\" }"), "{}", initial.toml);
    assert!(initial.report.contains("for user 7"), "{}", initial.report);
    assert!(initial.report.contains("session: no sid in this token"), "{}", initial.report);
    for claim in ["no iss:", "no aud:"] {
        assert!(initial.report.contains(&format!("  warning: {claim}")), "{}", initial.report);
    }
    let loaded = loaded(&initial);
    assert_eq!(loaded.notes.count(Severity::Warning), 2);
    assert_eq!(loaded.config.issuers[0].policy.id.as_str(), "main");
    assert_eq!(loaded.config.issuers[0].policy.max_lifetime, Duration::from_secs(86_400));
}

#[test]
fn a_token_without_times_or_user_says_so() {
    let initial = init(&token(Algorithm::ES256, &json!({ "iss": "a", "aud": "b" }))).unwrap();
    assert!(initial.report.contains("no exp: such a token never passes"), "{}", initial.report);
    assert!(initial.report.contains("no iat:"), "{}", initial.report);
    assert!(initial.report.contains("user: none in this token"), "{}", initial.report);
    loaded(&initial);
}

#[test]
fn hostile_claims_stay_values() {
    let hostile = "x\"]\n[admin]\nlisten = \"0.0.0.0:1\" # ${HOME} \u{1b}[31m";
    let claims = json!({
        "iss": hostile, "aud": [hostile], "sub": hostile, "iat": 1.5, "exp": 1e300, "jti": 7,
    });
    let header = json!({ "alg": "ES256", "typ": hostile, "kid": hostile });
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let initial = init(&key.sign_with_header(&header, &claims).unwrap()).unwrap();
    let loaded = loaded(&initial);
    let policy = &loaded.config.issuers[0].policy;
    assert_eq!(policy.iss.as_deref(), Some(hostile));
    assert_eq!(policy.audiences, [hostile]);
    assert_eq!(policy.types, [hostile]);
    assert!(loaded.config.admin.listen.iter().all(|listen| listen.shown() != "0.0.0.0:1"));
    assert!(!initial.report.contains('\u{1b}'), "{}", initial.report);
}

#[test]
fn what_is_no_signed_token_is_refused() {
    for bad in ["", "opaque", "a.b.c", "e30.e30."] {
        assert!(init(bad).is_err(), "{bad}");
    }
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let odd = key.sign_with_header(&json!({ "alg": "ES512" }), &json!({})).unwrap();
    assert_eq!(init(&odd), Err(InitFault::Algorithm("ES512".to_owned())));
}
