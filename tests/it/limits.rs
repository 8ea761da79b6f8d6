//! How much and how long: bodies, answers, requests in flight.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Gateway, Http2, Issuer, PATIENCE, ReadError, Setup, Upstream, eventually};

/// Lets every answer wait until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn wait(&self) {
        let mut open = self.0.lock().unwrap();
        while !*open {
            open = self.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

fn gateway(upstream: &Upstream, server: &str, routes: &[(&str, &str)]) -> Gateway {
    let setup = Setup::simple(&Issuer::new("ES256"), upstream).server(server).metrics();
    let routes = routes.iter();
    let public = |lines: &str| format!("access = \"public\"\n{lines}");
    routes.fold(setup, |setup, (path, lines)| setup.route(path, &public(lines))).start()
}

#[test]
fn a_body_that_is_too_large_is_refused_however_it_is_framed() {
    let upstream = Upstream::answering(|exchange| {
        exchange.read_body();
        exchange.answer("200 OK", "", "");
    });
    let gateway = gateway(&upstream, "", &[("/", ""), ("/small/", "body_bytes_max = \"10B\"")]);
    let post = |target: &str, body: &[u8]| gateway.connect().request("POST", target, &[], body);
    assert_eq!(post("/small/", b"0123456789").status, 200);
    assert_eq!(post("/", b"0123456789+").status, 200);
    let begun = upstream.begun();
    let refused = post("/small/", b"0123456789+");
    assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"));
    assert_eq!(upstream.begun(), begun, "its length said so");

    let chunked = |chunks: &str| {
        let mut connection = gateway.connect();
        connection.send(format!(
            "POST /small/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ));
        connection.answer()
    };
    assert_eq!(chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n").status, 200);
    assert!(upstream.last().complete);
    for over in [
        "5\r\n01234\r\n6\r\n56789+\r\n0\r\n\r\n",
        "5\r\n01234\r\n6\r\n56789+\r\n",
        "b\r\n0123456789+\r\n",
    ] {
        let refused = chunked(over);
        assert_eq!((refused.status, refused.code().as_str()), (413, "body_too_large"), "{over:?}");
        assert!(!refused.head.contains("keep-alive"));
    }
    // No backend ever saw such a body whole, and the next request is served.
    let received = upstream.received();
    assert!(
        received
            .iter()
            .filter(|one| one.target == "/small/")
            .all(|one| !one.complete || one.body.len() <= 10)
    );
    assert_eq!(post("/small/", b"0123456789").status, 200);
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up() {
    let upstream = Upstream::answering(|exchange| {
        exchange.read_body();
        exchange.answer("200 OK", "", "");
    });
    let gateway = gateway(&upstream, "", &[("/", "body_timeout = \"2s\"")]);
    let mut quick = gateway.connect();
    quick.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    quick.send("cd");
    assert_eq!(quick.answer().status, 200);
    let mut slow = gateway.connect();
    let began = Instant::now();
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc");
    let refused = slow.answer();
    assert_eq!((refused.status, refused.code().as_str()), (408, "body_timeout"));
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[test]
fn an_answer_that_does_not_begin_in_time_is_504_on_that_route_alone() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let upstream = Upstream::answering(move |exchange| {
        if exchange.received.target.contains("slow") {
            held.wait();
        }
        exchange.answer("200 OK", "", "x");
    });
    let gateway = gateway(&upstream, "", &[("/", ""), ("/quick/", "timeout = \"2s\"")]);
    assert_eq!(gateway.get("/quick/x", &[]).status, 200);
    let late = gateway.get("/quick/slow", &[]);
    assert_eq!((late.status, late.code().as_str()), (504, "upstream_timeout"));
    let mut patient = gateway.connect();
    patient.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.open();
    assert_eq!(patient.answer().status, 200);
}

#[test]
fn what_is_beyond_requests_max_is_shed_and_the_place_comes_back() {
    for (server, route) in [("", "requests_max = 1"), ("threads = 1\nlimits.requests_max = 1", "")]
    {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let arrived = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&arrived);
        let upstream = Upstream::answering(move |exchange| {
            told.store(true, Ordering::SeqCst);
            held.wait();
            exchange.answer("200 OK", "", "x");
        });
        let gateway = gateway(&upstream, server, &[("/", route)]);
        let mut first = gateway.connect();
        first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the first request is at the backend", || {
            arrived.load(Ordering::SeqCst).then_some(())
        });
        let mut connection = gateway.connect();
        for _ in 0..3 {
            let shed = connection.get("/", &[]);
            assert_eq!((shed.status, shed.code().as_str()), (503, "overloaded"), "{server}{route}");
            assert_eq!(shed.header("retry-after"), Some("1"));
        }
        assert_eq!(upstream.begun(), 1);
        gate.open();
        assert_eq!(first.answer().status, 200);
        eventually("the place is free again", || {
            (connection.get("/", &[]).status == 200).then_some(())
        });
    }
}

const PACE: &str = "limits = { body_rate_min = \"1KiB\", body_grace = \"500ms\" }";

/// An upload of so many chunks, each behind a pause. What the gateway says, and when it said so.
fn upload(gateway: &Gateway, path: &str, chunks: usize, bytes: usize) -> (u16, usize) {
    let mut client = gateway.connect();
    let length = chunks * bytes;
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(head);
    for sent in 0..chunks {
        if client.try_send(vec![b'x'; bytes]).is_err() {
            break;
        }
        client.read_patience(Duration::from_millis(50));
        match client.answer_to("POST") {
            Ok(answer) => return (answer.status, sent),
            Err(ReadError::Late(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    client.read_patience(PATIENCE);
    (client.answer().status, chunks)
}

#[test]
fn a_body_that_trickles_is_given_up_and_one_at_the_least_rate_or_with_its_own_limit_is_not() {
    let upstream = Upstream::new();
    let gateway = gateway(&upstream, PACE, &[("/", ""), ("/own", "body_timeout = \"1h\"")]);
    let (status, sent) = upload(&gateway, "/", 2000, 1);
    assert_eq!(status, 408);
    assert!(sent < 1000, "{sent}");
    let shed = "portcullis_shed_total{limit=\"body_time\"}";
    eventually("it is counted", || (gateway.metric(shed) == 1.0).then_some(()));
    assert_eq!(upload(&gateway, "/", 30, 16 * 1024).0, 200);
    assert_eq!(upload(&gateway, "/own", 30, 1).0, 200);
}

#[test]
fn who_calls_himself_a_call_of_grpc_is_held_to_the_limits_where_none_is_served() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target == "/hangs" {
            exchange.connection.rest().ok();
            return exchange.close();
        }
        exchange.echo();
    });
    let gateway = Setup::new()
        .server(PACE)
        .issuer(&Issuer::new("ES256"), "")
        .upstream("app", &upstream, "response_timeout = \"2s\"")
        .route("/", "access = \"public\"")
        .start();
    for kind in ["text/plain", "application/grpc", "application/grpc-web+proto"] {
        let head = format!("Host: a\r\nContent-Type: {kind}\r\n");
        let mut hangs = gateway.connect();
        hangs.send(format!("GET /hangs HTTP/1.1\r\n{head}\r\n"));
        assert_eq!(hangs.answer().status, 504, "{kind}");
        let mut slow = gateway.connect();
        slow.send(format!("POST / HTTP/1.1\r\n{head}Content-Length: 5\r\n\r\nx"));
        assert_eq!(slow.answer().status, 408, "{kind}");
        // The same over HTTP/2, where calls could come from.
        let mut client = Http2::open(&gateway.address);
        let answer = client.get("/hangs", &[("content-type", kind)]);
        let status = answer.header("grpc-status").map_or(answer.status, |_| 504);
        assert_eq!(status, 504, "{kind}");
    }
}

#[test]
fn a_backend_that_takes_nothing_for_a_while_makes_no_upload_too_slow() {
    let upstream = Upstream::answering(|exchange| {
        std::thread::sleep(Duration::from_millis(1500));
        exchange.echo();
    });
    let gateway = gateway(&upstream, PACE, &[("/", "")]);
    let body = vec![b'x'; 16 << 20];
    let answer = gateway.connect().request("POST", "/", &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn what_the_parser_refuses_has_its_line_and_is_counted() {
    let gateway = gateway(&Upstream::new(), "", &[("/", "")]);
    let refused = "portcullis_rejections_total{route=\"\",reason=\"bad_request\"}";
    let malformed = "portcullis_connections_closed_total{cause=\"malformed\"}";
    let many = "X: y\r\n".repeat(200);
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\n".to_owned(), 400),
        ("\x16\x03\x01 no HTTP\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
    ];
    for (number, (request, status)) in (1_u32..).zip(&cases) {
        let mut client = gateway.connect();
        client.send(request);
        assert_eq!(client.answer().status, *status, "{request:?}");
        eventually("it is counted", || {
            (gateway.metric(refused) >= f64::from(number)).then_some(())
        });
        assert_eq!(gateway.metric(malformed), f64::from(number));
    }
    assert_eq!(gateway.metric("portcullis_shed_total{limit=\"headers\"}"), 1.0);
    let mut lines = eventually("each has its line", || {
        let lines = gateway.access_log();
        (lines.len() == cases.len()).then_some(lines)
    });
    // Each core writes its own ten times a second.
    lines.sort_by_key(|line| line["status"].as_u64());
    for (line, (_, status)) in lines.iter().zip(&cases) {
        assert_eq!(
            (&line["status"], &line["verdict"]),
            (&json!(status), &json!("refused")),
            "{line}"
        );
        assert_eq!(
            (&line["reason"], &line["client"]),
            (&json!("bad_request"), &json!("127.0.0.1"))
        );
    }
    // What is good is no refusal, and neither is a client that leaves.
    assert_eq!(gateway.get("/", &[]).status, 200);
    drop(gateway.connect());
    assert_eq!(gateway.metric(malformed), 4.0);
}

#[test]
fn where_memory_is_short_requests_are_turned_away_and_served_again_when_it_is_not() {
    let upstream = Upstream::new();
    let gateway = gateway(&upstream, "limits = { memory_max = \"1MiB\" }", &[("/", "")]);
    eventually("it is short", || (gateway.get("/", &[]).status == 503).then_some(()));
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("1MiB", "64GiB")).unwrap();
    gateway.admin().post("/v1/config/reload", &json!({}));
    eventually("it is enough", || (gateway.get("/", &[]).status == 200).then_some(()));
}

#[test]
fn timeouts_and_broken_beginnings_are_counted_by_their_cause() {
    let lines = "limits = { header_timeout = \"1s\", idle_timeout = \"1s\" }";
    let gateway = gateway(&Upstream::new(), lines, &[("/", "")]);
    let closed = |cause: &str| {
        gateway.metric(&format!("portcullis_connections_closed_total{{cause=\"{cause}\"}}"))
    };
    let mut idle = gateway.connect();
    assert_eq!(idle.get("/", &[]).status, 200);
    let mut slow = gateway.connect();
    slow.send("GET / HTTP/1.1\r\nHos");
    idle.assert_closed();
    slow.assert_closed();
    eventually("both are counted", || {
        ((closed("idle"), closed("header")) == (1.0, 1.0)).then_some(())
    });
}
