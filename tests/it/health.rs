//! Servers that are asked whether they are well, and what people are told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::balancing::{before, quoted};
use crate::support::{Upstream, eventually};

/// A server whose health can be switched.
fn switched() -> (Upstream, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    let upstream = Upstream::answering(move |exchange| {
        let status = match exchange.received.target.as_str() {
            "/healthz" if !is_well.load(Ordering::SeqCst) => "500 Internal Server Error",
            _ => "200 OK",
        };
        exchange.answer(status, "", "");
    });
    (upstream, well)
}

fn requests(upstream: &Upstream) -> usize {
    upstream.received().iter().filter(|received| received.target == "/").count()
}

#[test]
fn a_server_that_is_down_gets_nothing_until_it_is_well_again_and_people_are_told() {
    let ((one, well), (two, _)) = (switched(), switched());
    let lines = "balance = \"round_robin\"\nhealth = { path = \"/healthz\", every = \"100ms\", timeout = \"20s\", unhealthy = 2, healthy = 2 }";
    let gateway = before(&[quoted(&one), quoted(&two)], lines);
    let state = |index: usize| {
        gateway.admin().get("/v1/upstreams")["items"][0]["servers"][index]["state"].clone()
    };
    eventually("both are up", || (state(0) == "up" && state(1) == "up").then_some(()));
    well.store(false, Ordering::SeqCst);
    gateway.stderr.find(|line| line.contains("a server is down").then_some(()));
    assert_eq!(state(0), "down");
    let before = requests(&one);
    let mut connection = gateway.connect();
    for _ in 0..10 {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    assert_eq!(requests(&one), before);
    let status = gateway.admin().get("/v1/status");
    assert_eq!(status["problems"][0]["code"], "server_down");
    let shown = gateway.command(&["status"], "");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("1 of 2 servers in use"), "{shown}");
    well.store(true, Ordering::SeqCst);
    gateway.stderr.find(|line| line.contains("a server is back").then_some(()));
    for _ in 0..4 {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    // The last one is recorded behind its answer.
    eventually("it has its half", || (requests(&one) == before + 2).then_some(()));
}

#[test]
fn when_all_are_down_requests_are_answered_503_and_nobody_is_asked() {
    let (one, well) = switched();
    well.store(false, Ordering::SeqCst);
    let (two, other) = switched();
    other.store(false, Ordering::SeqCst);
    let lines = "health = { path = \"/healthz\", every = \"100ms\", unhealthy = 1 }";
    let gateway = before(&[quoted(&one), quoted(&two)], lines);
    let answer = eventually("both are down", || {
        let answer = gateway.get("/", &[]);
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(answer.code(), "upstream_down");
    assert!(answer.header("retry-after").is_some());
    let status = gateway.admin().get("/v1/status");
    assert_eq!(status["problems"][0]["code"], "upstream_down");
}
