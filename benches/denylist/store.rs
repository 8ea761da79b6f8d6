//! The durable store: acknowledged denials a second by the number of callers, in batches, and the
//! start with all of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis::clock::{Clock, UnixMs};
use portcullis::control::store::{NewDenial, Options, Store};
use portcullis::denylist::{
    Actor, Condition, Denylist, Fingerprinter, IssuerId, Selector, TokenId, Via,
};
use tokio::runtime::Runtime;

use super::memory;

/// What is sent in one call of a batch.
pub const BATCH: u64 = 4096;

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn open(directory: &Path, clock: Clock) -> (Store, Arc<Denylist>, Duration) {
    let start = Instant::now();
    let (denylist, writer) = Denylist::new(Fingerprinter::random());
    let options = Options::of_limit(u64::MAX);
    let store = Store::open_at(directory, &options, writer, Arc::clone(&denylist), clock).unwrap();
    (store, denylist, start.elapsed())
}

/// Of the token `n`, to be kept until then.
pub fn denial(n: u64, kept_until: UnixMs) -> NewDenial {
    NewDenial {
        issuer: IssuerId::new("https://id.example.com/"),
        selector: Selector::Token(TokenId::Jti(format!("1b4e28ba-2fa1-11d2-{n:017}"))),
        condition: Condition::Always,
        except: None,
        kept_until: Some(kept_until),
        ends_at: None,
        reason: "benchmark".into(),
        reference: None,
        created_by: Actor {
            name: "bench".into(),
            role: "admin".into(),
            via: Via::Api,
            address: None,
        },
    }
}

fn lasting(n: u64) -> NewDenial {
    denial(n, UnixMs::now().plus(Duration::from_secs(43_200)))
}

pub fn acknowledged(count: u64) {
    let directory = tempfile::tempdir_in("target").unwrap();
    let runtime = runtime();
    let (store, _, _) = open(directory.path(), Clock::system());
    let next = Arc::new(AtomicU64::new(0));
    for clients in [1, 64, 256, 1024] {
        concurrent(&runtime, &store, &next, clients);
    }
    let (start, before) = (Instant::now(), next.load(Ordering::Relaxed));
    runtime.block_on(async {
        while next.load(Ordering::Relaxed) < count {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let denials = (first..first + BATCH).map(lasting).collect();
            let answers = store.deny_all(denials).await.unwrap();
            assert!(answers.iter().all(Result::is_ok));
        }
    });
    let added = next.load(Ordering::Relaxed).saturating_sub(before);
    let rate = added as f64 / start.elapsed().as_secs_f64();
    println!("store: {added} in batches of {BATCH}: {rate:.0} durable a second");
    concurrent(&runtime, &store, &next, 256);
    let held = store.count();
    store.close();
    let bytes = std::fs::metadata(directory.path().join("denials.redb")).unwrap().len();
    let before = memory::resident();
    let (store, _, took) = open(directory.path(), Clock::system());
    assert_eq!(store.count(), held);
    println!(
        "store: start with {held} denials {:.2} s, {} MiB more resident; file {} bytes a denial",
        took.as_secs_f64(),
        memory::resident().saturating_sub(before) >> 20,
        bytes / held
    );
}

/// CPU that this process has used, user and system; from Linux's accounting, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * ticks.map(|t| t.parse::<u64>().unwrap_or(0)).sum::<u64>())
}

/// Acknowledged denials a second from clients that each wait for their answer, for three seconds.
fn concurrent(runtime: &Runtime, store: &Store, next: &Arc<AtomicU64>, clients: u64) {
    let (start, busy) = (Instant::now(), cpu());
    let before = next.load(Ordering::Relaxed);
    runtime.block_on(async {
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let (store, next) = (store.clone(), Arc::clone(next));
                tokio::spawn(async move {
                    while start.elapsed() < Duration::from_secs(3) {
                        store.deny(lasting(next.fetch_add(1, Ordering::Relaxed))).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let done = next.load(Ordering::Relaxed) - before;
    let rate = done as f64 / start.elapsed().as_secs_f64();
    let busy = (cpu() - busy).as_secs_f64() * 1e6 / done as f64;
    println!(
        "store: {clients} clients, {} held: {rate:.0} acknowledged a second, {busy:.1} µs CPU each",
        store.count()
    );
}
