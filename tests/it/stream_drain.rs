//! Streams while the gateway ends: WebSockets are told, those too whose handshake is under way; what
//! else is open goes on to its end, and a denial still ends it before.

use std::io::ErrorKind;
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

/// Begins an answer, or the bytes of another protocol, and says nothing more; `/waits` not even that.
fn beginner() -> Upstream {
    Upstream::answering(|exchange| {
        exchange.send(match exchange.received.target.as_str() {
            "/waits" => "",
            "/tcp" => "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhalf",
            "/events" => {
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        });
        let _ = exchange.connection.until_gone();
    })
}

#[test]
fn at_the_deadline_of_a_drain_nothing_looks_whole_and_who_can_be_told_is_told() {
    let (upstream, issuer) = (beginner(), Issuer::new("HS256"));
    let mut gateway = Setup::simple(&issuer, &upstream)
        .server("drain_timeout = \"1s\"")
        .route("/", "upgrades = [\"tcp\"]\nstreams = { last_event = true }")
        .route("/open", "access = \"public\"")
        .start();
    let begin = |target: &str, version: &str, fields: &str| {
        let mut connection = gateway.connect();
        connection.send(format!(
            "GET {target} {version}\r\nHost: a\r\nAuthorization: Bearer {}\r\n{fields}\r\n",
            issuer.mint("alice")
        ));
        connection
    };
    // To whose clients the end of the connection is the end of the answer, a token or none.
    let mut files = [begin("/file", "HTTP/1.0", ""), gateway.connect()];
    files[1].send("GET /open HTTP/1.0\r\nHost: a\r\n\r\n");
    let switch = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let mut tunnel = begin("/tcp", "HTTP/1.1", switch);
    for connection in files.iter_mut().chain([&mut tunnel]) {
        connection.through(b"half").unwrap();
    }
    let mut events = begin("/events", "HTTP/1.1", "");
    events.through(b"data: 1\n\n\r\n").unwrap();
    let mut waits = begin("/waits", "HTTP/1.1", "");
    are_listed(&gateway.admin(), 5);
    gateway.signal(Signal::TERM);
    assert_eq!(waits.answer().code(), "draining");
    let last = events.through(b"0\r\n\r\n").unwrap();
    assert!(String::from_utf8_lossy(&last).contains("{\"code\":\"draining\"}"), "{last:?}");
    for connection in files.iter_mut().chain([&mut tunnel]) {
        assert_eq!(connection.until_gone(), (Vec::new(), Some(ErrorKind::ConnectionReset)));
    }
    assert_eq!(gateway.wait().code(), Some(0));
}
