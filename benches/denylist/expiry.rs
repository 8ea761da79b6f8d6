//! A million denials that fall due in the same second, on disk and in the table, while readers look
//! up and somebody denies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::clock::{Clock, SimulatedClock, UnixMs};
use portcullis::control::store::Store;
use tokio::runtime::Runtime;

use super::readers::Reader;
use super::store::{self, BATCH};

/// What is measured before.
const BEFORE: Duration = Duration::from_secs(3);
/// After this the store has not forgotten them.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longer than what is kept beyond the last token that could match.
const LATER: Duration = Duration::from_secs(3 * 3600);

pub fn in_one_second(count: u64) {
    let directory = tempfile::tempdir_in("target").unwrap();
    let runtime = store::runtime();
    let now = UnixMs::now();
    let clock = SimulatedClock::at(now);
    let (store, table, _) = store::open(directory.path(), Clock::Simulated(Arc::clone(&clock)));
    // As many stay as go.
    let (soon, late) = (now.plus(Duration::from_secs(60)), now.plus(LATER * 100));
    runtime.block_on(async {
        for first in (0..count).step_by(BATCH as usize) {
            for (from, until) in [(first, soon), (count + first, late)] {
                let denials =
                    (from..from + BATCH.min(count - first)).map(|n| store::denial(n, until));
                let answers = store.deny_all(denials.collect()).await.unwrap();
                assert!(answers.iter().all(Result::is_ok));
            }
        }
    });
    assert_eq!(table.len() as u64, 2 * count);

    let reader = Reader::start(&table);
    let before = deny_while(&runtime, &store, 4 * count, late, |_, since| since < BEFORE);
    println!("expiry: before, {}; {before}", reader.stop());

    let held = table.len() as u64;
    let reader = Reader::start(&table);
    let start = Instant::now();
    clock.pass(LATER);
    let meanwhile = deny_while(&runtime, &store, 5 * count, late, |added, since| {
        assert!(since < PATIENCE, "{} are still there", table.len());
        table.len() as u64 > held - count + added
    });
    let took = start.elapsed().as_secs_f64();
    println!("expiry: {count} gone after {took:.2} s, {:.0} a second", count as f64 / took);
    println!("expiry: meanwhile, {}; {meanwhile}", reader.stop());
}

/// Denies one after the other while `on` (of how many there were, and since when) says so; how long
/// each waited for its acknowledgement.
fn deny_while(
    runtime: &Runtime,
    store: &Store,
    from: u64,
    until: UnixMs,
    on: impl Fn(u64, Duration) -> bool,
) -> String {
    let (start, mut waited) = (Instant::now(), Vec::new());
    runtime.block_on(async {
        while on(waited.len() as u64, start.elapsed()) {
            let begun = Instant::now();
            store.deny(store::denial(from + waited.len() as u64, until)).await.unwrap();
            waited.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.sort_unstable();
    let at = |part: f64| waited[((waited.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    format!("{} denials, ms: p50 {p50:.2} p99 {p99:.2} max {max:.2}", waited.len())
}
