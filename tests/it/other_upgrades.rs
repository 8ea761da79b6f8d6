//! Connections that switch to another protocol than WebSocket, where their route names it: bytes both
//! ways, under the token that they were asked for with, and a reset when that stops to count.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use serde_json::json;

use crate::stream_rules::are_listed;
use crate::support::{Connection, Gateway, Issuer, PATIENCE, Setup, Upstream, eventually};

type Ended = Receiver<Option<ErrorKind>>;

/// Switches to what it is asked for, or at `/wrong` to something else, and echoes lines. Says how each
/// of its connections ended.
fn backend() -> (Upstream, Ended) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::answering(move |exchange| {
        let Some(asked) = exchange.received.header("upgrade").map(str::to_owned) else {
            return exchange.answer("200 OK", "", "plain");
        };
        let to = if exchange.received.target == "/wrong" { "other" } else { &asked };
        // As the Docker daemon says it.
        exchange
            .send(format!("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n"));
        loop {
            match exchange.connection.through(b"\n") {
                Ok(line) if line == b"end\n" => return exchange.close(),
                Ok(line) => exchange.send(line),
                Err(_) => break,
            }
        }
        tell.lock().unwrap().send(exchange.connection.until_gone().1).unwrap();
        exchange.close();
    });
    (upstream, told)
}

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
    ended: Ended,
}

fn scene() -> Scene {
    let (upstream, ended) = backend();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream)
        .server("watch = false")
        .route("/", "upgrades = [\"tcp\", \"SPDY/3.1\"]")
        .route("/plain", "")
        .start();
    Scene { issuer, upstream, gateway, ended }
}

impl Scene {
    fn ask(&self, path: &str, to: &str, token: Option<&str>) -> Connection {
        let mut connection = self.gateway.connect();
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        connection.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n{}\
             Content-Length: 0\r\n\r\n",
            token.unwrap_or_default()
        ));
        connection
    }

    fn open(&self, user: &str, to: &str) -> Connection {
        let mut connection = self.ask("/attach", to, Some(&self.issuer.mint(user)));
        let (status, head, _) = connection.head().unwrap();
        assert_eq!(status, 101, "{head}");
        assert!(
            head.to_ascii_lowercase().contains(&format!("upgrade: {}", to.to_ascii_lowercase()))
        );
        echoes(&mut connection);
        connection
    }
}

#[track_caller]
fn echoes(connection: &mut Connection) {
    connection.send("hello\n");
    assert_eq!(connection.through(b"\n").unwrap(), b"hello\n");
}

#[test]
fn what_a_route_names_is_switched_to_and_anything_else_is_a_plain_request() {
    let scene = scene();
    let token = scene.issuer.mint("alice");
    for to in ["tcp", "TCP", "SPDY/3.1"] {
        let mut connection = scene.open("alice", to);
        connection.send("end\n");
        assert_eq!(connection.until_gone(), (Vec::new(), None), "{to}");
    }
    for (path, to) in [("/plain", "tcp"), ("/", "SPDY/3"), ("/", "h2c"), ("/", "tcp, h2c")] {
        let answer = scene.ask(path, to, Some(&token)).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "plain"), "{path} {to}");
        assert_eq!(scene.upstream.last().header("upgrade"), None);
    }
    let wrong = scene.ask("/wrong", "tcp", Some(&token)).answer();
    assert_eq!(wrong.status, 502, "what was not asked for");
    let begun = scene.upstream.begun();
    assert_eq!(scene.ask("/attach", "tcp", None).answer().code(), "token_missing");
    assert_eq!(scene.upstream.begun(), begun);
}

#[test]
fn a_denial_resets_both_sides_of_hers_and_his_goes_on() {
    let scene = scene();
    let (mut alice, mut bob) = (scene.open("alice", "tcp"), scene.open("bob", "tcp"));
    let admin = scene.gateway.admin();
    are_listed(&admin, 2);
    let hers = admin.get("/v1/streams?user=alice&kind=tunnel")["items"][0].clone();
    assert_eq!((&hers["bytes_in"], &hers["bytes_out"]), (&json!(6), &json!(6)));
    admin.revoke(json!({"user": "alice"}));
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(alice.until_gone(), (Vec::new(), reset));
    let line = eventually("its log line", || {
        scene.gateway.access_log().into_iter().find(|line| line["verdict"] == "cut")
    });
    assert_eq!(line["reason"], "token_revoked");
    scene.ended.recv_timeout(PATIENCE).expect("the server's side has ended");
    echoes(&mut bob);
}

#[test]
fn a_route_that_names_the_protocol_no_more_ends_it() {
    let scene = scene();
    let (mut spdy, mut tcp) = (scene.open("alice", "SPDY/3.1"), scene.open("alice", "tcp"));
    are_listed(&scene.gateway.admin(), 2);
    let text = std::fs::read_to_string(scene.gateway.config()).unwrap();
    std::fs::write(scene.gateway.config(), text.replace(", \"SPDY/3.1\"]", "]")).unwrap();
    assert_eq!(scene.gateway.admin().post("/v1/config/reload", &json!({}))["reloaded"], true);
    assert_eq!(spdy.until_gone(), (Vec::new(), Some(ErrorKind::ConnectionReset)));
    echoes(&mut tcp);
}
