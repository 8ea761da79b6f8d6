//! The hot table from a thousand entries up, each size in a table of its own that is released
//! before the next.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::denylist::{Denylist, Fingerprint, Fingerprinter, SelectorKind, Writer};

use super::{ABSENT, always, fingerprint, marks, memory};

/// What an entry may take at the most.
const ENTRY_BYTES_MAX: u64 = 40;
/// What the process may take for it besides: what shards outgrew stays with the allocator until
/// something else wants it.
const SLACK_BYTES: u64 = 4;
/// From this size on the process is held to that; below it, the program itself is too much of it.
const RESIDENT_COUNTS: u64 = 10_000_000;
/// What the process may take at the most, at any time and with the largest table.
const RESIDENT_MAX: u64 = 4 << 30;
/// Below this the shards themselves are most of it.
const ENTRIES_COUNT: u64 = 1_000_000;

pub fn by_size(max: u64) {
    println!(
        "table: entries, bytes an entry, resident bytes an entry, ns: insert, hit, miss, miss of all six kinds"
    );
    let empty = memory::resident();
    let mut count = 1_000;
    while count <= max {
        let (needed, had) = (count * ENTRY_BYTES_MAX * 5 / 4, memory::available());
        if had > 0 && had < needed {
            println!(
                "{count:>11} not tried: {} MiB are wanted, {} MiB are free",
                needed >> 20,
                had >> 20
            );
            std::process::exit(1);
        }
        one(count, empty);
        count *= 10;
    }
    println!("table: at most {} MiB were resident", memory::peak() >> 20);
    assert!(memory::peak() <= RESIDENT_MAX, "more than {} MiB", RESIDENT_MAX >> 20);
}

/// `empty`: what was resident before the first table.
fn one(count: u64, empty: u64) {
    let (table, mut writer, filling) = filled(count);
    assert_eq!(table.len() as u64, count);
    let resident = memory::resident().saturating_sub(empty) as f64 / count as f64;
    let insert = filling.as_secs_f64() * 1e9 / count as f64;
    let bytes = table.bytes() as f64 / count as f64;
    let hit = probe(&table, 0, count, true);
    let miss = probe(&table, ABSENT, 1 << 30, false);
    for (n, kind) in [
        SelectorKind::Session,
        SelectorKind::Subject,
        SelectorKind::Client,
        SelectorKind::Key,
        SelectorKind::Issuer,
    ]
    .into_iter()
    .enumerate()
    {
        writer.set_of_kind(kind, fingerprint(ABSENT * 2 + n as u64), &always());
    }
    let all = probe(&table, ABSENT, 1 << 30, false);
    println!(
        "{count:>11} {bytes:>7.1} {resident:>7.1} {insert:>7.0} {hit:>6.0} {miss:>6.0} {all:>6.0}"
    );
    if count >= ENTRIES_COUNT {
        let most = ENTRY_BYTES_MAX as f64;
        assert!(bytes <= most, "more than {most} bytes an entry");
    }
    if count >= RESIDENT_COUNTS {
        let most = (ENTRY_BYTES_MAX + SLACK_BYTES) as f64;
        assert!(resident <= most, "more than {most} bytes an entry are resident");
    }
}

pub fn filled(count: u64) -> (Arc<Denylist>, Writer, Duration) {
    let (table, mut writer) = Denylist::new(Fingerprinter::random());
    let fold = always();
    let start = Instant::now();
    for n in 0..count {
        writer.set_of_kind(SelectorKind::Token, fingerprint(n), &fold);
    }
    (table, writer, start.elapsed())
}

/// Nanoseconds a look-up of tokens whose numbers are `base` plus a random number below `count`.
fn probe(table: &Denylist, base: u64, count: u64, expected: bool) -> f64 {
    let rounds = 2_000_000_u64;
    // The keys are made beforehand in blocks, so that what is timed is the look-up alone.
    let mut marks = marks();
    let mut spent = Vec::new();
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..rounds / 10_000 {
        let block: Vec<Fingerprint> = (0..10_000)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                fingerprint(base + state % count)
            })
            .collect();
        let start = Instant::now();
        for at in &block {
            marks.token = *at;
            assert_eq!(black_box(table.check(black_box(&marks))).is_some(), expected);
        }
        spent.push(start.elapsed());
    }
    // The fastest tenth: what the machine does when nothing else runs on it.
    spent.sort_unstable();
    spent[spent.len() / 10].as_secs_f64() * 1e9 / 10_000.0
}
