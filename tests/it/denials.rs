//! The table of denials, live over HTTP: for each selector and each condition the token that is
//! denied, and beside it the nearest neighbour that still passes.

use serde_json::{Value, json};

use crate::support::{Admin, Gateway, Issuer, Setup, Token, Upstream, now};

pub struct Scene {
    pub issuer: Issuer,
    pub other: Issuer,
    pub gateway: Gateway,
    pub admin: Admin,
}

/// Two issuers, so that each denial has the other issuer's users as neighbours.
pub fn scene() -> Scene {
    scene_with("")
}

/// With further lines for the issuer.
fn scene_with(lines: &str) -> Scene {
    let issuer = Issuer::new("HS256");
    let other = Issuer::named("partner", "https://partner.example/", "HS256");
    let upstream = Upstream::new();
    let gateway = Setup::new()
        .issuer(&issuer, lines)
        .issuer(&other, "")
        .upstream("app", &upstream, "")
        .start();
    let admin = gateway.admin();
    Scene { issuer, other, gateway, admin }
}

/// One issuer, which denials then need not name.
pub fn one_issuer() -> Scene {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let admin = gateway.admin();
    Scene { other: issuer.clone(), issuer, gateway, admin }
}

impl Scene {
    pub fn token(&self, subject: &str) -> Token {
        self.issuer.token(subject)
    }

    #[track_caller]
    pub fn passes(&self, token: &str, what: &str) {
        let answer = self.gateway.get_with("/", token);
        assert_eq!(answer.status, 200, "{what} should pass: {}", answer.text());
    }

    #[track_caller]
    pub fn denied(&self, token: &str, what: &str) {
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
    let newer = scene.token("alice").claim("sid", "s-1").times(20, 600).mint();
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
fn an_indexed_claim_always_and_by_cutoff() {
    for condition in [json!({"always": true}), json!({"issued_before": "now"})] {
        let scene = scene_with("claims = { indexed = [\"tenant\"] }");
        let denied = scene.token("alice").claim("tenant", "acme").mint();
        let neighbour = scene.token("alice").claim("tenant", "acme2").mint();
        let none = scene.token("acme").mint();
        let mut denial = condition;
        denial["claim"] = json!({"name": "tenant", "value": "acme"});
        scene.holds(denial, &[&denied], &[&neighbour, &none]);
    }
}

#[test]
fn a_subject_by_version() {
    let scene = scene();
    let denied = scene.token("alice").claim("ver", 6).mint();
    let none = scene.token("alice").mint();
    let same = scene.token("alice").claim("ver", 7).mint();
    let neighbour = scene.token("bob").claim("ver", 6).mint();
    let denial = json!({"subject": "alice", "version_below": 7});
    scene.holds(denial, &[&denied, &none], &[&same, &neighbour]);
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
