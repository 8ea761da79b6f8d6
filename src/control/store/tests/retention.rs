//! What is forgotten, when, and what never is.

use super::*;

#[test]
fn records_are_forgotten_an_hour_late_and_timed_blocks_end_on_time() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let kept_until = Some(START.plus(HOUR * 2));
    let expiring = NewDenial { kept_until, ..new(subject("alice"), Condition::VersionBelow(9)) };
    let ends_at = Some(START.plus(HOUR * 2));
    let block = NewDenial { ends_at, ..new(subject("bob"), Condition::Always) };
    let expiring = deny(&bed, expiring).record.denial.id;
    deny(&bed, block);
    deny(&bed, new(subject("mallory"), Condition::Always));
    let states = |bed: &Bed| ["alice", "bob", "mallory"].map(|name| denied(bed, name));

    clock.pass(HOUR * 2 - Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(0));
    assert_eq!(states(&bed), [true; 3]);
    clock.pass(Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(1));
    assert_eq!(states(&bed), [true, false, true]);
    clock.pass(HOUR - Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(0));
    clock.pass(Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(1));
    assert_eq!(states(&bed), [false, false, true]);
    assert_eq!((bed.store.count(), bed.denylist.len()), (1, 1));
    assert_eq!(bed.store.find(expiring), Ok(None));
    assert_eq!(bed.store.list(&Filter::default()).unwrap().records.len(), 1);
    assert_eq!(bed.store.changes_after(0, 10).unwrap().len(), 1);
    drop(bed);
    let bed = open(directory.path(), &clock);
    assert_eq!(states(&bed), [false, false, true]);
    let next = deny(&bed, new(subject("carol"), Condition::Always)).record;
    assert_eq!(next.sequence, 5, "a sequence is never given twice, and the end of a block has one");
}

#[test]
fn what_a_lift_leaves_behind_is_forgotten_after_thirty_days_and_a_ban_never_is() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let lifted = deny(&bed, new(subject("alice"), Condition::Always)).record.denial;
    deny(&bed, new(subject("mallory"), Condition::Always));
    lift(&bed, lifted.id);
    let by = actor("eve", "admin");
    let old = Lift { denial: DenialId([9; 10]), at: UnixMs(0), reason: None, by };
    assert_eq!(run(bed.store.apply(vec![Change::Lifted(old)])).unwrap(), [Applied::New]);
    let rows = |bed: &Bed| bed.store.changes_after(0, 10).unwrap().len();
    clock.pass(HOUR * 24 * 30 - Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(0));
    assert_eq!(rows(&bed), 4);
    // An old tombstone out of an export still meets its record.
    let late = Denial { id: DenialId([9; 10]), selector: subject("carol"), ..lifted.clone() };
    run(bed.store.apply(vec![Change::Denied(late.clone())])).unwrap();
    assert!(!denied(&bed, "carol"));
    clock.pass(Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(2));
    assert_eq!((rows(&bed), bed.store.count()), (1, 1));
    assert!(denied(&bed, "mallory"));
    // What another replica brings later than that is in force: the safe side.
    run(bed.store.apply(vec![Change::Denied(late)])).unwrap();
    assert!(denied(&bed, "carol") && !denied(&bed, "alice"));
}

#[test]
fn the_time_that_a_forgotten_lift_left_behind_takes_nothing_out_of_force() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let ban = deny(&bed, new(subject("alice"), Condition::Always)).record.denial;
    let id = DenialId([9; 10]);
    let tombstone = Lift { denial: id, at: START, reason: None, by: actor("eve", "admin") };
    let kept_until = Some(START.plus(HOUR));
    let bounded = Denial { id, selector: subject("bob"), kept_until, ..ban.clone() };
    let changes = vec![Change::Lifted(tombstone), Change::Denied(bounded)];
    assert_eq!(run(bed.store.apply(changes)).unwrap(), [Applied::New; 2]);
    clock.pass(HOUR * 2);
    assert_eq!(run(bed.store.housekeep()), Ok(1));
    assert_eq!(bed.store.find(id), Ok(None));
    let unbounded = Denial { id, selector: subject("bob"), ..ban };
    run(bed.store.apply(vec![Change::Denied(unbounded)])).unwrap();
    assert!(denied(&bed, "bob"));
    clock.pass(HOUR * 24 * 60);
    run(bed.store.housekeep()).unwrap();
    assert!(denied(&bed, "bob") && denied(&bed, "alice"));
}

#[test]
fn a_backlog_larger_than_one_transaction_is_forgotten_whole_and_nothing_else_is() {
    let clock = SimulatedClock::at(START);
    let bed = disk::SimulatedDisk::new().open_at(&clock).unwrap();
    let expiring = |n: usize| NewDenial {
        kept_until: Some(START.plus(HOUR)),
        ..new(subject(&format!("u-{n}")), Condition::VersionBelow(9))
    };
    run(bed.store.deny_all((0..5000).map(expiring).collect())).unwrap();
    deny(&bed, new(subject("u-7"), Condition::VersionBelow(4)));
    clock.pass(HOUR * 2);
    run(bed.store.housekeep()).unwrap();
    assert_eq!((bed.store.count(), bed.denylist.len()), (1, 1));
    assert!(denied(&bed, "u-7") && !denied(&bed, "u-8") && !denied(&bed, "u-4999"));
}

#[test]
fn a_wall_clock_that_jumps_forward_takes_no_denial_back_not_even_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let ends_at = Some(START.plus(HOUR * 24));
    deny(&bed, NewDenial { ends_at, ..new(subject("bob"), Condition::Always) });
    clock.set_wall(START.plus(HOUR * 10_000));
    assert_eq!(run(bed.store.housekeep()), Ok(0));
    drop(bed);
    let bed = open(directory.path(), &clock);
    assert_eq!(run(bed.store.housekeep()), Ok(0));
    assert!(denied(&bed, "bob"));
    clock.pass(HOUR * 11);
    assert_eq!(run(bed.store.housekeep()), Ok(0));
    drop(bed);
    // Twice monotonic time at the most: 22 hours are stored now, and one more gives 24.
    let bed = open(directory.path(), &clock);
    clock.pass(HOUR - Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(0));
    assert!(denied(&bed, "bob"));
    clock.pass(Duration::from_millis(1));
    assert_eq!(run(bed.store.housekeep()), Ok(1));
    assert!(!denied(&bed, "bob"));
}

#[test]
fn what_stands_of_an_issuer_whose_tokens_come_to_lack_iat_is_kept_until_it_is_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let kept_until = Some(START.plus(HOUR));
    let short =
        |name: &str| NewDenial { kept_until, ..new(subject(name), Condition::IssuedBefore(START)) };
    let alice = deny(&bed, short("alice")).record.denial.id;
    let bob = deny(&bed, short("bob")).record.denial.id;
    lift(&bed, bob);
    let other = NewDenial { issuer: IssuerId::new("another"), ..short("carol") };
    let other = deny(&bed, other).record.denial.id;
    let ends_at = Some(START.plus(HOUR));
    deny(&bed, NewDenial { ends_at, ..new(subject("dan"), Condition::Always) });
    bed.store.hold(&issuer()).unwrap();
    bed.store.hold(&issuer()).unwrap();
    deny(&bed, short("late"));
    clock.pass(HOUR * 100);
    run(bed.store.housekeep()).unwrap();
    let old = START.minus(HOUR);
    let states =
        |bed: &Bed| ["alice", "bob", "dan", "late"].map(|name| hit(bed, name, old).is_some());
    assert_eq!(states(&bed), [true, false, false, false]);
    assert_eq!(bed.store.find(other), Ok(None), "another issuer's is forgotten");
    bed.store.close();
    let whole = |directory: &Path| {
        let checked = crate::control::store::offline::check(directory).unwrap();
        assert!(checked.is_whole(), "{checked:?}");
    };
    whole(directory.path());
    crate::control::store::offline::repair(directory.path(), START).unwrap();
    whole(directory.path());
    let bed = open(directory.path(), &clock);
    clock.pass(HOUR * 10_000);
    run(bed.store.housekeep()).unwrap();
    assert_eq!(states(&bed), [true, false, false, false], "after a repair too");
    lift(&bed, alice);
    assert_eq!(states(&bed), [false; 4]);
    assert!(bed.store.find(alice).unwrap().is_some(), "an undo can be repeated");
    clock.pass(HOUR * 24 * 31);
    run(bed.store.housekeep()).unwrap();
    assert_eq!(bed.store.find(alice), Ok(None));
    assert_eq!(bed.store.changes_after(0, 10).unwrap().len(), 0);
    bed.store.close();
    whole(directory.path());
}
