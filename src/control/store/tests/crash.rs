//! The matrix of crashes beyond denying and lifting: forgetting, importing, the clock's own write,
//! opening again, compacting, each with a power loss at every sync; and a disk that cannot read.

use redb::Database;

use super::disk::SimulatedDisk;
use super::*;
use crate::control::store::offline::check;

fn foreign(id: u8, name: &str) -> Denial {
    let new = new(subject(name), Condition::Always);
    Denial {
        id: DenialId([id; 10]),
        issuer: new.issuer,
        selector: new.selector,
        condition: new.condition,
        except: None,
        created_at: START,
        kept_until: None,
        ends_at: None,
        reason: new.reason,
        reference: None,
        created_by: new.created_by,
    }
}

/// What was answered before the disk gave up.
#[derive(Default)]
struct Answered {
    banned: bool,
    imported: bool,
    forgotten: bool,
    noted: bool,
    clock: bool,
}

fn scenario(bed: &Bed, clock: &Arc<SimulatedClock>) -> Answered {
    let mut answered = Answered::default();
    let short = NewDenial {
        kept_until: Some(START.plus(HOUR)),
        ..new(subject("alice"), Condition::VersionBelow(9))
    };
    let made = run(bed.store.deny_all(vec![short, new(subject("mallory"), Condition::Always)]));
    answered.banned = made.is_ok();
    let lift =
        Lift { denial: DenialId([0xfe; 10]), at: START, reason: None, by: actor("x", "admin") };
    let changes = vec![
        Change::Denied(foreign(0xfd, "brought")),
        Change::Lifted(lift),
        Change::Denied(foreign(0xfe, "undone elsewhere")),
    ];
    answered.imported = run(bed.store.apply(changes)).is_ok();
    clock.pass(HOUR * 3);
    answered.forgotten = run(bed.store.housekeep()).is_ok();
    let note = NewAct {
        deed: Deed::Imported,
        by: actor("dana", "admin"),
        what: None,
        reason: None,
        counts: Vec::new(),
    };
    answered.noted = run(bed.store.note(note)).is_ok();
    // Nothing but the clock is to be written.
    clock.pass(Duration::from_secs(600));
    answered.clock = run(bed.store.housekeep()).is_ok();
    answered
}

/// The file on this disk, looked at by the offline check.
fn is_whole(disk: &SimulatedDisk) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("denials.redb"), disk.bytes()).unwrap();
    let checked = check(directory.path()).unwrap();
    assert!(checked.is_whole(), "{checked:?}");
}

#[test]
fn forgetting_importing_and_the_clock_are_whole_after_a_power_loss_at_any_sync() {
    let mut finished = 0;
    for syncs in 1..200 {
        let disk = SimulatedDisk::new();
        let clock = SimulatedClock::at(START);
        disk.freeze_after(Some(syncs));
        let Ok(bed) = disk.open_at(&clock) else { continue };
        let answered = scenario(&bed, &clock);
        drop(bed);
        for chance in 0..4 {
            let after = disk.after_power_loss(chance * 104_729 + u64::from(syncs));
            let clock = SimulatedClock::at(START.plus(HOUR * 3));
            let bed = after.open_at(&clock).unwrap();
            let what = format!("{syncs} syncs, chance {chance}");
            assert!(!answered.banned || denied(&bed, "mallory"), "{what}");
            assert!(!answered.imported || denied(&bed, "brought"), "{what}");
            assert!(!denied(&bed, "undone elsewhere"), "{what}: its tombstone came first");
            assert!(!denied(&bed, "nobody"), "{what}");
            // What was forgotten stays so, and what was not is forgotten in its time.
            clock.pass(HOUR * 6);
            run(bed.store.housekeep()).unwrap();
            assert!(!denied(&bed, "alice"), "{what}");
            let acts = bed.store.acts_before(u64::MAX, 100).unwrap();
            let noted = acts.iter().any(|act| act.deed == Deed::Imported);
            assert!(!answered.noted || noted, "{what}");
            drop(bed);
            is_whole(&after);
        }
        finished += u32::from(answered.clock);
        if finished > 3 {
            break;
        }
    }
    assert!(finished > 0, "the scenario ended within the syncs tried");
}

#[test]
fn opening_again_that_fails_at_any_sync_loses_nothing_and_the_next_one_succeeds() {
    let disk = SimulatedDisk::new();
    let clock = SimulatedClock::at(START);
    let bed = disk.open_at(&clock).unwrap();
    deny(&bed, new(subject("mallory"), Condition::Always));
    drop(bed);
    // Left by a crash: opening has to repair first.
    for syncs in 0..12 {
        let crashed = {
            let bed = disk.open_at(&clock).unwrap();
            disk.freeze_after(Some(1));
            let _ = run(bed.store.deny(new(subject("late"), Condition::Always)));
            drop(bed);
            disk.freeze_after(None);
            disk.after_power_loss(u64::from(syncs))
        };
        crashed.freeze_after(Some(syncs));
        let opened = crashed.open_at(&clock);
        assert!(opened.is_err() || denied(opened.as_ref().unwrap(), "mallory"));
        drop(opened);
        crashed.freeze_after(None);
        let again = crashed.after_power_loss(u64::from(syncs) * 31);
        let bed = again.open_at(&clock).unwrap();
        assert!(denied(&bed, "mallory"), "{syncs} syncs");
        drop(bed);
        is_whole(&again);
    }
}

#[test]
fn a_compaction_that_power_ends_at_any_sync_leaves_every_denial() {
    let clock = SimulatedClock::at(START);
    let mut finished = false;
    for syncs in 1..60 {
        let disk = SimulatedDisk::new();
        let bed = disk.open_at(&clock).unwrap();
        let all = (0..2_000).map(|n| new(subject(&format!("u-{n}")), Condition::Always)).collect();
        let made = run(bed.store.deny_all(all)).unwrap();
        let ids = made.into_iter().map(|one| one.unwrap().record.denial.id).skip(20).collect();
        run(bed.store.lift(ids, None, actor("dana", "admin"))).unwrap();
        drop(bed);
        let mut database = Database::builder().create_with_backend(disk.clone()).unwrap();
        disk.freeze_after(Some(syncs));
        finished = database.compact().is_ok();
        drop(database);
        for chance in 0..3 {
            let after = disk.after_power_loss(chance * 7_919 + u64::from(syncs));
            let bed = after.open_at(&clock).unwrap();
            assert!((0..20).all(|n| denied(&bed, &format!("u-{n}"))), "{syncs} syncs");
            assert_eq!(bed.store.count(), 20);
            drop(bed);
            is_whole(&after);
        }
        if finished {
            break;
        }
    }
    assert!(finished, "the compaction ended within the syncs tried");
}

#[test]
fn a_disk_that_cannot_read_is_an_error_and_never_an_answer_that_is_wrong() {
    let disk = SimulatedDisk::new();
    let clock = SimulatedClock::at(START);
    let bed = disk.open_at(&clock).unwrap();
    let all = (0..2_000).map(|n| new(subject(&format!("u-{n}")), Condition::Always)).collect();
    run(bed.store.deny_all(all)).unwrap();
    drop(bed);
    let mut failed = 0;
    for reads in 0..40 {
        disk.unreadable_after(None);
        let Ok(bed) = disk.open_at(&clock) else { panic!("it can be read") };
        // The write fails, and the file is to be opened again: that reads.
        disk.freeze_after(Some(1));
        disk.unreadable_after(Some(reads));
        let name = format!("new-{reads}");
        let answer = run(bed.store.deny(new(subject(&name), Condition::Always)));
        let lifted = run(bed.store.lift_matching(
            Matching {
                issuer: issuer(),
                selector: subject(&format!("u-{reads}")),
                condition: None,
                most: 10,
            },
            None,
            actor("dana", "admin"),
        ));
        failed += usize::from(answer.is_err() || lifted.is_err());
        assert!(answer.is_err() || denied(&bed, &name), "an answer holds");
        assert!(denied(&bed, "u-1999"));
        disk.freeze_after(None);
        disk.unreadable_after(None);
        // The file is opened again with the next change.
        deny(&bed, new(subject(&format!("then-{reads}")), Condition::Always));
        let on_disk =
            |name: &str| !bed.store.in_force(&issuer(), &subject(name)).unwrap().is_empty();
        assert_eq!(denied(&bed, &name), on_disk(&name), "{reads} reads");
        let old = format!("u-{reads}");
        assert_eq!(denied(&bed, &old), on_disk(&old), "{reads} reads");
        assert!(lifted.is_err() || !on_disk(&old));
        drop(bed);
    }
    assert!(failed > 0, "some of them failed");
    is_whole(&disk);
    // A file that cannot be read at the start is refused.
    disk.unreadable_after(Some(3));
    assert!(disk.open_at(&clock).is_err());
}
