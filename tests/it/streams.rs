//! What is open when a token stops to count: WebSockets, event streams, downloads, uploads and
//! requests that still wait for their answer. Only the matching ones end, and none looks whole.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Connection, Gateway, Issuer, ReadError, Setup, Upstream, eventually, once_told_in_time,
};

const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A cut on a busy test machine; the product's own bound is measured in the benchmarks.
const SOON: Duration = Duration::from_secs(20);

/// Answers by path: `/ws` echoes frames, `/half` sends half a frame and stops, `/events` and
/// `/file` begin an answer that never ends, `/wait` never begins one.
fn backend() -> Upstream {
    Upstream::answering(|exchange| {
        let target = exchange.received.target.clone();
        match target.as_str() {
            "/ws" => {
                exchange.send(SWITCHED);
                while let Ok(bytes) = exchange.connection.exactly(1) {
                    exchange.send(bytes);
                }
            }
            "/half" => {
                exchange.send([SWITCHED.as_bytes(), b"\x82\x0ahalf".as_slice()].concat());
                // Until the gateway ends it.
                let _ = exchange.connection.rest();
            }
            "/events" => {
                exchange.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                     Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
                );
                let _ = exchange.connection.rest();
            }
            "/file" => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst");
                let _ = exchange.connection.rest();
            }
            _ => {
                let _ = exchange.connection.rest();
            }
        }
    })
}

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
    upstream: Upstream,
}

fn scene() -> Scene {
    let upstream = backend();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    Scene { issuer, gateway, upstream }
}

impl Scene {
    fn open(&self, target: &str, token: &str, more: &[(&str, &str)]) -> Connection {
        let mut connection = self.gateway.connect();
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n");
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        connection.send(format!("{head}Authorization: Bearer {token}\r\n\r\n"));
        connection
    }

    /// A WebSocket through which bytes have gone both ways.
    fn socket(&self, user: &str) -> Connection {
        let mut connection = self.open("/ws", &self.issuer.mint(user), &HANDSHAKE);
        assert_eq!(connection.head().unwrap().0, 101);
        // A masked text frame "hi" of mask 0.
        connection.send(b"\x81\x82\0\0\0\0hi");
        assert_eq!(connection.exactly(8).unwrap(), b"\x81\x82\0\0\0\0hi");
        connection
    }
}

#[test]
fn a_denied_users_socket_gets_a_close_frame_and_nobody_elses_does() {
    let scene = scene();
    let (mut alice, mut bob) = (scene.socket("alice"), scene.socket("bob"));
    let started = Instant::now();
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    // Unmasked close, 1008, "revoked", and then a clean end.
    assert_eq!(alice.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    bob.send(b"\x81\x82\0\0\0\0ok");
    assert_eq!(bob.exactly(8).unwrap(), b"\x81\x82\0\0\0\0ok");
}

#[test]
fn each_selector_ends_its_streams() {
    let scene = scene();
    let token = |user: &str, session: &str| {
        scene.issuer.token(user).claim("sid", session).claim("jti", format!("j-{session}")).mint()
    };
    let sockets: Vec<Connection> = ["s1", "s2", "s3"]
        .iter()
        .map(|session| {
            let mut socket = scene.open("/ws", &token("carol", session), &HANDSHAKE);
            assert_eq!(socket.head().unwrap().0, 101);
            socket
        })
        .collect();
    let [mut first, mut second, mut third] = <[Connection; 3]>::try_from(sockets).ok().unwrap();
    scene.gateway.admin().block(json!({"session": "s1"}));
    assert_eq!(first.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    scene.gateway.admin().revoke(json!({"jti": "j-s2"}));
    assert_eq!(second.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    third.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(third.exactly(7).unwrap(), b"\x81\x81\0\0\0\0x");
    scene.gateway.admin().revoke(json!({"everyone": true}));
    assert_eq!(third.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
}

#[test]
fn a_socket_in_the_middle_of_a_frame_is_reset_rather_than_lied_to() {
    let scene = scene();
    let mut socket = scene.open("/half", &scene.issuer.mint("alice"), &HANDSHAKE);
    assert_eq!(socket.head().unwrap().0, 101);
    assert_eq!(socket.exactly(6).unwrap(), b"\x82\x0ahalf");
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    // No close frame may stand where payload is due, and nothing may look like an end.
    let reset = Some(std::io::ErrorKind::ConnectionReset);
    assert_eq!(socket.until_gone(), (Vec::new(), reset));
}

#[test]
fn a_cut_answer_never_looks_whole() {
    for target in ["/events", "/file"] {
        let scene = scene();
        let (mut alice, mut bob) = (
            scene.open(target, &scene.issuer.mint("alice"), &[]),
            scene.open(target, &scene.issuer.mint("bob"), &[]),
        );
        for connection in [&mut alice, &mut bob] {
            assert_eq!(connection.head().unwrap().0, 200);
            connection.exactly(5).unwrap();
        }
        scene.gateway.admin().revoke(json!({"user": "alice"}));
        match alice.rest() {
            Err(ReadError::Broken(_)) => {}
            Ok(rest) => assert!(!rest.ends_with(b"0\r\n\r\n"), "{target}: {rest:?}"),
            Err(other) => panic!("{target}: still open: {other:?}"),
        }
        let line = eventually("the log line of the cut", || {
            scene.gateway.access_log().into_iter().find(|line| line["verdict"] == "cut")
        });
        assert_eq!(line["reason"], "token_revoked");
        drop(bob);
    }
}

#[test]
fn a_request_that_waits_for_its_answer_gets_a_401() {
    let scene = scene();
    let mut alice = scene.open("/wait", &scene.issuer.mint("alice"), &[]);
    eventually("the backend to have it", || (scene.upstream.begun() > 0).then_some(()));
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    let answer = alice.answer();
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
}

#[test]
fn a_socket_ends_with_its_token() {
    let upstream = backend();
    let issuer = Issuer::new("HS256");
    let gateway =
        Setup::new().issuer(&issuer, "leeway = \"0s\"").upstream("app", &upstream, "").start();
    let scene = Scene { issuer, gateway, upstream };
    let token = scene.issuer.token("alice").times(-10, 4).mint();
    let mut socket = scene.open("/ws", &token, &HANDSHAKE);
    assert_eq!(socket.head().unwrap().0, 101);
    assert_eq!(socket.rest().unwrap(), b"\x88\x09\x03\xf0expired");
}

#[test]
fn sockets_are_told_when_the_gateway_goes_away() {
    let scene = scene();
    let mut socket = scene.socket("alice");
    scene.gateway.signal(Signal::TERM);
    assert_eq!(socket.rest().unwrap(), b"\x88\x0c\x03\xe9going away");
}

#[test]
fn a_dry_run_counts_what_is_open_and_the_denial_says_what_it_ended() {
    once_told_in_time(|| {
        let scene = scene();
        let (mut socket, mut bobs) = (scene.socket("alice"), scene.socket("bob"));
        let mut events = scene.open("/events", &scene.issuer.mint("alice"), &[]);
        events.through(b"data: 1").unwrap();
        let admin = scene.gateway.admin();
        eventually("her streams are counted", || {
            let plan = json!({"user": "alice", "dry_run": true});
            let would = admin.post("/v1/block", &plan)["would"].clone();
            (would["streams"] == 2 && would["tokens_seen"].as_u64() >= Some(1)).then_some(())
        });
        let shown = |arguments: &[&str]| {
            let done = scene.gateway.command(arguments, "");
            assert_eq!(done.status.code(), Some(0), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        let dry = shown(&["block", "--user", "alice", "--dry-run"]);
        assert!(dry.contains(" and 2 open streams, this replica, in the last "), "{dry}");
        // One of another condition, which her tokens do not meet, would end none.
        let plan = json!({"user": "alice", "issued_before": 1_600_000_000, "dry_run": true});
        assert_eq!(admin.post("/v1/denials", &plan)["would"]["streams"], 0);
        socket.send(b"\x81\x82\0\0\0\0ok");
        assert_eq!(socket.exactly(8).unwrap(), b"\x81\x82\0\0\0\0ok", "nothing was changed");

        let done = shown(&["block", "--user", "alice", "--reason", "fraud"]);
        let ended = "  ended      2 open streams (1 event stream, 1 WebSocket)\n";
        if !done.contains("  ended ") {
            return None;
        }
        assert!(done.contains(ended), "{done}");
        assert!(socket.rest().unwrap().ends_with(b"revoked"));
        let outcome = admin.post("/v1/revoke", &json!({"user": "bob"}))["outcome"].clone();
        if outcome["streams_cut"].is_null() {
            return None;
        }
        assert_eq!(outcome["streams_cut"], 1, "{outcome}");
        assert_eq!(outcome["streams_by_kind"], json!({"websocket": 1}));
        assert!(bobs.rest().unwrap().ends_with(b"revoked"));
        let none = admin.post("/v1/revoke", &json!({"user": "carol"}));
        let cut = &none["outcome"]["streams_cut"];
        assert!(cut.is_null() || *cut == 0, "{none}");
        Some(())
    });
}

fn scene_with(streams: &str) -> Scene {
    let upstream = backend();
    let issuer = Issuer::new("HS256");
    let gateway =
        Setup::simple(&issuer, &upstream).route("/", &format!("streams = {{ {streams} }}")).start();
    Scene { issuer, gateway, upstream }
}

#[test]
fn open_streams_are_listed_counted_and_cut_one_by_one() {
    let scene = scene();
    let (mut alice, mut bob) = (scene.socket("alice"), scene.socket("bob"));
    let admin = scene.gateway.admin();
    let listed = eventually("both in the list", || {
        let listed = admin.get("/v1/streams");
        (listed["items"].as_array().unwrap().len() == 2).then_some(listed)
    });
    assert_eq!((&listed["open"], &listed["by_kind"]["websocket"]), (&json!(2), &json!(2)));
    let mine = admin.get("/v1/streams?user=alice&kind=websocket");
    assert_eq!(mine["items"].as_array().unwrap().len(), 1);
    let stream = &mine["items"][0];
    assert_eq!((&stream["subject"], &stream["bytes_in"]), (&json!("alice"), &json!(8)));
    assert_eq!(admin.get("/v1/streams?user=mallory")["items"], json!([]));
    let id = stream["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/v1/streams/{id}"))["id"], *id);
    let cut = admin.post(&format!("/v1/streams/{id}/cut"), &json!({}));
    assert_eq!(cut["warnings"][0]["code"], "token_still_good");
    assert_eq!(alice.rest().unwrap(), b"\x88\x07\x03\xf0ended");
    bob.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(bob.exactly(7).unwrap(), b"\x81\x81\0\0\0\0x");
    eventually("it is gone", || {
        (admin.call("GET", &format!("/v1/streams/{id}"), None).status == 404).then_some(())
    });
}

#[test]
fn a_denial_says_how_many_streams_it_ends_and_a_dry_run_how_many_it_would() {
    once_told_in_time(|| {
        let scene = scene();
        let (mut alice, _bob) = (scene.socket("alice"), scene.socket("bob"));
        let admin = scene.gateway.admin();
        let would = |user: &str| {
            admin.post("/v1/revoke", &json!({"user": user, "dry_run": true}))["would"]["streams"]
                .clone()
        };
        eventually("it is indexed", || (would("alice") == json!(1)).then_some(()));
        assert_eq!(would("mallory"), json!(0));
        let made = admin.post("/v1/revoke", &json!({"user": "alice", "reason": "test"}));
        assert_eq!(alice.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
        if made["outcome"]["streams_cut"].is_null() {
            return None;
        }
        assert_eq!(made["outcome"]["streams_cut"], 1);
        assert_eq!(made["outcome"]["streams_by_kind"], json!({"websocket": 1}));
        Some(())
    });
}

#[test]
fn of_denials_at_the_same_time_each_says_what_it_ended_itself() {
    once_told_in_time(|| {
        let scene = scene();
        let users: Vec<(String, usize)> = (0..9).map(|n| (format!("user-{n}"), n % 3)).collect();
        let of = |(user, count): &(String, usize)| {
            (0..*count).map(|_| scene.socket(user)).collect::<Vec<_>>()
        };
        let _sockets: Vec<_> = users.iter().flat_map(of).collect();
        let admin = scene.gateway.admin();
        eventually("all are indexed", || (admin.get("/v1/streams")["open"] == 9).then_some(()));
        let told = std::thread::scope(|scope| {
            let revoke = |(user, count)| {
                let made = admin.post("/v1/revoke", &json!({"user": user, "reason": "test"}));
                let cut = made["outcome"]["streams_cut"].clone();
                assert!(cut.is_null() || cut == json!(count), "{user}: {made}");
                !cut.is_null()
            };
            let all: Vec<_> =
                users.iter().map(|user| scope.spawn(move || revoke(user.clone()))).collect();
            all.into_iter().all(|one| one.join().unwrap())
        });
        told.then_some(())
    });
}

#[test]
fn a_route_says_with_which_code_and_reason_its_sockets_end() {
    let scene = scene_with("close_code = 4401, close_reason = \"log in\"");
    let mut alice = scene.socket("alice");
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(alice.rest().unwrap(), b"\x88\x08\x11\x31log in");
}

#[test]
fn an_event_stream_ends_with_a_last_event_where_its_route_says_so() {
    let scene = scene_with("last_event = true");
    let mut alice = scene.open("/events", &scene.issuer.mint("alice"), &[]);
    assert_eq!(alice.head().unwrap().0, 200);
    alice.through(b"data: 1\n\n\r\n").unwrap();
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    // In good form: a browser may forget the last event of a stream that breaks off.
    let text = String::from_utf8(alice.through(b"0\r\n\r\n").unwrap()).unwrap();
    assert!(text.contains("event: portcullis\ndata: {\"code\":\"token_revoked\"}\n\n"), "{text:?}");
}

#[test]
fn a_denial_taken_back_within_the_grace_ends_nothing_and_one_that_stands_does() {
    let scene = scene_with("on_revoked = \"grace:5s\"");
    let (mut alice, mut bob) = (scene.socket("alice"), scene.socket("bob"));
    let admin = scene.gateway.admin();
    let id = admin.block(json!({"user": "bob"}));
    admin.block(json!({"user": "alice"}));
    admin.undo(&id);
    alice.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(alice.exactly(7).unwrap(), b"\x81\x81\0\0\0\0x", "still open");
    assert_eq!(alice.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    bob.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(bob.exactly(7).unwrap(), b"\x81\x81\0\0\0\0x");
}

#[test]
fn a_socket_through_which_nothing_goes_is_closed_when_its_route_says_so() {
    let scene = scene_with("idle_timeout = \"2s\"");
    let mut alice = scene.socket("alice");
    assert_eq!(alice.rest().unwrap(), b"\x88\x06\x03\xe9idle");
}
