//! The store over a real file in a temporary directory, with a simulated clock where time matters.

mod acts;
mod compact;
mod crash;
mod crowd;
pub(in crate::control) mod disk;
mod folding;
mod offline;
mod oracle;
mod retention;
mod sessions;
mod soundness;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::{SimulatedClock, UnixMs};
use crate::denylist::{
    Condition, ConditionKind, Denial, Except, Fingerprinter, Identity, IssuerId, Lift, Marks,
    Selector, SelectorKind, TokenId, Via,
};
use crate::keys::Thumbprint;

const START: UnixMs = UnixMs(1_795_259_641_000);
const HOUR: Duration = Duration::from_secs(3600);

struct Bed {
    store: Store,
    denylist: Arc<Denylist>,
}

fn try_open(directory: &Path, limit: u64, clock: &Arc<SimulatedClock>) -> Result<Bed, StoreError> {
    let (denylist, writer) = Denylist::new(Fingerprinter::random());
    let clock = Clock::Simulated(Arc::clone(clock));
    let store =
        Store::open_at(directory, &Options::of_limit(limit), writer, Arc::clone(&denylist), clock)?;
    Ok(Bed { store, denylist })
}

fn open(directory: &Path, clock: &Arc<SimulatedClock>) -> Bed {
    try_open(directory, 1000, clock).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn issuer() -> IssuerId {
    IssuerId::new("https://id.example.com/")
}

fn actor(name: &str, role: &str) -> Actor {
    let address = Some("127.0.0.1".to_owned());
    Actor { name: name.into(), role: role.into(), via: Via::Api, address }
}

fn new(selector: Selector, condition: Condition) -> NewDenial {
    NewDenial {
        issuer: issuer(),
        selector,
        condition,
        except: None,
        kept_until: None,
        ends_at: None,
        reason: "test".into(),
        reference: None,
        created_by: actor("dana", "operator"),
    }
}

fn subject(name: &str) -> Selector {
    Selector::Subject(name.into())
}

fn deny(bed: &Bed, denial: NewDenial) -> Accepted {
    run(bed.store.deny(denial)).unwrap()
}

fn lift(bed: &Bed, id: DenialId) -> Vec<Record> {
    run(bed.store.lift(vec![id], None, actor("dana", "operator"))).unwrap()
}

/// Why a token of this subject (session `s-1`, jti `t-1`) with this `iat` is denied.
fn hit(bed: &Bed, name: &str, issued_at: UnixMs) -> Option<ConditionKind> {
    let identity = Identity {
        issuer: &issuer(),
        token: TokenId::Jti("t-1".into()),
        session: Some("s-1"),
        subject: Some(name),
        client: None,
        key: &Thumbprint([1; 32]),
        claims: Vec::new(),
        issued_at: Some(issued_at),
        version: Some(3),
        must_be_registered: false,
    };
    let marks = Marks::of(&identity, bed.denylist.fingerprinter());
    bed.denylist.check(&marks).map(|hit| hit.condition)
}

fn denied(bed: &Bed, name: &str) -> bool {
    hit(bed, name, START).is_some()
}

#[test]
fn a_denial_is_in_force_when_acknowledged_and_after_a_restart_and_a_lift_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let accepted = deny(&bed, new(subject("mallory"), Condition::Always));
    assert!(!accepted.already);
    assert_eq!((accepted.record.sequence, bed.store.sequence(), bed.store.count()), (1, 1, 1));
    assert!(denied(&bed, "mallory") && !denied(&bed, "alice"));
    let epoch = bed.store.epoch();
    drop(bed);

    let bed = open(directory.path(), &clock);
    assert_eq!(bed.store.epoch(), epoch);
    assert!(denied(&bed, "mallory") && !denied(&bed, "alice"));
    let id = accepted.record.denial.id;
    assert_eq!(bed.store.find(id).unwrap(), Some(accepted.record.clone()));
    let by = actor("eve", "admin");
    let lifted = run(bed.store.lift(vec![id, id], Some("false alarm".into()), by)).unwrap();
    assert_eq!(lifted.len(), 2);
    assert_eq!(lifted[0], lifted[1], "the second is answered as it stands");
    assert_eq!(lifted[0].lift.as_ref().unwrap().by.name, "eve");
    assert_eq!(lift(&bed, id), lifted[..1], "also in a later call by somebody else");
    assert!(!denied(&bed, "mallory"));
    assert_eq!((bed.store.sequence(), bed.store.count(), bed.denylist.len()), (2, 0, 0));
    bed.store.close();
    let bed = open(directory.path(), &clock);
    assert!(!denied(&bed, "mallory"));
    assert_eq!(bed.store.count(), 0);
    assert_eq!(lift(&bed, DenialId([7; 10])), []);
}

#[test]
fn lifting_one_of_several_denials_leaves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let cutoff = Condition::IssuedBefore(START.plus(HOUR));
    let ban = deny(&bed, new(subject("alice"), Condition::Always)).record.denial.id;
    let logout = deny(&bed, new(subject("alice"), cutoff)).record.denial.id;
    let version = deny(&bed, new(subject("alice"), Condition::VersionBelow(4))).record.denial.id;
    assert_eq!(hit(&bed, "alice", START), Some(ConditionKind::Always));
    assert_eq!(bed.store.in_force(&issuer(), &subject("alice")).unwrap().len(), 3);
    lift(&bed, ban);
    assert_eq!(hit(&bed, "alice", START), Some(ConditionKind::IssuedBefore));
    assert_eq!(hit(&bed, "alice", START.plus(HOUR)), Some(ConditionKind::VersionBelow));
    lift(&bed, version);
    assert_eq!(hit(&bed, "alice", START.plus(HOUR)), None);
    lift(&bed, logout);
    assert_eq!(hit(&bed, "alice", START), None);
    assert_eq!(bed.store.in_force(&issuer(), &subject("alice")).unwrap(), []);
}

#[test]
fn the_same_denial_again_is_the_record_that_stands_and_a_stronger_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let base = NewDenial {
        except: Some(Except::Session("s-9".into())),
        reference: Some("INC-1".into()),
        kept_until: Some(START.plus(HOUR * 12)),
        ..new(subject("alice"), Condition::IssuedBefore(START))
    };
    let first = deny(&bed, base.clone());
    assert!(!first.already);
    let again = deny(&bed, NewDenial { reason: "another text".into(), ..base.clone() });
    assert_eq!(again, Accepted { already: true, record: first.record.clone() });
    let others = [
        NewDenial { selector: subject("bob"), ..base.clone() },
        NewDenial { condition: Condition::IssuedBefore(START.plus(HOUR)), ..base.clone() },
        NewDenial { except: None, ..base.clone() },
        NewDenial { reference: None, ..base.clone() },
        NewDenial { created_by: actor("shop", "operator"), ..base.clone() },
        NewDenial { issuer: IssuerId::new("https://other.example/"), ..base.clone() },
        // It would be forgotten too early for the second caller.
        NewDenial { kept_until: Some(START.plus(HOUR * 14)), ..base.clone() },
    ];
    for other in others {
        assert!(!deny(&bed, other.clone()).already, "{other:?}");
    }
    let block = |hours| NewDenial {
        ends_at: Some(START.plus(HOUR * hours)),
        ..new(subject("carol"), Condition::Always)
    };
    assert!(!deny(&bed, block(24)).already);
    assert!(deny(&bed, block(12)).already, "a shorter block is covered");
    assert!(!deny(&bed, block(48)).already, "a longer one is not");
    assert!(!deny(&bed, new(subject("carol"), Condition::Always)).already);
    let frank = deny(&bed, new(subject("frank"), Condition::Always)).record.denial.id;
    lift(&bed, frank);
    let frank = new(subject("frank"), Condition::Always);
    assert!(!deny(&bed, frank.clone()).already, "what is lifted does not stand");
    assert!(deny(&bed, frank).already);
    // Two equal ones in one transaction.
    let twin = new(subject("dave"), Condition::Always);
    let twins = run(bed.store.deny_all(vec![twin.clone(), twin])).unwrap();
    let already: Vec<bool> = twins.into_iter().map(|twin| twin.unwrap().already).collect();
    assert_eq!(already, [false, true]);
}

#[test]
fn the_limit_refuses_new_denials_and_keeps_a_tenth_for_admins() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = try_open(directory.path(), 20, &clock).unwrap();
    let named = |n: u32| new(subject(&format!("u-{n}")), Condition::Always);
    for n in 0..18 {
        deny(&bed, named(n));
    }
    assert_eq!(run(bed.store.deny(named(18))), Err(StoreError::Full { limit: 20, reserved: true }));
    assert!(!denied(&bed, "u-18"));
    assert!(deny(&bed, named(3)).already, "what stands is still answered");
    let admin = |n| NewDenial { created_by: actor("root", "admin"), ..named(n) };
    deny(&bed, admin(18));
    let last = deny(&bed, admin(19)).record.denial.id;
    assert_eq!(
        run(bed.store.deny(admin(20))),
        Err(StoreError::Full { limit: 20, reserved: false })
    );
    lift(&bed, last);
    deny(&bed, admin(20));
    assert!(denied(&bed, "u-0") && denied(&bed, "u-20") && !denied(&bed, "u-19"));
}

#[test]
fn a_list_pages_newest_first_and_filters() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let mut ids = Vec::new();
    for n in 0..25 {
        let denial = NewDenial {
            reason: if n % 5 == 0 { "Card Fraud".into() } else { "lost".into() },
            reference: Some(format!("INC-{n}")),
            created_by: actor(if n < 20 { "dana" } else { "shop" }, "operator"),
            ..new(subject(&format!("u-{}", n % 10)), Condition::Always)
        };
        ids.push(deny(&bed, denial).record.denial.id);
        clock.pass(Duration::from_secs(1));
    }
    lift(&bed, ids[24]);
    let all = |filter: Filter| {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = bed.store.list(&Filter { before, ..filter.clone() }).unwrap();
            assert!(page.records.len() <= 7);
            seen.extend(page.records.iter().map(|record| record.denial.id));
            before = page.next;
            if before.is_none() {
                return seen;
            }
        }
    };
    let base = Filter { limit: 7, ..Filter::default() };
    let newest = |range: std::ops::Range<usize>| -> Vec<DenialId> {
        ids[range].iter().rev().copied().collect()
    };
    assert_eq!(all(base.clone()), newest(0..24));
    assert_eq!(all(Filter { with_lifted: true, ..base.clone() }), newest(0..25));
    let of = |filter: Filter| all(filter).len();
    assert_eq!(of(Filter { created_by: Some("shop".into()), ..base.clone() }), 4);
    assert_eq!(of(Filter { reason_contains: Some("fraud".into()), ..base.clone() }), 5);
    assert_eq!(of(Filter { reference: Some("INC-4".into()), ..base.clone() }), 1);
    assert_eq!(of(Filter { kind: Some(SelectorKind::Subject), ..base.clone() }), 24);
    assert_eq!(of(Filter { kind: Some(SelectorKind::Session), ..base.clone() }), 0);
    let since = Some(START.plus(Duration::from_secs(20)));
    assert_eq!(all(Filter { since, ..base.clone() }), newest(20..24));
    assert_eq!(of(Filter { issuer: Some(IssuerId::new("x")), ..base.clone() }), 0);
    let mine = Filter { selector: Some(subject("u-4")), ..base.clone() };
    assert_eq!(all(mine.clone()), [ids[14], ids[4]]);
    let mine = Filter { issuer: Some(issuer()), limit: 1, ..mine };
    assert_eq!(all(mine.clone()), [ids[14], ids[4]]);
    assert_eq!(all(Filter { with_lifted: true, ..mine }), [ids[24], ids[14], ids[4]]);
}

#[test]
fn a_record_is_found_by_a_prefix_that_is_unique() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let first = deny(&bed, new(subject("alice"), Condition::Always)).record;
    clock.pass(HOUR * 1000);
    let second = deny(&bed, new(subject("bob"), Condition::Always)).record;
    let text = second.denial.id.to_string();
    let common =
        text.chars().zip(first.denial.id.to_string().chars()).take_while(|(a, b)| a == b).count();
    let found = |prefix: &str| bed.store.find_by_prefix(prefix, |_| true).unwrap();
    assert_eq!(found(&text[..common]), [first, second.clone()]);
    assert_eq!(found(&text[..=common]), std::slice::from_ref(&second));
    assert_eq!(found(&text[3..].to_uppercase()), [second]);
    assert_eq!(found("dn_zz"), []);
    assert_eq!(found("no id"), []);
}

#[test]
fn changes_of_one_store_give_another_the_same_state_in_any_order() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = SimulatedClock::at(START);
    let (bed, twin) = (open(one.path(), &clock), open(other.path(), &clock));
    for n in 0..10 {
        let id = deny(&bed, new(subject(&format!("u-{n}")), Condition::Always)).record.denial.id;
        if n % 3 == 0 {
            lift(&bed, id);
        }
    }
    let mut changes = Vec::new();
    let mut after = 0;
    loop {
        let some = bed.store.changes_after(after, 3).unwrap();
        let Some((last, _)) = some.last() else { break };
        after = *last;
        changes.extend(some.into_iter().map(|(_, change)| change));
    }
    assert_eq!(changes.len(), 14);
    changes.reverse();
    let applied = run(twin.store.apply(changes.clone())).unwrap();
    assert_eq!(applied, [Applied::New; 14]);
    assert_eq!(run(twin.store.apply(changes.clone())).unwrap(), [Applied::Known; 14]);
    assert_eq!((twin.store.count(), twin.store.sequence()), (6, 14));
    for n in 0..10 {
        assert_eq!(denied(&twin, &format!("u-{n}")), n % 3 != 0, "born lifted or in force");
    }
    // The same id with other content is not taken, and the answer says so.
    let Some(Change::Denied(denial)) = changes.iter().rfind(|c| matches!(c, Change::Denied(_)))
    else {
        panic!("there are denials")
    };
    let forged = Change::Denied(Denial { selector: subject("eve"), ..denial.clone() });
    assert_eq!(run(twin.store.apply(vec![forged])).unwrap(), [Applied::Conflict]);
    assert!(!denied(&twin, "eve"));
    // Of two tombstones the same one stays, whichever came first.
    let tombstone = |name: &str| {
        Change::Lifted(Lift {
            denial: DenialId([9; 10]),
            at: START,
            reason: None,
            by: actor(name, "admin"),
        })
    };
    run(bed.store.apply(vec![tombstone("a"), tombstone("b")])).unwrap();
    run(twin.store.apply(vec![tombstone("b"), tombstone("a")])).unwrap();
    let late = Change::Denied(Denial { id: DenialId([9; 10]), ..denial.clone() });
    for bed in [&bed, &twin] {
        run(bed.store.apply(vec![late.clone()])).unwrap();
        let record = bed.store.find(DenialId([9; 10])).unwrap().unwrap();
        assert_eq!(record.lift.unwrap().by.name, "a");
    }
}

#[test]
fn a_closed_store_says_so_and_its_file_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let other = bed.store.clone();
    bed.store.close();
    let ban = new(subject("alice"), Condition::Always);
    assert_eq!(run(other.deny(ban)), Err(StoreError::Closed));
    assert_eq!(other.find(DenialId([0; 10])), Err(StoreError::Closed));
    drop(open(directory.path(), &clock));
}

#[test]
fn many_clients_are_answered_from_few_transactions_and_reads_go_on_beside() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = try_open(directory.path(), 10_000, &clock).unwrap();
    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..500 {
            let store = bed.store.clone();
            tasks.spawn(async move {
                let name = format!("u-{n}");
                store.deny(new(subject(&name), Condition::Always)).await.unwrap()
            });
        }
        let mut sequences = Vec::new();
        while let Some(accepted) = tasks.join_next().await {
            let record = accepted.unwrap().record;
            assert_eq!(bed.store.find(record.denial.id).unwrap().unwrap(), record);
            sequences.push(record.sequence);
        }
        sequences.sort_unstable();
        assert_eq!(sequences, (1..=500).collect::<Vec<u64>>());
    });
    assert!((0..500).all(|n| denied(&bed, &format!("u-{n}"))));
}
