//! How long look-ups take while a writer changes the table.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis::denylist::{Denylist, Fold, SelectorKind, Writer};

use super::table::filled;
use super::{ABSENT, always, fingerprint, marks};

/// Denials a second of a bad day.
const PACE: u64 = 100_000;
/// How long each part is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// A thread that looks up tokens that are not denied, as fast as it can.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u32>>,
}

impl Reader {
    pub fn start(table: &Arc<Denylist>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (table, stopped) = (Arc::clone(table), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut marks = marks();
            let mut took = Vec::with_capacity(1 << 25);
            let mut n = 0;
            while !stopped.load(Ordering::Relaxed) && took.len() < 1 << 25 {
                n += 1;
                marks.token = fingerprint(ABSENT + n);
                let start = Instant::now();
                black_box(table.check(&marks));
                took.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            took
        });
        Self { stop, thread }
    }

    /// The distribution of its look-ups, the clock's own 25 to 50 ns included.
    pub fn stop(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().unwrap();
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
        format!(
            "{} look-ups, ns: p50 {} p99 {} p99.9 {} p99.99 {} max {}",
            took.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(0.9999),
            at(1.0)
        )
    }
}

pub fn beside_a_writer(count: u64) {
    let (table, mut writer, _) = filled(count);
    let reader = Reader::start(&table);
    std::thread::sleep(WATCHED);
    println!("readers: alone at {count}: {}", reader.stop());

    let reader = Reader::start(&table);
    let added = paced(&mut writer, count);
    let rate = added as f64 / WATCHED.as_secs_f64();
    println!("readers: while {rate:.0} a second are added: {}", reader.stop());
    assert!(added >= PACE * WATCHED.as_secs() * 9 / 10, "the writer could not keep its pace");

    let reader = Reader::start(&table);
    let (start, from) = (Instant::now(), count + added);
    for n in from..from + 2 * count {
        writer.set_of_kind(SelectorKind::Token, fingerprint(n), &always());
    }
    let rate = 2.0 * count as f64 / start.elapsed().as_secs_f64();
    println!("readers: while {rate:.0} a second are added: {}", reader.stop());

    let reader = Reader::start(&table);
    let start = Instant::now();
    let all = from + 2 * count;
    for n in 0..all {
        writer.set_of_kind(SelectorKind::Token, fingerprint(n), &Fold::default());
    }
    let rate = all as f64 / start.elapsed().as_secs_f64();
    println!("readers: while {rate:.0} a second are removed: {}", reader.stop());
    assert!(table.is_empty(), "all were removed");
    println!("readers: {} bytes of the emptied table", table.bytes());
}

/// Adds at an even pace, a hundredth of a second's share at a time; how many.
fn paced(writer: &mut Writer, from: u64) -> u64 {
    let start = Instant::now();
    let mut added = 0;
    while start.elapsed() < WATCHED {
        let due = (start.elapsed().as_secs_f64() * PACE as f64) as u64;
        while added < due {
            writer.set_of_kind(SelectorKind::Token, fingerprint(from + added), &always());
            added += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    added
}
