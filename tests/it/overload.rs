//! More clients than there is room for: who idles gives way, who comes is told so at once, and one
//! address cannot take every place.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::support::{
    Connection, Gateway, Issuer, ReadError, Setup, Upstream, eventually, program, run_to_end,
};

const SHED: &str = "portcullis_shed_total{limit=\"connections\"}";
const OF_ADDRESS: &str = "portcullis_shed_total{limit=\"connections_per_address\"}";

fn open_route(upstream: &Upstream, server: &str) -> Setup {
    Setup::simple(&Issuer::new("HS256"), upstream)
        .server(server)
        .route("/", "access = \"public\"")
        .metrics()
}

/// An upstream that switches, or echoes.
fn backend() -> Upstream {
    Upstream::answering(|exchange| {
        if exchange.received.header("upgrade").is_some() {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            exchange.connection.rest().ok();
            exchange.close();
        } else {
            exchange.echo();
        }
    })
}

fn tunnel(gateway: &Gateway) -> Connection {
    try_tunnel(gateway).expect("there is room")
}

fn try_tunnel(gateway: &Gateway) -> Option<Connection> {
    let mut connection = gateway.connect();
    connection.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    (connection.head().ok()?.0 == 101).then_some(connection)
}

#[test]
fn where_there_is_no_room_the_connection_that_idles_longest_gives_way() {
    let upstream = backend();
    let gateway = open_route(&upstream, "threads = 1\nlimits = { connections_max = 3 }").start();
    let mut oldest = gateway.connect();
    assert_eq!(oldest.get("/", &[]).status, 200);
    let busy = tunnel(&gateway);
    let mut younger = gateway.connect();
    let began = Instant::now();
    // It is used all the time, so that the other is always the one that idles longest.
    while began.elapsed() < Duration::from_millis(1100) {
        assert_eq!(younger.get("/", &[]).status, 200);
    }
    assert_eq!(gateway.get("/", &[]).status, 200, "there was room");
    oldest.assert_closed();
    assert_eq!(younger.get("/", &[]).status, 200);
    assert_eq!(gateway.metric(SHED), 0.0);
    drop(busy);
}

#[test]
fn where_nobody_idles_a_newcomer_is_told_so_at_once_and_counted() {
    let upstream = backend();
    let gateway = open_route(&upstream, "limits = { connections_max = 2 }").start();
    let (first, _second) = (tunnel(&gateway), tunnel(&gateway));
    for turn in 1..=3 {
        let answer = gateway.get("/", &[]);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(answer.code(), "overloaded");
        eventually("it is counted", || (gateway.metric(SHED) == f64::from(turn)).then_some(()));
    }
    drop(first);
    eventually("there is room again", || (gateway.get("/", &[]).status == 200).then_some(()));
    let tells = |line: &str| line.contains("turned away").then_some(());
    gateway.stderr.find(tells);
    let told = gateway.stderr.all().iter().filter(|line| tells(line).is_some()).count();
    assert_eq!(told, 1, "one line a minute");
}

#[test]
fn all_open_files_that_may_be_had_are_asked_for_and_connections_are_no_more_than_they_allow() {
    let upstream = backend();
    let setup = open_route(&upstream, "limits = { connections_max = 1000 }");
    let gateway = setup.open_files(100, 200).start();
    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid().as_raw_nonzero()));
    let files = limits.unwrap();
    let files = files.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
    let files: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(files, ["200", "200"]);
    let shown = gateway.admin().get("/v1/config").to_string();
    assert!(shown.contains("\"connections_max\":75"), "{shown}");
    gateway.stderr.find(|line| line.contains("\"connections_max\":75").then_some(()));
    let mut command = std::process::Command::new("/bin/sh");
    let script = "ulimit -n 200 && exec \"$0\" \"$@\"";
    command.arg("-c").arg(script).arg(program().get_program()).arg("check").arg("-c");
    let checked = run_to_end(command.arg(gateway.config()));
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains("75 connections"), "{text}");
}

/// From here on it can open no more than it has open; what it was allowed before.
fn no_more_files(gateway: &Gateway) -> Rlimit {
    let (pid, whole) = (gateway.pid(), getrlimit(Resource::Nofile));
    let open: HashSet<u64> = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
        .unwrap()
        .map(|one| one.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    // A process may inherit files of high numbers; the next that it opens has the lowest free one.
    let next = (0..).find(|number| !open.contains(number));
    let few = Rlimit { current: next, maximum: whole.maximum };
    prlimit(Some(pid), Resource::Nofile, few).unwrap();
    whole
}

#[test]
fn connections_that_idle_at_one_server_give_way_to_a_request_for_another() {
    let (one, other) = (backend(), backend());
    let gateway = open_route(&one, "threads = 1")
        .upstream("other", &other, "")
        .route("/other", "access = \"public\"\nupstream = \"other\"")
        .start();
    let mut client = gateway.connect();
    assert_eq!(client.get("/.auth/nothing", &[]).status, 404);
    let whole = no_more_files(&gateway);
    let answer = client.get("/other", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "nothing idles");
    prlimit(Some(gateway.pid()), Resource::Nofile, whole).unwrap();
    assert_eq!(client.get("/", &[]).status, 200);
    no_more_files(&gateway);
    for target in ["/other", "/", "/other"] {
        assert_eq!(client.get(target, &[]).status, 200);
    }
    assert_eq!((one.connections(), other.connections()), (2, 2));
}

#[test]
fn without_open_files_newcomers_are_turned_away_and_the_log_is_not_filled() {
    let upstream = backend();
    let gateway = open_route(&upstream, "").start();
    let mut before = gateway.connect();
    assert_eq!(before.get("/", &[]).status, 200);
    let whole = no_more_files(&gateway);
    for _ in 0..20 {
        match gateway.connect().try_get("/") {
            Ok(answer) => assert_eq!(answer.status, 503),
            Err(ReadError::Closed | ReadError::Broken(_)) => {}
            Err(other) => panic!("neither turned away nor served: {other:?}"),
        }
    }
    assert_eq!(before.get("/", &[]).status, 200, "who is there is served");
    let tells = |line: &str| line.contains("turned away").then_some(());
    gateway.stderr.find(tells);
    let told = gateway.stderr.all();
    let warnings = told.iter().filter(|line| line.contains("WARN"));
    assert_eq!(warnings.count(), 1, "{told:#?}");
    prlimit(Some(gateway.pid()), Resource::Nofile, whole).unwrap();
    eventually("served again", || {
        let answer = gateway.connect().try_get("/").ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn one_address_has_so_many_connections_and_another_is_served_meanwhile() {
    let upstream = backend();
    let lines = "limits = { connections_per_address = 2 }";
    let gateway = open_route(&upstream, lines).start();
    let (first, mut second) = (gateway.connect(), gateway.connect());
    assert_eq!(second.get("/", &[]).status, 200);
    drop(first);
    let tunnel = eventually("the place comes back", || try_tunnel(&gateway));
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "a tunnel counts");
    assert_eq!(Connection::open_from("127.0.0.2", &gateway.address).get("/", &[]).status, 200);
    assert!(gateway.metric(OF_ADDRESS) >= 1.0);
    drop(tunnel);
    eventually("and its place comes back", || {
        let answer = gateway.connect().try_get("/").ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn behind_a_proxy_its_clients_count_and_a_trusted_one_does_not() {
    let upstream = backend();
    let lines = "limits = { connections_per_address = 1 }\nproxy_protocol = [\"127.0.0.1\"]";
    let gateway = open_route(&upstream, lines).start();
    let from = |client: &str| {
        let mut connection = gateway.connect();
        connection.send(format!("PROXY TCP4 {client} 10.0.0.1 443 80\r\n"));
        connection
    };
    let mut one = from("192.0.2.7");
    assert_eq!(one.get("/", &[]).status, 200);
    assert!(from("192.0.2.7").try_get("/").is_err(), "the second of one client");
    assert_eq!(from("192.0.2.8").get("/", &[]).status, 200);
    let lines = "limits = { connections_per_address = 1 }\ntrusted_proxies = [\"127.0.0.1\"]";
    let gateway = open_route(&upstream, lines).start();
    let mut all: Vec<Connection> = (0..5).map(|_| gateway.connect()).collect();
    assert!(all.iter_mut().all(|connection| connection.get("/", &[]).status == 200));
}
