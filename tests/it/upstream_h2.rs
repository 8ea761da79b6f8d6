//! HTTP/2 to servers: requests share connections and nothing else.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::support::frames::{DATA, INITIAL_WINDOW, Outcome, WINDOW_UPDATE};
use crate::support::http2::{next, request, whole};
use crate::support::peers::{Peer, python, script};
use crate::support::{
    Authority, Frames, Gateway, Http2, Http2Backend, Issued, Issuer, Lines, Setup, Upstream,
    eventually, run_to_end,
};

/// A gateway of one thread, since each has connections of its own.
fn before(backend: &Http2Backend, lines: &str) -> Gateway {
    Setup::new()
        .server("threads = 1")
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at("app", &backend.url(), &format!("http2 = true\n{lines}"))
        .route("/", "access = \"public\"")
        .start()
}

/// So many requests to `/hold` at once, which are let go when all have arrived.
fn hold(gateway: &Gateway, backend: &Http2Backend, count: usize) {
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let mut connection = gateway.connect();
            thread::spawn(move || connection.get("/hold", &[]).status)
        })
        .collect();
    let held = || (backend.seen.held.load(Ordering::SeqCst) == count).then_some(());
    eventually("all requests have arrived", held);
    backend.seen.gate.send_replace(true);
    for client in clients {
        assert_eq!(client.join().unwrap(), 200);
    }
}

#[test]
fn requests_share_a_connection_up_to_what_the_server_allows() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "");
    hold(&gateway, &backend, 20);
    assert_eq!(backend.seen.connections(), 1);
    let strict = Http2Backend::allowing(2);
    let gateway = before(&strict, "");
    hold(&gateway, &strict, 6);
    assert_eq!(strict.seen.connections(), 3);
}

#[test]
fn a_request_arrives_in_the_words_of_http2_and_trailers_pass_both_ways() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "");
    let answer = gateway.connect().request(
        "POST",
        "/echo?x=%20",
        &[("Host", "app.example:8443"), ("Connection", "x-own"), ("X-Own", "1")],
        b"hello",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    let head = backend.seen.heads("/echo").remove(0);
    assert_eq!(head.uri().to_string(), "http://app.example:8443/echo?x=%20");
    for name in ["host", "connection", "x-own", "transfer-encoding", "te"] {
        assert!(!head.headers().contains_key(name), "{name}");
    }
    assert!(head.headers().contains_key("x-request-id"));
    let mut client = Http2::open(&gateway.address);
    let (answer, mut body) = client.send(request("POST", "/echo", &[]), false);
    body.send_data(Bytes::from_static(b"with trailers"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sent", "one".parse().unwrap());
    trailers.insert("authorization", "Bearer smuggled".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let answer = client.wait(whole(answer)).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"with trailers".as_slice()));
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers["x-answered"], "yes");
    assert_eq!(trailers["x-seen"], "one");
    assert!(!trailers.contains_key("authorization"));
}

#[test]
fn what_the_server_did_not_look_at_is_sent_again_and_what_it_may_have_done_is_not() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "");
    let status =
        |method: &str, path: &str| gateway.connect().request(method, path, &[], b"").status;
    assert_eq!(status("DELETE", "/refused-once"), 200);
    assert_eq!(backend.seen.heads("/refused-once").len(), 2);
    assert_eq!(status("DELETE", "/broken-once"), 502);
    assert_eq!(backend.seen.heads("/broken-once").len(), 1);
}

#[test]
fn an_answer_that_its_server_ended_early_with_no_error_does_not_look_whole() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "");
    let mut client = gateway.connect();
    client.send("GET /unended HTTP/1.1\r\nHost: a\r\n\r\n");
    client.through(b"half").unwrap();
    backend.seen.gate.send_replace(true);
    let (rest, _) = client.until_gone();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", rest.escape_ascii());
}

#[test]
fn a_connection_that_the_server_is_about_to_close_costs_no_request() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "");
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut connection = gateway.connect();
            thread::spawn(move || {
                for round in 0..50 {
                    let path = if round % 7 == 0 { "/bye" } else { "/" };
                    assert_eq!(connection.get(path, &[]).status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert!(backend.seen.connections() > 4);
}

#[test]
fn clients_that_take_none_of_many_small_messages_end_no_stream_of_others() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "");
    let mut reader = Http2::open(&gateway.address);
    let (answer, _) = reader.send(request("GET", "/endless", &[]), true);
    let mut read = reader.wait(answer).unwrap().into_body();
    let mut clients: Vec<Frames> = Vec::new();
    for _ in 0..4 {
        let mut client = Frames::open_with(gateway.connect(), &[(INITIAL_WINDOW, 0)]);
        for stream in (1..20).step_by(2) {
            client.get(stream, "/crumbs");
            assert_eq!(client.outcome(stream), Outcome::Good);
        }
        clients.push(client);
    }
    let sent = || (backend.seen.held.load(Ordering::SeqCst) == 0).then_some(());
    eventually("all messages are sent", sent);
    for _ in 0..10 {
        assert!(reader.wait(next(&mut read)).unwrap().is_ok(), "a neighbour goes on");
    }
    assert_eq!(backend.seen.connections(), 1);
    // Who takes them now gets them all.
    let client = &mut clients[0];
    client.send(WINDOW_UPDATE, 0, 1, &100_000_u32.to_be_bytes());
    let mut bytes = 0;
    loop {
        let frame = client.next().unwrap();
        bytes += if frame.kind == DATA { frame.payload.len() } else { 0 };
        if frame.ends_stream() {
            break;
        }
    }
    assert_eq!(bytes, 9_000 * 3);
}

#[test]
fn a_cut_resets_its_own_stream_and_ends_its_upload_while_the_others_go_on() {
    let (backend, issuer) = (Http2Backend::new(), Issuer::new("ES256"));
    let gateway = Setup::new()
        .server("threads = 1")
        .issuer(&issuer, "")
        .upstream_at("app", &backend.url(), "http2 = true")
        .route("/", "")
        .start();
    let bearer = |user: &str| format!("Bearer {}", issuer.mint(user));
    let (alice, bob) = (bearer("alice"), bearer("bob"));
    let mut client = Http2::open(&gateway.address);
    let open = |client: &mut Http2, path: &str, bearer: &str, end: bool| {
        let head = request("POST", path, &[("authorization", bearer)]);
        let (answer, upload) = client.send(head, end);
        let mut body = client.wait(answer).unwrap().into_body();
        assert!(client.wait(next(&mut body)).unwrap().is_ok());
        (body, upload)
    };
    let (_download, _) = open(&mut client, "/endless", &alice, true);
    let (_answer, mut upload) = open(&mut client, "/upload", &alice, false);
    upload.send_data(Bytes::from_static(b"some"), false).unwrap();
    let (mut other, _) = open(&mut client, "/endless/of/another", &bob, true);
    eventually("all are streams", || {
        (gateway.admin().get("/v1/streams")["items"].as_array()?.len() == 3).then_some(())
    });
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(backend.seen.reset("/endless"), Reason::CANCEL);
    assert_eq!(backend.seen.reset("/upload"), Reason::CANCEL);
    for _ in 0..3 {
        assert!(client.wait(next(&mut other)).unwrap().is_ok());
    }
    assert_eq!(backend.seen.connections(), 1);
}

#[test]
fn clients_that_take_nothing_hold_up_nobody_who_shares_their_connection() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "");
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut connection = gateway.connect();
        connection.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
        slow.push(connection);
    }
    eventually("they are under way", || (backend.seen.heads("/big").len() == 40).then_some(()));
    let body = vec![b'y'; 1 << 20];
    let answer = gateway.connect().request("POST", "/echo", &[], &body);
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert_eq!(backend.seen.connections(), 1);
}

fn tls(issued: &Issued, alpn: &[&str]) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn over_tls(authority: &Authority, port: u16) -> Gateway {
    Setup::new()
        .file("ca.pem", &authority.pem)
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at(
            "app",
            &format!("https://localhost:{port}"),
            "http2 = true\ntls = { ca = \"ca.pem\" }",
        )
        .route("/", "access = \"public\"")
        .start()
}

#[test]
fn over_tls_alpn_decides_between_http2_and_http1() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let backend = Http2Backend::with(h2::server::Builder::new(), Some(tls(&issued, &["h2"])));
    let gateway = over_tls(&authority, backend.port);
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(backend.seen.heads("/")[0].uri().scheme_str(), Some("https"));
    let port = crate::upstream_tls::backend(&issued, None);
    let gateway = over_tls(&authority, port);
    for _ in 0..3 {
        let answer = gateway.get("/", &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "localhost"));
    }
}

#[test]
fn a_websocket_gets_a_connection_of_http1_and_a_server_without_http2_is_a_bad_gateway() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.header("upgrade") != Some("websocket") {
            return exchange.answer("400 Bad Request", "", "this is no HTTP/1.1 request");
        }
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        let _ = exchange.connection.rest();
        exchange.close();
    });
    let gateway = Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream("app", &upstream, "http2 = true")
        .route("/", "access = \"public\"")
        .start();
    let mut connection = gateway.connect();
    connection.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(connection.head().unwrap().0, 101);
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"));
}

#[test]
fn a_health_check_speaks_http2_too() {
    let backend = Http2Backend::new();
    let gateway = before(&backend, "health = { path = \"/healthz\", every = \"100ms\" }");
    eventually("it is up", || {
        let list = gateway.admin().get("/v1/upstreams");
        (list["items"][0]["servers"][0]["state"] == "up").then_some(())
    });
    let asked = backend.seen.heads("/healthz").remove(0);
    let own = format!("http://127.0.0.1:{}/healthz", backend.port);
    assert_eq!(asked.uri().to_string(), own);
}

#[test]
fn a_server_of_the_grpc_library_is_called_streamed_and_told_of_a_cut() {
    let mut command = Command::new(python());
    command.arg(script("grpc_backend.py")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = Lines::collect(child.stdout.take().unwrap());
    let _backend = Peer::of(child);
    let port: u16 = said.find(|line| line.parse().ok()).expect("its port");
    let issuer = Issuer::new("ES256");
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .upstream_at("calls", &format!("http://127.0.0.1:{port}"), "http2 = true")
        .route("/echo.Echo", "")
        .route("/admin.Admin", "require = { scopes = [\"admin\"] }")
        .start();
    let token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let output = run_to_end(
        Command::new(python())
            .arg(script("grpc_client.py"))
            .args([&gateway.address, &gateway.admin_url(), "whole"])
            .env("TOKEN", issuer.mint("alice"))
            .env("ADMIN_TOKEN", token.trim()),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The server's own call was cancelled, not left to run.
    said.find(|line| line.contains("cancelled").then_some(())).expect("cancelled");
}
