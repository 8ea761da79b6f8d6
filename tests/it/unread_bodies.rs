//! A request that is answered before its body was read, over HTTP/1.1: the connection goes on where
//! little is left, and the answer says so where it ends. A proxy in front that keeps its connections
//! must never find one closed without a word.

use crate::support::{Connection, Gateway, Issuer, Setup, Upstream};

fn head(target: &str, length: usize, more: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n")
}

fn scene(upstream: &Upstream) -> (Gateway, Issuer) {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, upstream)
        .server("ready_path = \"/.ready\"")
        .route("/", "")
        .tables(
            "[[route]]\npath = \"/fixed\"\naccess = \"public\"\nanswer = { body = \"ok\" }\n\
             [[route]]\npath = \"/moved\"\naccess = \"public\"\nredirect = { to = \"/\", status = 308 }",
        )
        .start();
    (gateway, issuer)
}

#[track_caller]
fn is_told_the_end(connection: &mut Connection, status: u16) {
    let answer = connection.answer();
    assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
    assert!(answer.informational.is_empty());
    connection.assert_closed();
}

#[test]
fn a_refused_request_whose_body_is_little_costs_no_connection() {
    let upstream = Upstream::new();
    let (gateway, issuer) = scene(&upstream);
    let mut connection = gateway.connect();
    for (target, status) in
        [("/", 401), ("/fixed", 200), ("/moved", 308), ("/.auth/nothing", 404), ("/.auth/me", 405)]
    {
        for length in [5, 60_000] {
            connection.send(head(target, length, ""));
            // In pieces behind the head, the last of which looks like a request.
            let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
            let mut body = "x".repeat(length.saturating_sub(smuggled.len())) + smuggled;
            body.truncate(length);
            let (one, two) = body.split_at(length / 2);
            connection.send(one);
            connection.send(two);
            let answer = connection.answer();
            assert_eq!((answer.status, answer.header("connection")), (status, None), "{target}");
        }
    }
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    assert_eq!(connection.get("/last", &[("Authorization", &bearer)]).status, 200);
    assert_eq!(upstream.last().target, "/last");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn who_is_refused_and_withholds_a_body_keeps_no_place_at_the_route() {
    let upstream = Upstream::new();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream)
        .server("threads = 1")
        .route("/", "requests_max = 1")
        .route("/open", "access = \"public\"")
        .start();
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let mut good = gateway.connect();
    for _ in 0..5 {
        let mut refused = gateway.connect();
        assert_eq!(refused.get("/open", &[]).status, 200, "it is at its core");
        refused.send(head("/", 1000, ""));
        // One core serves all of them in turn: by then it has seen the one that was sent before.
        assert_eq!(good.get("/open", &[]).status, 200);
        assert_eq!(good.get("/", &[("Authorization", &bearer)]).status, 200);
        is_told_the_end(&mut refused, 401);
    }
}

#[test]
fn where_much_is_left_or_never_comes_the_answer_says_that_it_is_the_last() {
    let (gateway, _) = scene(&Upstream::new());
    for (target, length, more, sent, status) in [
        ("/", 10_000_000, "", 100_000, 401),
        ("/", 5, "", 2, 401),
        ("/fixed", 70_000, "", 10, 200),
        // To read it would be to ask for it.
        ("/", 5, "Expect: 100-continue\r\n", 0, 401),
        // Answered before anything of the request was looked at.
        ("/a/../b", 5, "", 5, 400),
        ("/.ready", 5, "", 5, 405),
    ] {
        let mut connection = gateway.connect();
        connection.send(head(target, length, more));
        connection.try_send("x".repeat(sent)).ok();
        is_told_the_end(&mut connection, status);
    }
}
