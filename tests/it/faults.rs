//! What happens when one side breaks off: the other learns of it, nothing that is half looks whole,
//! and nobody else notices.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{Gateway, Issuer, PATIENCE, ReadError, Setup, Upstream, eventually, nobody};

/// A public route, since nothing here is about tokens.
fn open_gateway(upstream: &Upstream) -> Gateway {
    open_gateway_with(upstream, "")
}

fn open_gateway_with(upstream: &Upstream, upstream_lines: &str) -> Gateway {
    Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream("app", upstream, upstream_lines)
        .route("/", "access = \"public\"")
        .start()
}

#[test]
fn an_upstream_that_is_down_is_502() {
    let free = nobody();
    let gateway = Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at("app", &format!("http://{free}"), "")
        .route("/", "access = \"public\"")
        .start();
    let mut connection = gateway.connect();
    let answer = connection.get("/", &[]);
    assert_eq!(answer.status, 502);
    assert!(!answer.code().is_empty());
    assert!(!answer.text().contains(&free.to_string()), "no inner address: {}", answer.text());
    assert_eq!(connection.get("/", &[]).status, 502, "the connection goes on");
}

#[test]
fn an_upstream_that_breaks_off_before_its_answer_is_502() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target == "/garbage" {
            exchange.send("SSH-2.0-OpenSSH_9.2\r\n\r\n");
        }
        exchange.close();
    });
    let gateway = open_gateway(&upstream);
    assert_eq!(gateway.get("/nothing", &[]).status, 502);
    assert_eq!(gateway.get("/garbage", &[]).status, 502);
    assert_eq!(gateway.connect().request("POST", "/nothing", &[], b"body").status, 502);
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    let upstream = Upstream::answering(|exchange| {
        match exchange.received.target.as_str() {
            "/length" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
            _ => {
                exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            }
        }
        exchange.close();
    });
    let gateway = open_gateway(&upstream);
    for target in ["/length", "/chunked"] {
        let mut connection = gateway.connect();
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = connection.answer_to("GET");
        assert!(
            matches!(answer, Err(ReadError::Broken(_) | ReadError::Closed)),
            "{target}: {answer:?}"
        );
    }
}

#[test]
fn an_upstream_that_does_not_answer_is_504() {
    let (done, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |exchange| {
        let _ = wait.lock().unwrap().recv();
        exchange.close();
    });
    let gateway = open_gateway_with(&upstream, "response_timeout = \"300ms\"");
    let started = Instant::now();
    let answer = gateway.get("/", &[]);
    assert_eq!(answer.status, 504);
    assert!(started.elapsed() >= Duration::from_millis(290), "not before its time");
    drop(done);
}

#[test]
fn a_long_upload_is_no_slow_answer_and_a_stalled_one_is() {
    let upstream = Upstream::new();
    let gateway = open_gateway_with(&upstream, "response_timeout = \"3s\"");
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n";
    let mut steady = gateway.connect();
    steady.send(head);
    for byte in b"12345678" {
        // The pace is the test's input, not a wait for luck: more than the timeout in all.
        std::thread::sleep(Duration::from_millis(500));
        steady.send([*byte]);
    }
    assert_eq!(steady.answer().status, 200);
    let mut stalled = gateway.connect();
    stalled.send(format!("{head}1234"));
    assert_eq!(stalled.answer().code(), "body_timeout");
}

#[test]
fn an_answer_is_waited_for_from_the_last_byte_of_the_request_and_no_longer() {
    let upstream = Upstream::answering(|exchange| {
        exchange.read_body();
        exchange.connection.rest().ok();
        exchange.close();
    });
    let gateway = open_gateway_with(&upstream, "response_timeout = \"2s\"");
    for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        // A machine that is slow for a moment is no fault; twice its time would be each time's.
        eventually("an answer before twice its time", || {
            let started = Instant::now();
            let mut client = gateway.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
            assert_eq!(client.answer().status, 504);
            (started.elapsed() < Duration::from_millis(3800)).then_some(())
        });
    }
}

#[test]
fn a_client_that_leaves_mid_body_ends_the_upstream_request_and_nobody_elses() {
    let upstream = Upstream::new();
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nonly this");
    eventually("the head arrives", || (upstream.begun() == 1).then_some(()));
    drop(connection);
    let received = eventually("the backend notices", || upstream.received().first().cloned());
    assert!(!received.complete, "the half is not passed off as whole");
    assert_eq!(gateway.get("/", &[]).status, 200);
}

#[test]
fn a_client_that_leaves_mid_download_frees_the_upstream_connection() {
    let (gone, is_gone) = mpsc::channel::<()>();
    let upstream = Upstream::answering(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while exchange.connection.try_send("5\r\nhello\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = gone.send(());
        exchange.close();
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.through(b"hello").unwrap();
    drop(connection);
    is_gone.recv_timeout(PATIENCE).expect("the backend can stop sending");
}

#[test]
fn a_safe_request_on_a_connection_that_the_upstream_closed_is_sent_once_more() {
    let upstream = Upstream::answering(|exchange| {
        exchange.answer("200 OK", "", "once");
        exchange.close();
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    for number in 0..30 {
        let method = if number % 2 == 0 { "GET" } else { "HEAD" };
        let answer = connection.request(method, "/", &[], b"");
        assert_eq!(answer.status, 200, "request {number}");
    }
}

#[test]
fn a_request_that_may_have_been_acted_upon_is_never_sent_twice() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.method == "GET" {
            exchange.answer("200 OK", "", "ok");
        } else {
            // It was read and may have been acted upon; there is no answer.
            exchange.read_body();
            exchange.close();
        }
    });
    let gateway = open_gateway(&upstream);
    let mut connection = gateway.connect();
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        // A pooled connection, the case in which a repetition would be tempting.
        assert_eq!(connection.get("/", &[]).status, 200);
        let before = upstream.begun();
        assert_eq!(connection.request(method, "/", &[], b"pay 10").status, 502, "{method}");
        assert_eq!(upstream.begun(), before + 1, "{method}");
    }
}
