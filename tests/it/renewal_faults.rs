//! What an issuer may answer to a renewal, and what it may not: whatever it is, nobody gets a session
//! that is not theirs, a session is not lost for a moment's failure, and nothing goes round in a loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::session_scene::{
    ACCESS, NAVIGATION, REFRESH, again, assert_cleared, forget_access,
};
use crate::support::{
    Grants, Issuer, Jar, KeyServer, Mood, SessionScene, TokenEndpoint, eventually, jwk,
};

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(3);

fn public(endpoint: &TokenEndpoint) -> String {
    let url = endpoint.url("/token");
    format!(
        "{{ token_url = \"{url}\", client_id = \"gateway\", timeout = \"{}s\" }}",
        TIMEOUT.as_secs()
    )
}

fn scene() -> SessionScene {
    SessionScene::with("leeway = \"0s\"", "", public)
}

#[test]
fn a_failure_that_may_pass_keeps_the_session_and_says_when_to_try_again() {
    let scene = scene();
    let jar = scene.log_in_and_wait(&scene.token());
    let failures = [
        Grants::Says("500 Internal Server Error", "{\"error\":\"invalid_grant\"}"),
        Grants::Says("429 Too Many Requests", "{}"),
        Grants::Says("400 Bad Request", "{\"error\":\"invalid_client\"}"),
        Grants::Says("200 OK", "<html>"),
        Grants::Says("200 OK", "{\"access_token\":7}"),
        Grants::Says("200 OK", "{\"access_token\":\"a\",\"access_token\":\"b\"}"),
        Grants::Says("302 Found", ""),
        Grants::Hanging,
    ];
    for failure in failures {
        scene.endpoint.set(failure);
        let hangs = if matches!(failure, Grants::Hanging) { TIMEOUT } else { Duration::ZERO };
        eventually("another call", || {
            let (before, began) = (scene.endpoint.calls(), Instant::now());
            let answer = scene.get_with("/page", &jar, &NAVIGATION);
            assert_eq!((answer.status, answer.code().as_str()), (503, "not_renewed"));
            assert_eq!(answer.header("retry-after"), Some("5"));
            assert!(answer.all("set-cookie").is_empty(), "{failure:?}");
            let called = scene.endpoint.calls() - before;
            // Nobody hammers an issuer that fails: two seconds lie between two calls.
            assert_eq!(scene.get("/", &jar).status, 503);
            let more = began.elapsed().saturating_sub(hangs).as_secs() / 2;
            let calls = scene.endpoint.calls() - before;
            assert!(calls <= 1 + usize::try_from(more).unwrap(), "{failure:?}: {calls} calls");
            (called > 0).then_some(())
        });
    }
    // As without a token where none is needed.
    assert_eq!(scene.get("/open", &jar).status, 200);
    assert_eq!(scene.upstream.last().header("authorization"), None);
    scene.endpoint.set(Grants::Rotating);
    eventually("the session goes on", || (scene.get("/", &jar).status == 200).then_some(()));
}

#[test]
fn a_refresh_token_that_is_taken_no_more_ends_the_session_at_the_login_page_and_not_in_a_loop() {
    let scene = scene();
    let mut jar = scene.log_in_and_wait(&scene.token());
    scene.endpoint.set(Grants::Says("400 Bad Request", "{\"error\":\"invalid_grant\"}"));
    let script = scene.get("/", &jar);
    assert_eq!((script.status, script.code().as_str()), (401, "session_ended"));
    assert!(script.header("www-authenticate").unwrap().contains("invalid_token"));
    assert_cleared(&script);
    // Where nobody needs a token: as without one, and the cookies go all the same.
    let open = scene.get("/open", &jar);
    assert_eq!(open.status, 200);
    assert_cleared(&open);
    assert_eq!(scene.upstream.last().header("authorization"), None);
    let page = scene.get_with("/page/a", &jar, &NAVIGATION);
    assert_eq!((page.status, page.header("location")), (303, Some("/login?return_to=/page/a")));
    assert_cleared(&page);
    jar.take(&page);
    assert!(jar.0.is_empty(), "{:?}", jar.0.keys());
    assert_eq!(scene.get("/", &jar).code(), "token_missing");
    assert_eq!((scene.endpoint.calls(), scene.count("refused")), (1, 1));
    // It can be read in the log why.
    let line = scene.gateway.access_line(script.header("x-request-id").unwrap());
    assert_eq!(line["reason"], "session_ended", "{line}");
    let detail = line["detail"].as_str().unwrap();
    assert_eq!(detail, "not renewed: the issuer refused the refresh token");
}

#[test]
fn a_token_of_somebody_else_is_nobodys_next_token() {
    let other = Issuer::named("other", "https://other.example.com/", "ES256");
    let scene = scene();
    let good = scene.token().claim("client_id", "shop");
    let minted: [(&str, String); 7] = [
        ("another person", good.clone().claim("sub", "mallory").mint()),
        ("another session", good.clone().claim("sid", "s-2").mint()),
        ("no session", good.clone().without("sid").mint()),
        ("another client", good.clone().claim("client_id", "x").mint()),
        ("another issuer", other.token("alice").claim("sid", "s-1").mint()),
        ("another audience", good.clone().claim("aud", "https://x.example.com").mint()),
        ("an ended token", good.clone().times(-20, -10).mint()),
    ];
    for (number, (what, token)) in minted.into_iter().enumerate() {
        let jar = scene.log_in_and_wait(&again(&good));
        scene.endpoint.mint(move || token.clone());
        let answer = scene.get("/", &jar);
        assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"), "{what}");
        assert_cleared(&answer);
        assert_eq!(scene.endpoint.calls(), number + 1, "{what}");
    }
    let jar = scene.log_in_and_wait(&again(&good));
    scene.endpoint.mint(move || again(&good).mint());
    assert_eq!(scene.get("/", &jar).status, 200);
    assert_eq!(scene.count("unusable"), 7);
}

#[test]
fn an_issuer_that_hangs_holds_a_page_for_seconds_and_a_log_out_not_at_all() {
    let scene = SessionScene::with("leeway = \"0s\"", "", |endpoint| {
        let url = endpoint.url("/token");
        format!("{{ token_url = \"{url}\", client_id = \"gateway\", timeout = \"20s\" }}")
    });
    let jar = scene.log_in_and_wait(&scene.token());
    scene.endpoint.set(Grants::Waiting);
    let began = Instant::now();
    let answer = scene.get("/", &jar);
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_renewed"));
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    let bob = scene.log_in(&scene.issuer.token("bob").claim("sid", "s-2"));
    assert_eq!(scene.post("/.auth/logout", &bob).status, 200);
    // The call went on, and what came of it is there for whoever asks.
    scene.endpoint.set(Grants::Rotating);
    eventually("the session goes on", || (scene.get("/", &jar).status == 200).then_some(()));
    assert_eq!(scene.endpoint.calls(), 1);
}

#[test]
fn a_plain_backend_renews_with_json_and_one_that_keeps_its_refresh_token_too() {
    let scene = SessionScene::with("leeway = \"0s\"", "", |endpoint| {
        let url = endpoint.url("/plain");
        format!(
            "{{ endpoint = {{ url = \"{url}\", send = \"/session/refresh\", \
             token = \"/data/jwt\", refresh = \"/data/refresh\" }} }}"
        )
    });
    let mut jar = scene.log_in_and_wait(&scene.token());
    for grants in [Grants::Rotating, Grants::Keeping, Grants::Keeping, Grants::Rotating] {
        scene.endpoint.set(grants);
        let calls = scene.endpoint.calls();
        let answer = scene.get("/", &jar);
        assert_eq!((answer.status, scene.endpoint.calls()), (200, calls + 1), "{grants:?}");
        jar.take(&answer);
        assert_eq!(scene.get("/", &jar).status, 200);
        forget_access(&mut jar);
    }
    let body: Value = serde_json::from_slice(&scene.endpoint.last_call().body).unwrap();
    assert_eq!(body, json!({"session": {"refresh": "refresh+2/="}}));
    scene.endpoint.set(Grants::Says("403 Forbidden", "no"));
    assert_eq!(scene.get("/", &jar).code(), "session_ended");
}

/// A provider whose keys are at a server, and its next key, which is not there yet.
struct Rotating {
    scene: SessionScene,
    server: KeyServer,
    first: Issuer,
    next: Issuer,
}

impl Rotating {
    fn new() -> Self {
        let first = Issuer { kid: Some("one".into()), ..Issuer::new("ES256") };
        let next = Issuer { kid: Some("two".into()), ..Issuer::new("ES256") };
        let server = KeyServer::new(vec![jwk(&first, "one", &first.key)]);
        let scene = SessionScene::of_keys(&first, |dir| {
            server.write_ca(dir);
            let url = format!("{}/keys", server.base());
            format!(
                "{{ jwks_url = \"{url}\", ca = \"ca.pem\", cooldown = \"1s\", wait = \"10s\" }}"
            )
        });
        // The token endpoint signs with the next key from the beginning.
        let minted = next.token("alice").claim("sid", "s-1");
        scene.endpoint.mint(move || again(&minted).mint());
        Self { scene, server, first, next }
    }

    fn publish_both(&self) {
        let keys = [("two", &self.next), ("one", &self.first)];
        self.server.keys(keys.map(|(kid, issuer)| jwk(issuer, kid, &issuer.key)).into());
    }
}

#[test]
fn a_login_right_after_a_rotation_fetches_the_new_key_and_one_without_any_key_is_no_login() {
    let Rotating { scene, server, first, next } = &Rotating::new();
    let (old, new) = (scene.token(), next.token("alice").claim("sid", "s-2"));
    scene.log_in(&old);
    server.set(Mood::Dies);
    let answer = scene.try_to_log_in(&new);
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert!(answer.all("set-cookie").is_empty());
    let claims = new.mint().split('.').nth(1).unwrap().to_owned();
    assert!(!answer.text().contains(&claims));
    // Of a key that it has the login needs nobody.
    scene.log_in(&old);
    server.keys(vec![jwk(next, "two", &next.key), jwk(first, "one", &first.key)]);
    let answer = eventually("the cooldown to end", || {
        Some(scene.try_to_log_in(&new)).filter(|answer| answer.status == 200)
    });
    assert!(answer.all("set-cookie").iter().any(|line| line.starts_with(ACCESS)));
    // The set has its say about a key that it does not have.
    let unknown = next.token("alice").header("kid", "three");
    let code = eventually("a fetch for it", || {
        let code = scene.try_to_log_in(&unknown).code();
        (code != "not_ready").then_some(code)
    });
    assert_eq!(code, "login_unusable");
}

#[test]
fn a_login_or_a_renewal_that_brings_the_first_token_of_a_new_key_goes_through_at_once() {
    let rotating = Rotating::new();
    let scene = &rotating.scene;
    let jar = scene.log_in_and_wait(&scene.token());
    rotating.publish_both();
    let answer = scene.get("/", &jar);
    assert_eq!((answer.status, scene.endpoint.calls()), (200, 1), "{}", answer.text());
    let rotating = Rotating::new();
    let scene = &rotating.scene;
    scene.log_in(&scene.token());
    rotating.publish_both();
    let asked = rotating.server.asked();
    scene.log_in(&rotating.next.token("alice").claim("sid", "s-2"));
    assert_eq!(rotating.server.asked(), asked + 1);
}

#[test]
fn a_new_token_whose_key_is_not_known_yet_waits_for_it_and_is_not_lost() {
    let rotating = Rotating::new();
    let scene = &rotating.scene;
    let jar = scene.log_in_and_wait(&scene.token());
    // The provider signs with its new key before it publishes it.
    let answer = scene.get("/", &jar);
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_renewed"));
    rotating.publish_both();
    let mut after = jar.clone();
    eventually("the key", || {
        let answer = scene.get("/", &jar);
        after.take(&answer);
        (answer.status == 200).then_some(())
    });
    assert_eq!((after.0.contains_key(ACCESS), scene.endpoint.calls()), (true, 1));
}

#[test]
fn random_bytes_are_no_answer_and_take_nobodys_session() {
    let scene = scene();
    for seed in 0..24 {
        let jar = scene.log_in_and_wait(&scene.token().claim("sid", format!("s-{seed}")));
        scene.endpoint.set(Grants::Noise(seed));
        let answer = scene.get("/", &jar);
        assert_eq!((answer.status, answer.code().as_str()), (503, "not_renewed"), "{seed}");
        assert!(answer.all("set-cookie").is_empty(), "{seed}");
    }
    assert_eq!(scene.endpoint.calls(), 24);
    // The last of them goes on as soon as its issuer does.
    let jar = scene.log_in_and_wait(&scene.token());
    assert_eq!(scene.get("/", &jar).status, 503);
    scene.endpoint.set(Grants::Rotating);
    eventually("the session goes on", || (scene.get("/", &jar).status == 200).then_some(()));
}

#[test]
fn a_stranger_without_a_sealed_cookie_asks_nobody_for_anything() {
    let scene = SessionScene::new();
    let mut jar = scene.log_in_and_wait(&scene.token());
    let sealed = jar.0[REFRESH].clone();
    let made_up = |number: usize| {
        let mut bytes = sealed.clone().into_bytes();
        let at = number % bytes.len();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    // As an access token's cookie it is none either.
    let moved = Jar(BTreeMap::from([(ACCESS.to_owned(), sealed.clone())]));
    assert_eq!(scene.get("/", &moved).code(), "token_invalid");
    for number in 0..200 {
        jar.0.insert(REFRESH.to_owned(), made_up(number));
        assert_eq!(scene.get("/", &jar).code(), "token_missing", "{number}");
        if number % 20 == 0 {
            assert_eq!(scene.post("/.auth/refresh", &jar).code(), "token_missing", "{number}");
            assert_eq!(scene.post("/.auth/logout", &jar).json(), json!({"ended": "nothing"}));
        }
    }
    assert_eq!((scene.endpoint.calls(), scene.endpoint.revoked()), (0, Vec::new()));
    jar.0.insert(REFRESH.to_owned(), sealed);
    assert_eq!((scene.get("/", &jar).status, scene.endpoint.calls()), (200, 1));
}
