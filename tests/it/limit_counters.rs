//! Each limit that turns somebody away and each cause for which a connection is closed: provoked over
//! a real socket, and found in what Prometheus scrapes under its own name and no other.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Authority, Connection, Gateway, Issuer, Setup, Upstream, eventually};

const SHED: &str = "portcullis_shed_total";
const CLOSED: &str = "portcullis_connections_closed_total";

/// The labels of a counter and how often each was counted, in the order of the scrape.
fn counted(gateway: &Gateway, family: &str) -> Vec<(String, f64)> {
    let text = Connection::open(gateway.metrics_address()).get("/metrics", &[]).text();
    let series = text.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    let read = |line: &str| {
        let (labels, value) = line.split_once("} ").unwrap();
        (labels.split('"').nth(1).unwrap().to_owned(), value.parse().unwrap())
    };
    series.map(read).collect()
}

/// Exactly this was counted, so often.
#[track_caller]
fn only(gateway: &Gateway, family: &str, name: &str, times: f64) {
    let found = eventually("as many are counted", || {
        let mut found = counted(gateway, family);
        found.retain(|(_, value)| *value > 0.0);
        let sum: f64 = found.iter().map(|(_, value)| value).sum();
        (sum >= times).then_some(found)
    });
    assert_eq!(found, [(name.to_owned(), times)]);
}

/// Answers all requests but those to `/hold`, which wait until the gateway goes away.
fn holding() -> Upstream {
    Upstream::answering(|exchange| match exchange.received.target.as_str() {
        "/hold" => {
            exchange.connection.rest().ok();
            exchange.close();
        }
        _ => exchange.echo(),
    })
}

/// One limit, the lines that set it, and how somebody runs into it once.
struct Case {
    limit: &'static str,
    server: &'static str,
    upstream: &'static str,
    route: &'static str,
    status: u16,
    exceed: fn(&Gateway, &Upstream) -> u16,
}

/// While another request is at the backend.
fn beside_another(gateway: &Gateway, upstream: &Upstream) -> u16 {
    let begun = upstream.begun();
    let mut held = gateway.connect();
    held.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("one is under way", || (upstream.begun() > begun).then_some(()));
    gateway.get("/", &[]).status
}

fn of_size(gateway: &Gateway, bytes: usize) -> u16 {
    gateway.connect().request("POST", "/", &[], &vec![b'x'; bytes]).status
}

fn with_token(gateway: &Gateway, bytes: usize) -> u16 {
    gateway.get("/", &[("Authorization", &format!("Bearer {}", "x".repeat(bytes)))]).status
}

const CASES: [Case; 9] = [
    Case {
        limit: "requests",
        server: "threads = 1\nlimits.requests_max = 1",
        upstream: "",
        route: "",
        status: 503,
        exceed: beside_another,
    },
    Case {
        limit: "route_requests",
        server: "",
        upstream: "",
        route: "requests_max = 1",
        status: 503,
        exceed: beside_another,
    },
    Case {
        limit: "upstream_requests",
        server: "",
        upstream: "max_connections = 1\nqueue = { size = 0 }",
        route: "",
        status: 503,
        exceed: beside_another,
    },
    Case {
        limit: "headers",
        server: "limits.header_count_max = 8",
        upstream: "",
        route: "",
        status: 431,
        exceed: |gateway, _| gateway.get("/", &[("X-A", "b"); 20]).status,
    },
    Case {
        limit: "token_bytes",
        server: "limits.token_bytes_max = \"256B\"",
        upstream: "",
        route: "access = \"optional\"",
        status: 400,
        exceed: |gateway, _| {
            assert_eq!(with_token(gateway, 256), 401, "as long as it may be");
            with_token(gateway, 257)
        },
    },
    Case {
        limit: "failed_credentials",
        server: "limits.failed_credentials_per_minute = 1",
        upstream: "",
        route: "access = \"optional\"",
        status: 429,
        exceed: |gateway, _| {
            assert_eq!(with_token(gateway, 20), 401, "the first");
            with_token(gateway, 20)
        },
    },
    Case {
        limit: "body_bytes",
        server: "",
        upstream: "",
        route: "body_bytes_max = \"10B\"",
        status: 413,
        exceed: |gateway, _| {
            assert_eq!(of_size(gateway, 10), 200, "as long as it may be");
            of_size(gateway, 11)
        },
    },
    Case {
        limit: "body_time",
        server: "",
        upstream: "",
        route: "body_timeout = \"200ms\"",
        status: 408,
        exceed: |gateway, _| {
            let mut slow = gateway.connect();
            slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc");
            slow.answer().status
        },
    },
    Case {
        limit: "memory",
        server: "limits.memory_max = \"1MiB\"",
        upstream: "",
        route: "",
        status: 503,
        exceed: |_, _| unreachable!("nobody is served"),
    },
];

#[test]
fn each_limit_that_turns_somebody_away_is_counted_once_and_by_its_name() {
    for case in CASES {
        let upstream = holding();
        let public = if case.route.contains("access") { "" } else { "access = \"public\"\n" };
        let gateway = Setup::new()
            .server(case.server)
            .issuer(&Issuer::new("HS256"), "")
            .upstream("app", &upstream, case.upstream)
            .route("/", &format!("{public}{}", case.route))
            .metrics()
            .start();
        if case.limit == "memory" {
            // What waits at a listener is turned away there, under the name of its own limit.
            eventually("memory is short", || (gateway.get("/", &[]).status == 503).then_some(()));
            let names: BTreeSet<String> = counted(&gateway, SHED)
                .into_iter()
                .filter(|(_, n)| *n > 0.0)
                .map(|(n, _)| n)
                .collect();
            let known: BTreeSet<String> = ["connections", "memory"].map(String::from).into();
            assert!(!names.is_empty() && names.is_subset(&known), "{names:?}");
            continue;
        }
        assert_eq!(gateway.get("/", &[]).status, 200, "{}", case.limit);
        assert_eq!((case.exceed)(&gateway, &upstream), case.status, "{}", case.limit);
        only(&gateway, SHED, case.limit, 1.0);
    }
}

#[test]
fn every_name_of_a_limit_or_a_cause_stands_in_the_documentation_and_no_other() {
    let gateway = Setup::simple(&Issuer::new("HS256"), &Upstream::new()).metrics().start();
    let page = include_str!("../../docs/metrics.md");
    for family in [SHED, CLOSED] {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{family}`"))).unwrap();
        let told = row.splitn(3, ": ").nth(2).unwrap();
        let words: BTreeSet<&str> = told.split('`').skip(1).step_by(2).collect();
        let counted = counted(&gateway, family);
        let names: BTreeSet<&str> = counted.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(words, names, "{family}");
    }
}

#[test]
fn a_client_of_http_1_that_takes_nothing_of_its_answer_is_counted_as_stalled() {
    let upstream = Upstream::answering(|exchange| match exchange.received.target.as_str() {
        "/big" => exchange.answer("200 OK", "", vec![b'x'; 16 << 20]),
        _ => exchange.echo(),
    });
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .server("limits = { idle_timeout = \"8s\" }")
        .route("/", "access = \"public\"")
        .metrics()
        .start();
    assert_eq!(gateway.get("/big", &[]).body.len(), 16 << 20, "who takes it gets it");
    let mut stuck = gateway.connect();
    stuck.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    only(&gateway, CLOSED, "stalled", 1.0);
    assert!(stuck.answer_to("GET").is_err(), "it never looks whole");
}

#[test]
fn a_connection_that_gave_way_to_another_is_counted_as_room() {
    let gateway = Setup::simple(&Issuer::new("HS256"), &holding())
        .server("threads = 1\nlimits = { connections_max = 2 }")
        .route("/", "access = \"public\"")
        .metrics()
        .start();
    let mut idle = gateway.connect();
    assert_eq!(idle.get("/", &[]).status, 200);
    let mut held = gateway.connect();
    held.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    // It idles for a second before anybody may have its place.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(gateway.get("/", &[]).status, 200);
    idle.assert_closed();
    only(&gateway, CLOSED, "room", 1.0);
    assert!(counted(&gateway, SHED).iter().all(|(_, value)| *value == 0.0));
}

#[test]
fn handshakes_that_fail_or_do_not_end_are_counted_and_good_ones_are_not() {
    let authority = Authority::new();
    let setup = Setup::simple(&Issuer::new("HS256"), &Upstream::new())
        .server("tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]")
        .server("tls.handshake_timeout = \"3s\"")
        .route("/", "access = \"public\"")
        .metrics();
    authority.issue(&["a.example"]).write(setup.dir(), "a");
    let gateway = setup.start();
    let mut good = authority.client().connect(&gateway, "a.example").unwrap();
    assert_eq!(good.connection.get("/", &[]).status, 200);
    let count = || {
        let causes = counted(&gateway, CLOSED);
        causes.into_iter().find(|(cause, _)| cause == "handshake").unwrap().1
    };
    assert_eq!(count(), 0.0);
    let mut plain = gateway.connect();
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    plain.rest().ok();
    eventually("what is no TLS", || (count() == 1.0).then_some(()));
    let mut silent = gateway.connect();
    silent.send([0x16, 0x03, 0x01]);
    silent.assert_closed();
    eventually("what never ends", || (count() == 2.0).then_some(()));
    assert!(authority.client().alpn(&["spdy/3"]).connect(&gateway, "a.example").is_err());
    eventually("what agrees on no protocol", || (count() == 3.0).then_some(()));
    only(&gateway, CLOSED, "handshake", 3.0);
    assert_eq!(good.connection.get("/", &[]).status, 200);
}

#[test]
fn connections_without_the_header_of_a_proxy_are_counted_and_those_with_it_are_not() {
    let start = |listed: &str| {
        Setup::simple(&Issuer::new("HS256"), &Upstream::new())
            .server(&format!("proxy_protocol = [\"{listed}\"]"))
            .server("limits = { header_timeout = \"1s\" }")
            .route("/", "access = \"public\"")
            .metrics()
            .start()
    };
    const HEADER: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 443 80\r\n";
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let gateway = start("127.0.0.1");
    let mut good = gateway.connect();
    good.send(format!("{HEADER}{REQUEST}"));
    assert_eq!(good.answer().status, 200);
    for (times, beginning) in [(1.0, REQUEST), (2.0, "PROXY TCP4 1.2.3.4\r\n"), (3.0, "PROXY")] {
        let mut bad = gateway.connect();
        bad.send(beginning);
        assert!(bad.answer_to("GET").is_err());
        let closed = || counted(&gateway, CLOSED);
        let own = |(cause, count): &(String, f64)| cause == "proxy_protocol" && *count == times;
        eventually("it is counted", || closed().iter().any(own).then_some(()));
    }
    only(&gateway, CLOSED, "proxy_protocol", 3.0);
    let strict = start("10.0.0.0/8");
    let mut stranger = strict.connect();
    stranger.try_send(format!("{HEADER}{REQUEST}")).ok();
    assert!(stranger.answer_to("GET").is_err());
    only(&strict, CLOSED, "proxy_protocol", 1.0);
}
