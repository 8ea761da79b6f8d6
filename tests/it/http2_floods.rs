//! Floods of HTTP/2 frames that ask for nothing, and heads that unpack to a multiple of what they are:
//! bounded memory, one connection, and nobody else waits.

use std::time::{Duration, Instant};

use crate::http2_frames::{adds_at_most, closed, open, others_are_served};
use crate::http2_resets::slow;
use crate::support::frames::*;
use crate::support::{Authority, Connection, Frames, Gateway, Issuer, Setup, Upstream, eventually};

const TOO_LARGE: &str = "portcullis_shed_total{limit=\"headers\"}";
const FLOOD: &str = "portcullis_shed_total{limit=\"http2_flood\"}";

/// How long the slowest of some requests took, while a flood runs.
fn slowest(gateway: &Gateway) -> Duration {
    let mut connection = gateway.connect();
    let one = |_| {
        let began = Instant::now();
        assert_eq!(connection.get("/", &[]).status, 200);
        began.elapsed()
    };
    (0..10).map(one).max().unwrap()
}

#[test]
fn frames_that_ask_for_nothing_cost_no_memory_and_hold_nobody_up() {
    let gateway = open(&Upstream::new(), "");
    let window = |size: u32| settings_of(&[(INITIAL_WINDOW, size)]);
    let floods: [(&str, Vec<u8>); 8] = [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        (
            "windows to and fro",
            [frame(SETTINGS, 0, 0, &window(0)), frame(SETTINGS, 0, 0, &window(65_535))].concat(),
        ),
        // 3 waits for 5 and 5 for 3 (CVE-2019-9513), and streams that never come.
        (
            "PRIORITY in a circle",
            [
                frame(PRIORITY, 0, 3, &[0, 0, 0, 5, 1]),
                frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 1]),
                frame(PRIORITY, 0, 0x7fff_fff1, &[0x80, 0, 0, 3, 255]),
            ]
            .concat(),
        ),
        ("RST_STREAM of what has ended", frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())),
        ("WINDOW_UPDATE of what has ended", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("a kind that there is not", frame(0xbb, 0xff, 3, &[7; 8])),
        ("PING answers to nobody", frame(PING, ACK, 0, &[7; 8])),
    ];
    for (name, frames) in floods {
        let mut attacker = Frames::open(&gateway);
        attacker.get(1, "/");
        assert_eq!(attacker.outcome(1), Outcome::Good, "{name}");
        let read = attacker.drain();
        adds_at_most(16, &gateway, || {
            let piece = frames.repeat(64 * 1024 / frames.len());
            let flood = std::thread::spawn(move || {
                for _ in 0..16 {
                    attacker.try_send(&piece).unwrap();
                }
                // It is no offence, and the connection serves on.
                attacker.get(7, "/");
                attacker.finish();
            });
            let took = slowest(&gateway);
            assert!(took < Duration::from_secs(20), "{name}: {took:?}");
            flood.join().unwrap();
        });
        read.join().unwrap();
        others_are_served(&gateway);
    }
}

#[test]
fn who_floods_and_takes_nothing_is_stopped_by_his_own_socket_and_given_up() {
    let (upstream, _) = slow();
    let gateway = open(&upstream, "idle_timeout = \"1s\"");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let address: std::net::SocketAddr = gateway.address.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut attacker = Frames::open_with(Connection::accepted(socket.into()), &[]);
    // With something under way it does not idle, however long the flood takes to fill its socket.
    attacker.get(1, "/slow");
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(4096);
    adds_at_most(16, &gateway, || {
        let began = Instant::now();
        while attacker.try_send(&pings).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(60), "it is never given up");
        }
    });
    eventually("it is counted", || (closed(&gateway, "stalled") == 1.0).then_some(()));
    others_are_served(&gateway);
}

#[test]
fn a_connection_that_does_not_even_begin_is_given_up_early_and_one_that_did_may_wait() {
    let authority = Authority::new();
    let setup = Setup::simple(&Issuer::new("HS256"), &Upstream::new())
        .server("limits = { header_timeout = \"1s\", idle_timeout = \"1h\" }")
        .server("tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]")
        .metrics();
    authority.issue(&["a.example"]).write(setup.dir(), "a");
    let gateway = setup.start();
    let mut client = authority.client().alpn(&["h2"]);
    let mut secured = || client.connect(&gateway, "a.example").unwrap().connection;
    let begun = Frames::open_with(secured(), &[]);
    let mut silent = secured();
    silent.until_gone();
    eventually("it is counted", || (closed(&gateway, "header") == 1.0).then_some(()));
    let mut begun = begun;
    begun.get(1, "/");
    assert_eq!(begun.outcome(1), Outcome::Refused, "401: it is served");
}

#[test]
fn a_connection_that_only_pings_is_idle_and_is_told_before_it_is_closed() {
    let gateway = open(&Upstream::new(), "idle_timeout = \"3s\", header_timeout = \"3s\"");
    let mut attacker = Frames::open(&gateway);
    attacker.get(1, "/");
    assert_eq!(attacker.outcome(1), Outcome::Good);
    let mut told = None;
    loop {
        if attacker.try_send(&frame(PING, 0, 0, &[7; 8])).is_err() {
            break;
        }
        match attacker.next() {
            Ok(frame) if frame.kind == GOAWAY => told = Some(frame.code()),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    assert_eq!(told, Some(NO_ERROR));
    eventually("it is counted", || (closed(&gateway, "idle") == 1.0).then_some(()));
}

#[test]
fn a_head_that_unpacks_to_a_multiple_of_what_it_is_counts_by_what_it_unpacks_to() {
    let upstream = Upstream::new();
    let gateway = open(&upstream, "header_bytes_max = \"16KiB\"");
    let value = "x".repeat(3900);
    // A field that is remembered, then named again and again by one byte (section 6.1).
    let remembered = [&[0x40][..], &literal("x-bomb"), &literal(&value)].concat();
    let bomb = |times: usize| {
        let head = head("GET", "/", &[]);
        [&head[..], &remembered, &vec![0x80 | 62; times]].concat()
    };
    let mut client = Frames::open(&gateway);
    let mut ask = |stream: u32, times: usize| {
        client.send(HEADERS, END_STREAM | END_HEADERS, stream, &bomb(times));
        client.outcome(stream)
    };
    assert_eq!(ask(1, 2), Outcome::Good);
    let before = upstream.begun();
    for (stream, times) in [(3, 4), (5, 6), (7, 12)] {
        assert_eq!(ask(stream, times), Outcome::Refused, "{times} times");
    }
    assert_eq!(ask(9, 2), Outcome::Good, "what was remembered is sound");
    adds_at_most(16, &gateway, || {
        // 48 MB in a frame of 16 KB, then 8 such heads at once.
        for _ in 0..8 {
            let mut attacker = Frames::open(&gateway);
            attacker.send(HEADERS, END_STREAM | END_HEADERS, 1, &bomb(12_000));
            assert_eq!(attacker.ended(), Some(ENHANCE_YOUR_CALM));
        }
    });
    assert_eq!(upstream.begun(), before + 1);
    eventually("each is counted", || (gateway.metric(FLOOD) == 8.0).then_some(()));
    assert_eq!(gateway.metric(TOO_LARGE), 2.0);
    eventually("those that are not much too large have their line", || {
        let lines = gateway.access_log();
        let told = lines.iter().filter(|line| line["status"] == 431).count();
        (told == 2).then_some(())
    });
    others_are_served(&gateway);
}

#[test]
fn pieces_of_a_head_are_few_however_small_they_are() {
    let upstream = Upstream::new();
    let gateway = open(&upstream, "");
    let whole = head("GET", "/", &[]);
    let in_pieces = |client: &mut Frames, stream: u32, empty: usize| {
        let mut frames = frame(HEADERS, END_STREAM, stream, &whole[..10]);
        frames.extend(frame(CONTINUATION, 0, stream, &[]).repeat(empty));
        frames.extend(frame(CONTINUATION, END_HEADERS, stream, &whole[10..]));
        client.try_send(&frames).ok();
    };
    let mut client = Frames::open(&gateway);
    in_pieces(&mut client, 1, 3);
    assert_eq!(client.outcome(1), Outcome::Good);
    // CVE-2019-9518: pieces of nothing.
    in_pieces(&mut client, 3, 1000);
    assert_eq!(client.ended(), Some(ENHANCE_YOUR_CALM));
    assert_eq!(upstream.begun(), 1);
    eventually("it is counted", || (gateway.metric(FLOOD) == 1.0).then_some(()));
    // Heads of nothing are no requests, and neither are they free.
    let mut client = Frames::open(&gateway);
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, &[]);
    assert_eq!(client.outcome(1), Outcome::Reset(PROTOCOL_ERROR));
    let nothing = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &[]);
    let flood: Vec<u8> = (3..10_000).step_by(2).flat_map(nothing).collect();
    client.try_send(&flood).ok();
    assert_eq!(client.ended(), Some(ENHANCE_YOUR_CALM));
    others_are_served(&gateway);
}

#[test]
fn pieces_of_nothing_of_a_body_end_the_connection_and_small_ones_do_not() {
    let upstream = Upstream::new();
    let gateway = open(&upstream, "");
    let mut client = Frames::open(&gateway);
    client.post(1, "/", &[]);
    // One in a while is no flood.
    for _ in 0..50 {
        client.send(DATA, 0, 1, &[]);
        client.send(DATA, 0, 1, b"a small piece");
    }
    client.send(DATA, END_STREAM, 1, &[]);
    assert_eq!(client.outcome(1), Outcome::Good);
    assert_eq!(upstream.last().body.len(), 50 * 13);
    client.post(3, "/", &[]);
    let flood = frame(DATA, 0, 3, &[]).repeat(10_000);
    adds_at_most(16, &gateway, || drop(client.try_send(&flood)));
    assert_eq!(client.ended(), Some(ENHANCE_YOUR_CALM));
    others_are_served(&gateway);
}
