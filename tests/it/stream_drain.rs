//! Streams while the gateway ends: WebSockets are told, those too whose handshake is under way; what
//! else is open goes on to its end, and a denial still ends it before.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use rustix::process::Signal;
use serde_json::json;

use crate::stream_rules::{are_listed, backend, open};
use crate::support::{Issuer, ReadError, Setup, Upstream, eventually};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn a_socket_that_is_accepted_during_the_drain_is_told_at_once_and_does_not_hold_it_up() {
    let ((came, coming), (accept, accepting)) = (channel(), channel::<()>());
    let parts = Mutex::new((came, accepting));
    let upstream = Upstream::answering(move |exchange| {
        {
            let (came, accepting) = &*parts.lock().unwrap();
            came.send(()).unwrap();
            accepting.recv().unwrap();
        }
        exchange.send(SWITCHED);
        let _ = exchange.connection.rest();
    });
    let issuer = Issuer::new("HS256");
    let mut gateway = Setup::simple(&issuer, &upstream).server("drain_timeout = \"60s\"").start();
    let mut alice = gateway.connect();
    alice.send(format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Authorization: Bearer {}\r\n\r\n",
        issuer.mint("alice")
    ));
    coming.recv().unwrap();
    let mut idle = gateway.connect();
    gateway.signal(Signal::TERM);
    // The cores have heard of it when they close what is idle.
    idle.assert_closed();
    accept.send(()).unwrap();
    assert_eq!(alice.head().unwrap().0, 101);
    assert_eq!(alice.rest().unwrap(), b"\x88\x0c\x03\xe9going away");
    drop(alice);
    // Within the patience of a test, which is less than the drain's.
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn many_sockets_are_told_of_the_drain_and_all_of_them() {
    let (upstream, issuer) = (backend(), Issuer::new("HS256"));
    let mut gateway = Setup::simple(&issuer, &upstream).start();
    let token = issuer.mint("alice");
    let mut sockets: Vec<_> = (0..150).map(|_| open(&gateway, "/ws", &token)).collect();
    gateway.signal(Signal::TERM);
    for socket in &mut sockets {
        assert_eq!(socket.rest().unwrap(), b"\x88\x0c\x03\xe9going away");
    }
    drop(sockets);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_denial_during_the_drain_ends_an_event_stream_and_a_download_of_its_user_only() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send(match exchange.received.target.as_str() {
            "/events" => {
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\ndata: 1\n\n\r\n",
        });
        let _ = exchange.connection.rest();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).server("drain_timeout = \"60s\"").start();
    let (alice, bob) = (issuer.mint("alice"), issuer.mint("bob"));
    let mut hers = [open(&gateway, "/events", &alice), open(&gateway, "/file", &alice)];
    let mut his = open(&gateway, "/events", &bob);
    let admin = gateway.admin();
    are_listed(&admin, 3);
    let mut idle = gateway.connect();
    gateway.signal(Signal::TERM);
    idle.assert_closed();
    admin.revoke(json!({"user": "alice"}));
    for connection in &mut hers {
        match connection.rest() {
            Err(ReadError::Broken(_)) => {}
            Ok(rest) => assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}"),
            Err(other) => panic!("still open: {other:?}"),
        }
    }
    are_listed(&admin, 1);
    admin.revoke(json!({"user": "bob"}));
    let _ = his.rest();
    eventually("all have ended", || {
        gateway.access_log().iter().filter(|line| line["verdict"] == "cut").nth(2).map(|_| ())
    });
}
