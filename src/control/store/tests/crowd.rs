//! Very many denials of one selector: a change reads the few that matter, not all of them.

use super::*;

const CROWD: usize = 5_000;

fn second(n: usize) -> UnixMs {
    START.plus(Duration::from_secs(n as u64))
}

/// How many records a change read.
fn reads<T>(bed: &Bed, change: impl FnOnce() -> T) -> (T, u64) {
    let before = bed.store.figures().reads();
    let done = change();
    (done, bed.store.figures().reads() - before)
}

fn many(bed: &Bed, one: impl Fn(usize) -> NewDenial) -> Vec<DenialId> {
    let all = run(bed.store.deny_all((0..CROWD).map(one).collect())).unwrap();
    all.into_iter().map(|accepted| accepted.unwrap().record.denial.id).collect()
}

fn disk() -> Bed {
    disk::SimulatedDisk::new().open_at(&SimulatedClock::at(START)).unwrap()
}

#[test]
fn one_more_log_out_of_everyone_and_the_taking_back_of_one_cost_the_same_among_thousands() {
    let bed = disk();
    let cutoff = |n: usize| new(Selector::Issuer, Condition::IssuedBefore(second(n)));
    let (ids, making) = reads(&bed, || many(&bed, cutoff));
    assert!(making <= 8, "{making}");
    let (again, cost) = reads(&bed, || deny(&bed, cutoff(CROWD / 2)));
    assert!(again.already && again.record.denial.id == ids[CROWD / 2] && cost <= 8, "{cost}");
    let (made, cost) = reads(&bed, || deny(&bed, cutoff(CROWD)));
    assert!(!made.already && cost <= 8, "{cost}");
    // The newest taken back leaves the one before it, and so on.
    let issued = |n: usize| hit(&bed, "alice", second(n).minus(Duration::from_secs(1))).is_some();
    assert!(issued(CROWD));
    let (_, cost) = reads(&bed, || lift(&bed, made.record.denial.id));
    assert!(!issued(CROWD) && issued(CROWD - 1) && cost <= 8, "{cost}");
    let (_, cost) = reads(&bed, || lift(&bed, ids[CROWD - 1]));
    assert!(!issued(CROWD - 1) && issued(CROWD - 2) && cost <= 8, "{cost}");
    // One far below changes nothing.
    let (_, cost) = reads(&bed, || lift(&bed, ids[7]));
    assert!(issued(CROWD - 2) && cost <= 8, "{cost}");
}

#[test]
fn cutoffs_that_spare_versions_and_blocks_for_a_time_are_found_as_quickly() {
    let bed = disk();
    let alice = || subject("alice");
    let spare = |n: usize, session: &str| NewDenial {
        except: Some(Except::Session(session.into())),
        ..new(alice(), Condition::IssuedBefore(second(n)))
    };
    many(&bed, |n| spare(n, if n % 2 == 0 { "s-1" } else { "s-2" }));
    many(&bed, |n| new(alice(), Condition::VersionBelow(n as u64 + 4)));
    let timed = |n: usize| NewDenial {
        ends_at: Some(second(n).plus(HOUR)),
        ..new(alice(), Condition::Always)
    };
    let blocks = many(&bed, timed);
    for one in [spare(CROWD, "s-1"), new(alice(), Condition::VersionBelow(1 << 40)), timed(CROWD)] {
        let (made, cost) = reads(&bed, || deny(&bed, one.clone()));
        assert!(!made.already && cost <= 8, "{one:?} {cost}");
        let (again, cost) = reads(&bed, || deny(&bed, one.clone()));
        assert!(again.already && cost <= 8, "{one:?} {cost}");
        let (_, cost) = reads(&bed, || lift(&bed, made.record.denial.id));
        assert!(cost <= 8, "{one:?} {cost}");
    }
    // A block that ends sooner than one of the same credential is that one.
    let (sooner, cost) = reads(&bed, || deny(&bed, timed(0)));
    assert!(sooner.already && cost <= 8, "{cost}");
    assert_eq!(sooner.record.denial.id, blocks[CROWD - 1], "the one that lasts longest");
    let (_, cost) = reads(&bed, || run(bed.store.lift(blocks, None, actor("dana", "admin"))));
    assert!(cost <= 8, "{cost}");
    // Without the blocks: the version, and the cutoffs that spare s-1 (which the token has).
    assert_eq!(hit(&bed, "alice", second(CROWD - 3)), Some(ConditionKind::IssuedBefore));
    assert_eq!(hit(&bed, "alice", second(CROWD)), Some(ConditionKind::VersionBelow));
}

#[test]
fn what_stands_is_told_up_to_a_bound_the_strictest_of_it() {
    let bed = disk();
    many(&bed, |n| new(Selector::Issuer, Condition::IssuedBefore(second(n))));
    let ban = deny(&bed, new(Selector::Issuer, Condition::Always)).record;
    let told = bed.store.in_force(&issuer(), &Selector::Issuer).unwrap();
    assert_eq!(told.len(), 256);
    assert!(told.contains(&ban));
    let latest = Condition::IssuedBefore(second(CROWD - 1));
    assert!(told.iter().any(|record| record.denial.condition == latest));
}
