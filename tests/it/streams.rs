//! What is open when its token stops counting: a WebSocket, an event stream, a download. It ends,
//! says so where its protocol can, never looks whole, and the neighbour's goes on.

use serde_json::json;

use crate::support::{Connection, Gateway, Issuer, ReadError, Setup, Upstream};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Accepts the handshake, says `hi`, and answers each line with `ok`, each in a frame.
fn websocket() -> Upstream {
    Upstream::answering(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        exchange.send(b"\x81\x02hi");
        while exchange.connection.through(b"\n").is_ok() {
            exchange.send(b"\x81\x02ok");
        }
        exchange.close();
    })
}

/// An answer of this type that does not end by itself.
fn endless(kind: &'static str) -> Upstream {
    Upstream::answering(move |exchange| {
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        while exchange.connection.try_send("6\r\nhello\n\r\n").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        exchange.close();
    })
}

fn ask(gateway: &Gateway, token: &str, fields: &str) -> Connection {
    let mut connection = gateway.connect();
    connection.send(format!(
        "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
    ));
    connection
}

fn open_websocket(gateway: &Gateway, token: &str) -> Connection {
    let mut connection = ask(gateway, token, HANDSHAKE);
    assert_eq!(connection.answer().status, 101);
    assert_eq!(connection.exactly(4).unwrap(), b"\x81\x02hi");
    connection
}

#[test]
fn a_websocket_is_closed_with_1008_when_its_user_is_revoked_and_anothers_goes_on() {
    let issuer = Issuer::new("HS256");
    let upstream = websocket();
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut alice = open_websocket(&gateway, &issuer.mint("alice"));
    let mut bob = open_websocket(&gateway, &issuer.mint("bob"));
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(alice.exactly(11).unwrap(), b"\x88\x09\x03\xf0revoked");
    alice.finish_sending();
    alice.assert_closed();
    bob.send("still?\n");
    assert_eq!(bob.exactly(4).unwrap(), b"\x81\x02ok");
}

#[test]
fn a_websocket_is_closed_when_its_token_expires_and_not_before() {
    let issuer = Issuer::new("HS256");
    let upstream = websocket();
    let setup = Setup::new().issuer(&issuer, "leeway = \"0s\"").upstream("app", &upstream, "");
    let gateway = setup.start();
    let mut lasting = open_websocket(&gateway, &issuer.mint("alice"));
    let ends_at = crate::support::now() + 3;
    let token = issuer.token("alice").claim("exp", ends_at).mint();
    let mut ending = open_websocket(&gateway, &token);
    ending.send("still?\n");
    assert_eq!(ending.exactly(4).unwrap(), b"\x81\x02ok");
    assert_eq!(ending.exactly(11).unwrap(), b"\x88\x09\x03\xf0expired");
    assert!(crate::support::now() >= ends_at, "closed before its time");
    lasting.send("still?\n");
    assert_eq!(lasting.exactly(4).unwrap(), b"\x81\x02ok");
}

#[test]
fn an_event_stream_and_a_download_break_off_when_their_user_is_revoked_and_never_look_whole() {
    for kind in ["text/event-stream", "application/octet-stream"] {
        let issuer = Issuer::new("HS256");
        let upstream = endless(kind);
        let gateway = Setup::simple(&issuer, &upstream).start();
        let mut alice = ask(&gateway, &issuer.mint("alice"), "");
        alice.through(b"hello\n").unwrap();
        let mut bob = ask(&gateway, &issuer.mint("bob"), "");
        bob.through(b"hello\n").unwrap();
        gateway.admin().revoke(json!({"user": "alice"}));
        match alice.rest() {
            Ok(rest) | Err(ReadError::Broken(rest)) => {
                assert!(!rest.ends_with(b"0\r\n\r\n"), "{kind}: it looks whole");
            }
            Err(other) => panic!("{kind}: {other:?}"),
        }
        for _ in 0..100 {
            bob.through(b"hello\n").unwrap();
        }
    }
}
