//! Streams of nobody in particular: no denial names them, and a change of their route ends them as it
//! ends any other.

use serde_json::json;

use crate::stream_rules::{are_listed, echoes};
use crate::support::{Connection, Gateway, Issuer, ReadError, Setup, Upstream};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// By the end of the path: echoes frames, begins an event stream or a download that never ends, or
/// waits for an upload.
fn backend() -> Upstream {
    Upstream::answering(|exchange| {
        match exchange.received.target.rsplit('/').next().unwrap() {
            "ws" => {
                exchange.send(SWITCHED);
                while let Ok(bytes) = exchange.connection.exactly(1) {
                    exchange.send(bytes);
                }
                return;
            }
            "events" => exchange.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
            ),
            "file" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst"),
            "short" => return exchange.answer("200 OK", "", "short"),
            _ => {}
        }
        let _ = exchange.connection.rest();
    })
}

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
    _upstream: Upstream,
}

/// A route `/a` that takes anybody, and one beside it that stays as it is.
fn scene() -> Scene {
    let upstream = backend();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream)
        .server("watch = false")
        .route("/a", "name = \"a\"\naccess = \"optional\"")
        .route("/b", "name = \"b\"\naccess = \"public\"")
        .start();
    Scene { issuer, gateway, _upstream: upstream }
}

impl Scene {
    /// One of each kind, each of which has begun.
    fn all_of(&self, route: &str, authorization: &str) -> Vec<(String, Connection)> {
        let open = |kind: &str| {
            let mut connection = self.gateway.connect();
            let path = format!("{route}/{kind}");
            connection.send(match kind {
                "upload" => format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\n{authorization}Content-Length: 1000000\r\n\r\nsome"
                ),
                "ws" => {
                    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{authorization}{HANDSHAKE}\r\n")
                }
                _ => format!("GET {path} HTTP/1.1\r\nHost: a\r\n{authorization}\r\n"),
            });
            match kind {
                "upload" => {}
                "ws" => {
                    assert_eq!(connection.head().unwrap().0, 101);
                    echoes(&mut connection);
                }
                _ => {
                    connection.through(b"first").unwrap();
                }
            }
            (path, connection)
        };
        ["ws", "events", "file", "upload"].map(open).into()
    }

    #[track_caller]
    fn change(&self, change: impl Fn(&str) -> String) {
        let text = std::fs::read_to_string(self.gateway.config()).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed);
        std::fs::write(self.gateway.config(), changed).unwrap();
        let answer = self.gateway.admin().call("POST", "/v1/config/reload", Some(&json!({})));
        assert_eq!(answer.json()["reloaded"], true, "{}", answer.text());
    }
}

#[track_caller]
fn end_and_look_broken(streams: Vec<(String, Connection)>) {
    for (path, mut connection) in streams {
        let kind = path.rsplit('/').next().unwrap();
        if kind == "upload" {
            let answer = connection.answer();
            assert_eq!((answer.status, answer.code().as_str()), (403, "route_changed"), "{path}");
            continue;
        }
        let (Ok(rest) | Err(ReadError::Broken(rest))) = connection.rest() else {
            panic!("{path}: still open")
        };
        match kind {
            "ws" => assert_eq!(rest, b"\x88\x09\x03\xf0revoked", "{path}"),
            _ => assert!(!rest.ends_with(b"0\r\n\r\n"), "{path}: {rest:?}"),
        }
    }
}

/// All streams of one route end with the change, anonymous or not, and those beside it go on.
#[track_caller]
fn ends_with(change: impl Fn(&str) -> String, tokens_too: bool) {
    let scene = scene();
    let authorization = format!("Authorization: Bearer {}\r\n", scene.issuer.mint("alice"));
    let mut ending = scene.all_of("/a", "");
    let known = scene.all_of("/a", &authorization);
    let mut beside = scene.all_of("/b", "");
    let admin = scene.gateway.admin();
    are_listed(&admin, 12);
    let listed = admin.get("/v1/streams?route=a");
    let nameless = |item: &&serde_json::Value| item.get("subject").is_none();
    assert_eq!(listed["items"].as_array().unwrap().iter().filter(nameless).count(), 4);
    scene.change(change);
    if tokens_too {
        ending.extend(known);
        end_and_look_broken(ending);
        are_listed(&admin, 4);
    } else {
        end_and_look_broken(ending);
        are_listed(&admin, 8);
    }
    echoes(&mut beside[0].1);
}

fn route_a(text: &str, lines: &str) -> String {
    let upstream = "upstream = \"app\"";
    let before =
        format!("[[route]]\npath = \"/a\"\nname = \"a\"\naccess = \"optional\"\n{upstream}\n");
    assert!(text.contains(&before), "{text}");
    text.replace(&before, lines)
}

#[test]
fn a_route_that_is_gone_takes_its_streams_with_it() {
    ends_with(|text| route_a(text, ""), true);
}

#[test]
fn a_route_that_answers_by_itself_now_takes_its_streams_with_it() {
    let answer = "[[route]]\npath = \"/a\"\naccess = \"public\"\nanswer = { status = 410 }\n";
    ends_with(|text| route_a(text, answer), true);
}

#[test]
fn a_route_that_requires_a_token_now_ends_the_streams_of_nobody_and_no_other() {
    let required = "[[route]]\npath = \"/a\"\nname = \"a\"\nupstream = \"app\"\n";
    ends_with(|text| route_a(text, required), false);
}

#[test]
fn an_issuer_that_a_reload_removes_takes_its_streams_with_it_and_leaves_those_of_nobody() {
    let upstream = backend();
    let issuer = Issuer::new("HS256");
    let other = Issuer::named("other", "https://other.example.com/", "HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .issuer(&other, "")
        .upstream("app", &upstream, "")
        .route("/a", "access = \"optional\"")
        .start();
    let scene = Scene { issuer, gateway, _upstream: upstream };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let mut stays = scene.all_of("/a", &bearer(&scene.issuer.mint("alice")));
    let mut nobody = scene.all_of("/a", "");
    let ending = scene.all_of("/a", &bearer(&other.mint("alice")));
    let admin = scene.gateway.admin();
    are_listed(&admin, 12);
    scene.change(|text| {
        let from = text.find("[[issuer]]\nname = \"other\"").unwrap();
        let to = from + text[from..].find("[[upstream]]").unwrap();
        format!("{}{}", &text[..from], &text[to..])
    });
    for (path, mut connection) in ending {
        if path.ends_with("upload") {
            assert_eq!(connection.answer().status, 401);
        } else {
            assert!(!matches!(connection.rest(), Err(ReadError::Late(_))), "{path}");
        }
    }
    are_listed(&admin, 8);
    echoes(&mut stays[0].1);
    echoes(&mut nobody[0].1);
}

#[test]
fn a_short_request_of_nobody_is_no_stream() {
    let scene = scene();
    for _ in 0..20 {
        assert_eq!(scene.gateway.get("/b/short", &[]).text(), "short");
    }
    assert_eq!(scene.gateway.admin().get("/v1/streams")["open"], 0);
}
