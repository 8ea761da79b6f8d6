//! The table of denials, live over HTTP: for each selector and each condition the token that is
//! denied, and beside it the nearest neighbour that still passes.

use serde_json::{Value, json};

use crate::support::{Admin, Gateway, Issuer, Setup, Token, Upstream, eventually, now};

struct Scene {
    issuer: Issuer,
    other: Issuer,
    gateway: Gateway,
    admin: Admin,
}

/// Two issuers, so that each denial has the other issuer's users as neighbours.
fn scene() -> Scene {
    let issuer = Issuer::new("HS256");
    let other = Issuer::named("partner", "https://partner.example/", "HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream).issuer(&other, "").start();
    let admin = gateway.admin();
    Scene { issuer, other, gateway, admin }
}

/// One issuer, which denials then need not name.
fn one_issuer() -> Scene {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let admin = gateway.admin();
    Scene { other: issuer.clone(), issuer, gateway, admin }
}

impl Scene {
    fn token(&self, subject: &str) -> Token {
        self.issuer.token(subject)
    }

    #[track_caller]
    fn passes(&self, token: &str, what: &str) {
        let answer = self.gateway.get_with("/", token);
        assert_eq!(answer.status, 200, "{what} should pass: {}", answer.text());
    }

    #[track_caller]
    fn denied(&self, token: &str, what: &str) {
        let answer = self.gateway.get_with("/", token);
        assert_eq!(answer.status, 401, "{what} should be denied");
        assert_eq!(answer.code(), "token_revoked", "{what}");
    }

    /// Makes the denial, looks at both sides, restarts, looks again, undoes, looks again.
    #[track_caller]
    fn holds(mut self, denial: Value, denied: &[&str], spared: &[&str]) {
        for token in denied.iter().chain(spared) {
            self.passes(token, "before the denial every token");
        }
        let mut body = denial;
        body["issuer"] = self.issuer.name.clone().into();
        let id = self.admin.deny(body);
        self.looks_right(denied, spared);
        self.gateway = self.gateway.kill9_and_restart();
        self.admin = self.gateway.admin();
        self.looks_right(denied, spared);
        assert_eq!(self.admin.undo(&id)["state"], "undone");
        for token in denied.iter().chain(spared) {
            self.passes(token, "after undo every token");
        }
        self.gateway = self.gateway.restart();
        for token in denied.iter().chain(spared) {
            self.passes(token, "after undo and restart every token");
        }
    }

    #[track_caller]
    fn looks_right(&self, denied: &[&str], spared: &[&str]) {
        for (number, token) in denied.iter().enumerate() {
            self.denied(token, &format!("denied token {number}"));
        }
        for (number, token) in spared.iter().enumerate() {
            self.passes(token, &format!("spared token {number}"));
        }
    }
}

#[test]
fn a_token_by_jti_always() {
    let scene = scene();
    let token = scene.token("alice").claim("jti", "t-1");
    let neighbour = scene.token("alice").claim("jti", "t-10").mint();
    let foreign = scene.other.token("alice").claim("jti", "t-1").mint();
    let denied = token.mint();
    scene.holds(json!({"jti": "t-1"}), &[&denied], &[&neighbour, &foreign]);
}

#[test]
fn a_token_without_jti_by_its_text() {
    let scene = scene();
    let denied = scene.token("alice").without("jti").mint();
    let neighbour = scene.token("alice").without("jti").claim("n", 2).mint();
    scene.holds(json!({"token": denied}), &[&denied], &[&neighbour]);
}

#[test]
fn a_session_always() {
    let scene = scene();
    let denied = scene.token("alice").claim("sid", "s-1").mint();
    let later = scene.token("alice").claim("sid", "s-1").times(0, 60).mint();
    let neighbour = scene.token("alice").claim("sid", "s-2").mint();
    let none = scene.token("alice").mint();
    scene.holds(
        json!({"session": "s-1", "always": true}),
        &[&denied, &later],
        &[&neighbour, &none],
    );
}

#[test]
fn a_session_by_cutoff() {
    let scene = scene();
    let denied = scene.token("alice").claim("sid", "s-1").mint();
    let neighbour = scene.token("alice").claim("sid", "s-2").mint();
    let newer = scene.token("alice").claim("sid", "s-1").times(5, 600).mint();
    scene.holds(
        json!({"session": "s-1", "issued_before": "now"}),
        &[&denied],
        &[&neighbour, &newer],
    );
}

#[test]
fn a_subject_always() {
    let scene = scene();
    let denied = scene.token("alice").mint();
    let future = scene.token("alice").times(5, 600).mint();
    let neighbour = scene.token("Alice").mint();
    let longer = scene.token("alice2").mint();
    let foreign = scene.other.mint("alice");
    scene.holds(
        json!({"subject": "alice", "always": true}),
        &[&denied, &future],
        &[&neighbour, &longer, &foreign],
    );
}

#[test]
fn a_subject_by_cutoff() {
    let scene = scene();
    let at = now() - 100;
    let denied = scene.token("alice").claim("iat", at - 1).mint();
    let same = scene.token("alice").claim("iat", at).mint();
    let newer = scene.token("alice").claim("iat", at + 1).mint();
    let neighbour = scene.token("bob").claim("iat", at - 1).mint();
    scene.holds(
        json!({"subject": "alice", "issued_before": at}),
        &[&denied],
        &[&same, &newer, &neighbour],
    );
}

#[test]
fn a_cutoff_spares_the_session_it_excepts() {
    let scene = scene();
    let spared = scene.token("alice").claim("sid", "s-hand").mint();
    let denied = scene.token("alice").claim("sid", "s-other").mint();
    let none = scene.token("alice").mint();
    scene.holds(
        json!({"subject": "alice", "issued_before": "now", "except": {"session": "s-hand"}}),
        &[&denied, &none],
        &[&spared],
    );
}

#[test]
fn an_exception_of_one_cutoff_does_not_soften_another() {
    let scene = one_issuer();
    let hand = scene.token("alice").claim("sid", "s-hand").mint();
    let except =
        json!({"subject": "alice", "issued_before": "now", "except": {"session": "s-hand"}});
    scene.admin.deny(except);
    scene.passes(&hand, "the excepted session");
    let id = scene.admin.deny(json!({"subject": "alice", "issued_before": "now"}));
    scene.denied(&hand, "the excepted session under a second cutoff");
    scene.admin.undo(&id);
    scene.passes(&hand, "the excepted session once more");
}

#[test]
fn a_client_always_and_by_cutoff_by_either_claim() {
    for (claim, condition) in [
        ("client_id", json!({"always": true})),
        ("azp", json!({"always": true})),
        ("client_id", json!({"issued_before": "now"})),
    ] {
        let scene = scene();
        let denied = scene.token("alice").claim(claim, "app-1").mint();
        let neighbour = scene.token("alice").claim(claim, "app-2").mint();
        let none = scene.token("app-1").mint();
        let mut denial = condition;
        denial["client"] = "app-1".into();
        scene.holds(denial, &[&denied], &[&neighbour, &none]);
    }
}

#[test]
fn an_issuer_always_and_by_cutoff() {
    for condition in [json!({"always": true}), json!({"issued_before": "now"})] {
        let scene = scene();
        let (alice, bob) = (scene.token("alice").mint(), scene.token("bob").mint());
        let foreign = scene.other.mint("alice");
        let mut denial = condition;
        denial["everyone"] = true.into();
        scene.holds(denial, &[&alice, &bob], &[&foreign]);
    }
}

#[test]
fn a_key_always_and_by_cutoff_by_kid_and_by_thumbprint() {
    for (by_kid, condition) in [(true, "always"), (false, "always"), (false, "issued_before")] {
        let upstream = Upstream::new();
        let mut old = Issuer::new("ES256");
        old.kid = Some("2026-01".into());
        let mut new = Issuer::new("ES256");
        new.kid = Some("2026-11".into());
        let keys: Vec<Value> = [&old, &new]
            .iter()
            .map(|issuer| {
                let mut jwk = issuer.key.jwk();
                jwk["kid"] = issuer.kid.clone().into();
                jwk["alg"] = "ES256".into();
                jwk
            })
            .collect();
        let gateway = Setup::new()
            .file("keys.json", &json!({"keys": keys}).to_string())
            .issuer_with_keys(&old, "{ jwks_file = \"keys.json\" }", "")
            .upstream("app", &upstream, "")
            .start();
        let admin = gateway.admin();
        let scene = Scene { issuer: old, other: new, gateway, admin };
        let (denied, spared) = (scene.issuer.mint("alice"), scene.other.mint("alice"));
        let key = if by_kid { "2026-01".to_owned() } else { scene.issuer.key.thumbprint() };
        let mut denial = json!({"key": key});
        denial[condition] = if condition == "always" { true.into() } else { "now".into() };
        scene.holds(denial, &[&denied], &[&spared]);
    }
}

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
    let answer =
        scene.admin.post("/v1/revoke", &json!({"user": "alice", "reason": "password changed"}));
    scene.denied(&old, "a token issued in the same second");
    let from = answer["outcome"]["tokens_pass_from"].as_str().expect("when new tokens pass");
    let from: jiff::Timestamp = from.parse().expect("an RFC 3339 time");
    assert!((0..=1).contains(&(from.as_second() - now())), "{from}");
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
        .post("/v1/block", &json!({"user": "alice", "reason": "cool down", "ends_in": "1s"}));
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
    let by_request = eventually("the refusal is known", || {
        let body = json!({"request_id": request_id});
        let answer = scene.admin.call("POST", "/v1/explain", Some(&body));
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(by_request["code"], "token_revoked");
    let fine = scene.admin.post("/v1/explain", &json!({"token": scene.token("bob").mint()}));
    assert_eq!(fine["pass"], true);
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
