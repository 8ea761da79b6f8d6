//! A token among the subprotocols of a WebSocket: it opens the socket, the backend and the log never see
//! it, and the client gets an answer that it takes.

use serde_json::json;

use crate::support::http2::request;
use crate::support::peers::node;
use crate::support::{Answer, Gateway, Http2, Issuer, Setup, Upstream, run_to_end};

/// Accepts; at a path that ends so, it chooses `chat` where that is offered.
fn backend() -> Upstream {
    Upstream::answering(|exchange| {
        let offered = exchange.received.header("sec-websocket-protocol").unwrap_or("").to_owned();
        if exchange.received.header("upgrade").is_none() {
            return exchange.answer("200 OK", "", "plain");
        }
        let key = exchange.received.header("sec-websocket-key").unwrap_or("").to_owned();
        let chats =
            exchange.received.target == "/ws" && offered.split(", ").any(|one| one == "chat");
        let chosen = if chats { "Sec-WebSocket-Protocol: chat\r\n" } else { "" };
        exchange.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{chosen}\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            crate::http2_websocket::accepted(&key)
        ));
        let _ = exchange.connection.rest();
    })
}

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

fn scene(forward: &str) -> Scene {
    let (issuer, upstream) = (Issuer::new("HS256"), backend());
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", &format!("credentials = [\"bearer\", \"protocol:bearer\"]\n{forward}"))
        .route("/public", "access = \"public\"")
        .start();
    Scene { issuer, upstream, gateway }
}

impl Scene {
    fn open(&self, path: &str, offered: &str) -> Answer {
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Protocol", offered),
        ];
        self.gateway.get(path, &headers)
    }

    /// What the backend got of the list.
    fn forwarded(&self) -> Option<String> {
        self.upstream.last().header("sec-websocket-protocol").map(str::to_owned)
    }
}

#[test]
fn the_token_opens_the_socket_and_the_answer_is_what_the_backend_chose_or_its_name() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    for (path, offered, forwarded, answered) in [
        ("/ws", format!("chat, bearer, {token}"), Some("chat"), Some("chat")),
        ("/none", format!("chat, bearer, {token}"), Some("chat"), Some("bearer")),
        ("/ws", format!("Bearer,{token}"), None, Some("Bearer")),
        ("/ws", format!("bearer.{token}, chat"), Some("chat"), Some("chat")),
        // Nothing is left to answer with: the token itself is no answer.
        ("/ws", format!("bearer.{token}"), None, None),
    ] {
        let answer = scene.open(path, &offered);
        assert_eq!(answer.status, 101, "{offered}: {}", answer.head);
        assert_eq!(answer.header("sec-websocket-protocol"), answered, "{offered}");
        assert_eq!(scene.forwarded().as_deref(), forwarded, "{offered}");
    }
    // On a route that does not look for it there, it does not go on either.
    assert_eq!(scene.open("/public/ws", &format!("chat, bearer, {token}")).status, 101);
    assert_eq!(scene.forwarded().as_deref(), Some("chat"));
    let signature = token.rsplit('.').next().unwrap();
    for line in scene.gateway.stdout.all().iter().chain(&scene.gateway.stderr.all()) {
        assert!(!line.contains(signature), "{line}");
    }
}

#[test]
fn a_token_that_is_spoilt_missing_or_one_of_two_opens_nothing() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    let begun = |offered: &str| {
        let answer = scene.open("/ws", offered);
        (answer.status, answer.code())
    };
    assert_eq!(begun(&format!("chat, bearer, {token}x")).0, 401);
    assert_eq!(begun(&format!("chat, other, {token}")), (401, "token_missing".into()));
    assert_eq!(begun("chat, bearer"), (401, "token_missing".into()));
    assert_eq!(begun("chat, bearer, ").0, 400);
    let other = scene.issuer.mint("bob");
    assert_eq!(begun(&format!("bearer, {token}, bearer.{other}")).0, 400);
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(begun(&format!("chat, bearer, {token}")), (401, "token_revoked".into()));
    assert_eq!(scene.upstream.begun(), 0);
}

#[test]
fn the_backend_gets_it_as_a_bearer_token_or_as_it_came_where_its_route_says_so() {
    let scene = scene("forward = \"bearer\"");
    let token = scene.issuer.mint("alice");
    assert_eq!(scene.open("/ws", &format!("bearer, {token}")).status, 101);
    assert_eq!(scene.forwarded(), None);
    let bearer = format!("Bearer {token}");
    assert_eq!(scene.upstream.last().header("authorization"), Some(&*bearer));
    let scene = self::scene("forward = \"pass\"");
    let token = scene.issuer.mint("alice");
    let answer = scene.open("/ws", &format!("bearer, {token}"));
    // Then the answer is the backend's own affair as well.
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None));
    assert_eq!(scene.forwarded(), Some(format!("bearer, {token}")));
}

#[test]
fn a_socket_over_http2_is_opened_by_it_too() {
    let scene = scene("");
    let offered = format!("bearer, {}", scene.issuer.mint("alice"));
    let mut client = Http2::open(&scene.gateway.address);
    assert_eq!(client.get("/", &[]).status, 401);
    let headers = [("sec-websocket-version", "13"), ("sec-websocket-protocol", offered.as_str())];
    let mut head = request("CONNECT", "/ws", &headers);
    head.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, _up) = client.send(head, false);
    let answer = client.wait(answer).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "bearer");
}

#[test]
fn undici_and_ws_open_sockets_with_it_as_a_page_would() {
    let scene = scene("");
    let url = scene.gateway.url().replace("http://", "ws://");
    let output =
        run_to_end(node("subprotocol.mjs").arg(url).env("TOKEN", scene.issuer.mint("alice")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
