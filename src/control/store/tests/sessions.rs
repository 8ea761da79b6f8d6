//! Browser sessions beside the denials: on disk before they are answered, bounded, forgotten when
//! they are over, and no concern of the log.

use super::*;
use crate::control::store::offline::{check, export, repair};
use crate::control::store::sessions::OF_SUBJECT_MAX;

const DAY: Duration = Duration::from_secs(86_400);

fn session(name: &str, subject: &str) -> SessionRecord {
    SessionRecord {
        issuer: issuer(),
        subject: Some(subject.into()),
        session: name.into(),
        named_here: false,
        first_seen: START,
        last_seen: START,
        address: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("Firefox".into()),
        token: TokenId::Jti(format!("t-{name}")),
        issued_at: Some(START),
        expires_at: START.plus(HOUR),
        kept_until: START.plus(DAY),
        generation: 0,
    }
}

fn begin(bed: &Bed, record: SessionRecord) -> SessionRecord {
    run(bed.store.begin_session(record)).unwrap()
}

fn names(bed: &Bed, subject: &str) -> Vec<String> {
    let mut found = bed.store.sessions_of(&issuer(), subject).unwrap();
    found.sort_by(|a, b| a.session.cmp(&b.session));
    found.into_iter().map(|record| record.session).collect()
}

fn advance(from: u64, token: &str) -> Advance {
    Advance {
        from,
        token: TokenId::Digest([u8::try_from(token.len()).unwrap(); 32]),
        issued_at: None,
        expires_at: START.plus(2 * HOUR),
        now: START.plus(HOUR),
        address: None,
    }
}

#[test]
fn a_session_is_there_after_a_restart_and_the_log_knows_nothing_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    assert_eq!((bed.store.session_count(), names(&bed, "alice").len()), (0, 0));
    assert_eq!(bed.store.session(session("s-1", "alice").id()).unwrap(), None);
    let alice = begin(&bed, session("s-1", "alice"));
    // A device that two people share: two sessions of one name.
    begin(&bed, session("s-1", "bob"));
    let nobody = SessionRecord { subject: None, user_agent: None, ..session("s-2", "") };
    let nobody = begin(&bed, SessionRecord { address: None, named_here: true, ..nobody });
    assert_eq!((bed.store.sequence(), bed.store.records()), (0, 0));
    bed.store.close();
    let bed = open(directory.path(), &clock);
    assert_eq!(bed.store.session(alice.id()).unwrap(), Some(alice.clone()));
    assert_eq!(bed.store.session(nobody.id()).unwrap(), Some(nobody));
    assert_eq!(bed.store.sessions_of(&issuer(), "alice").unwrap(), std::slice::from_ref(&alice));
    assert_eq!(bed.store.sessions_named(&issuer(), "s-1").unwrap().len(), 2);
    assert_eq!(bed.store.sessions_named(&IssuerId::new("other"), "s-1").unwrap(), []);
    assert_eq!(SessionId::parse(&alice.id().text()), Some(alice.id()));
    run(bed.store.forget_sessions(vec![alice.id(), alice.id()])).unwrap();
    assert_eq!((bed.store.session_count(), names(&bed, "alice").len()), (2, 0));
    assert_eq!(names(&bed, "bob"), ["s-1"]);
}

#[test]
fn of_two_renewals_of_a_generation_one_is_done_and_a_login_outdates_both() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let step = |from, token: &str| {
        let id = session("s-1", "alice").id();
        run(bed.store.advance_session(id, advance(from, token))).unwrap()
    };
    assert_eq!(step(0, "a"), Advanced::Unknown);
    begin(&bed, session("s-1", "alice"));
    let Advanced::Done(first) = step(0, "aa") else { panic!() };
    assert_eq!((first.generation, &first.token), (1, &TokenId::Digest([2; 32])));
    assert_eq!(first.last_seen, START.plus(HOUR));
    assert_eq!((first.first_seen, first.kept_until), (START, START.plus(DAY)));
    assert_eq!(step(0, "aaa"), Advanced::Otherwise(first.clone()), "nothing is changed");
    assert_eq!(bed.store.session(first.id()).unwrap(), Some(first));
    let again = SessionRecord { first_seen: START.plus(HOUR), ..session("s-1", "alice") };
    let again = begin(&bed, again);
    assert_eq!((again.generation, again.first_seen), (2, START));
    assert!(matches!(step(1, "b"), Advanced::Otherwise(_)));
    assert!(matches!(step(2, "b"), Advanced::Done(_)));
}

#[test]
fn of_too_many_sessions_of_one_person_the_one_used_longest_ago_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    begin(&bed, session("other", "bob"));
    for n in 0..OF_SUBJECT_MAX {
        let seen = START.plus(Duration::from_secs(n as u64));
        begin(&bed, SessionRecord { last_seen: seen, ..session(&format!("s-{n:03}"), "alice") });
    }
    run(bed.store.touch_sessions(vec![(session("s-000", "alice").id(), START.plus(HOUR))]))
        .unwrap();
    begin(&bed, SessionRecord { last_seen: START.plus(HOUR), ..session("new", "alice") });
    let left = names(&bed, "alice");
    assert_eq!(left.len(), OF_SUBJECT_MAX);
    assert!(left.contains(&"s-000".to_owned()) && !left.contains(&"s-001".to_owned()));
    // The same session once more is not one more.
    begin(&bed, session("new", "alice"));
    assert_eq!((names(&bed, "alice"), names(&bed, "bob").len()), (left, 1));
}

#[test]
fn what_can_be_used_no_more_is_forgotten_and_what_can_be_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    begin(&bed, session("long", "alice"));
    begin(&bed, SessionRecord { kept_until: START.plus(HOUR), ..session("short", "alice") });
    assert_eq!(bed.store.sessions_due().unwrap(), Some(START.plus(HOUR)));
    run(bed.store.touch_sessions(Vec::new())).unwrap();
    assert_eq!(names(&bed, "alice"), ["long", "short"]);
    clock.pass(HOUR);
    run(bed.store.touch_sessions(Vec::new())).unwrap();
    assert_eq!(names(&bed, "alice"), ["long"]);
    assert_eq!(bed.store.sessions_due().unwrap(), Some(START.plus(DAY)));
}

#[test]
fn a_store_with_sessions_is_whole_a_repair_keeps_them_and_an_export_leaves_them_out() {
    let directory = tempfile::tempdir().unwrap();
    let bed = open(directory.path(), &SimulatedClock::at(START));
    deny(&bed, new(subject("mallory"), Condition::Always));
    let all: Vec<SessionId> =
        (0..50).map(|n| begin(&bed, session(&format!("s-{n}"), "alice")).id()).collect();
    bed.store.close();
    let checked = check(directory.path()).unwrap();
    assert_eq!((checked.faults, checked.sessions, checked.records), (Vec::new(), 50, 1));
    let mut lines = String::new();
    export(directory.path(), START, |line| {
        lines.push_str(&line.to_string());
        Ok(())
    })
    .unwrap();
    assert!(lines.contains("mallory") && !lines.contains("alice"));
    // One that cannot be read, and one that its index has lost.
    let database = Database::open(directory.path().join("denials.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut rows = transaction.open_table(schema::SESSIONS).unwrap();
        rows.insert(&all[0].0, b"spoilt".as_slice()).unwrap();
        let mut index = transaction.open_table(schema::SESSIONS_BY_SUBJECT).unwrap();
        index.pop_last().unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let checked = check(directory.path()).unwrap();
    assert!(checked.faults.iter().any(|fault| fault.contains("cannot be read")), "{checked:?}");
    assert!(checked.faults.iter().any(|fault| fault.contains("index")), "{checked:?}");
    let bed = open(directory.path(), &SimulatedClock::at(START));
    assert_eq!(bed.store.session(all[0]).unwrap(), None, "it counts as absent");
    begin(&bed, session("s-0", "alice"));
    bed.store.close();
    let repaired = repair(directory.path(), START).unwrap();
    assert_eq!((repaired.sessions, repaired.in_force), (50, 1));
    assert!(check(directory.path()).unwrap().is_whole());
    let bed = open(directory.path(), &SimulatedClock::at(START));
    assert_eq!(names(&bed, "alice").len(), 50);
    assert!(denied(&bed, "mallory"));
}
