//! Requests that are sent once more, and those that never are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::balancing::{before, nobody, quoted};
use crate::support::{Upstream, eventually};

/// Reads the request, perhaps acts, and says nothing.
fn mute() -> Upstream {
    Upstream::answering(|exchange| {
        exchange.read_body();
        exchange.close();
    })
}

#[test]
fn a_server_that_cannot_be_reached_costs_no_request_whatever_its_method() {
    let good = Upstream::new();
    let gateway = before(&[nobody(), quoted(&good)], "balance = \"round_robin\"");
    let mut connection = gateway.connect();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "POST", "GET", "POST"] {
        let answer = connection.request(method, "/", &[], b"body");
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.json()["body_bytes"], 4, "{method}: whole");
    }
    assert_eq!(good.begun(), 8);
}

#[test]
fn a_safe_request_without_an_answer_goes_to_another_server_and_only_once_to_each() {
    let (one, good) = (mute(), Upstream::new());
    let gateway = before(&[quoted(&one), quoted(&good)], "balance = \"round_robin\"");
    let mut connection = gateway.connect();
    for _ in 0..4 {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    assert_eq!((one.begun(), good.begun()), (2, 4));
}

#[test]
fn what_a_server_may_have_acted_upon_is_sent_to_no_other() {
    let (one, two) = (mute(), mute());
    let lines = "balance = \"round_robin\"\nejection = { failures = 0 }";
    let gateway = before(&[quoted(&one), quoted(&two)], lines);
    let mut connection = gateway.connect();
    for (number, method) in ["POST", "PUT", "PATCH", "DELETE"].into_iter().enumerate() {
        assert_eq!(connection.request(method, "/", &[], b"pay 10").status, 502, "{method}");
        assert_eq!(one.begun() + two.begun(), number + 1, "{method}");
    }
    // The same without a body: only the safe ones are repeated.
    assert_eq!(connection.request("DELETE", "/", &[], b"").status, 502);
    assert_eq!(one.begun() + two.begun(), 5);
    assert_eq!(connection.get("/", &[]).status, 502);
    assert_eq!(one.begun() + two.begun(), 7, "a GET is, and never twice to one server");
}

#[test]
fn idempotent_methods_are_repeated_where_the_config_says_so() {
    let (one, good) = (mute(), Upstream::new());
    let lines = "balance = \"round_robin\"\nretry = { idempotent = true }";
    let gateway = before(&[quoted(&one), quoted(&good)], lines);
    let mut connection = gateway.connect();
    assert_eq!(connection.request("DELETE", "/", &[], b"").status, 200);
    assert_eq!(connection.request("DELETE", "/", &[], b"").status, 200);
    assert_eq!((one.begun(), good.begun()), (1, 2));
    let refused = gateway.connect().request("POST", "/", &[], b"");
    let served = gateway.connect().request("POST", "/", &[], b"");
    let mut statuses = [refused.status, served.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502], "POST is not idempotent");
}

#[test]
fn retries_can_be_switched_off() {
    let (one, good) = (mute(), Upstream::new());
    let lines = "balance = \"round_robin\"\nretry = { attempts = 0 }";
    let gateway = before(&[quoted(&one), quoted(&good)], lines);
    let mut statuses = [gateway.get("/", &[]).status, gateway.get("/", &[]).status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[test]
fn an_answer_that_the_config_names_sends_a_safe_request_to_another_server() {
    let busy = Upstream::answering(|exchange| exchange.answer("503 Service Unavailable", "", "b"));
    let good = Upstream::new();
    let lines =
        "balance = \"round_robin\"\nejection = { failures = 0 }\nretry = { status = [503] }";
    let gateway = before(&[quoted(&busy), quoted(&good)], lines);
    let mut connection = gateway.connect();
    for _ in 0..4 {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    assert_eq!(busy.begun(), 2);
    let posts = (0..4).map(|_| connection.request("POST", "/", &[], b"x").status);
    assert_eq!(posts.filter(|status| *status == 503).count(), 2, "a POST gets what there is");
    let both = before(&[quoted(&busy), quoted(&busy_too())], lines);
    assert_eq!(both.get("/", &[]).status, 503, "the last answer is passed on");
}

fn busy_too() -> Upstream {
    Upstream::answering(|exchange| exchange.answer("503 Service Unavailable", "", "c"))
}

#[test]
fn a_timeout_is_not_repeated() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let slow = Upstream::answering(move |exchange| {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = held.lock().unwrap().recv();
        exchange.close();
    });
    let good = Upstream::new();
    let lines = "balance = \"round_robin\"\nresponse_timeout = \"2s\"";
    let gateway = before(&[quoted(&slow), quoted(&good)], lines);
    let mut statuses = [gateway.get("/", &[]).status, gateway.get("/", &[]).status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
    assert_eq!((begun.load(Ordering::SeqCst), good.begun()), (1, 1));
    drop(hold);
}

#[test]
fn repetitions_stay_within_the_budget() {
    let (one, two) = (mute(), mute());
    let lines = "ejection = { failures = 0 }\nretry = { budget_percent = 0, budget_min = 0 }";
    let gateway = before(&[quoted(&one), quoted(&two)], lines);
    for number in 1..=10 {
        assert_eq!(gateway.get("/", &[]).status, 502);
        eventually("counted", || (one.begun() + two.begun() == number).then_some(()));
    }
}
