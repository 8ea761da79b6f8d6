//! Streams as programs see them that nobody here wrote: the close codes of WebSocket libraries, the
//! end of an EventSource in a browser, a download of curl.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::peers::{Client, Peer, installed, node, python, script};
use crate::support::{Gateway, Issuer, PATIENCE, Setup, Upstream, eventually};

/// A gateway before the WebSocket backend of the `websockets` library.
fn scene() -> (Issuer, Gateway, Peer) {
    let (backend, port) =
        Peer::start(Command::new(python()).arg(script("stream_backend.py")).stderr(Stdio::null()));
    let issuer = Issuer::new("HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .upstream_at("app", &format!("http://127.0.0.1:{port}"), "")
        .start();
    (issuer, gateway, backend)
}

fn sees_the_close(command: &mut Command) {
    let (issuer, gateway, _backend) = scene();
    let mut client = Client::start(
        command
            .arg(gateway.url().replace("http://", "ws://"))
            .env("TOKEN", issuer.mint("alice"))
            .env("OTHER_TOKEN", issuer.mint("bob")),
    );
    client.is_open();
    gateway.admin().revoke(json!({"user": "alice"}));
    client.go_on();
    client.ends_well();
}

#[test]
fn the_websockets_library_frames_as_it_likes_and_sees_1008_in_the_middle_of_a_message() {
    sees_the_close(Command::new(python()).arg(script("stream_client.py")));
}

#[test]
fn ws_and_undici_see_1008_and_sockets_of_others_go_on() {
    sees_the_close(&mut node("stream_client.mjs"));
}

#[test]
fn an_event_source_in_a_browser_gets_the_last_event_and_stops_at_the_401() {
    let Some(chromium) = installed("chromium") else { return };
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target != "/events" {
            return exchange.answer("200 OK", "Content-Type: text/html\r\n", "<title>page</title>");
        }
        exchange.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\n15\r\nretry: 50\ndata: 1\n\n\r\n",
        );
        // Until the gateway ends it.
        let _ = exchange.connection.rest();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "credentials = [\"cookie:session\"]\nstreams = { last_event = true }")
        .start();
    let mut client = Client::start(
        node("event_source.mjs")
            .arg(gateway.url())
            .arg(chromium)
            .env("TOKEN", issuer.mint("alice")),
    );
    client.is_open();
    gateway.admin().revoke(json!({"user": "alice"}));
    client.go_on();
    client.ends_well();
}

#[test]
fn a_download_of_curl_fails_after_the_denial_and_never_ends_as_if_it_were_whole() {
    let Some(curl) = installed("curl") else { return };
    let upstream = Upstream::answering(|exchange| {
        let framing = match exchange.received.target.as_str() {
            "/length" => "Content-Length: 1000000\r\n\r\nfirst",
            _ => "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        };
        exchange.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
        let _ = exchange.connection.rest();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let header = gateway.dir().join("alice");
    std::fs::write(&header, format!("Authorization: Bearer {}\n", issuer.mint("alice"))).unwrap();
    let mut running = Vec::new();
    for target in ["/length", "/chunked"] {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let client = Client::start(
                Command::new(&curl)
                    .args(["-sSN", "--max-time", &PATIENCE.as_secs().to_string(), version, "-H"])
                    .arg(format!("@{}", header.display()))
                    .args(["-o", &format!("{}.part", header.display())])
                    .args(["-w", "%{size_download}", &format!("{}{target}", gateway.url())]),
            );
            running.push((format!("{target} {version}"), client));
        }
    }
    eventually("four downloads under way", || {
        let listed = gateway.admin().get("/v1/streams?kind=response");
        let items = listed["items"].as_array().unwrap();
        let began = items.iter().filter(|item| item["bytes_out"] == json!(5)).count();
        (began == running.len()).then_some(())
    });
    gateway.admin().revoke(json!({"user": "alice"}));
    for (what, client) in &mut running {
        let code = client.ends();
        // Partial file, or an error of the connection or of the HTTP/2 stream; not the time-out (28).
        assert!(matches!(code, Some(18 | 56 | 92)), "{what}: {code:?}");
        assert_eq!(client.said(), ["5"], "{what}");
    }
}
