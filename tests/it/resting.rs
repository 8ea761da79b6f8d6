//! Connections that are idle for a while give back what is kept for them, and nobody can tell.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Authority, Gateway, Issuer, Setup, Upstream, eventually};

/// Longer than a connection is idle before it rests, which nothing outside shows: where a machine is
/// so slow that it does not rest by then, these tests see less and still hold.
const A_WHILE: Duration = Duration::from_millis(2500);

fn public(server: &str) -> Gateway {
    Setup::simple(&Issuer::new("HS256"), &Upstream::new())
        .server(server)
        .route("/", "access = \"public\"")
        .start()
}

#[test]
fn a_connection_that_rested_serves_on() {
    let gateway = public("");
    let mut used = gateway.connect();
    assert_eq!(used.get("/", &[]).status, 200);
    let mut unused = gateway.connect();
    for _ in 0..2 {
        std::thread::sleep(A_WHILE);
        for connection in [&mut used, &mut unused] {
            assert_eq!(connection.get("/", &[]).status, 200);
            assert_eq!(connection.get("/", &[]).status, 200);
        }
    }
}

#[test]
fn half_a_request_is_not_forgotten() {
    let gateway = public("");
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/", &[]).status, 200);
    connection.send("GET / HTTP/1.1\r\nHo");
    std::thread::sleep(A_WHILE);
    connection.send("st: a\r\n\r\nGET / HTTP/1.1\r\n");
    assert_eq!(connection.answer().status, 200);
    std::thread::sleep(A_WHILE);
    connection.send("Host: a\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
}

#[test]
fn a_body_whose_request_was_answered_before_it_came_is_never_read_as_a_request() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway =
        Setup::simple(&Issuer::new("HS256"), &upstream).route("/", "access = \"public\"").start();
    let mut connection = gateway.connect();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = smuggled.len();
    connection.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    assert_eq!(connection.answer().status, 202);
    std::thread::sleep(A_WHILE);
    connection.try_send(smuggled).ok();
    // Whether or not its connection is there still.
    assert!(!matches!(connection.try_get("/next"), Ok(answer) if answer.status != 202));
    assert!(upstream.received().iter().all(|received| received.target != "/smuggled"));
}

#[test]
fn many_idle_connections_take_little_memory() {
    const COUNT: u64 = 300;
    let gateway = public("threads = 1\nlimits.connections_per_address = 0");
    let open = |count: u64| {
        let opened: Vec<_> = (0..count).map(|_| gateway.connect()).collect();
        opened.into_iter().map(|mut connection| {
            assert_eq!(connection.get("/", &[]).status, 200);
            connection
        })
    };
    let _warm: Vec<_> = open(20).collect();
    std::thread::sleep(A_WHILE);
    let before = gateway.resident_kb();
    let _idle: Vec<_> = open(COUNT).collect();
    // hyper's buffer alone would be 8 KiB each.
    eventually("less than 6 KiB each", || {
        (gateway.resident_kb().saturating_sub(before) < 6 * COUNT).then_some(())
    });
}

#[test]
fn a_rested_connection_over_tls_serves_on() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example"]);
    let setup = Setup::simple(&Issuer::new("HS256"), &Upstream::new())
        .server("tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]")
        .route("/", "access = \"public\"");
    issued.write(setup.dir(), "a");
    let gateway = setup.start();
    let mut secured = authority.client().connect(&gateway, "a.example").unwrap();
    let connection = &mut secured.connection;
    for _ in 0..2 {
        std::thread::sleep(A_WHILE);
        assert_eq!(connection.get("/", &[("Host", "a.example")]).status, 200);
    }
}

#[test]
fn a_rested_connection_is_closed_when_the_gateway_ends_and_when_it_was_idle_for_too_long() {
    let mut gateway = public("");
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/", &[]).status, 200);
    std::thread::sleep(A_WHILE);
    gateway.signal(Signal::TERM);
    connection.assert_closed();
    assert_eq!(gateway.wait().code(), Some(0));

    let gateway = public("limits = { idle_timeout = \"4s\" }");
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/", &[]).status, 200);
    connection.assert_closed();
}
