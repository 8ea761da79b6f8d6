//! WebSockets as streams of HTTP/2 (RFC 8441): the handshake becomes one of HTTP/1.1 towards the
//! backend, the bytes are relayed, and a cut closes the stream and not its connection.

use base64::Engine as _;
use bytes::Bytes;
use serde_json::json;

use crate::support::http2::{next, request, whole};
use crate::support::{Gateway, Http2, Issuer, Setup, Upstream, stands_still};

/// A backend that accepts and answers each line; at `/wrong` with another key, at `/no` not at all.
fn lines() -> Upstream {
    Upstream::answering(|exchange| {
        let target = exchange.received.target.clone();
        let key = exchange.received.header("sec-websocket-key").unwrap_or("").to_owned();
        if target.starts_with("/no") {
            return exchange.answer(
                if target == "/no" { "200 OK" } else { "403 Forbidden" },
                "",
                "no",
            );
        }
        let key = if target == "/wrong" { "dGhlIHNhbXBsZSBub25jZQ==".into() } else { key };
        let accept = accepted(&key);
        let frame = match target.as_str() {
            "/frames" => "\u{1}\u{8}",
            "/half" => "\u{1}\u{9}",
            _ => "",
        };
        exchange.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {accept}\r\n\r\n{frame}welcome\n",
        ));
        while let Ok(line) = exchange.connection.through(b"\n") {
            // The mask of our close frame may hold the end of a line.
            if line.first() == Some(&0x88) {
                break;
            }
            exchange.send([b"you said ".as_slice(), &line].concat());
        }
        exchange.close();
    })
}

/// The answer to a handshake with this key (RFC 6455 section 4.2.2).
pub fn accepted(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash)
}

fn handshake(path: &str, bearer: &str) -> http::Request<()> {
    let headers = [
        ("authorization", bearer),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ];
    let mut request = request("CONNECT", path, &headers);
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    request
}

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
}

fn scene(upstream: &Upstream) -> Scene {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, upstream).start();
    Scene { issuer, gateway }
}

/// Everything until the stream ends, and how it ended.
fn rest(client: &Http2, stream: &mut h2::RecvStream) -> (Vec<u8>, Option<h2::Reason>) {
    client.wait(async {
        let mut all = Vec::new();
        loop {
            match next(stream).await {
                Some(Ok(bytes)) => all.extend_from_slice(&bytes),
                Some(Err(error)) => return (all, error.reason()),
                None => return (all, None),
            }
        }
    })
}

#[test]
fn a_socket_is_opened_with_a_token_relayed_and_ended_by_either_side() {
    let upstream = lines();
    let scene = scene(&upstream);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let mut client = Http2::open(&scene.gateway.address);
    assert_eq!(client.get("/", &[]).status, 401);
    assert!(client.offers_connect());
    let (answer, mut up) = client.send(handshake("/ws?a=b", &bearer), false);
    let answer = client.wait(answer).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    for absent in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!answer.headers().contains_key(absent), "{absent}");
    }
    let mut down = answer.into_body();
    assert_eq!(client.wait(next(&mut down)).unwrap().unwrap(), "welcome\n");
    for number in 0..3 {
        up.send_data(Bytes::from(format!("{number}\n")), false).unwrap();
        let said = client.wait(next(&mut down)).unwrap().unwrap();
        assert_eq!(said, format!("you said {number}\n"));
    }
    // Another request of the same connection meanwhile.
    assert_eq!(client.get("/no", &[("authorization", &bearer)]).status, 200);
    up.send_data(Bytes::new(), true).unwrap();
    assert_eq!(rest(&client, &mut down), (Vec::new(), None));
    let received = upstream.received();
    let socket = received.iter().find(|one| one.target == "/ws?a=b");
    let socket = socket.cloned().unwrap_or_else(|| upstream.last());
    assert_eq!(socket.method, "GET");
    assert_eq!(socket.header("upgrade"), Some("websocket"));
    assert_eq!(socket.header("sec-websocket-version"), Some("13"));
    assert_eq!(socket.header("authorization"), None);
}

#[test]
fn a_handshake_that_is_refused_or_declined_opens_nothing() {
    let upstream = lines();
    let scene = scene(&upstream);
    let mut client = Http2::open(&scene.gateway.address);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let status = |client: &mut Http2, path: &str, bearer: &str| {
        let (answer, _up) = client.send(handshake(path, bearer), false);
        client.wait(whole(answer)).unwrap().status
    };
    assert_eq!(status(&mut client, "/ws", "Bearer none"), 401);
    assert_eq!(upstream.begun(), 0);
    assert_eq!(status(&mut client, "/%2e%2e/ws", &bearer), 400);
    // A plain 200 of the backend would open the socket for the client.
    assert_eq!(status(&mut client, "/no", &bearer), 502);
    assert_eq!(status(&mut client, "/no/403", &bearer), 403);
    assert_eq!(status(&mut client, "/wrong", &bearer), 502, "the answer to another handshake");
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(status(&mut client, "/ws", &bearer), 401);
}

#[test]
fn a_revocation_closes_its_socket_with_a_reason_and_nothing_else_of_the_connection() {
    let upstream = lines();
    let scene = scene(&upstream);
    let mut client = Http2::open(&scene.gateway.address);
    let open = |client: &mut Http2, user: &str| {
        let bearer = format!("Bearer {}", scene.issuer.mint(user));
        let (answer, up) = client.send(handshake("/frames", &bearer), false);
        let mut down = client.wait(answer).unwrap().into_body();
        // A text frame that is no last one: the close frame may stand behind it all the same.
        assert_eq!(client.wait(next(&mut down)).unwrap().unwrap(), "\u{1}\u{8}welcome\n");
        (up, down)
    };
    let (_alice_up, mut alice) = open(&mut client, "alice");
    let (mut bob_up, mut bob) = open(&mut client, "bob");
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    let (frame, reason) = rest(&client, &mut alice);
    assert_eq!((frame, reason), ([&[0x88, 0x09, 0x03, 0xf0][..], b"revoked"].concat(), None));
    bob_up.send_data(Bytes::from_static(b"still here\n"), false).unwrap();
    assert_eq!(client.wait(next(&mut bob)).unwrap().unwrap(), "you said still here\n");
    assert!(client.is_open());
}

#[test]
fn a_cut_in_the_middle_of_a_frame_resets_the_stream_and_nothing_else_of_the_connection() {
    let upstream = lines();
    let scene = scene(&upstream);
    let mut client = Http2::open(&scene.gateway.address);
    let open = |client: &mut Http2, user: &str| {
        let bearer = format!("Bearer {}", scene.issuer.mint(user));
        let (answer, up) = client.send(handshake("/half", &bearer), false);
        let mut down = client.wait(answer).unwrap().into_body();
        assert_eq!(client.wait(next(&mut down)).unwrap().unwrap(), "\u{1}\u{9}welcome\n");
        (up, down)
    };
    let (_alice_up, mut alice) = open(&mut client, "alice");
    let (mut bob_up, mut bob) = open(&mut client, "bob");
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(rest(&client, &mut alice), (Vec::new(), Some(h2::Reason::CANCEL)));
    bob_up.send_data(Bytes::from_static(b"still here\n"), false).unwrap();
    assert_eq!(client.wait(next(&mut bob)).unwrap().unwrap(), "you said still here\n");
}

#[test]
fn a_client_that_takes_nothing_of_its_socket_gets_a_reset() {
    let upstream = Upstream::answering(|exchange| {
        let key = exchange.received.header("sec-websocket-key").unwrap_or("").to_owned();
        exchange.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accepted(&key)
        ));
        // Empty pings: a boundary is never far.
        while exchange.connection.try_send([0x89, 0].repeat(8 << 10)).is_ok() {}
    });
    let scene = scene(&upstream);
    let mut client = Http2::open(&scene.gateway.address);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let (answer, _up) = client.send(handshake("/ws", &bearer), false);
    let mut down = client.wait(answer).unwrap().into_body();
    let admin = scene.gateway.admin();
    stands_still("nothing moves any more", || {
        admin.get("/v1/streams")["items"][0]["bytes_out"].as_u64()
    });
    admin.revoke(json!({"user": "alice"}));
    // Nothing of the window is given back meanwhile.
    let reason = client.wait(async {
        loop {
            match down.data().await {
                Some(Ok(bytes)) => assert!(!bytes.contains(&0x88), "a close frame behind a gap"),
                Some(Err(error)) => return error.reason(),
                None => panic!("it looks whole"),
            }
        }
    });
    assert_eq!(reason, Some(h2::Reason::CANCEL));
    assert!(client.is_open());
}
