//! HTTP/2 frame by frame, as no library would write it: what breaks the protocol ends its connection
//! with the reason, what says two things is refused, and neither costs anybody else anything.

use std::time::Duration;

use crate::support::frames::*;
use crate::support::{Frames, Gateway, Issuer, Setup, Upstream, eventually};

/// Open to everybody, on one core, so that whoever holds it up holds up all.
pub fn open(upstream: &Upstream, limits: &str) -> Gateway {
    Setup::simple(&Issuer::new("HS256"), upstream)
        .server(&format!("threads = 1\nlimits = {{ {limits} }}"))
        .route("/", "access = \"public\"")
        .metrics()
        .start()
}

pub fn closed(gateway: &Gateway, cause: &str) -> f64 {
    gateway.metric(&format!("portcullis_connections_closed_total{{cause=\"{cause}\"}}"))
}

/// Everybody else is served.
#[track_caller]
pub fn others_are_served(gateway: &Gateway) {
    let mut other = Frames::open(gateway);
    other.get(1, "/");
    assert_eq!(other.outcome(1), Outcome::Good);
    assert_eq!(gateway.get("/", &[]).status, 200);
}

/// What an attack adds to the most memory that the process ever had.
#[track_caller]
pub fn adds_at_most(megabytes: u64, gateway: &Gateway, attack: impl FnOnce()) {
    let before = gateway.peak_kb();
    attack();
    let grown = gateway.peak_kb().saturating_sub(before);
    assert!(grown < megabytes * 1024, "{grown} kB");
}

/// What breaks the protocol, and how its connection ends.
fn broken() -> Vec<(&'static str, Vec<u8>, &'static [u32])> {
    let get = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", "/", &[]));
    let block = |bytes: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 3, bytes);
    let setting = |id, value| frame(SETTINGS, 0, 0, &settings_of(&[(id, value)]));
    let begun = || frame(HEADERS, END_STREAM, 3, &head("GET", "/", &[]));
    let most = &0x7fff_ffff_u32.to_be_bytes();
    let protocol = &[PROTOCOL_ERROR][..];
    let size = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR][..];
    let compression = &[COMPRESSION_ERROR, PROTOCOL_ERROR][..];
    vec![
        ("a window grows by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), protocol),
        (
            "the connection's window overflows",
            frame(WINDOW_UPDATE, 0, 0, most),
            &[FLOW_CONTROL_ERROR],
        ),
        ("WINDOW_UPDATE of a stream that is to come", frame(WINDOW_UPDATE, 0, 9, most), protocol),
        ("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), size),
        (
            "a first window of 2^31",
            setting(INITIAL_WINDOW, 1 << 31),
            &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR],
        ),
        ("frames of one byte", setting(5, 1), protocol),
        ("ENABLE_PUSH is neither", setting(2, 2), protocol),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5]), size),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 3, &[]), protocol),
        ("acknowledged with content", frame(SETTINGS, ACK, 0, &[0; 6]), size),
        ("acknowledged twice", frame(SETTINGS, ACK, 0, &[]).repeat(3), protocol),
        ("PING of 7 bytes", frame(PING, 0, 0, &[0; 7]), size),
        ("PING of a stream", frame(PING, 0, 3, &[0; 8]), protocol),
        ("DATA of no stream", frame(DATA, 0, 0, b"x"), protocol),
        ("DATA of a stream that is to come", frame(DATA, 0, 9, b"x"), protocol),
        ("HEADERS of no stream", [&get(0)[..]].concat(), protocol),
        ("a stream of the server's", get(2), protocol),
        ("a stream that went by", [get(7), get(5)].concat(), protocol),
        ("RST_STREAM of no stream", frame(RST_STREAM, 0, 0, &[0; 4]), protocol),
        ("RST_STREAM of a stream that is to come", frame(RST_STREAM, 0, 9, &[0; 4]), protocol),
        ("RST_STREAM of 3 bytes", frame(RST_STREAM, 0, 1, &[0; 3]), size),
        (
            "a client that pushes",
            frame(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&[0, 0, 0, 2][..], &head("GET", "/", &[])].concat(),
            ),
            protocol,
        ),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 3, &[0x82]), protocol),
        (
            "CONTINUATION of another",
            [begun(), frame(CONTINUATION, END_HEADERS, 5, &[0x82])].concat(),
            protocol,
        ),
        ("a frame within a head", [begun(), frame(PING, 0, 0, &[0; 8])].concat(), protocol),
        ("more padding than there is", frame(DATA, PADDED, 1, &[200, 1, 2]), protocol),
        (
            "a head with more padding than there is",
            frame(HEADERS, PADDED | END_HEADERS, 3, &[9, 0x82]),
            protocol,
        ),
        ("a frame that is too large", frame(0xbb, 0, 0, &[0; 16_385]), &[FRAME_SIZE_ERROR]),
        ("field 0", block(&[0x80]), compression),
        ("a field that there is not", block(&[0xff, 0x80, 0x01]), compression),
        ("a table of a gigabyte", block(&[0x3f, 0xe1, 0xff, 0xff, 0xff, 0x03]), compression),
        ("a number without end", block(&[0xff; 64]), compression),
        (
            "a string that is longer than its block",
            block(&[0, 0x7f, 0xff, 0x7f, b'a']),
            compression,
        ),
        (
            "Huffman code of nothing",
            block(&[0, 0x81, 0xff, 0x84, 0xff, 0xff, 0xff, 0xff]),
            compression,
        ),
        ("GOAWAY of a stream", frame(GOAWAY, 0, 3, &[0; 8]), protocol),
    ]
}

#[test]
fn what_breaks_the_protocol_ends_its_connection_with_the_reason_and_reaches_no_backend() {
    let upstream = Upstream::new();
    let gateway = open(&upstream, "");
    let cases = broken();
    let count = cases.len();
    for (name, frames, codes) in cases {
        let mut attacker = Frames::open(&gateway);
        attacker.get(1, "/");
        assert_eq!(attacker.outcome(1), Outcome::Good, "{name}");
        // A write may fail already where the first of several frames ended it.
        attacker.try_send(&frames).ok();
        let code = attacker.ended();
        assert!(code.is_some_and(|code| codes.contains(&code)), "{name}: {code:?}");
    }
    assert_eq!(upstream.begun(), count, "nothing but each one's good request");
    eventually("all are counted", || (closed(&gateway, "malformed") == count as f64).then_some(()));
    others_are_served(&gateway);
}

type Fields = Vec<(&'static str, &'static str)>;

fn good() -> Fields {
    vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "app.example.com")]
}

fn with(at: usize, field: (&'static str, &'static str)) -> Fields {
    let mut fields = good();
    fields.insert(at, field);
    fields
}

fn instead(at: usize, value: &'static str) -> Fields {
    let mut fields = good();
    fields[at].1 = value;
    fields
}

fn without(at: usize) -> Fields {
    let mut fields = good();
    fields.remove(at);
    fields
}

/// Heads of more than one meaning, or of none.
fn ambiguous() -> Vec<Fields> {
    vec![
        with(4, (":path", "/other")),
        with(0, (":method", "POST")),
        with(0, (":authority", "other.example.com")),
        with(0, (":status", "200")),
        with(0, (":protocol", "websocket")),
        with(0, (":made-up", "1")),
        with(0, ("x-first", "1")),
        with(4, ("host", "other.example.com")),
        with(4, ("content-length", "5")),
        with(4, ("content-length", "x")),
        with(4, ("x y", "1")),
        with(4, ("x:y", "1")),
        with(4, ("", "1")),
        with(4, ("x-a", "1\n2")),
        without(0),
        without(1),
        without(2),
        without(3),
        instead(0, "GE T"),
        instead(0, "TRACE"),
        instead(2, ""),
        instead(2, "*"),
        instead(2, "other"),
        instead(2, "http://other.example.com/"),
        instead(2, "/a b"),
        instead(2, "/a\r\nx: y"),
        instead(2, "/a/../b"),
        instead(3, "me@app.example.com"),
        instead(3, "app.example.com/x"),
        instead(3, ""),
        instead(3, "app.example.com, other"),
    ]
}

#[test]
fn a_request_that_says_two_things_is_refused_and_its_neighbours_are_not() {
    let upstream = Upstream::new();
    let gateway = open(&upstream, "");
    let mut connection = Frames::open(&gateway);
    let mut stream = 1;
    let mut ask = |connection: &mut Frames, fields: &[(&str, &str)]| {
        connection.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields));
        let outcome = connection.outcome(stream);
        stream += 2;
        outcome
    };
    assert_eq!(ask(&mut connection, &good()), Outcome::Good);
    let before = upstream.begun();
    for fields in &ambiguous() {
        // What is no HTTP at all may end the connection too.
        let mut connection = Frames::open(&gateway);
        connection.send(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields));
        let outcome = connection.outcome(1);
        let refused = match outcome {
            Outcome::Refused => true,
            Outcome::Reset(code) | Outcome::Ended(Some(code)) => code == PROTOCOL_ERROR,
            Outcome::Good | Outcome::Ended(None) => false,
        };
        assert!(refused, "{fields:?}: {outcome:?}");
    }
    assert_eq!(upstream.begun(), before);
    // What is good beside them, and what says one thing twice.
    assert_eq!(ask(&mut connection, &with(4, ("host", "app.example.com"))), Outcome::Good);
    assert_eq!(ask(&mut connection, &with(4, ("content-length", "0"))), Outcome::Good);
    assert_eq!(ask(&mut connection, &instead(1, "https")), Outcome::Good);
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("http"), "not what a client says");
    // A fragment is no part of a request, and reaches no backend.
    assert_eq!(ask(&mut connection, &instead(2, "/pub#/../admin")), Outcome::Good);
    assert_eq!(upstream.last().target, "/pub");
}

#[test]
fn who_hears_no_goodbye_and_asks_on_holds_no_end_up() {
    let upstream = Upstream::new();
    let mut gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .server("drain_timeout = \"2s\"")
        .route("/", "access = \"public\"")
        .start();
    let mut client = Frames::open(&gateway);
    client.get(1, "/");
    assert_eq!(client.outcome(1), Outcome::Good);
    gateway.signal(rustix::process::Signal::TERM);
    // It is told, and its sign that it heard is waited for. It gives none, and asks on.
    let mut goodbyes = Vec::new();
    for stream in (3..).step_by(2) {
        let get = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", "/", &[]));
        if client.try_send(&get).is_err() {
            break;
        }
        let ended = loop {
            match client.next() {
                Ok(frame) if frame.kind == GOAWAY => goodbyes.push(frame.code()),
                Ok(frame) if frame.ends_stream() => break false,
                Ok(_) => {}
                Err(_) => break true,
            }
        };
        if ended {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(goodbyes.first(), Some(&NO_ERROR));
    gateway.wait();
}

#[test]
fn identity_in_trailers_reaches_no_backend() {
    let upstream = Upstream::new();
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .route("/", "access = \"optional\"\nidentity = { \"X-User\" = \"sub\" }")
        .start();
    let mut client = Frames::open(&gateway);
    client.post(1, "/", &[("trailer", "x-checksum, x-user")]);
    client.send(DATA, 0, 1, b"body");
    let trailers = block(&[("x-checksum", "1"), ("x-user", "admin"), ("x_user", "admin")]);
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, &trailers);
    assert_eq!(client.outcome(1), Outcome::Good);
    let received = upstream.last();
    assert_eq!(received.body, b"body");
    let names: Vec<&str> = received.trailers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.iter().all(|name| name.eq_ignore_ascii_case("x-checksum")), "{names:?}");
    // What only a head may say is lost on the way, wherever else it is said.
    client.post(3, "/", &[]);
    let trailers = block(&[(":path", "/admin"), (":method", "DELETE"), (":authority", "other")]);
    client.send(HEADERS, END_STREAM | END_HEADERS, 3, &trailers);
    client.outcome(3);
    client.get(5, "/");
    assert_eq!(client.outcome(5), Outcome::Good);
    assert!(upstream.received().iter().all(|one| one.target == "/" && one.method != "DELETE"));
}

#[test]
fn a_client_that_says_goodbye_gets_what_it_asked_for() {
    let upstream = Upstream::answering(|exchange| {
        std::thread::sleep(Duration::from_millis(300));
        exchange.answer("200 OK", "", "late");
    });
    let gateway = open(&upstream, "");
    let mut client = Frames::open(&gateway);
    client.get(1, "/");
    client.send(GOAWAY, 0, 0, &[0; 8]);
    assert_eq!(client.outcome(1), Outcome::Good);
    client.ended();
    // A stream that comes behind an end that we announced is not begun.
    assert_eq!(upstream.begun(), 1);
    others_are_served(&gateway);
}
