//! HTTP/2 towards clients, with prior knowledge and by ALPN: requests that become HTTP/1.1 without
//! a second meaning, answers that never look whole when they are not, WebSockets as streams, and
//! what nobody can make the gateway do for nothing.

use std::time::{Duration, Instant};

use http::Request;
use serde_json::json;

use crate::support::http2::{next, request, whole};
use crate::support::{
    Authority, Connection, Gateway, Http2, Issuer, Setup, Upstream, eventually, peers, run_to_end,
};

pub fn public(upstream: &Upstream, lines: &str) -> Gateway {
    Setup::simple(&Issuer::new("HS256"), upstream)
        .server(lines)
        .route("/", "access = \"public\"")
        .start()
}

#[test]
fn requests_of_one_connection_are_exchanges_of_their_own() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut client = Http2::open(&gateway.address);
    let alice = format!("Bearer {}", issuer.mint("alice"));
    let bob = format!("Bearer {}", issuer.mint("bob"));
    let (alice, bob) = (("authorization", alice.as_str()), ("authorization", bob.as_str()));
    for number in 0..20 {
        let answer = client.get(&format!("/items/{number}?a=b"), &[alice]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["target"], format!("/items/{number}?a=b"));
    }
    let received = upstream.last();
    assert_eq!(received.header("host"), Some("app.example.com"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!((received.header("authorization"), received.header("connection")), (None, None));
    assert_eq!(client.get("/", &[]).status, 401);
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(client.get("/", &[alice]).status, 401);
    assert_eq!(client.get("/", &[bob]).status, 200, "the connection goes on");
    let refused = client.try_get(request("HEAD", "/", &[])).unwrap();
    assert_eq!((refused.status, refused.body.len()), (401, 0));
    assert!(refused.header("content-length").unwrap().parse::<usize>().unwrap() > 0);
    let plain = Connection::open(&gateway.address).get("/", &[bob]);
    assert_eq!(plain.status, 200, "HTTP/1.1 on the same listener");
}

#[test]
fn a_preface_that_comes_in_pieces_is_one_and_what_only_begins_like_it_is_none() {
    let gateway = public(&Upstream::new(), "");
    let mut slow = gateway.connect();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        slow.send([*byte]);
    }
    slow.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let frame = slow.exactly(9).unwrap();
    assert_eq!(frame[3], 4, "SETTINGS");
    let mut request = gateway.connect();
    for part in ["P", "R", "OPFIND / HTTP/1.1\r\nHo", "st: a\r\n\r\n"] {
        request.send(part);
    }
    assert_eq!(request.answer().status, 200);
    let off = public(&Upstream::new(), "http2 = false");
    let mut refused = off.connect();
    refused.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(!refused.answer_to("GET").is_ok_and(|answer| answer.status < 400));
}

#[test]
fn alpn_chooses_the_protocol_and_other_peoples_clients_agree() {
    let (authority, issuer) = (Authority::new(), Issuer::new("ES256"));
    let setup = Setup::simple(&issuer, &Upstream::new())
        .server("tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]")
        .file("ca.pem", &authority.pem);
    authority.issue(&["localhost", "127.0.0.1"]).write(setup.dir(), "a");
    let gateway = setup.start();
    let agreed = |offered: &[&str]| {
        let mut client = authority.client().alpn(offered);
        client.connect(&gateway, "localhost").map(|secured| secured.alpn)
    };
    assert_eq!(agreed(&["h2", "http/1.1"]).unwrap().unwrap(), b"h2");
    assert_eq!(agreed(&["http/1.1"]).unwrap().unwrap(), b"http/1.1");
    assert_eq!(agreed(&[]).unwrap(), None);
    assert!(agreed(&["spdy/3"]).is_err());
    let ca = gateway.dir().join("ca.pem");
    let port = gateway.address.rsplit(':').next().unwrap();
    let curl = |version: &str| {
        let output = run_to_end(
            std::process::Command::new("curl")
                .args(["-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", version])
                .arg("--cacert")
                .arg(&ca)
                .args(["-H", &format!("Authorization: Bearer {}", issuer.mint("alice"))])
                .args(["-d", "hello", &format!("https://localhost:{port}/x")]),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl("--http2"), "2 200");
    assert_eq!(curl("--http1.1"), "1.1 200");
    let output = run_to_end(
        std::process::Command::new(peers::python())
            .arg(peers::script("http2_client.py"))
            .arg(format!("https://localhost:{port}"))
            .arg(&ca)
            .env("TOKEN", issuer.mint("alice")),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_request_has_one_meaning_in_http_1_or_is_refused() {
    let upstream = Upstream::new();
    let gateway = public(&upstream, "limits = { header_count_max = 20 }");
    let mut client = Http2::open(&gateway.address);
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")];
    assert_eq!(client.get("/", &crumbs).status, 200);
    let received = upstream.last();
    assert_eq!(received.header("cookie"), Some("a=1; b=2"));
    assert_eq!(received.header("te"), Some("trailers"));
    let status =
        |client: &mut Http2, path: &str, headers: &[(&str, &str)]| client.get(path, headers).status;
    assert_eq!(status(&mut client, "/", &[("host", "app.example.com")]), 200);
    let before = upstream.begun();
    for (path, header) in [
        ("/", ("host", "other.example.com")),
        ("/a/../b", ("x", "y")),
        ("/%2e%2e/b", ("x", "y")),
        ("/a%00", ("x", "y")),
    ] {
        assert_eq!(status(&mut client, path, &[header]), 400, "{path} {header:?}");
    }
    let many: Vec<(String, String)> = (0..30).map(|n| (format!("x-{n}"), "y".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(status(&mut client, "/", &many), 431);
    // A plain CONNECT, and one for another protocol than WebSocket.
    let connect = Request::builder().method("CONNECT").uri("app.example.com:443").body(()).unwrap();
    assert_eq!(client.try_get(connect).unwrap().status, 400);
    let mut other = request("CONNECT", "/", &[]);
    other.extensions_mut().insert(h2::ext::Protocol::from_static("connect-udp"));
    assert_eq!(client.try_get(other).unwrap().status, 400);
    // h2 refuses these before there is a request.
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "1"),
        ("te", "gzip"),
    ] {
        assert_eq!(reset_of(&gateway, name, value), Some(1), "{name}: PROTOCOL_ERROR");
    }
    for (name, value) in [("x-a", "a\r\nb"), ("x-a", "a\0b"), ("X-Upper", "b")] {
        assert!(reset_of(&gateway, name, value).is_some(), "{name}");
    }
    assert_eq!(upstream.begun(), before);
    assert_eq!(reset_of(&gateway, "x-a", "b"), None);
    assert_eq!(status(&mut client, "/", &[]), 200);
}

/// The error code of the RST_STREAM or GOAWAY that a request with this field gets; `None`: it gets
/// an answer. The field is written by hand, for no library would.
fn reset_of(gateway: &Gateway, name: &str, value: &str) -> Option<u32> {
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // GET, http, /, and fields that are not indexed (RFC 7541 section 6.2.2).
    let mut block = vec![0x82, 0x86, 0x84, 0x01];
    block.extend(literal("app.example.com"));
    block.push(0);
    block.extend([literal(name), literal(value)].concat());
    let mut connection = gateway.connect();
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    connection.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    connection
        .send([&[0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1], &block[..]].concat());
    loop {
        let head = connection.exactly(9).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = connection.exactly(length as usize).unwrap();
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match head[3] {
            1 => return None,
            3 => return Some(code(0)),
            7 => return Some(code(4)),
            _ => {}
        }
    }
}

/// A backend that begins an answer and goes on for ever.
fn endless() -> Upstream {
    Upstream::answering(|exchange| {
        if exchange.received.target != "/stream" {
            return exchange.answer("200 OK", "", "short");
        }
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat();
        while exchange.connection.try_send(&chunk).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
        exchange.close();
    })
}

/// A client with room for several streams that nobody reads.
fn wide(gateway: &Gateway) -> Http2 {
    let mut builder = h2::client::Builder::new();
    Http2::open_with(&gateway.address, builder.initial_connection_window_size(1 << 24))
}

#[test]
fn a_cut_resets_its_stream_and_no_other_even_where_the_client_takes_nothing() {
    let (issuer, upstream) = (Issuer::new("HS256"), endless());
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut client = wide(&gateway);
    let alice = format!("Bearer {}", issuer.mint("alice"));
    let bob = format!("Bearer {}", issuer.mint("bob"));
    let open = |client: &mut Http2, bearer: &str| {
        let (answer, _) =
            client.send(request("GET", "/stream", &[("authorization", bearer)]), true);
        client.wait(answer).unwrap().into_body()
    };
    let mut taken = open(&mut client, &alice);
    let mut stuck = open(&mut client, &alice);
    let mut others = open(&mut client, &bob);
    for stream in [&mut taken, &mut others] {
        assert!(client.wait(next(stream)).unwrap().is_ok());
    }
    // The window of the stream that nobody reads is used up.
    std::thread::sleep(Duration::from_millis(300));
    let denied = Instant::now();
    gateway.admin().revoke(json!({"user": "alice"}));
    for stream in [&mut taken, &mut stuck] {
        let error = client.wait(async {
            loop {
                match next(stream).await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("it looks whole"),
                }
            }
        });
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    }
    assert!(denied.elapsed() < Duration::from_secs(20), "{:?}", denied.elapsed());
    assert!(client.wait(next(&mut others)).unwrap().is_ok(), "a neighbour goes on");
    assert_eq!(client.get("/", &[("authorization", &bob)]).status, 200);
    let cut = |gateway: &Gateway| {
        gateway.access_log().iter().filter(|line| line["verdict"] == "cut").count()
    };
    eventually("two log lines of cuts", || (cut(&gateway) == 2).then_some(()));
}

#[test]
fn a_stream_whose_client_takes_nothing_is_given_up_and_the_connection_is_not() {
    let upstream = endless();
    let gateway = public(&upstream, "limits = { idle_timeout = \"3s\" }");
    let mut client = wide(&gateway);
    let (answer, _) = client.send(request("GET", "/stream", &[]), true);
    let mut stuck = client.wait(answer).unwrap().into_body();
    let (answer, _) = client.send(request("GET", "/stream", &[]), true);
    let mut read = client.wait(answer).unwrap().into_body();
    let until = Instant::now() + Duration::from_millis(6500);
    while Instant::now() < until {
        assert!(client.wait(next(&mut read)).unwrap().is_ok());
    }
    let error = client.wait(async {
        loop {
            match next(&mut stuck).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("it looks whole"),
            }
        }
    });
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert_eq!(client.get("/", &[]).status, 200);
}

#[test]
fn requests_begun_and_given_up_by_the_thousand_end_the_connection_and_a_few_do_not() {
    let upstream = endless();
    let gateway = public(&upstream, RESETS);
    let give_up = |client: &mut Http2| {
        let (answer, mut stream) = client.send(request("GET", "/stream", &[]), false);
        let answer = client.wait(async { tokio::time::timeout(PROMPT, answer).await });
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
    };
    let mut client = Http2::open(&gateway.address);
    for _ in 0..10 {
        give_up(&mut client);
    }
    assert_eq!(client.get("/", &[]).status, 200);
    assert!(client.is_open());
    let attacker = gives_up_many(&gateway, &upstream);
    attacker.ended().ok();
    assert_eq!(Http2::open(&gateway.address).get("/", &[]).status, 200);
}

#[test]
fn a_listed_proxy_may_give_up_for_many_people() {
    let upstream = endless();
    let gateway = public(&upstream, &format!("{RESETS}\ntrusted_proxies = [\"127.0.0.1\"]"));
    let mut proxy = gives_up_many(&gateway, &upstream);
    eventually("the gateway has seen them", || (upstream.received().len() >= 60).then_some(()));
    assert_eq!(proxy.get("/", &[]).status, 200);
    assert!(proxy.is_open());
}

const RESETS: &str = "limits = { http2_resets_max = 20 }";

/// In one burst, as an attacker would.
fn gives_up_many(gateway: &Gateway, upstream: &Upstream) -> Http2 {
    let mut client = Http2::open(&gateway.address);
    let mut streams = Vec::new();
    for _ in 0..60 {
        streams.push(client.send(request("GET", "/stream", &[]), false));
    }
    eventually("they are under way", || (upstream.begun() >= 60).then_some(()));
    for (_, stream) in &mut streams {
        stream.send_reset(h2::Reason::CANCEL);
    }
    client
}

const PROMPT: Duration = Duration::from_millis(100);

#[test]
fn a_head_that_never_ends_takes_bounded_memory_and_one_connection() {
    let gateway =
        public(&Upstream::new(), "limits = { header_timeout = \"3s\", idle_timeout = \"3s\" }");
    let begun = |flags: u8, kind: u8, block: &[u8]| {
        let length = u32::try_from(block.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], block].concat()
    };
    let mut flood = gateway.connect();
    flood.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    flood.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // HEADERS without END_HEADERS, then CONTINUATION for as long as it is taken (CVE-2024-27316).
    flood.send(begun(0, 1, &[0x82, 0x86, 0x84]));
    let filler = [&[0x40, 1, b'a', 0x7f, 0x80, 0x7d][..], &[b'x'; 16_000]].concat();
    let sent = (0..2_000).take_while(|_| flood.try_send(begun(0, 9, &filler)).is_ok()).count();
    assert!(sent < 2_000, "32 MB of one head were taken");
    // The slow way: nothing more comes.
    let mut slow = gateway.connect();
    slow.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    slow.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    slow.send(begun(0, 1, &[0x82]));
    slow.rest().ok();
    let mut idle = Http2::open(&gateway.address);
    assert_eq!(idle.get("/", &[]).status, 200);
    idle.ended().expect("a GOAWAY before the end");
}

#[test]
fn streams_of_a_connection_are_bounded_and_a_drain_lets_them_end() {
    let upstream = Upstream::answering(|exchange| {
        std::thread::sleep(Duration::from_millis(700));
        exchange.answer("200 OK", "", "late");
    });
    let mut gateway = public(&upstream, "limits = { http2_streams_max = 3 }");
    let mut client = Http2::open(&gateway.address);
    let answers: Vec<_> = (0..3).map(|_| client.send(request("GET", "/", &[]), true).0).collect();
    eventually("all are under way", || (upstream.begun() == 3).then_some(()));
    gateway.signal(rustix::process::Signal::TERM);
    for answer in answers {
        assert_eq!(client.wait(whole(answer)).unwrap().body, b"late");
    }
    client.ended().unwrap();
    assert!(gateway.wait().success());
    assert_eq!(upstream.begun(), 3);
}
