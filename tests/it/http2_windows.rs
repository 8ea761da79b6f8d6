//! Windows of HTTP/2: of nothing, of a byte, and those that come back; and many small messages, which
//! are no flood.

use std::time::Duration;

use crate::http2_frames::{adds_at_most, closed, open, others_are_served};
use crate::support::frames::*;
use crate::support::{Frames, Issuer, Setup, Upstream, eventually};

#[test]
fn a_client_that_opens_no_window_or_one_of_a_byte_holds_bounded_memory_and_for_so_long() {
    let body = "x".repeat(4 << 20);
    let upstream = Upstream::answering(move |exchange| {
        let body = if exchange.received.target == "/large" { &body } else { "small" };
        exchange.answer("200 OK", "", body);
    });
    let gateway = open(&upstream, "idle_timeout = \"2s\"");
    let mut given_up = 0.0;
    for window in [0, 1] {
        let mut attacker = Frames::open_with(gateway.connect(), &[(INITIAL_WINDOW, window)]);
        adds_at_most(24, &gateway, || {
            for stream in (1..=40).step_by(2) {
                attacker.get(stream, "/large");
                assert_eq!(attacker.outcome(stream), Outcome::Good, "its head needs no window");
            }
            given_up += 20.0;
            eventually("all are given up", || {
                (closed(&gateway, "stalled") == given_up).then_some(())
            });
        });
        attacker.get(41, "/");
        attacker.send(WINDOW_UPDATE, 0, 41, &100_u32.to_be_bytes());
        assert_eq!(attacker.outcome(41), Outcome::Good);
    }
    others_are_served(&gateway);
}

#[test]
fn an_answer_that_is_taken_byte_by_byte_is_the_same_answer() {
    let upstream = Upstream::answering(|exchange| exchange.answer("200 OK", "", "0123456789"));
    let gateway = open(&upstream, "");
    let mut client = Frames::open_with(gateway.connect(), &[(INITIAL_WINDOW, 0)]);
    client.get(1, "/");
    assert_eq!(client.outcome(1), Outcome::Good);
    let mut body = Vec::new();
    while body.len() < 10 {
        client.send(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
        let data = loop {
            let frame = client.next().unwrap();
            if frame.kind == DATA && !frame.payload.is_empty() {
                break frame.payload;
            }
        };
        assert_eq!(data.len(), 1);
        body.extend(data);
    }
    assert_eq!(body, b"0123456789");
    // Windows that shrink below zero and come back (section 6.9.2).
    client.get(3, "/");
    assert_eq!(client.outcome(3), Outcome::Good);
    client.send(WINDOW_UPDATE, 0, 3, &5_u32.to_be_bytes());
    for size in [100, 0, 1 << 20, 0, 5] {
        client.send(SETTINGS, 0, 0, &settings_of(&[(INITIAL_WINDOW, size)]));
    }
    client.get(5, "/");
    assert_eq!(client.outcome(5), Outcome::Good);
}

#[test]
fn whoever_takes_no_refusal_keeps_no_place_at_the_route() {
    let (issuer, upstream) = (Issuer::new("HS256"), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream)
        .server("threads = 1")
        .route("/", "requests_max = 1")
        .start();
    let mut stranger = Frames::open_with(gateway.connect(), &[(INITIAL_WINDOW, 0)]);
    for stream in [1, 3, 5] {
        stranger.get(stream, "/");
        assert_eq!(stranger.outcome(stream), Outcome::Refused, "its head needs no window");
    }
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    assert_eq!(gateway.get("/", &[("Authorization", &bearer)]).status, 200);
}

#[test]
fn uploads_that_were_refused_take_no_window_from_those_that_come() {
    let (issuer, upstream) = (Issuer::new("HS256"), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream)
        .server("threads = 1")
        .route("/open", "access = \"public\"")
        .route("/", "")
        .start();
    let mut client = Frames::open(&gateway);
    // A hundred refused uploads of 48 KB: together more than any window of the connection.
    for stream in (1..200).step_by(2) {
        client.post(stream, "/closed", &[]);
        for _ in 0..3 {
            client.send(DATA, 0, stream, &[b'x'; 16_000]);
        }
        assert_eq!(client.outcome(stream), Outcome::Refused);
    }
    client.post(201, "/open", &[]);
    let (mut window, mut sent) = (65_535_i64, 0);
    while sent < 4_000_000 {
        if window < 16_000 {
            let frame = client.next().expect("a window for a good upload");
            if frame.kind == WINDOW_UPDATE && frame.stream == 201 {
                window += i64::from(frame.code());
            }
            continue;
        }
        client.send(DATA, 0, 201, &[b'x'; 16_000]);
        (window, sent) = (window - 16_000, sent + 16_000);
    }
    client.send(DATA, END_STREAM, 201, &[]);
    assert_eq!(client.outcome(201), Outcome::Good);
    assert_eq!(upstream.last().body.len(), sent);
}

#[test]
fn many_small_messages_that_wait_for_a_slow_backend_are_no_flood() {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.method == "POST" {
            std::thread::sleep(Duration::from_millis(500));
        }
        exchange.echo();
    });
    let gateway = open(&upstream, "");
    let mut client = Frames::open(&gateway);
    client.get(1, "/");
    assert_eq!(client.outcome(1), Outcome::Good);
    for stream in [3, 5, 7] {
        client.post(stream, "/", &[]);
        // As much as fits into the window that a client begins with, in one go.
        client.try_send(&frame(DATA, 0, stream, b"a message").repeat(7_000)).ok();
        client.try_send(&frame(DATA, END_STREAM, stream, &[])).ok();
        assert_eq!(client.outcome(stream), Outcome::Good);
        assert_eq!(upstream.last().body.len(), 7_000 * 9);
    }
}
