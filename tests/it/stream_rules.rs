//! What a route says of its streams, and every way to name them in a denial: beside each that ends is
//! its nearest neighbour, which goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http2::{next, request};
use crate::support::{
    Admin, Connection, Gateway, Http2, Issuer, ReadError, Setup, Token, Upstream, eventually,
};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const REVOKED: &[u8] = b"\x88\x09\x03\xf0revoked";
const EXPIRED: &[u8] = b"\x88\x09\x03\xf0expired";

/// Echoes at `/ws`, sends an event and then nothing at `/events`, nothing but a head at `/gzip`.
pub fn backend() -> Upstream {
    Upstream::answering(|exchange| {
        let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        let chunk = "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        match exchange.received.target.as_str() {
            "/events" => exchange.send(format!("{events}{chunk}")),
            "/gzip" => exchange.send(format!("{events}Content-Encoding: gzip\r\n{chunk}")),
            _ => {
                exchange.send(SWITCHED);
                while let Ok(bytes) = exchange.connection.exactly(1) {
                    exchange.send(bytes);
                }
                return;
            }
        }
        let _ = exchange.connection.rest();
    })
}

pub fn open(gateway: &Gateway, path: &str, token: &str) -> Connection {
    open_at(&gateway.address, path, token)
}

pub fn open_at(address: &str, path: &str, token: &str) -> Connection {
    let mut connection = Connection::open(address);
    let upgrade = if path == "/ws" { HANDSHAKE } else { "" };
    connection.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\n{upgrade}Authorization: Bearer {token}\r\n\r\n"
    ));
    let status = connection.head().unwrap().0;
    assert_eq!(status, if path == "/ws" { 101 } else { 200 }, "{path}");
    if path == "/ws" {
        echoes(&mut connection);
    } else {
        connection.through(b"data: 1\n\n\r\n").unwrap();
    }
    connection
}

#[track_caller]
pub fn echoes(socket: &mut Connection) {
    socket.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(socket.exactly(7).unwrap(), b"\x81\x81\0\0\0\0x");
}

#[track_caller]
pub fn are_listed(admin: &Admin, count: usize) {
    eventually("they are in the list", || {
        (admin.get("/v1/streams")["open"] == json!(count)).then_some(())
    });
}

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
    _upstream: Upstream,
}

/// A gateway whose tokens end without leeway, and whose route says this of its streams.
fn scene(streams: &str) -> Scene {
    let upstream = backend();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "leeway = \"0s\"\nclaims = { indexed = [\"tenant\"] }")
        .upstream("app", &upstream, "")
        .route("/", &format!("streams = {{ {streams} }}"))
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .start();
    Scene { issuer, gateway, _upstream: upstream }
}

impl Scene {
    fn short(&self, user: &str) -> String {
        self.issuer.token(user).times(-10, 4).mint()
    }

    fn open(&self, token: &str) -> Connection {
        open(&self.gateway, "/ws", token)
    }

    /// The config with one text in the place of another is in force.
    fn reload(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.gateway.config()).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(self.gateway.config(), text.replace(from, to)).unwrap();
        let answer = self.gateway.admin().post("/v1/config/reload", &json!({}));
        assert_eq!(answer["reloaded"], true, "{answer}");
    }
}

#[test]
fn an_expired_token_leaves_its_stream_the_grace_of_the_route() {
    let scene = scene("on_expired = \"grace:2s\"");
    let started = Instant::now();
    let mut alice = scene.open(&scene.short("alice"));
    // `exp` is in whole seconds, so four of them may be little more than three.
    assert_eq!(alice.rest().unwrap(), EXPIRED);
    assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn where_expiry_ends_nothing_a_denial_still_does() {
    let scene = scene("on_expired = \"keep\"");
    let token = scene.short("alice");
    let mut alice = scene.open(&token);
    let mut bob = scene.open(&scene.short("bob"));
    eventually("the token has expired", || (scene.gateway.status(&token) == 401).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    echoes(&mut alice);
    scene.gateway.admin().block(json!({"user": "alice"}));
    assert_eq!(alice.rest().unwrap(), REVOKED);
    echoes(&mut bob);
}

/// Two sockets, of which only the first is named by the denial.
#[track_caller]
fn ends_only_the_first(first: impl Fn(Token) -> Token, second: impl Fn(Token) -> Token, by: Value) {
    let scene = scene("");
    let open =
        |with: &dyn Fn(Token) -> Token| scene.open(&with(scene.issuer.token("alice")).mint());
    let (mut hit, mut spared) = (open(&first), open(&second));
    let admin = scene.gateway.admin();
    are_listed(&admin, 2);
    admin.deny(by);
    assert_eq!(hit.rest().unwrap(), REVOKED);
    echoes(&mut spared);
}

#[test]
fn a_denial_by_client_by_claim_or_by_version_ends_the_streams_that_it_names() {
    ends_only_the_first(
        |token| token.claim("client_id", "app-1"),
        |token| token.claim("client_id", "app-2"),
        json!({"client": "app-1", "always": true}),
    );
    ends_only_the_first(
        |token| token.claim("tenant", "acme"),
        |token| token.claim("tenant", "acme2"),
        json!({"claim": {"name": "tenant", "value": "acme"}, "always": true}),
    );
    ends_only_the_first(
        |token| token.claim("ver", 6),
        |token| token.claim("ver", 7),
        json!({"subject": "alice", "version_below": 7}),
    );
}

#[test]
fn a_cutoff_ends_the_streams_of_a_person_but_those_of_the_session_it_spares() {
    ends_only_the_first(
        |token| token.claim("sid", "s-other"),
        |token| token.claim("sid", "s-hand"),
        json!({"subject": "alice", "issued_before": "now", "except": {"session": "s-hand"}}),
    );
}

#[test]
fn a_denied_key_ends_its_streams_and_those_of_another_key_go_on() {
    let upstream = backend();
    let [old, new] = ["old", "new"].map(|kid| {
        let mut issuer = Issuer::new("ES256");
        issuer.kid = Some(kid.into());
        issuer
    });
    let keys = [&old, &new].map(|issuer| {
        let mut jwk = issuer.key.jwk();
        jwk["kid"] = issuer.kid.clone().into();
        jwk["alg"] = "ES256".into();
        jwk
    });
    let gateway = Setup::new()
        .file("keys.json", &json!({"keys": keys}).to_string())
        .issuer_with_keys(&old, "{ jwks_file = \"keys.json\" }", "")
        .upstream("app", &upstream, "")
        .start();
    let mut hit = open(&gateway, "/ws", &old.mint("alice"));
    let mut spared = open(&gateway, "/ws", &new.mint("alice"));
    gateway.admin().deny(json!({"key": "old", "always": true}));
    assert_eq!(hit.rest().unwrap(), REVOKED);
    echoes(&mut spared);
}

#[test]
fn a_claim_that_a_reload_makes_denials_ask_for_finds_the_streams_that_were_open() {
    let scene = scene("");
    let open = |dept: &str| scene.open(&scene.issuer.token("alice").claim("dept", dept).mint());
    let (mut sales, mut legal) = (open("sales"), open("legal"));
    let admin = scene.gateway.admin();
    are_listed(&admin, 2);
    let text = std::fs::read_to_string(scene.gateway.config()).unwrap();
    let text = text.replace("indexed = [\"tenant\"]", "indexed = [\"tenant\", \"dept\"]");
    std::fs::write(scene.gateway.config(), text).unwrap();
    assert_eq!(admin.post("/v1/config/reload", &json!({}))["reloaded"], true);
    echoes(&mut sales);
    admin.deny(json!({"claim": {"name": "dept", "value": "sales"}, "always": true}));
    assert_eq!(sales.rest().unwrap(), REVOKED);
    echoes(&mut legal);
}

#[test]
fn the_end_of_a_token_is_announced_to_its_event_stream_and_a_new_one_is_announced_anew() {
    let scene = scene("reauth_margin = \"1h\"");
    let token = |seconds| scene.issuer.token("alice").claim("sid", "s").times(-10, seconds).mint();
    let mut events = open(&scene.gateway, "/events", &token(1_000));
    let told = |events: &mut Connection| {
        let text = events.through(b"}\n\n\r\n").unwrap();
        let text = String::from_utf8(text).unwrap();
        let data = text.split("event: portcullis\ndata: ").nth(1).expect("an event");
        let data: Value = serde_json::from_str(data.trim()).unwrap();
        assert_eq!(data["code"], "token_expiring");
        data["expires_in"].as_u64().unwrap()
    };
    assert!((900..=1_000).contains(&told(&mut events)));
    let bearer = format!("Bearer {}", token(2_000));
    let headers = [("Authorization", bearer.as_str()), ("Sec-Fetch-Site", "same-origin")];
    let answer = scene.gateway.connect().request("POST", "/.auth/streams", &headers, b"");
    assert_eq!(answer.json()["rebased"], 1, "{}", answer.text());
    assert!((1_900..=2_000).contains(&told(&mut events)));
}

#[test]
fn nothing_is_put_into_a_stream_that_is_compressed_or_not_near_its_end() {
    let scene = scene("reauth_margin = \"10s\", last_event = true");
    let token = scene.issuer.mint("alice");
    let mut packed =
        open(&scene.gateway, "/gzip", &scene.issuer.token("alice").times(-9, 9).mint());
    let mut plain = open(&scene.gateway, "/events", &token);
    are_listed(&scene.gateway.admin(), 2);
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    let (Ok(rest) | Err(ReadError::Broken(rest))) = packed.rest() else { panic!("still open") };
    assert_eq!(String::from_utf8(rest).unwrap(), "");
    let rest = String::from_utf8(plain.through(b"0\r\n\r\n").unwrap()).unwrap();
    assert!(rest.contains("token_revoked") && !rest.contains("token_expiring"), "{rest}");
}

#[test]
fn the_last_event_arrives_over_http2_and_the_stream_ends_behind_it() {
    let scene = scene("last_event = true");
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let mut client = Http2::open(&scene.gateway.address);
    let head = request("GET", "/events", &[("authorization", bearer.as_str())]);
    let (answer, _) = client.send(head, true);
    let mut body = client.wait(answer).unwrap().into_body();
    assert_eq!(client.wait(next(&mut body)).unwrap().unwrap(), "data: 1\n\n");
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    let event = client.wait(next(&mut body)).unwrap().unwrap();
    assert_eq!(event, "event: portcullis\ndata: {\"code\":\"token_revoked\"}\n\n");
    // A frame of nothing that ends the stream, and no reset that takes the event back.
    while let Some(bytes) = client.wait(next(&mut body)) {
        assert_eq!(bytes.unwrap(), "");
    }
    let line = eventually("the log line of the cut", || {
        scene.gateway.access_log().into_iter().find(|line| line["verdict"] == "cut")
    });
    assert_eq!(line["reason"], "token_revoked");
}

#[test]
fn an_event_stream_of_http2_whose_client_takes_nothing_is_reset() {
    let scene = scene("last_event = true");
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(4);
    let mut client = Http2::open_with(&scene.gateway.address, &mut builder);
    let head = request("GET", "/events", &[("authorization", bearer.as_str())]);
    let (answer, _) = client.send(head, true);
    let mut body = client.wait(answer).unwrap().into_body();
    assert_eq!(client.wait(body.data()).unwrap().unwrap(), "data");
    let admin = scene.gateway.admin();
    are_listed(&admin, 1);
    admin.revoke(json!({"user": "alice"}));
    are_listed(&admin, 0);
    let end = client.wait(body.data()).expect("no clean end").unwrap_err();
    assert_eq!(end.reason(), Some(h2::Reason::CANCEL));
    assert!(client.is_open());
}

#[test]
fn a_cut_by_hand_is_answered_when_its_client_was_told() {
    let scene = scene("");
    let mut alice = scene.open(&scene.issuer.mint("alice"));
    let admin = scene.gateway.admin();
    are_listed(&admin, 1);
    let id = admin.get("/v1/streams")["items"][0]["id"].as_str().unwrap().to_owned();
    let cut = admin.post(&format!("/v1/streams/{id}/cut"), &json!({}));
    assert!(cut["cut_after_ms"].as_u64().unwrap() < 20_000, "{cut}");
    // It has left the list by then, although its socket has not been closed by the client.
    assert_eq!(admin.get("/v1/streams")["items"], json!([]));
    assert_eq!(alice.rest().unwrap(), b"\x88\x07\x03\xf0ended");
    let again = admin.call("POST", &format!("/v1/streams/{id}/cut"), Some(&json!({})));
    assert_eq!(again.status, 404);
}

#[test]
fn an_issuer_that_takes_a_token_no_more_ends_its_streams_also_where_they_have_a_grace() {
    let scene = scene("on_revoked = \"grace:1s\"");
    let audience = format!("audiences = [\"{}\"]", scene.issuer.audience);
    let mut alice = scene.open(&scene.issuer.mint("alice"));
    scene.reload(&audience, "audiences = [\"https://another.example\"]");
    assert_eq!(alice.rest().unwrap(), REVOKED);
}

#[test]
fn a_route_that_is_changed_back_within_the_grace_ends_nothing() {
    let scene = scene("on_revoked = \"grace:10s\"");
    let mut alice = scene.open(&scene.issuer.mint("alice"));
    let (route, asking) = ("path = \"/\"\n", "path = \"/\"\nrequire = { scopes = [\"more\"] }\n");
    scene.reload(route, asking);
    let changed = Instant::now();
    scene.reload(asking, route);
    std::thread::sleep(Duration::from_secs(11).saturating_sub(changed.elapsed()));
    echoes(&mut alice);
}

#[test]
fn a_grace_that_a_reload_makes_shorter_is_shorter_for_who_has_it_already() {
    let scene = scene("on_revoked = \"grace:300s\"");
    let mut alice = scene.open(&scene.issuer.mint("alice"));
    scene.gateway.admin().block(json!({"user": "alice"}));
    echoes(&mut alice);
    scene.reload("grace:300s", "grace:1s");
    assert_eq!(alice.rest().unwrap(), REVOKED);
}

#[test]
fn a_grace_that_is_made_shorter_is_shorter_also_for_a_token_that_is_taken_no_more() {
    let scene = scene("on_revoked = \"grace:300s\"");
    let mut alice = scene.open(&scene.issuer.mint("alice"));
    let audience = format!("audiences = [\"{}\"]", scene.issuer.audience);
    scene.reload(&audience, "audiences = [\"https://another.example\"]");
    echoes(&mut alice);
    scene.reload("grace:300s", "grace:1s");
    assert_eq!(alice.rest().unwrap(), REVOKED);
}
