//! SIGTERM and SIGINT: what is in flight is finished, nothing new is begun, and it ends in time.

use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Gateway, Issuer, ReadError, Setup, Upstream, eventually};

/// A gateway whose upstream holds its answer back until the sender is used or dropped.
fn scene(server: &str) -> (Gateway, Upstream, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::answering(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        if released.lock().unwrap().recv().is_ok() {
            exchange.send("4\r\nlast\r\n0\r\n\r\n");
        }
        exchange.close();
    });
    let gateway = Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .server(server)
        .start();
    (gateway, upstream, release)
}

fn refuses_connections(gateway: &Gateway) {
    eventually("new connections are refused", || {
        TcpStream::connect(&gateway.address).is_err().then_some(())
    });
}

#[test]
fn a_request_in_flight_is_finished_and_the_process_ends_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut gateway, _, release) = scene("");
        let mut connection = gateway.connect();
        connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.through(b"first\r\n").unwrap();
        let mut idle = gateway.connect();
        gateway.signal(signal);
        refuses_connections(&gateway);
        // A connection on which nothing is under way is closed at once.
        idle.assert_closed();
        release.send(()).unwrap();
        connection.through(b"last\r\n0\r\n\r\n").unwrap();
        connection.assert_closed();
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

#[test]
fn the_deadline_ends_what_will_not_end_and_never_makes_it_look_whole() {
    let (mut gateway, _, release) = scene("drain_timeout = \"500ms\"");
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.through(b"first\r\n").unwrap();
    let started = Instant::now();
    gateway.signal(Signal::TERM);
    gateway.wait();
    assert!(started.elapsed() >= Duration::from_millis(490), "not before the deadline");
    match connection.through(b"0\r\n\r\n") {
        Err(ReadError::Closed | ReadError::Broken(_)) => {}
        other => panic!("a broken answer looks whole: {other:?}"),
    }
    drop(release);
}

#[test]
fn an_idle_gateway_ends_at_once() {
    let (mut gateway, _, _release) = scene("drain_timeout = \"30s\"");
    let started = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn before_it_drains_it_is_not_ready_and_serves_whoever_still_comes() {
    let (mut gateway, _, release) = scene("drain_delay = \"1h\"");
    let readiness = || gateway.admin().call("GET", "/readyz", None).status;
    let mut kept = gateway.connect();
    let mut ask = |gateway: &Gateway| {
        for connection in [&mut kept, &mut gateway.connect()] {
            connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            release.send(()).unwrap();
            assert_eq!(connection.answer().body, b"firstlast");
        }
    };
    assert_eq!(readiness(), 200);
    ask(&gateway);
    gateway.signal(Signal::TERM);
    eventually("readiness goes first", || (readiness() == 503).then_some(()));
    ask(&gateway);
    assert_eq!(readiness(), 503);
    // Whoever will not wait says so once more.
    gateway.signal(Signal::TERM);
    assert!(!gateway.wait().success());
}

#[test]
fn after_the_delay_it_drains_as_ever() {
    let (mut gateway, _, release) = scene("drain_delay = \"1s\"");
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.through(b"first\r\n").unwrap();
    let started = Instant::now();
    gateway.signal(Signal::TERM);
    refuses_connections(&gateway);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    release.send(()).unwrap();
    connection.through(b"last\r\n0\r\n\r\n").unwrap();
    assert_eq!(gateway.wait().code(), Some(0));
}
