//! The store over a real file in a temporary directory, with a simulated clock where time matters.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::SimulatedClock;
use crate::denylist::{Condition, Fingerprinter, Identity, Marks, SelectorKind, TokenId, Via};
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
        Store::open_at(directory, &Options { limit }, writer, Arc::clone(&denylist), clock)?;
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

/// Is a token of this subject (session `s-1`, jti `t-1`) with this `iat` denied?
fn denied(bed: &Bed, name: &str, issued_at: UnixMs) -> bool {
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
    };
    bed.denylist.check(&Marks::of(&identity, bed.denylist.fingerprinter())).is_some()
}

#[test]
fn a_denial_is_in_force_when_acknowledged_and_after_a_restart_and_a_lift_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = SimulatedClock::at(START);
    let bed = open(directory.path(), &clock);
    let accepted = run(bed.store.deny(new(subject("mallory"), Condition::Always))).unwrap();
    assert!(!accepted.already);
    assert_eq!((accepted.record.sequence, bed.store.sequence(), bed.store.count()), (1, 1, 1));
    assert!(denied(&bed, "mallory", START) && !denied(&bed, "alice", START));
    let epoch = bed.store.epoch();
    drop(bed);

    let bed = open(directory.path(), &clock);
    assert_eq!(bed.store.epoch(), epoch);
    assert!(denied(&bed, "mallory", START) && !denied(&bed, "alice", START));
    let id = accepted.record.denial.id;
    assert_eq!(bed.store.find(id).unwrap(), Some(accepted.record.clone()));
    let lifted =
        run(bed.store.lift(vec![id, id], Some("false alarm".into()), actor("eve", "admin")))
            .unwrap();
    assert_eq!(lifted.len(), 2);
    assert_eq!(lifted[0], lifted[1], "the second is answered as it stands");
    assert_eq!(lifted[0].lift.as_ref().unwrap().by.name, "eve");
    assert!(!denied(&bed, "mallory", START));
    assert_eq!((bed.store.sequence(), bed.store.count(), bed.denylist.len()), (2, 0, 0));
    bed.store.close();
    let bed = open(directory.path(), &clock);
    assert!(!denied(&bed, "mallory", START));
    assert_eq!(bed.store.count(), 0);
}
