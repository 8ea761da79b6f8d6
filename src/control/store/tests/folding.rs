//! People's own denials against a naive list of all that they asked for: however many stand, and
//! whatever takes the place of what, nothing that they ended passes.

use proptest::prelude::*;

use super::*;
use crate::control::store::batch::{LIFTED_OWN_MAX, OWN_MAX};

const LEEWAY: Duration = Duration::from_secs(30);

/// A token of alice's.
#[derive(Clone, Debug)]
struct Token {
    jti: String,
    session: Option<String>,
    issued_at: UnixMs,
}

impl Token {
    fn passes(&self, bed: &Bed) -> bool {
        let identity = Identity {
            issuer: &issuer(),
            token: TokenId::Jti(self.jti.clone()),
            session: self.session.as_deref(),
            subject: Some("alice"),
            client: None,
            key: &Thumbprint([1; 32]),
            claims: Vec::new(),
            issued_at: Some(self.issued_at),
            version: None,
            must_be_registered: false,
        };
        bed.denylist.check(&Marks::of(&identity, bed.denylist.fingerprinter())).is_none()
    }

    fn is_of(&self, denial: &NewDenial) -> bool {
        let spared = match &denial.except {
            None => false,
            Some(Except::Session(session)) => self.session.as_ref() == Some(session),
            Some(Except::Token(id)) => *id == TokenId::Jti(self.jti.clone()),
        };
        let matches = match &denial.selector {
            Selector::Token(id) => *id == TokenId::Jti(self.jti.clone()),
            Selector::Session(session) => self.session.as_ref() == Some(session),
            Selector::Subject(subject) => subject == "alice",
            Selector::Client(_)
            | Selector::Key(_)
            | Selector::Claim { .. }
            | Selector::Issuer
            | Selector::Registration(_) => panic!("nobody asked for that"),
        };
        let in_time = match denial.condition {
            Condition::IssuedBefore(before) => self.issued_at < before,
            Condition::Always => true,
            Condition::VersionBelow(_) => panic!("nobody asked for that"),
        };
        matches && in_time && !spared
    }
}

fn own(selector: Selector, condition: Condition, except: Option<Except>, now: UnixMs) -> NewDenial {
    let days = if matches!(selector, Selector::Token(_)) { 1 } else { 30 };
    NewDenial {
        except,
        kept_until: Some(now.ceil_to_second().plus(HOUR * 24 * days)),
        created_by: Actor::holder(Some("alice"), None),
        ..new(selector, condition)
    }
}

/// What `control::sessions` asks for.
fn asked(token: &Token, everywhere: Option<bool>, now: UnixMs) -> OwnDenial {
    let before = now.ceil_to_second();
    let cutoff = Condition::IssuedBefore(before);
    let id = TokenId::Jti(token.jti.clone());
    let (selector, condition, except) = match (everywhere, &token.session) {
        (Some(others), session) => {
            let this = session.clone().map_or(Except::Token(id), Except::Session);
            (subject("alice"), cutoff, others.then_some(this))
        }
        (None, Some(session)) => (Selector::Session(session.clone()), cutoff, None),
        (None, None) => (Selector::Token(id), Condition::Always, None),
    };
    let covered = !matches!(selector, Selector::Token(_)) || token.issued_at < before;
    let instead = covered.then(|| own(subject("alice"), cutoff, except.clone(), now));
    OwnDenial { denial: own(selector, condition, except, now), instead }
}

fn wall(clock: &Arc<SimulatedClock>) -> UnixMs {
    Clock::Simulated(Arc::clone(clock)).wall()
}

fn ask(bed: &Bed, own: OwnDenial) -> Accepted {
    run(bed.store.deny_own(vec![own])).unwrap().pop().unwrap().unwrap()
}

fn session(name: usize, issued_at: UnixMs) -> Token {
    Token { jti: format!("j-{name}"), session: Some(format!("s-{name}")), issued_at }
}

#[test]
fn the_65th_log_out_of_a_person_becomes_a_cutoff_and_another_person_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let admin = deny(&bed, new(Selector::Session("s-1".into()), Condition::Always));
    for turn in 0..OWN_MAX {
        let asked = asked(&session(turn, START), None, wall(&clock));
        assert_eq!(ask(&bed, asked.clone()).record.denial.selector, asked.denial.selector);
        clock.pass(Duration::from_secs(1));
    }
    assert_eq!((bed.store.count(), bed.store.figures().folds()), (65, 0));
    let others = session(99, START);
    assert!(others.passes(&bed));
    let last = ask(&bed, asked(&session(64, START), None, wall(&clock))).record;
    assert_eq!(last.denial.selector, subject("alice"));
    assert_eq!((bed.store.count(), bed.store.figures().folds()), (2, 64));
    assert!(!others.passes(&bed) && session(99, wall(&clock)).passes(&bed));
    assert_eq!(bed.store.find(admin.record.denial.id).unwrap().unwrap().lift, None);
    // And from the first on again.
    clock.pass(Duration::from_secs(1));
    let again = ask(&bed, asked(&session(70, wall(&clock)), None, wall(&clock))).record;
    assert_eq!(again.denial.selector, Selector::Session("s-70".into()));
    drop(bed);
    let checked = crate::control::store::offline::check(directory.path()).unwrap();
    assert!(checked.is_whole(), "{checked:?}");
}

#[test]
fn young_tokens_are_not_folded_for_their_clock_may_be_ahead_and_are_bounded_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let ahead = |turn: usize| Token {
        jti: format!("j-{turn}"),
        session: None,
        issued_at: wall(&clock).plus(LEEWAY),
    };
    let mut ended = Vec::new();
    for turn in 0..OWN_MAX {
        ended.push(ahead(turn));
        ask(&bed, asked(&ended[turn], None, wall(&clock)));
    }
    for turn in 0..20 {
        clock.pass(Duration::from_secs(1));
        let issued_at = wall(&clock).minus(Duration::from_secs(5));
        let token = Token { issued_at, ..ahead(100 + turn) };
        ask(&bed, asked(&token, None, wall(&clock)));
        ended.push(token);
        assert!(ended.iter().all(|token| !token.passes(&bed)));
        assert_eq!(bed.store.count(), 65);
    }
    clock.pass(Duration::from_secs(400));
    ask(&bed, asked(&Token { issued_at: START, ..ahead(200) }, None, wall(&clock)));
    assert_eq!(bed.store.count(), 1);
    assert!(ended.iter().all(|token| !token.passes(&bed)));
}

#[test]
fn who_logs_out_without_end_fills_no_disk_and_passes_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let mut rows = 0;
    let mut tokens = Vec::new();
    for turn in 0..600 {
        clock.pass(Duration::from_secs(1));
        // Half of them cannot be folded for five minutes.
        let session = (turn % 2 == 0).then(|| format!("s-{turn}"));
        let issued_at = wall(&clock).minus(Duration::from_secs(1));
        let token = Token { jti: format!("j-{turn}"), session, issued_at };
        ask(&bed, asked(&token, None, wall(&clock)));
        tokens.push(token);
        rows = rows.max(bed.store.changes_after(0, 10_000).unwrap().len());
    }
    // A record and a tombstone each of what is lifted.
    let most = OWN_MAX * 2 + 3 + LIFTED_OWN_MAX * 2;
    assert!(rows <= most + OWN_MAX, "{rows} rows, {most}");
    assert!(tokens.iter().all(|token| !token.passes(&bed)));
    drop(bed);
    let due = {
        let database = redb::Database::open(directory.path().join("denials.redb")).unwrap();
        let read = redb::ReadableDatabase::begin_read(&database).unwrap();
        redb::ReadableTableMetadata::len(&read.open_table(schema::DUE).unwrap()).unwrap() as usize
    };
    assert!(due <= most * 2, "{due} due times");
    let checked = crate::control::store::offline::check(directory.path()).unwrap();
    assert!(checked.is_whole(), "{checked:?}");
    let bed = open(directory.path(), &clock);
    assert!(tokens.iter().all(|token| !token.passes(&bed)), "after a restart too");
}

#[derive(Clone, Debug)]
struct Act {
    session: Option<usize>,
    everywhere: Option<bool>,
    seconds: u64,
    /// How far the issuer's clock is ahead.
    ahead: u64,
}

fn act() -> impl Strategy<Value = Act> {
    let everywhere = prop_oneof![8 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let step = prop_oneof![6 => 0..3_u64, 2 => 3..60_u64, 1 => 300..400_u64];
    (proptest::option::of(0..30_usize), everywhere, step, 0..=LEEWAY.as_secs()).prop_map(
        |(session, everywhere, seconds, ahead)| Act { session, everywhere, seconds, ahead },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn folding_lets_nothing_pass_that_a_person_ended(
        acts in proptest::collection::vec(act(), 60..160),
    ) {
        let clock = SimulatedClock::at(START);
        let disk = disk::SimulatedDisk::new();
        let bed = disk.open_at(&clock).unwrap();
        let (mut tokens, mut all): (Vec<Token>, Vec<NewDenial>) = (Vec::new(), Vec::new());
        let mut beyond = 0;
        for (number, act) in acts.iter().enumerate() {
            clock.pass(Duration::from_secs(act.seconds));
            let now = wall(&clock);
            let token = Token {
                jti: format!("j-{number}"),
                session: act.session.map(|session| format!("s-{session}")),
                issued_at: now.plus(Duration::from_secs(act.ahead)),
            };
            let asked = asked(&token, act.everywhere, now);
            beyond += usize::from(asked.instead.is_none());
            all.push(asked.denial.clone());
            tokens.push(token);
            ask(&bed, asked);
            for token in &tokens {
                if all.iter().any(|denial| token.is_of(denial)) {
                    prop_assert!(!token.passes(&bed), "{:?} at {}", token, number);
                }
            }
            prop_assert!(bed.store.count() as usize <= OWN_MAX + 2 + beyond);
        }
        drop(bed);
        let bed = disk.open_at(&clock).unwrap();
        for token in &tokens {
            if all.iter().any(|denial| token.is_of(denial)) {
                prop_assert!(!token.passes(&bed), "{:?} after a restart", token);
            }
        }
    }
}
