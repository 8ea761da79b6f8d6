//! The file does not grow without bound, and what is free in it is given back.

use super::*;
use crate::control::store::compact::at_start;

/// Denials of so many users, half of them lifted; an hour and more later all are forgotten.
fn churn(bed: &Bed, clock: &Arc<SimulatedClock>, round: usize, count: usize) {
    let wall = Clock::Simulated(Arc::clone(clock)).wall();
    let expiring = |n: usize| NewDenial {
        kept_until: Some(wall.plus(HOUR)),
        ..new(subject(&format!("u-{round}-{n}")), Condition::VersionBelow(9))
    };
    for from in (0..count).step_by(4000) {
        let all = (from..count.min(from + 4000)).map(expiring).collect();
        let made = run(bed.store.deny_all(all)).unwrap();
        let ids = made.into_iter().map(|made| made.unwrap().record.denial.id).step_by(2).collect();
        run(bed.store.lift(ids, None, actor("dana", "operator"))).unwrap();
    }
    clock.pass(HOUR * 3);
    run(bed.store.housekeep()).unwrap();
}

fn size(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("denials.redb")).unwrap().len()
}

#[test]
fn what_is_forgotten_makes_room_for_what_comes_and_a_mostly_free_file_is_made_small() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = acts::with(directory.path(), &clock, 100);
    deny(&bed, new(subject("mallory"), Condition::Always));
    for round in 0..8 {
        churn(&bed, &clock, round, 4000);
    }
    // Where the last page in use lies is chance; the records of one round alone take more.
    let bytes = size(directory.path());
    assert!(bytes <= 4000 * 700, "{bytes}");
    assert_eq!((bed.store.count(), bed.denylist.len()), (1, 1));
    bed.store.close();

    // Below the least size, or while a process has it: left alone.
    assert_eq!(at_start(directory.path(), u64::MAX), None);
    let bed = open(directory.path(), &clock);
    assert_eq!(at_start(directory.path(), 0), None);
    bed.store.close();
    let (before, after) = at_start(directory.path(), 0).unwrap();
    assert!(after < before && after <= 128 << 10, "{before} to {after}");
    assert_eq!(at_start(directory.path(), after), None, "nothing is left to do");
    let bed = open(directory.path(), &clock);
    assert!(denied(&bed, "mallory") && !denied(&bed, "alice"));
    assert_eq!(is_whole(directory.path()), None, "in use");
    bed.store.close();
    assert_eq!(is_whole(directory.path()), Some(true));
}

#[test]
fn a_file_that_is_mostly_in_use_is_not_moved_about() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = try_open(directory.path(), 1_000_000, &clock).unwrap();
    let all = (0..20_000).map(|n| new(subject(&format!("u-{n}")), Condition::Always)).collect();
    run(bed.store.deny_all(all)).unwrap();
    bed.store.close();
    assert_eq!(at_start(directory.path(), 0), None);
    // Nor is one that is damaged.
    std::fs::write(directory.path().join("denials.redb"), [0x5a; 100_000]).unwrap();
    assert_eq!(at_start(directory.path(), 0), None);
    assert_eq!(size(directory.path()), 100_000);
}

/// Is it whole? `None`: it cannot be asked now.
fn is_whole(directory: &Path) -> Option<bool> {
    crate::control::store::offline::check(directory).ok().map(|checked| checked.is_whole())
}
