//! A new process takes the place of the running one, and what was denied stays denied on both. That
//! nobody is refused meanwhile: `under_load`.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use crate::support::{
    Connection, Gateway, Issuer, PATIENCE, Setup, Upstream, eventually, program, run_to_end,
};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The upstream of `/ws` echoes what comes after the handshake.
fn scene(server: &str) -> (Gateway, Upstream, Issuer) {
    let upstream = Upstream::answering(|exchange| match exchange.received.target.as_str() {
        "/ws" => {
            exchange.send(SWITCHED);
            while let Ok(bytes) = exchange.connection.exactly(1) {
                exchange.send(bytes);
            }
        }
        _ => {
            exchange.read_body();
            exchange.echo();
        }
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .upstream("app", &upstream, "")
        .route("/", "")
        .server(server)
        .start();
    (gateway, upstream, issuer)
}

/// An open WebSocket through which bytes have gone both ways.
fn websocket(gateway: &Gateway, token: &str) -> Connection {
    let mut connection = gateway.connect();
    connection.send(format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    ));
    assert_eq!(connection.head().unwrap().0, 101);
    echoes(&mut connection);
    connection
}

/// Denies through the new process. A connection that the old one took in its last moment gets 503
/// and is told to ask again.
pub fn deny(gateway: &Gateway, token: &str) {
    let body = json!({"token": token, "reason": "test"});
    eventually("the denial is acknowledged", || {
        let answer = gateway.admin().call("POST", "/v1/revoke", Some(&body));
        assert!(matches!(answer.status, 200 | 201 | 503), "{}", answer.text());
        (answer.status != 503).then_some(())
    });
}

/// A masked text frame there and back.
fn echoes(connection: &mut Connection) {
    connection.send(b"\x81\x82\0\0\0\0hi");
    connection.through(b"hi").unwrap();
}

#[test]
fn what_the_new_process_denies_is_cut_in_the_old_one_and_nothing_else_is() {
    let (mut first, _upstream, issuer) = scene("drain_timeout = \"60s\"");
    let (alice, bob) = (issuer.mint("alice"), issuer.mint("bob"));
    let (mut of_alice, mut of_bob) = (websocket(&first, &alice), websocket(&first, &bob));
    let second = first.replacement();
    // It is not told to go away.
    echoes(&mut of_alice);
    deny(&second, &alice);
    // 1008, in one frame; then the end.
    let end = of_alice.rest().unwrap();
    assert!(end.starts_with(&[0x88]) && end.windows(7).any(|text| text == b"revoked"), "{end:?}");
    echoes(&mut of_bob);
    assert_eq!((second.status(&alice), second.status(&bob)), (401, 200));
    drop(of_bob);
    assert_eq!(first.wait().code(), Some(0));
}

#[test]
fn an_old_process_that_does_not_follow_is_ended_before_a_denial_is_acknowledged() {
    let (mut first, _upstream, issuer) = scene("drain_timeout = \"60s\"");
    let alice = issuer.mint("alice");
    let mut of_alice = websocket(&first, &alice);
    let second = first.replacement();
    eventually("the old process has left", || {
        let text = first.stderr.all().join("\n");
        text.contains("has taken the place").then_some(())
    });
    first.signal(Signal::STOP);
    eventually("it is denied", || {
        let body = json!({"token": alice, "reason": "test"});
        let admin = second.admin();
        let mut connection = admin.connect();
        // The old process may have taken the connection before it stood still.
        connection.read_patience(PATIENCE / 8);
        let answer = admin.try_call_on(&mut connection, "POST", "/v1/revoke", Some(&body));
        (answer?.status == 200).then_some(())
    });
    assert!(!first.wait().success());
    of_alice.assert_closed();
    assert_eq!(second.status(&alice), 401);
}

#[test]
fn the_old_process_ends_its_streams_when_the_new_one_dies() {
    let (mut first, _upstream, issuer) = scene("drain_timeout = \"60s\"");
    let mut open = websocket(&first, &issuer.mint("alice"));
    let mut second = first.replacement();
    echoes(&mut open);
    second.kill9();
    assert_eq!(open.rest().unwrap(), b"\x88\x0c\x03\xe9going away");
    drop(open);
    first.wait();
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_as_it_was() {
    let (first, _upstream, issuer) = scene("");
    let good = std::fs::read_to_string(first.config()).unwrap();
    let other = first.dir().join("other.toml");
    for bad in [
        format!("{good}\n[nonsense]\n"),
        // Its own sockets cannot be bound.
        format!("{good}\n[[listener]]\nlisten = \"192.0.2.1:1\"\n"),
    ] {
        std::fs::write(&other, bad).unwrap();
        let mut command = program();
        let output = run_to_end(command.args(["run", "--replace", "-c"]).arg(&other));
        assert!(!output.status.success());
        let bob = issuer.mint("bob");
        assert_eq!(first.status(&bob), 200);
        first.admin().revoke(json!({"token": bob}));
        assert_eq!(first.status(&bob), 401);
    }
}

#[test]
fn where_none_runs_there_is_none_to_replace() {
    let (first, _upstream, _issuer) = scene("");
    let config = first.config().to_owned();
    let dir = first.dir().to_owned();
    let text = std::fs::read_to_string(&config).unwrap();
    let other = dir.join("other.toml");
    let elsewhere = text.replace("path = \"data\"", "path = \"elsewhere\"");
    assert_ne!(elsewhere, text);
    std::fs::write(&other, elsewhere).unwrap();
    let mut command = program();
    let output = run_to_end(command.args(["run", "--replace", "-c"]).arg(&other));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("--replace"), "{said}");
}

/// A new process as far as the old one can see, which dies when this is dropped.
struct Half(std::os::fd::OwnedFd);

impl Half {
    fn meet(store: &Path) -> Self {
        let kind = SocketType::SEQPACKET;
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(store.join("replace.sock")).unwrap()).unwrap();
        Self(socket)
    }

    fn say(&self, text: &str) {
        send(&self.0, text.as_bytes(), SendFlags::NOSIGNAL).unwrap();
    }

    /// Up to the message that begins so.
    fn hear(&self, word: &str) {
        loop {
            let mut bytes = vec![0; 100_000];
            let (_, count) = recv(&self.0, &mut bytes[..], RecvFlags::empty()).unwrap();
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            assert!(count > 0, "closed before {word}");
            if text.contains(word) {
                return;
            }
        }
    }
}

#[test]
fn a_new_process_that_dies_half_way_leaves_the_old_one_serving_and_able_to_deny() {
    let (first, _upstream, issuer) = scene("");
    let store = first.dir().join("data");
    let mut kept = websocket(&first, &issuer.mint("carol"));
    for far in 0..3 {
        let half = Half::meet(&store);
        half.say(r#"{"Hello":{"protocol":2}}"#);
        if far > 0 {
            half.hear("Handed");
        }
        if far > 1 {
            half.say("\"Release\"");
            half.hear("Released");
            // Nobody has the store: requests are decided as ever, and no change is acknowledged.
            let bob = issuer.mint("bob");
            assert_eq!(first.status(&bob), 200);
            let body = json!({"token": bob, "reason": "test"});
            let answer = first.admin().call("POST", "/v1/revoke", Some(&body));
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        }
        drop(half);
        let bob = issuer.mint("bob");
        assert_eq!(first.status(&bob), 200);
        eventually("the old process takes its store back", || {
            let body = json!({"token": bob, "reason": "test"});
            let answer = first.admin().call("POST", "/v1/revoke", Some(&body));
            (answer.status < 300).then_some(())
        });
        assert_eq!(first.status(&bob), 401);
        echoes(&mut kept);
    }
    // Another version is told so, and a good one may still come.
    let half = Half::meet(&store);
    half.say(r#"{"Hello":{"protocol":999}}"#);
    half.hear("Refused");
    drop(half);
    let second = first.replacement();
    assert_eq!(second.status(&issuer.mint("bob")), 200);
}

#[test]
fn at_sigusr2_the_program_replaces_itself_and_the_service_manager_is_told() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let upstream = Upstream::new();
    let mut first = Setup::new()
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .start();
    first.signal(Signal::USR2);
    let mut bytes = [0; 4096];
    let pid = loop {
        let count = socket.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        if let Some(pid) = text.strip_prefix("MAINPID=") {
            break Pid::from_raw(pid.parse().unwrap()).unwrap();
        }
    };
    assert_eq!(first.wait().code(), Some(0));
    assert_eq!(first.get("/", &[]).status, 200);
    kill_process(pid, Signal::TERM).unwrap();
    eventually("the new process ends", || test_kill_process(pid).is_err().then_some(()));
}
