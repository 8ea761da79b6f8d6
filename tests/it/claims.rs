//! What the claims of a token must say, and what a route asks of them. Every refusal stands beside
//! the good token that it differs from by one detail.

use serde_json::json;

use crate::support::{Issuer, Key, Setup, TokenScene, Upstream, now};

#[test]
fn numeric_dates_of_any_other_type_are_refused() {
    let scene = TokenScene::new("ES256");
    scene.passes(&scene.good().claim("nbf", now() - 5).mint());
    for name in ["exp", "iat", "nbf"] {
        for text in [
            "\"9999999999\"",
            "1e400",
            "-1e400",
            "null",
            "[]",
            "{}",
            "true",
            "[9999999999]",
            "\"\"",
        ] {
            let token = scene.good().mint_with_member(name, text);
            scene.refuses_invalid(&format!("{name} = {text}"), &token);
        }
    }
    scene.refuses_invalid("negative iat", &scene.good().claim("iat", -1).mint());
    let negative = scene.gateway.get_with("/", &scene.good().claim("exp", -1).mint());
    assert_eq!(negative.status, 401);
}

#[test]
fn required_claims_may_not_be_absent() {
    let scene = TokenScene::new("ES256");
    scene.passes(&scene.good().mint());
    for name in ["exp", "iat", "iss", "aud"] {
        scene.refuses_invalid(&format!("no {name}"), &scene.good().without(name).mint());
    }
}

#[test]
fn a_logout_token_is_no_access_token_whatever_its_typ() {
    let scene = TokenScene::new("ES256");
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let logout = scene.good().claim("sid", "s-1").claim("events", event);
    for token in [
        logout.clone().header("typ", "logout+jwt"),
        logout.clone(),
        logout.clone().without_header("typ"),
    ] {
        scene.refuses_invalid("a logout token", &token.mint());
    }
    scene.passes(&logout.without("events").mint());
}

#[test]
fn times_are_held_to_with_the_leeway_and_no_more() {
    let scene = TokenScene::new("ES256");
    // The default leeway is 30 s; ten seconds to either side leave room for a slow machine.
    scene.passes(&scene.good().times(-600, -10).mint());
    scene.refuses("expired", &scene.good().times(-600, -40).mint(), "token_expired");
    scene.passes(&scene.good().times(20, 600).mint());
    scene.refuses_invalid("issued in the future", &scene.good().times(60, 600).mint());
    scene.passes(&scene.good().claim("nbf", now() + 20).mint());
    let early = scene.good().claim("nbf", now() + 60).mint();
    scene.refuses("not yet valid", &early, "token_not_yet_valid");
}

#[test]
fn a_token_that_lives_longer_than_max_lifetime_is_refused_at_once() {
    let scene = TokenScene::new("ES256");
    let day = 24 * 3600;
    scene.passes(&scene.good().times(-10, day - 10).mint());
    scene.refuses_invalid("a second too long", &scene.good().times(-10, day - 9).mint());
    let log = scene.gateway.get_with("/", &scene.good().times(-10, 30 * day).mint());
    let line = scene.gateway.access_line(log.json()["request_id"].as_str().expect("an id"));
    assert!(line.to_string().contains("lifetime"), "the log names the cause: {line}");
}

#[test]
fn issuer_and_audience_are_compared_exactly() {
    let scene = TokenScene::new("ES256");
    let good = scene.good();
    scene.passes(&good.mint());
    let audience = scene.issuer.audience.clone();
    scene.passes(&good.clone().claim("aud", json!(["https://other.example", audience])).mint());
    for iss in [
        "https://id.example.com",
        "https://id.example.com//",
        "https://id.example.com/ ",
        "HTTPS://id.example.com/",
        "https://id.example.com/evil",
        "https://id.example.com.evil.example/",
        "",
    ] {
        scene.refuses_invalid(iss, &good.clone().claim("iss", iss).mint());
    }
    scene.refuses_invalid(
        "iss as array",
        &good.clone().claim("iss", json!([scene.issuer.iss])).mint(),
    );
    for aud in [
        json!("https://api.example.com/"),
        json!("https://api.example.co"),
        json!([]),
        json!(["https://other.example"]),
        json!([["https://api.example.com"]]),
        json!({"https://api.example.com": true}),
        json!(null),
        json!([audience, 1]),
    ] {
        scene.refuses_invalid(&format!("aud {aud}"), &good.clone().claim("aud", aud).mint());
    }
}

#[test]
fn a_token_of_one_issuer_signed_with_the_key_of_another_is_refused() {
    let upstream = Upstream::new();
    let main = Issuer::new("ES256");
    let partner = Issuer::named("partner", "https://partner.example/", "ES256");
    let gateway = Setup::simple(&main, &upstream).issuer(&partner, "").start();
    assert_eq!(gateway.status(&main.mint("alice")), 200);
    assert_eq!(gateway.status(&partner.mint("alice")), 200);
    let crossed = main.token("alice").signed_by(&partner.key, "ES256").mint();
    assert_eq!(gateway.status(&crossed), 401);
}

#[test]
fn a_route_takes_only_the_issuers_it_names() {
    let upstream = Upstream::new();
    let main = Issuer::new("ES256");
    let partner = Issuer::named("partner", "https://partner.example/", "ES256");
    let gateway = Setup::simple(&main, &upstream)
        .issuer(&partner, "")
        .route("/", "")
        .route("/inner/", "issuers = [\"main\"]")
        .start();
    assert_eq!(gateway.get_with("/inner/x", &main.mint("alice")).status, 200);
    let token = partner.mint("alice");
    // The same token passes one route, so its signature is remembered, and not the other.
    assert_eq!(gateway.get_with("/", &token).status, 200);
    assert_eq!(gateway.get_with("/inner/x", &token).status, 401);
}

#[test]
fn an_issuer_that_asks_for_access_tokens_takes_no_id_token() {
    let upstream = Upstream::new();
    let issuer = Issuer::new("ES256");
    let gateway =
        Setup::new().issuer(&issuer, "types = [\"at+jwt\"]").upstream("app", &upstream, "").start();
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
        let token = issuer.token("alice").header("typ", typ).mint();
        assert_eq!(gateway.status(&token), 200, "{typ}");
    }
    for typ in ["JWT", "id+jwt", "logout+jwt", "application/json"] {
        let token = issuer.token("alice").header("typ", typ).mint();
        assert_eq!(gateway.status(&token), 401, "{typ}");
    }
    assert_eq!(gateway.status(&issuer.token("alice").without_header("typ").mint()), 401);
}

#[test]
fn scopes_and_age_of_login_are_asked_per_route_even_when_the_signature_is_remembered() {
    let upstream = Upstream::new();
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "")
        .route("/orders/", "require = { scopes = [\"read\"] }")
        .route("/bank/", "require = { max_age = \"15m\" }")
        .start();
    let reader = issuer.token("alice").claim("scope", "profile read").mint();
    let other = issuer.token("alice").claim("scope", "profile reader").mint();
    assert_eq!(gateway.get_with("/", &other).status, 200);
    assert_eq!(gateway.get_with("/orders/1", &reader).status, 200);
    let refused = gateway.get_with("/orders/1", &other);
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));
    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");

    let fresh = issuer.token("alice").claim("auth_time", now() - 60).mint();
    let old = issuer.token("alice").claim("auth_time", now() - 3600).mint();
    assert_eq!(gateway.get_with("/bank/", &fresh).status, 200);
    assert_eq!(gateway.get_with("/", &old).status, 200);
    assert_eq!(gateway.get_with("/bank/", &old).status, 401);
    assert_eq!(gateway.get_with("/bank/", &issuer.mint("alice")).status, 401, "no auth_time");
}

#[test]
fn an_issuer_may_lack_iss_and_aud_where_the_config_says_so() {
    let upstream = Upstream::new();
    let issuer = Issuer::new("HS256");
    let keys = "{ secret_file = \"main.secret\" }";
    let Key::Secret(secret) = &issuer.key else { panic!("HS256 has a secret") };
    let table = format!(
        "[[issuer]]\nname = \"main\"\nid = \"home-grown\"\nmissing = [\"iss\", \"aud\"]\nalgorithms = [\"HS256\"]\nkeys = {keys}\nclaims = {{ subject = \"/data/id\" }}\n"
    );
    let setup = Setup::new().tables(&table).upstream("app", &upstream, "");
    std::fs::write(setup.dir().join("main.secret"), secret).unwrap();
    let gateway = setup.start();
    let token = || {
        issuer
            .token("unused")
            .without("iss")
            .without("aud")
            .without("sub")
            .claim("data", json!({"id": 42, "email": "alice@example.com"}))
    };
    let (alice, bob) = (token().mint(), token().claim("data", json!({"id": 43})).mint());
    assert_eq!((gateway.status(&alice), gateway.status(&bob)), (200, 200));
    gateway.admin().revoke(json!({"subject": "42"}));
    assert_eq!((gateway.status(&alice), gateway.status(&bob)), (401, 200));
}
