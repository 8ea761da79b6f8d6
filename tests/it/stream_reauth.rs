//! A new token for what is open: it lives on, and for nobody else; what was denied of the old token
//! stays denied.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, Connection, Gateway, Issuer, Setup, Upstream, now};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

struct Scene {
    issuer: Issuer,
    other: Issuer,
    gateway: Gateway,
    _upstream: Upstream,
}

fn scene() -> Scene {
    let upstream = Upstream::answering(|exchange| {
        exchange.send(SWITCHED);
        while let Ok(bytes) = exchange.connection.exactly(1) {
            exchange.send(bytes);
        }
    });
    let issuer = Issuer::new("HS256");
    let other = Issuer::named("other", "https://other.example.com/", "HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "leeway = \"0s\"")
        .issuer(&other, "leeway = \"0s\"")
        .upstream("app", &upstream, "")
        .route("/", "credentials = [\"bearer\", \"cookie:session\"]")
        .route("/orders", "require = { scopes = [\"orders\"] }")
        .route("/late", "streams = { on_revoked = \"grace:300s\" }")
        .start();
    Scene { issuer, other, gateway, _upstream: upstream }
}

/// A masked text frame of one letter, of mask 0.
const ECHO: &[u8] = b"\x81\x81\0\0\0\0x";

impl Scene {
    fn token(&self, issued: i64, expires: i64) -> String {
        self.issuer.token("alice").claim("sid", "s-1").times(issued, expires).mint()
    }

    fn open(&self, path: &str, token: &str) -> Connection {
        let mut socket = self.gateway.connect();
        socket.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}Authorization: Bearer {token}\r\n\r\n"
        ));
        assert_eq!(socket.head().unwrap().0, 101);
        echoes(&mut socket);
        socket
    }

    /// Until the streams that are to be found have lasted long enough.
    fn indexed(&self, count: usize) {
        crate::support::eventually("the streams in the list", || {
            let listed = self.gateway.admin().get("/v1/streams");
            (listed["open"] == json!(count)).then_some(())
        });
    }

    fn hand_in(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), OURS];
        self.gateway.connect().request("POST", "/.auth/streams", &headers, b"")
    }

    fn rebased(&self, token: &str) -> u64 {
        let answer = self.hand_in(token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["rebased"].as_u64().unwrap()
    }
}

fn echoes(socket: &mut Connection) {
    socket.send(ECHO);
    assert_eq!(socket.exactly(ECHO.len()).unwrap(), ECHO);
}

#[test]
fn a_socket_lives_on_with_a_new_token_and_then_ends_with_that_one() {
    let scene = scene();
    let started = Instant::now();
    let old = scene.token(-10, 6);
    let (mut kept, mut left) = (scene.open("/ws", &old), {
        let bob = scene.issuer.token("bob").claim("sid", "s-1").times(-10, 6).mint();
        scene.open("/ws", &bob)
    });
    scene.indexed(2);
    let new = scene.token(-1, 10);
    assert_eq!(scene.rebased(&new), 1);
    // Once more, or with one that ends sooner, there is nothing to do.
    assert_eq!((scene.rebased(&new), scene.rebased(&old)), (0, 0));
    assert_eq!(left.rest().unwrap(), b"\x88\x09\x03\xf0expired");
    echoes(&mut kept);
    assert_eq!(kept.rest().unwrap(), b"\x88\x09\x03\xf0expired");
    assert!(started.elapsed() >= Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn a_cookie_is_as_good_as_a_bearer_token_and_another_site_may_not_use_it() {
    let scene = scene();
    let _socket = scene.open("/ws", &scene.token(-10, 60));
    scene.indexed(1);
    let token = scene.token(-5, 120);
    let cookie = format!("session={token}");
    let bearer = format!("Bearer {token}");
    let ask = |method: &str, headers: &[(&str, &str)]| {
        scene.gateway.connect().request(method, "/.auth/streams", headers, b"")
    };
    let evil = ("Origin", "https://evil.example");
    assert_eq!(ask("POST", &[("Cookie", &cookie), evil]).code(), "cross_site");
    let both = [("Cookie", &*cookie), ("Authorization", &bearer), evil];
    assert_eq!(ask("POST", &both).code(), "cross_site");
    assert_eq!(ask("GET", &[("Cookie", &cookie), OURS]).status, 405);
    assert_eq!(ask("POST", &[OURS]).code(), "token_missing");
    let answer = ask("POST", &[("Cookie", &cookie), OURS]);
    assert_eq!((answer.status, answer.json()), (200, json!({"rebased": 1})));
    // No page can make a browser send one, and an app says no origin.
    for said in [&[("Authorization", &*bearer), evil][..], &[("Authorization", &bearer)]] {
        let answer = ask("POST", said);
        assert_eq!((answer.status, answer.json()), (200, json!({"rebased": 0})));
    }
}

#[test]
fn a_token_of_anybody_else_rebases_nothing() {
    let scene = scene();
    let mut socket = scene.open("/ws", &scene.token(-10, 8));
    let mut orders = {
        let token = scene.issuer.token("alice").claim("sid", "s-1").claim("scope", "orders");
        scene.open("/orders", &token.times(-10, 8).mint())
    };
    scene.indexed(2);
    let made = |issuer: &Issuer, subject: &str, session: &str| {
        issuer.token(subject).claim("sid", session).times(-1, 100)
    };
    for (what, token) in [
        ("subject", made(&scene.issuer, "bob", "s-1").mint()),
        ("session", made(&scene.issuer, "alice", "s-2").mint()),
        ("issuer", made(&scene.other, "alice", "s-1").mint()),
        ("client", made(&scene.issuer, "alice", "s-1").claim("client_id", "toaster").mint()),
    ] {
        assert_eq!(scene.rebased(&token), 0, "another {what}");
    }
    let nameless = scene.issuer.token("alice").mint();
    assert_eq!(scene.hand_in(&nameless).status, 401, "a token of no session");
    let forged = made(&Issuer::new("HS256"), "alice", "s-1").mint();
    assert_eq!(scene.hand_in(&forged).status, 401, "a forged token");
    // What may not open the stream does not keep it open either.
    assert_eq!(scene.rebased(&scene.token(-1, 100)), 1);
    assert_eq!(orders.rest().unwrap(), b"\x88\x09\x03\xf0expired");
    echoes(&mut socket);
}

#[test]
fn a_session_that_is_denied_after_the_rebase_is_cut() {
    let scene = scene();
    let mut socket = scene.open("/ws", &scene.token(-10, 60));
    scene.indexed(1);
    let new = scene.token(-1, 120);
    assert_eq!(scene.rebased(&new), 1);
    echoes(&mut socket);
    scene.gateway.admin().block(json!({"session": "s-1", "issuer": "main"}));
    assert_eq!(socket.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    // A token that is denied itself saves nothing.
    assert_eq!(scene.hand_in(&new).code(), "token_revoked");
}

#[test]
fn a_new_token_launders_no_cutoff_that_hits_the_first() {
    let scene = scene();
    let jti = |id: &str, issued: i64, expires: i64| {
        let token = scene.issuer.token("alice").claim("sid", "s-1").claim("jti", id);
        token.times(issued, expires).mint()
    };
    let mut early = scene.open("/ws", &jti("first", -60, 60));
    let mut late = scene.open("/ws", &jti("fresh", -5, 60));
    scene.indexed(2);
    assert_eq!(scene.rebased(&jti("second", -1, 120)), 2);
    // The cutoff lies between the first tokens of the two, and before the new one of both.
    let cutoff = now() - 30;
    let denial = json!({"subject": "alice", "issuer": "main", "issued_before": cutoff});
    scene.gateway.admin().deny(denial);
    assert_eq!(early.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    echoes(&mut late);
    // The token that was handed in counts as well.
    scene.gateway.admin().revoke(json!({"jti": "second", "issuer": "main"}));
    assert_eq!(late.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
}

#[test]
fn what_was_denied_and_taken_back_within_the_grace_goes_on_with_a_new_token() {
    let scene = scene();
    let _late = scene.open("/late", &scene.token(-10, 100));
    scene.indexed(1);
    let admin = scene.gateway.admin();
    let id = admin.block(json!({"issuer": scene.issuer.name, "user": "alice"}));
    assert_eq!(scene.hand_in(&scene.token(-1, 200)).status, 401);
    admin.undo(&id);
    assert_eq!(scene.rebased(&scene.token(-1, 300)), 1);
}
