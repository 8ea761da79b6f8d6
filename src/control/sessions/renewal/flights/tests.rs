//! Once, however many ask; the same answer for a minute after its successor was seen, and no longer.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::config;
use crate::denylist::{Fingerprinter, TokenId};
use crate::desk::{Later, Over};
use crate::keys::{Algorithm, SigningKey};
use crate::token::Credential;
use crate::verify::{Issuer, SignatureCache, Signed, Verifier};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn after(seconds: u64) -> UnixMs {
    NOW.plus(Duration::from_secs(seconds))
}

/// A token that nobody has brought yet.
fn signed() -> Arc<Signed> {
    let text = "[[issuer]]\nname = \"main\"\nissuer = \"i\"\naudiences = [\"a\"]\n\
                keys = { secret_env = \"S\" }\n[[upstream]]\nname = \"app\"\n\
                servers = [\"http://127.0.0.1:1\"]\n[[route]]\npath = \"/\"\nupstream = \"app\"\n";
    let secret = |_: &str| Some("0123456789abcdef0123456789abcdef".to_owned());
    let config = config::parse(text, std::path::Path::new("gateway.toml"), &secret).unwrap().config;
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let mut policy = config.issuers[0].policy.clone();
    policy.algorithms = vec![Algorithm::EdDSA];
    let keys = Arc::new(key.key_set(&[Algorithm::EdDSA]).unwrap());
    let issuers = vec![Arc::new(Issuer::new(policy, keys))];
    let cache = Arc::new(SignatureCache::new(1 << 20));
    let verifier = Verifier::new(issuers, Fingerprinter::random(), cache);
    let (iat, exp) = (NOW.secs(), NOW.secs() + 3600);
    let claims =
        json!({"iss": "i", "aud": "a", "sub": "alice", "jti": "t", "iat": iat, "exp": exp});
    let token = Credential::new(&key.sign(&claims).unwrap());
    Arc::clone(verifier.verify(&token, NOW).unwrap().signed())
}

fn kept(token: &str) -> Kept {
    of_session("s-1", token)
}

fn of_session(session: &str, token: &str) -> Kept {
    let mut kept = Kept::of_tests(token);
    kept.issuer = "i".to_owned();
    kept.subject = Some("alice".to_owned());
    kept.session = session.to_owned();
    (kept.login_time_ms, kept.access_ends_at_ms) = (NOW.0, NOW.0);
    kept.ends_at_ms = after(86_400).0;
    kept.access = TokenId::Jti("t-0".to_owned());
    kept
}

fn renewed(kept: &Kept, signed: &Arc<Signed>) -> Arc<Renewed> {
    let kept = kept.next(signed, Some(format!("{}'", kept.token)), kept.generation + 1);
    Arc::new(Renewed { access: "a".to_owned().into(), signed: Arc::clone(signed), kept })
}

#[track_caller]
fn joined(flights: &Flights, kept: &Kept, now: UnixMs) -> Arc<Flight> {
    flights.join(kept, now).expect("not too often")
}

/// A flight that has brought something.
async fn flown(flights: &Flights, kept: &Kept, renewed: &Arc<Renewed>) -> Arc<Flight> {
    let flight = joined(flights, kept, NOW);
    flight.outcome(|| async { Renewal::Done(Arc::clone(renewed)) }).await;
    flights.done(&flight, renewed);
    flight
}

fn is_same(flight: &Arc<Flight>, other: &Arc<Flight>) -> bool {
    Arc::ptr_eq(flight, other)
}

#[tokio::test]
async fn of_all_who_ask_one_does_the_work() {
    let (flights, kept, calls) = (Flights::default(), kept("r"), AtomicUsize::new(0));
    let renewed = renewed(&kept, &signed());
    let ask = async || {
        let flight = joined(&flights, &kept, NOW);
        let work = || async {
            calls.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Renewal::Done(Arc::clone(&renewed))
        };
        matches!(flight.outcome(work).await, Renewal::Done(_))
    };
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert_eq!((a, b, c, calls.into_inner()), (true, true, true, 1));
}

#[tokio::test]
async fn a_cookie_gets_the_same_answer_until_a_minute_after_its_successors_token_was_used() {
    let (flights, kept, signed) = (Flights::default(), kept("r"), signed());
    let flight = flown(&flights, &kept, &renewed(&kept, &signed)).await;
    // Nobody has got the answer yet: it waits for as long as the session lasts.
    assert!(is_same(&flight, &joined(&flights, &kept, after(3_000))));
    assert!(!flight.is_used_up(after(3_000)));
    assert!(signed.presented(after(3_000)));
    for at in [3_001, 3_060] {
        assert!(is_same(&flight, &joined(&flights, &kept, after(at))), "{at}");
        assert!(!flight.is_used_up(after(at)), "{at}");
    }
    assert!(flight.is_used_up(after(3_061)));
    // Forgotten then: from here on the session's generation tells, which is on disk.
    assert!(!is_same(&flight, &joined(&flights, &kept, after(3_066))));
}

#[tokio::test]
async fn a_successor_that_is_brought_as_a_cookie_counts_as_seen_and_another_does_not() {
    let (flights, kept) = (Flights::default(), kept("r"));
    let renewed = renewed(&kept, &signed());
    let flight = flown(&flights, &kept, &renewed).await;
    flights.seen(&kept, after(10));
    flights.seen(&self::kept("another"), after(10));
    assert!(!flight.is_used_up(after(1_000)));
    flights.seen(&renewed.kept, after(1_000));
    flights.seen(&renewed.kept, after(1_050));
    assert!(!flight.is_used_up(after(1_060)), "the first time counts");
    assert!(flight.is_used_up(after(1_061)));
}

#[tokio::test]
async fn a_failure_is_tried_again_after_its_time_and_what_came_meanwhile_is_not_lost() {
    let failed = |fault| async move { Renewal::Failed(fault) };
    let held = || Tokens { access: "a".to_owned().into(), refresh: None };
    for (fault, wait) in
        [(RenewalFault::Later(Later::NotYetGood), LATER), (RenewalFault::Over(Over::Refused), OVER)]
    {
        let (flights, kept) = (Flights::default(), kept("r"));
        let flight = joined(&flights, &kept, NOW);
        if wait == LATER {
            flight.hold(held());
        }
        flight.outcome(|| failed(fault)).await;
        let Some((at, _)) = flight.outcome.get().cloned() else { panic!("an outcome") };
        let before = at.plus(wait - Duration::from_millis(1));
        assert!(is_same(&flight, &joined(&flights, &kept, before)), "{fault:?}");
        let next = joined(&flights, &kept, at.plus(wait));
        assert!(!is_same(&flight, &next), "{fault:?}");
        assert_eq!(next.take_held().is_some(), wait == LATER, "{fault:?}");
    }
}

#[test]
fn one_session_does_not_take_all_places() {
    let (flights, kept) = (Flights::default(), kept("r"));
    let flight = joined(&flights, &kept, NOW);
    let seats: Vec<_> = (0..SEATS_MAX).map(|_| flight.seat().unwrap()).collect();
    assert!(flight.seat().is_none());
    assert!(joined(&flights, &self::kept("another"), NOW).seat().is_some());
    drop(seats);
    assert!(flight.seat().is_some());
}

#[test]
fn a_session_is_renewed_a_few_times_at_once_and_then_at_its_pace() {
    let flights = Flights::default();
    let ask = |number: u64, at: u64| {
        let mut kept = kept("r");
        kept.generation = number;
        flights.join(&kept, after(at)).is_some()
    };
    let at_once = (0..100).take_while(|number| ask(*number, 0)).count();
    assert_eq!(at_once, 20);
    // What flies already is joined; a new one waits for its turn, and others have their own.
    assert!(ask(0, 1) && !ask(100, 1) && !ask(100, 2) && ask(100, 3) && !ask(101, 3));
    let other = of_session("s-2", "r");
    assert!(flights.join(&other, after(3)).is_some());
    assert!((0..20).all(|number| ask(200 + number, 100)), "and after a while as before");
    assert!(ask(300, 0), "a clock that was set back keeps nobody out");
    joined(&flights, &of_session("s-3", "r"), after(1_000));
    assert_eq!(flights.0.lock().paid_until.len(), 1);
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let (flights, signed) = (Flights::default(), signed());
    let long = "r".repeat(16 * 1024);
    for number in 0..8_192 {
        let kept = of_session(&format!("s-{number}"), &long);
        flown(&flights, &kept, &renewed(&kept, &signed)).await;
    }
    assert!(flights.0.lock().bytes <= BYTES_MAX + BYTES_MAX / 64);
}
