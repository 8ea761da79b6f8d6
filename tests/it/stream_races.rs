//! A denial, a reload, and a stream that begins or moves at the same moment.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::{Connection, Gateway, Issuer, ReadError, Setup, Upstream, eventually};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const CLOSED: &[u8] = b"\x88\x09\x03\xf0revoked";

fn open(gateway: &Gateway, path: &str, token: &str) -> Connection {
    let mut socket = gateway.connect();
    socket.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}Authorization: Bearer {token}\r\n\r\n"
    ));
    socket
}

/// A backend that says when a handshake has come, and accepts it when it is told to. What the
/// client sends is handed on.
fn hesitant() -> (Upstream, Receiver<()>, Sender<()>) {
    let ((came, coming), (accept, accepting)) = (channel(), channel());
    let parts = Arc::new(Mutex::new((came, accepting)));
    let upstream = Upstream::answering(move |exchange| {
        {
            let (came, accepting) = &*parts.lock().unwrap();
            came.send(()).unwrap();
            if accepting.recv().is_err() {
                return;
            }
        }
        exchange.send(SWITCHED);
        let _ = exchange.connection.rest();
    });
    (upstream, coming, accept)
}

#[test]
fn a_denial_between_the_handshake_and_its_answer_refuses_it() {
    let (upstream, coming, accept) = hesitant();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut alice = open(&gateway, "/ws", &issuer.mint("alice"));
    coming.recv().unwrap();
    gateway.admin().revoke(json!({"user": "alice"}));
    let answer = alice.answer();
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
    // Too late, and to nobody.
    accept.send(()).unwrap();
    let mut bob = open(&gateway, "/ws", &issuer.mint("bob"));
    coming.recv().unwrap();
    accept.send(()).unwrap();
    assert_eq!(bob.head().unwrap().0, 101);
}

#[test]
fn a_socket_whose_route_goes_while_its_backend_makes_up_its_mind_is_closed_and_no_other_is() {
    let (upstream, coming, accept) = hesitant();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).route("/first", "").route("/ws", "").start();
    let admin = gateway.admin();
    let listed = |count: usize| {
        eventually("they are listed", || {
            (admin.get("/v1/streams")["open"] == json!(count)).then_some(())
        });
    };
    let token = issuer.mint("alice");
    let opened_over = |path: &str, (before, after): (&str, &str), open_before: usize| {
        let mut socket = open(&gateway, path, &token);
        coming.recv().unwrap();
        // It is no young stream any more.
        listed(open_before + 1);
        let text = std::fs::read_to_string(gateway.config()).unwrap();
        std::fs::write(gateway.config(), text.replace(before, after)).unwrap();
        assert_eq!(admin.post("/v1/config/reload", &json!({}))["reloaded"], true);
        accept.send(()).unwrap();
        assert_eq!(socket.head().unwrap().0, 101);
        socket
    };
    let _stays = opened_over("/ws", ("\"/first\"", "\"/second\""), 0);
    let mut gone = opened_over("/second", ("\"/second\"", "\"/third\""), 1);
    assert_eq!(gone.rest().unwrap(), CLOSED);
    listed(1);
}

#[test]
fn a_denial_at_the_moment_of_the_101_refuses_or_cuts_and_lets_nothing_stay() {
    let (upstream, coming, accept) = hesitant();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let admin = gateway.admin();
    for round in 0..16 {
        let user = format!("user-{round}");
        let mut socket = open(&gateway, "/ws", &issuer.mint(&user));
        coming.recv().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| accept.send(()).unwrap());
            scope.spawn(|| admin.revoke(json!({"user": user})));
        });
        match socket.head().unwrap().0 {
            101 => assert_eq!(socket.rest().unwrap(), CLOSED, "{user}"),
            status => assert_eq!(status, 401, "{user}"),
        }
    }
    eventually("none is open", || (admin.get("/v1/streams")["open"] == json!(0)).then_some(()));
}

#[test]
fn a_cut_in_the_middle_of_a_fragmented_message_comes_between_two_frames() {
    let upstream = Upstream::answering(|exchange| {
        // A first fragment, a ping, a second fragment; the last one never comes.
        exchange.send([SWITCHED.as_bytes(), b"\x01\x03one\x89\x00\x00\x03two"].concat());
        let _ = exchange.connection.rest();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut socket = open(&gateway, "/ws", &issuer.mint("alice"));
    assert_eq!(socket.head().unwrap().0, 101);
    assert_eq!(socket.exactly(12).unwrap(), b"\x01\x03one\x89\x00\x00\x03two");
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(socket.rest().unwrap(), CLOSED);
}

#[test]
fn a_reload_that_changes_a_route_cuts_what_could_not_begin_any_more_and_nothing_else() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send(SWITCHED);
        while let Ok(bytes) = exchange.connection.exactly(1) {
            exchange.send(bytes);
        }
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).route("/orders", "").route("/ws", "").start();
    let token = issuer.mint("alice");
    let (mut orders, mut other) =
        (open(&gateway, "/orders", &token), open(&gateway, "/ws", &token));
    for socket in [&mut orders, &mut other] {
        assert_eq!(socket.head().unwrap().0, 101);
    }
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let before = "path = \"/orders\"\n";
    assert!(text.contains(before), "{text}");
    let after = format!("{before}require = {{ scopes = [\"orders\"] }}\n");
    std::fs::write(gateway.config(), text.replace(before, &after)).unwrap();
    assert_eq!(gateway.admin().post("/v1/config/reload", &json!({}))["reloaded"], true);
    assert_eq!(orders.rest().unwrap(), CLOSED);
    other.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(other.exactly(7).unwrap(), b"\x81\x81\0\0\0\0x");
}

#[test]
fn a_client_that_takes_nothing_holds_up_no_other_cut() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send(SWITCHED);
        // Frames of 64 KiB for as long as anybody takes them.
        let mut frame = b"\x82\x7f\0\0\0\0\0\x01\0\0".to_vec();
        frame.resize(10 + 65536, 7);
        exchange.connection.write_patience(std::time::Duration::from_secs(20));
        while exchange.connection.try_send(&frame).is_ok() {}
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let token = issuer.mint("alice");
    let mut stuck: Vec<Connection> = (0..3).map(|_| open(&gateway, "/ws", &token)).collect();
    for socket in &mut stuck {
        assert_eq!(socket.head().unwrap().0, 101);
    }
    let admin = gateway.admin();
    let moved = || {
        let listed = admin.get("/v1/streams");
        let items = listed["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["bytes_out"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let mut before = moved();
    eventually("nothing moves any more", || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = moved();
        let same = now.len() == 3 && now == before;
        before = now;
        same.then_some(())
    });
    admin.revoke(json!({"user": "alice"}));
    eventually("all are gone", || (admin.get("/v1/streams")["open"] == json!(0)).then_some(()));
    for socket in &mut stuck {
        assert!(!matches!(socket.rest(), Err(ReadError::Late(_))), "still open");
    }
}

#[test]
fn both_sockets_of_a_stream_probe_a_peer_that_is_silent() {
    probed(SWITCHED, 101);
    probed("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", 200);
}

fn probed(answer: &'static str, status: u16) {
    let upstream = Upstream::answering(move |exchange| {
        exchange.send(answer);
        let _ = exchange.connection.rest();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut socket = open(&gateway, "/ws", &issuer.mint("alice"));
    assert_eq!(socket.head().unwrap().0, status);
    let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (ours, theirs) = (port(&gateway.url()), upstream.address().port());
    // Linux's table: an armed keep-alive timer is of kind 02.
    let probes = |wanted: &dyn Fn(u16, u16) -> bool| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows =
            table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let port =
            |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16).unwrap();
        rows.any(|row| {
            row[3] == "01" && wanted(port(row[1]), port(row[2])) && row[5].starts_with("02:")
        })
    };
    eventually("a timer towards the client", || probes(&|local, _| local == ours).then_some(()));
    eventually("a timer towards the server", || {
        probes(&|_, remote| remote == theirs).then_some(())
    });
}
