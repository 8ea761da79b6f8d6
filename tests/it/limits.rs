//! How much and how long: bodies, answers, requests in flight.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Gateway, Issuer, Setup, Upstream, eventually};

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
    let setup = Setup::simple(&Issuer::new("ES256"), upstream).server(server);
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
    let gateway = gateway(&upstream, "", &[("/", "body_timeout = \"300ms\"")]);
    let mut quick = gateway.connect();
    quick.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    quick.send("cd");
    assert_eq!(quick.answer().status, 200);
    let mut slow = gateway.connect();
    let began = Instant::now();
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc");
    let refused = slow.answer();
    assert_eq!((refused.status, refused.code().as_str()), (408, "body_timeout"));
    assert!(began.elapsed() >= Duration::from_millis(300));
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
    let gateway = gateway(&upstream, "", &[("/", ""), ("/quick/", "timeout = \"200ms\"")]);
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
