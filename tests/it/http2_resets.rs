//! Streams that a client resets, or makes the gateway reset or refuse: so many, and then their
//! connection goes, and no request of them stays behind at a backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http2_frames::{adds_at_most, open, others_are_served};
use crate::support::frames::*;
use crate::support::{Frames, Gateway, Upstream, eventually};

/// Connections that ended because of their resets: by our count of a second, or by h2's of all.
fn ended(gateway: &Gateway) -> f64 {
    let count =
        |limit: &str| gateway.metric(&format!("portcullis_shed_total{{limit=\"{limit}\"}}"));
    count("http2_resets") + count("http2_flood")
}

/// A backend that answers `/slow` only when its client has gone, and how many of these are open.
pub fn slow() -> (Upstream, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let upstream = Upstream::answering(move |exchange| {
        if !exchange.received.target.starts_with("/slow") {
            return exchange.echo();
        }
        counted.fetch_add(1, Ordering::SeqCst);
        exchange.connection.rest().ok();
        counted.fetch_sub(1, Ordering::SeqCst);
        exchange.close();
    });
    (upstream, open)
}

/// Attacks by which the gateway itself resets a stream whose request is under way (CVE-2025-8671).
/// What each is called, the code of the reset, and what follows the head of its stream.
type MadeYouReset = (&'static str, u32, fn(u32) -> Vec<u8>);

const MADE_YOU_RESET: [MadeYouReset; 4] = [
    ("a window that overflows", FLOW_CONTROL_ERROR, |stream| {
        frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())
    }),
    ("a body that is too long", PROTOCOL_ERROR, |stream| frame(DATA, 0, stream, b"0123456789ab")),
    ("a stream that depends on itself", PROTOCOL_ERROR, |stream| {
        frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[1]].concat())
    }),
    ("trailers that are not the end", PROTOCOL_ERROR, |stream| {
        frame(HEADERS, END_HEADERS, stream, &block(&[("x-a", "b")]))
    }),
];

const SENT_MAX: usize = 200_000;

#[test]
fn streams_that_a_client_makes_the_gateway_reset_are_counted_and_stop_their_requests() {
    for (name, code, attack) in MADE_YOU_RESET {
        let (upstream, slow) = slow();
        let gateway = open(&upstream, "http2_streams_max = 20");
        let mut attacker = Frames::open(&gateway);
        let begin = |attacker: &mut Frames, stream: u32| {
            let head = head("POST", "/slow", &[("content-length", "10")]);
            attacker.try_send(&frame(HEADERS, END_HEADERS, stream, &head))
        };
        // A few are a mistake: the streams go, the connection does not, and no request stays behind.
        for stream in [1, 3, 5] {
            begin(&mut attacker, stream).unwrap();
            eventually("it is at the backend", || (slow.load(Ordering::SeqCst) == 1).then_some(()));
            attacker.try_send(&attack(stream)).unwrap();
            assert_eq!(attacker.outcome(stream), Outcome::Reset(code), "{name}");
            eventually("the backend is rid of it", || {
                (slow.load(Ordering::SeqCst) == 0).then_some(())
            });
        }
        attacker.get(7, "/");
        assert_eq!(attacker.outcome(7), Outcome::Good, "{name}");
        // In one go, as fast as they are taken.
        let (mut stream, mut sent) = (9, 0);
        // More than sockets hold of it while the gateway has no turn.
        while sent < SENT_MAX && begin(&mut attacker, stream).is_ok() {
            attacker.try_send(&attack(stream)).ok();
            (stream, sent) = (stream + 2, sent + 1);
        }
        let code = attacker.ended();
        // Trailers of a stream that was one too many are frames of none.
        let calm = |code: u32| code == ENHANCE_YOUR_CALM || code == PROTOCOL_ERROR;
        assert!(code.is_none_or(calm), "{name}: {code:?}");
        assert!(sent < SENT_MAX, "{name}: all were taken");
        assert!(upstream.begun() < 1200, "{name}: {} at the backend", upstream.begun());
        eventually("the backend is rid of them", || {
            (slow.load(Ordering::SeqCst) == 0).then_some(())
        });
        if code != Some(PROTOCOL_ERROR) {
            eventually("it is counted", || (ended(&gateway) == 1.0).then_some(()));
        }
        others_are_served(&gateway);
    }
}

#[test]
fn requests_that_are_given_up_in_the_write_that_begins_them_end_the_connection() {
    let (upstream, slow) = slow();
    let gateway = open(&upstream, "");
    let mut attacker = Frames::open(&gateway);
    let mut burst = Vec::new();
    for stream in (1..20_000).step_by(2) {
        let flags = END_STREAM | END_HEADERS;
        burst.extend(frame(HEADERS, flags, stream, &head("GET", "/slow", &[])));
        burst.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    adds_at_most(24, &gateway, || {
        attacker.try_send(&burst).ok();
        let code = attacker.ended();
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
    });
    assert!(upstream.begun() < 400, "{} at the backend", upstream.begun());
    eventually("the backend is rid of them", || (slow.load(Ordering::SeqCst) == 0).then_some(()));
    eventually("it is counted", || (ended(&gateway) == 1.0).then_some(()));
    others_are_served(&gateway);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_a_flood_of_them_ends_the_connection() {
    let (upstream, _) = slow();
    let gateway = open(&upstream, "http2_streams_max = 5");
    let mut client = Frames::open(&gateway);
    for stream in [1, 3, 5, 7, 9] {
        client.get(stream, "/slow");
    }
    client.get(11, "/");
    assert_eq!(client.outcome(11), Outcome::Reset(REFUSED_STREAM));
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    client.get(13, "/");
    assert_eq!(client.outcome(13), Outcome::Good, "there is room again");
    client.get(15, "/slow");
    let mut stream = 17;
    while stream < 20_000
        && client
            .try_send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", "/", &[])))
            .is_ok()
    {
        stream += 2;
    }
    assert_eq!(client.ended(), Some(ENHANCE_YOUR_CALM));
    eventually("it is counted", || (ended(&gateway) == 1.0).then_some(()));
    assert!(upstream.begun() < 10, "{}", upstream.begun());
    others_are_served(&gateway);
}
