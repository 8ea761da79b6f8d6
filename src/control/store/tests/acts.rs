//! The audit outlives what it tells of, and is bounded.

use super::*;
use redb::ReadableDatabase as _;

fn acts(bed: &Bed) -> Vec<Act> {
    bed.store.acts_before(u64::MAX, 10_000).unwrap()
}

fn brief(bed: &Bed) -> Vec<String> {
    let of = |act: &Act| format!("{} {}", act.by.name, act.deed.as_str());
    acts(bed).iter().map(of).collect()
}

pub(super) fn with(directory: &Path, clock: &Arc<SimulatedClock>, entries_max: u64) -> Bed {
    let (denylist, writer) = Denylist::new(Fingerprinter::random());
    let audit = Retention { entries_max, ..Retention::default() };
    let options = Options { audit, ..Options::of_limit(100_000) };
    let clock = Clock::Simulated(Arc::clone(clock));
    let store = Store::open_at(directory, &options, writer, Arc::clone(&denylist), clock).unwrap();
    Bed { store, denylist }
}

#[test]
fn who_did_what_is_told_long_after_the_denial_is_forgotten_and_then_forgotten_too() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let kept_until = Some(START.plus(HOUR));
    let short = NewDenial { kept_until, ..new(subject("alice"), Condition::VersionBelow(9)) };
    let id = deny(&bed, short.clone()).record.denial.id;
    assert!(deny(&bed, short).already, "what stands already is no act");
    run(bed.store.lift(vec![id], Some("false alarm".into()), actor("eve", "admin"))).unwrap();
    let ends_at = Some(START.plus(HOUR * 2));
    deny(&bed, NewDenial { ends_at, ..new(subject("bob"), Condition::Always) });
    clock.pass(HOUR * 50);
    run(bed.store.housekeep()).unwrap();
    assert_eq!((bed.store.count(), bed.store.find(id)), (0, Ok(None)));
    let told = ["gateway ended", "dana denied", "eve undone", "dana denied"];
    assert_eq!(brief(&bed), told);
    drop(bed);
    let bed = open(directory.path(), &clock);
    assert_eq!(brief(&bed), told);
    let all = acts(&bed);
    assert_eq!((all[0].at, all[0].denial), (START.plus(HOUR * 2), all[1].denial));
    assert_eq!(all[2].what.as_ref().unwrap().selector, subject("alice"));
    assert_eq!(all[2].reason.as_deref(), Some("false alarm"));
    assert!(all.is_sorted_by(|newer, older| newer.sequence > older.sequence));
    let mut oldest_first = bed.store.acts_after(0, 100).unwrap();
    oldest_first.reverse();
    assert_eq!(oldest_first, all);
    assert_eq!(bed.store.acts_after(all[1].sequence, 100).unwrap(), all[..1]);
    let page = bed.store.acts_before(all[1].sequence, 1).unwrap();
    assert_eq!(page, all[2..3]);
    clock.pass(HOUR * 24 * 400 - HOUR * 51);
    run(bed.store.housekeep()).unwrap();
    assert_eq!(brief(&bed).len(), 4);
    clock.pass(HOUR);
    run(bed.store.housekeep()).unwrap();
    assert_eq!(brief(&bed), ["gateway ended"], "which was written later");
    bed.store.close();
    let checked = crate::control::store::offline::check(directory.path()).unwrap();
    assert!(checked.is_whole() && checked.acts == 1, "{checked:?}");
}

#[test]
fn a_flood_of_many_or_of_one_persons_log_outs_pushes_no_operators_act_out() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = with(directory.path(), &clock, 100);
    deny(&bed, new(subject("mallory"), Condition::Always));
    let batch = (0..300).map(|n| new(subject(&format!("u-{n}")), Condition::Always)).collect();
    run(bed.store.deny_all(batch)).unwrap();
    for turn in 0..100 {
        clock.pass(Duration::from_secs(1));
        let now = Clock::Simulated(Arc::clone(&clock)).wall();
        let of = |selector| NewDenial {
            kept_until: Some(now.plus(HOUR * 24)),
            created_by: Actor::holder(Some("alice"), None),
            ..new(selector, Condition::IssuedBefore(now))
        };
        let denial = of(Selector::Session(format!("s-{turn}")));
        let instead = Some(of(subject("alice")));
        run(bed.store.deny_own(vec![OwnDenial { denial, instead }])).unwrap();
    }
    let of = |name: &str| acts(&bed).iter().filter(|act| act.by.name == name).count();
    assert_eq!(acts(&bed).len(), 1 + 25 + 25);
    let first = acts(&bed).pop().unwrap();
    assert_eq!(first.what.unwrap().selector, subject("mallory"), "the oldest of all is there");
    assert!(of("subject alice") > 0);
    for n in 0..60 {
        deny(&bed, new(subject(&format!("v-{n}")), Condition::Always));
    }
    assert_eq!(acts(&bed).len(), 50 + 25 + 25, "half of it is for single calls");
}

#[test]
fn an_act_without_a_record_is_noted_in_its_place() {
    let disk = disk::SimulatedDisk::new();
    let bed = disk.open_at(&SimulatedClock::at(START)).unwrap();
    deny(&bed, new(subject("alice"), Condition::Always));
    let note = NewAct {
        deed: Deed::Imported,
        by: actor("dana", "admin"),
        what: None,
        reason: None,
        counts: vec![("denials".into(), 7)],
    };
    run(bed.store.note(note)).unwrap();
    let next = deny(&bed, new(subject("bob"), Condition::Always)).record;
    assert_eq!(brief(&bed), ["dana denied", "dana imported", "dana denied"]);
    assert_eq!((acts(&bed)[1].sequence, next.sequence), (2, 3));
    assert_eq!(acts(&bed)[1].counts, [("denials".to_owned(), 7)]);
    assert_eq!(bed.store.changes_after(0, 10).unwrap().len(), 2, "no change for replicas");
}

/// Makes the file what the version before wrote.
fn downgrade(directory: &Path) {
    let database = redb::Database::open(directory.join("denials.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.delete_table(schema::BY_SELECTOR).unwrap();
    for table in [schema::ACTS, schema::ACTS_OF_MANY, schema::ACTS_OF_PEOPLE] {
        transaction.delete_table(table).unwrap();
    }
    transaction.open_table(schema::BY_SELECTOR_BEFORE).unwrap();
    let format = 1_u64.to_le_bytes();
    let mut meta = transaction.open_table(schema::META).unwrap();
    meta.insert(schema::META_FORMAT, format.as_slice()).unwrap();
    drop(meta);
    transaction.commit().unwrap();
}

#[test]
fn a_file_of_the_format_before_is_brought_up_when_it_is_opened_with_all_that_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let ban = deny(&bed, new(subject("mallory"), Condition::Always)).record;
    let lifted = deny(&bed, new(subject("alice"), Condition::Always)).record.denial.id;
    lift(&bed, lifted);
    deny(&bed, new(Selector::Registration(Except::Session("s".into())), Condition::Always));
    bed.store.close();
    downgrade(directory.path());
    let why = crate::control::store::offline::check(directory.path()).unwrap_err().to_string();
    assert!(why.contains("format 1") && why.contains("start the gateway once"), "{why}");
    let bed = open(directory.path(), &clock);
    assert!(denied(&bed, "mallory") && !denied(&bed, "alice"));
    assert!(deny(&bed, new(subject("mallory"), Condition::Always)).already);
    assert_eq!(bed.store.in_force(&issuer(), &subject("mallory")).unwrap(), [ban]);
    assert_eq!(brief(&bed), ["dana registered", "dana undone", "dana denied", "dana denied"]);
    bed.store.close();
    assert!(crate::control::store::offline::check(directory.path()).unwrap().is_whole());
    let database = redb::Database::open(directory.path().join("denials.redb")).unwrap();
    let read = database.begin_read().unwrap();
    assert!(read.open_table(schema::BY_SELECTOR_BEFORE).is_err(), "the old index is gone");
}

#[test]
fn a_repair_keeps_the_audit() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let id = deny(&bed, new(subject("alice"), Condition::Always)).record.denial.id;
    lift(&bed, id);
    let before = acts(&bed);
    bed.store.close();
    let repaired = crate::control::store::offline::repair(directory.path(), START).unwrap();
    assert_eq!((repaired.acts.readable, repaired.acts.unreadable), (2, 0));
    let mut lines = Vec::new();
    let written = crate::control::store::offline::export_acts(directory.path(), |line| {
        lines.push(line.clone());
        Ok(())
    });
    assert_eq!(written.unwrap().readable, 2);
    assert_eq!(lines[1]["action"], "undone");
    assert_eq!(lines[1]["selector"], serde_json::json!({"subject": "alice"}));
    let bed = open(directory.path(), &clock);
    assert_eq!(acts(&bed), before);
}
