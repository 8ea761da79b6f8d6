//! WebSocket handshakes: with a token as any request, then bytes both ways; a refused one leaves
//! nothing open behind it.

use crate::support::{Gateway, Issuer, Setup, Upstream, eventually};

/// The fields of a handshake (RFC 6455 section 4.1).
const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
}

fn scene(upstream: &Upstream) -> Scene {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, upstream).start();
    Scene { issuer, gateway }
}

/// A backend that accepts the handshake and answers each line.
fn lines() -> Upstream {
    Upstream::answering(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nwelcome",
        );
        while let Ok(line) = exchange.connection.through(b"\n") {
            exchange.send([b"you said ".as_slice(), &line].concat());
        }
        exchange.close();
    })
}

#[test]
fn an_accepted_handshake_passes_bytes_both_ways_until_either_side_ends() {
    let upstream = lines();
    let scene = scene(&upstream);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let headers = [HANDSHAKE.as_slice(), &[("Authorization", bearer.as_str())]].concat();
    let mut connection = scene.gateway.connect();
    let answer = connection.get("/ws", &headers);
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(connection.exactly(7).unwrap(), b"welcome");
    for number in 0..3 {
        connection.send(format!("{number}\n"));
        assert_eq!(connection.through(b"\n").unwrap(), format!("you said {number}\n").as_bytes());
    }
    connection.finish_sending();
    connection.assert_closed();
    let received = upstream.last();
    assert_eq!(received.header("upgrade"), Some("websocket"));
    assert_eq!(received.header("connection").map(str::to_ascii_lowercase), Some("upgrade".into()));
    assert_eq!(received.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(received.header("authorization"), None);
}

#[test]
fn a_handshake_needs_the_same_token_as_any_request() {
    let upstream = lines();
    let scene = scene(&upstream);
    assert_eq!(scene.gateway.get("/ws", &HANDSHAKE).status, 401);
    let expired = format!("Bearer {}", scene.issuer.token("alice").times(-900, -600).mint());
    let headers = [HANDSHAKE.as_slice(), &[("Authorization", expired.as_str())]].concat();
    assert_eq!(scene.gateway.get("/ws", &headers).status, 401);
    scene.gateway.admin().revoke(serde_json::json!({"user": "alice"}));
    let revoked = format!("Bearer {}", scene.issuer.mint("alice"));
    let headers = [HANDSHAKE.as_slice(), &[("Authorization", revoked.as_str())]].concat();
    assert_eq!(scene.gateway.get("/ws", &headers).status, 401);
    assert_eq!(upstream.begun(), 0);
    let bob = format!("Bearer {}", scene.issuer.mint("bob"));
    let headers = [HANDSHAKE.as_slice(), &[("Authorization", bob.as_str())]].concat();
    assert_eq!(scene.gateway.get("/ws", &headers).status, 101);
}

#[test]
fn a_handshake_that_the_backend_declines_is_an_ordinary_answer() {
    let upstream = Upstream::new();
    let scene = scene(&upstream);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let headers = [HANDSHAKE.as_slice(), &[("Authorization", bearer.as_str())]].concat();
    assert_eq!(scene.gateway.get("/ws", &headers).json()["target"], "/ws");
}

#[test]
fn bytes_behind_a_declined_handshake_are_a_request_of_their_own_or_nothing() {
    let upstream = Upstream::new();
    let scene = scene(&upstream);
    let token = scene.issuer.mint("alice");
    let fields: String =
        HANDSHAKE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut connection = scene.gateway.connect();
    // The hidden request has no token: through the gateway's own hands it is refused.
    connection.send(format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{fields}\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    assert_eq!(connection.answer().status, 200);
    if let Ok(second) = connection.answer_to("GET") {
        assert_eq!(second.status, 401);
    }
    assert!(upstream.received().iter().all(|received| received.target == "/ws"));
    assert_eq!(upstream.begun(), 1);
}

#[test]
fn bytes_behind_a_refused_handshake_reach_no_backend() {
    let upstream = lines();
    let scene = scene(&upstream);
    let fields: String =
        HANDSHAKE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut connection = scene.gateway.connect();
    connection.send(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{fields}\r\n\u{1}\u{5}hello\n"));
    assert_eq!(connection.answer().status, 401);
    connection.finish_sending();
    let _ = connection.rest();
    assert_eq!(upstream.begun(), 0);
}

#[test]
fn a_protocol_that_is_not_offered_is_not_switched_to() {
    let upstream = Upstream::new();
    let scene = scene(&upstream);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    for protocol in ["h2c", "TLS/1.0", "tcp"] {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", protocol),
            ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ];
        assert_eq!(scene.gateway.get("/", &headers).status, 200, "{protocol}");
        assert_eq!(upstream.last().header("upgrade"), None, "{protocol}");
        assert_eq!(upstream.last().header("http2-settings"), None, "{protocol}");
    }
}

#[test]
fn a_backend_that_switches_without_being_asked_is_a_fault() {
    let upstream = lines();
    let scene = scene(&upstream);
    let answer = scene.gateway.get_with("/", &scene.issuer.mint("alice"));
    assert_eq!(answer.status, 502, "{}", answer.head);
}

#[test]
fn a_revocation_ends_the_sockets_that_are_open_and_nobody_elses() {
    let upstream = lines();
    let scene = scene(&upstream);
    let open = |user: &str| {
        let bearer = format!("Bearer {}", scene.issuer.mint(user));
        let headers = [HANDSHAKE.as_slice(), &[("Authorization", bearer.as_str())]].concat();
        let mut connection = scene.gateway.connect();
        assert_eq!(connection.get("/ws", &headers).status, 101);
        assert_eq!(connection.exactly(7).unwrap(), b"welcome");
        connection
    };
    let (mut alice, mut bob) = (open("alice"), open("bob"));
    scene.gateway.admin().revoke(serde_json::json!({"user": "alice"}));
    // A close frame may come first; then the connection is over, cleanly or not.
    match alice.rest() {
        Ok(_) | Err(crate::support::ReadError::Broken(_)) => {}
        Err(other) => panic!("still open: {other:?}"),
    }
    bob.send("still here\n");
    assert_eq!(bob.through(b"\n").unwrap(), b"you said still here\n");
}

#[test]
fn a_tunnel_counts_against_the_limit_of_connections_until_it_ends() {
    let upstream = lines();
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .server("limits = { connections_max = 2 }")
        .route("/", "access = \"public\"")
        .start();
    let tunnel = || {
        let mut connection = gateway.connect();
        assert_eq!(connection.get("/ws", &HANDSHAKE).status, 101);
        connection
    };
    let (first, _second) = (tunnel(), tunnel());
    let third = || gateway.get("/ws", &[("Connection", "close")]);
    assert_eq!(third().status, 503);
    assert_eq!(upstream.begun(), 2, "the third did not get there");
    drop(first);
    eventually("there is a place for the third", || {
        // A switch that was not asked for.
        (third().status == 502).then_some(())
    });
}
