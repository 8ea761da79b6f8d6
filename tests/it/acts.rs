//! Revoke, block and undo as people use them: what overlaps, what is answered, what ends by itself,
//! and what can be found out afterwards.

use serde_json::json;

use crate::denials::{Scene, one_issuer, scene};
use crate::support::{Issuer, Setup, Upstream, eventually, now};

#[test]
fn the_strictest_of_several_denials_wins_and_undo_takes_back_only_its_own() {
    let scene = one_issuer();
    let token = scene.token("alice").claim("sid", "s-1").mint();
    let cutoff = scene.admin.revoke(json!({"subject": "alice"}));
    let block = scene.admin.block(json!({"subject": "alice"}));
    let session = scene.admin.block(json!({"session": "s-1"}));
    for id in [&block, &session, &cutoff] {
        scene.denied(&token, "a token under further denials");
        scene.admin.undo(id);
    }
    scene.passes(&token, "a token whose denials are all undone");
}

#[test]
fn revoke_ends_what_exists_and_lets_a_new_token_pass_when_the_answer_said_so() {
    let scene = one_issuer();
    let old = scene.token("alice").times(0, 600).mint();
    scene.passes(&old, "before");
    let before = now();
    let answer =
        scene.admin.post("/v1/revoke", &json!({"user": "alice", "reason": "password changed"}));
    let after = now();
    scene.denied(&old, "a token issued in the same second");
    let from = answer["outcome"]["tokens_pass_from"].as_str().expect("when new tokens pass");
    let from: jiff::Timestamp = from.parse().expect("an RFC 3339 time");
    assert!((before..=after + 1).contains(&from.as_second()), "{from}");
    let new = scene.token("alice").claim("iat", from.as_second()).mint();
    scene.passes(&new, "a token issued at that instant");
}

#[test]
fn block_holds_for_tokens_that_are_issued_later_until_undone() {
    let scene = one_issuer();
    let id = scene.admin.block(json!({"user": "mallory"}));
    scene.denied(&scene.token("mallory").times(10, 600).mint(), "a later token");
    let again = scene.admin.post("/v1/block", &json!({"user": "mallory", "reason": "test"}));
    assert_eq!((again["id"].as_str(), again["already"].as_bool()), (Some(id.as_str()), Some(true)));
    let first = scene.admin.undo(&id);
    let second = scene.admin.undo(&id);
    assert_eq!(first["undone_at"], second["undone_at"], "undoing twice is undoing once");
    scene.passes(&scene.token("mallory").mint(), "after undo");
}

#[test]
fn a_timed_block_ends_by_itself() {
    let scene = one_issuer();
    let token = scene.token("alice").mint();
    scene
        .admin
        .post("/v1/block", &json!({"user": "alice", "reason": "cool down", "ends_in": "5s"}));
    scene.denied(&token, "within the time");
    eventually("the block ends", || (scene.gateway.status(&token) == 200).then_some(()));
}

#[test]
fn a_denial_made_while_a_connection_is_open_counts_for_its_next_request() {
    let scene = one_issuer();
    let bearer = format!("Bearer {}", scene.token("alice").mint());
    let headers = [("Authorization", bearer.as_str())];
    let mut connection = scene.gateway.connect();
    for _ in 0..3 {
        assert_eq!(connection.get("/", &headers).status, 200);
    }
    let id = scene.admin.revoke(json!({"user": "alice"}));
    assert_eq!(connection.get("/", &headers).status, 401);
    scene.admin.undo(&id);
    assert_eq!(connection.get("/", &headers).status, 200);
}

#[test]
fn not_one_request_after_the_acknowledgement_passes() {
    let scene = one_issuer();
    for round in 0..100 {
        let subject = format!("user-{round}");
        let token = scene.token(&subject).mint();
        scene.passes(&token, "before");
        scene.admin.revoke(json!({"user": subject}));
        scene.denied(&token, &format!("round {round}"));
    }
}

#[test]
fn the_listing_shows_what_is_in_force_and_pages_are_stable() {
    let scene = one_issuer();
    let ids: Vec<String> =
        (0..7).map(|number| scene.admin.block(json!({"user": format!("u{number}")}))).collect();
    scene.admin.undo(&ids[3]);
    let mut seen = Vec::new();
    let mut path = "/v1/denials?limit=2".to_owned();
    loop {
        let page = scene.admin.get(&path);
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/denials?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    let mut expected = ids.clone();
    expected.remove(3);
    expected.reverse();
    assert_eq!(seen, expected, "newest first, without the undone one");
    let one = scene.admin.get(&format!("/v1/denials/{}", ids[3]));
    assert_eq!(one["state"], "undone");
    let filtered = scene.admin.get("/v1/denials?subject=u5");
    assert_eq!(filtered["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn explain_names_the_denial_that_a_request_met() {
    let scene = one_issuer();
    let token = scene.token("alice").mint();
    let id = scene.admin.revoke(json!({"user": "alice", "reason": "lost laptop"}));
    let refused = scene.gateway.get_with("/", &token);
    let request_id = refused.json()["request_id"].as_str().expect("a request id").to_owned();
    let by_token = scene.admin.post("/v1/explain", &json!({"token": token}));
    assert_eq!((&by_token["pass"], &by_token["code"]), (&json!(false), &json!("token_revoked")));
    assert!(by_token["checks"].to_string().contains(&id), "{by_token}");
    let by_request = scene.admin.post("/v1/explain", &json!({"request_id": request_id}));
    assert_eq!(by_request["code"], "token_revoked");
    let fine = scene.admin.post("/v1/explain", &json!({"token": scene.token("bob").mint()}));
    assert_eq!(fine["pass"], true);
}

/// No core has reported by itself yet: they do so ten times a second. One that has no turn for 50 ms
/// is done without, which on a busy machine is so now and then.
#[test]
fn a_token_that_was_used_a_moment_ago_is_counted() {
    let scene = one_issuer();
    let counted = |number: usize| {
        let (user, other) = (format!("user-{number}"), format!("nobody-{number}"));
        scene.passes(&scene.token(&user).mint(), &user);
        let dry = scene.admin.post("/v1/block", &json!({"user": other, "dry_run": true}));
        assert_eq!(dry["would"]["tokens_seen"], 0, "{dry}");
        assert_eq!(dry["warnings"][0]["code"], "never_seen", "{dry}");
        scene.passes(&scene.token(&user).mint(), &user);
        let made = scene.admin.post("/v1/revoke", &json!({"user": user}));
        if made["outcome"]["tokens_seen"] != 2 {
            return false;
        }
        assert_eq!(made["warnings"], json!([]), "{made}");
        let found = scene.admin.get(&format!("/v1/people?q={user}"));
        assert_eq!(found["items"][0]["tokens"], 2, "{found}");
        true
    };
    let at_once = (0..30).filter(|number| counted(*number)).take(10).count();
    assert_eq!(at_once, 10, "of thirty");
}

#[test]
fn with_several_issuers_a_denial_must_say_which() {
    let scene = scene();
    let body = json!({"subject": "alice", "always": true, "reason": "x"});
    let answer = scene.admin.call("POST", "/v1/denials", Some(&body));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let text = answer.text();
    assert!(text.contains("main") && text.contains("partner"), "it lists them: {text}");
    assert_eq!(scene.gateway.status(&scene.issuer.mint("alice")), 200);
}

/// Each is worse by one detail; what explain says is what the gateway answers.
#[test]
fn twenty_kinds_of_bad_token_are_explained_with_what_the_gateway_answers() {
    let scene = one_issuer();
    let good = || scene.token("alice").claim("sid", "s-1");
    let other_key = crate::support::Key::new(crate::support::Kind::of("HS256"));
    let admin = &scene.admin;
    admin.block(json!({"jti": "denied-jti"}));
    admin.block(json!({"session": "denied-session"}));
    admin.block(json!({"user": "mallory"}));
    admin.revoke(json!({"user": "logged-out"}));
    admin.block(json!({"client": "bad-client"}));
    admin.deny(json!({"subject": "versioned", "version_below": 3}));
    let text = good().mint();
    let (head, signature) = text.rsplit_once('.').unwrap();
    // The last letter holds the padding's bits and stays where it is.
    let (body, last) = signature.split_at(signature.len() - 1);
    let (front, back) = body.split_at(body.len() / 2);
    let swapped = format!("{head}.{back}{front}{last}");
    let tampered = {
        let mut parts: Vec<&str> = text.split('.').collect();
        parts[1] = "e30";
        parts.join(".")
    };
    let bad: Vec<(&str, String, &str, &str)> = vec![
        ("no token at all", "not-a-token".into(), "form", "token_invalid"),
        ("two parts", head.into(), "form", "token_invalid"),
        ("padding", format!("{text}="), "form", "token_invalid"),
        ("no signature", format!("{head}."), "", "token_invalid"),
        ("another signature", swapped, "signature", "token_invalid"),
        ("other claims", tampered, "", "token_invalid"),
        ("another key", good().signed_by(&other_key, "HS256").mint(), "signature", "token_invalid"),
        ("alg none", good().header("alg", "none").mint(), "", "token_invalid"),
        ("crit", good().header("crit", json!(["x"])).mint(), "", "token_invalid"),
        ("a logout token", good().header("typ", "logout+jwt").mint(), "", "token_invalid"),
        (
            "another issuer",
            good().claim("iss", "https://evil.example").mint(),
            "issuer",
            "token_invalid",
        ),
        ("another audience", good().claim("aud", "other").mint(), "audience", "token_invalid"),
        ("expired", good().times(-7200, -3600).mint(), "times", "token_expired"),
        ("not yet valid", good().claim("nbf", now() + 3600).mint(), "times", "token_not_yet_valid"),
        ("from the future", good().times(3600, 7200).mint(), "times", "token_invalid"),
        ("no exp", good().without("exp").mint(), "", "token_invalid"),
        ("exp as text", good().claim("exp", "4102444800").mint(), "", "token_invalid"),
        ("no iat", good().without("iat").mint(), "times", "token_invalid"),
        ("too long a life", good().times(0, 400 * 86_400).mint(), "times", "token_invalid"),
        ("a denied token", good().claim("jti", "denied-jti").mint(), "denylist", "token_revoked"),
        (
            "a denied session",
            good().claim("sid", "denied-session").mint(),
            "denylist",
            "token_revoked",
        ),
        ("a denied user", scene.token("mallory").mint(), "denylist", "token_revoked"),
        ("a user who logged out", scene.token("logged-out").mint(), "denylist", "token_revoked"),
        (
            "a denied client",
            good().claim("client_id", "bad-client").mint(),
            "denylist",
            "token_revoked",
        ),
        (
            "an old version",
            scene.token("versioned").claim("ver", 2).mint(),
            "denylist",
            "token_revoked",
        ),
    ];
    for (what, token, check, code) in bad {
        let said = explained(&scene, what, &token, check);
        // Why a life is too long has a word of its own.
        let too_long = code == "token_invalid" && said["code"] == "lifetime_too_long";
        assert!(said["code"] == code || too_long, "{what}: {said}");
        assert!(!said.to_string().contains(signature), "{what}: no part of the token is repeated");
    }
    let passed = admin.post("/v1/explain", &json!({"token": text, "url": "http://a/"}));
    assert_eq!(passed["pass"], true, "{passed}");
}

/// Too long for this gateway, or nothing that a bearer header holds: that is no 401.
#[test]
fn what_the_gateway_does_not_even_read_is_explained_so() {
    let issuer = Issuer::new("HS256");
    let setup = Setup::simple(&issuer, &Upstream::new());
    let gateway = setup.server("limits.token_bytes_max = \"512B\"").start();
    let admin = gateway.admin();
    let long = issuer.token("alice").claim("pad", "x".repeat(600)).mint();
    for token in [long.as_str(), "a b.c.d"] {
        assert_eq!(gateway.get_with("/", token).status, 400);
        for body in [json!({"token": token}), json!({"token": token, "url": "http://a/"})] {
            let said = admin.post("/v1/explain", &body);
            assert_eq!((&said["status"], &said["code"]), (&json!(400), &json!("bad_request")));
            assert!(said["checks"].to_string().contains("\"credential\""), "{said}");
        }
    }
    let short = admin.post("/v1/explain", &json!({"token": issuer.mint("alice")}));
    assert_eq!(short["pass"], true, "{short}");
}

/// What explain says of a bad token: a check that fails, and the answer that the gateway gives.
#[track_caller]
fn explained(scene: &Scene, what: &str, token: &str, check: &str) -> serde_json::Value {
    let said = scene.admin.post("/v1/explain", &json!({"token": token, "url": "http://a/"}));
    let answer = scene.gateway.get_with("/", token);
    assert_eq!((said["pass"].as_bool(), answer.status), (Some(false), 401), "{what}: {said}");
    assert_eq!(said["code"], answer.code(), "{what}: what explain says is what is answered");
    let lines = said["checks"].as_array().unwrap().iter();
    let failed: Vec<&str> = lines
        .filter(|line| line["result"] == "fail")
        .map(|line| line["check"].as_str().unwrap())
        .collect();
    assert!(!failed.is_empty(), "{what}: {said}");
    assert!(check.is_empty() || failed.contains(&check), "{what}: {failed:?}");
    said
}
