//! The denylist by itself: bytes an entry and nanoseconds a look-up by size, insertion, readers
//! beside a busy writer, and the store's acknowledged denials a second and its start.
//!
//! `cargo bench --bench denylist -- [table MAX] [readers N] [store N]`; without arguments
//! `table 10000000 readers 1000000 store 1000000`. A plain harness rather than criterion: what is
//! measured here are states of hundreds of megabytes that are built once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis::clock::UnixMs;
use portcullis::control::store::{NewDenial, Options, Store};
use portcullis::denylist::{
    Actor, Condition, Denylist, Fingerprint, Fingerprinter, Fold, IssuerId, Marks, Selector,
    SelectorKind, TokenId, Via, Writer,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |name: &str, default: u64| {
        if arguments.is_empty() {
            return Some(default);
        }
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).map_or(default, |count| count.parse().unwrap()))
    };
    if let Some(max) = wanted("table", 10_000_000) {
        table(max);
    }
    if let Some(count) = wanted("readers", 1_000_000) {
        readers(count);
    }
    if let Some(count) = wanted("store", 1_000_000) {
        store(count);
    }
}

/// The `n`-th of a series of fingerprints that look random (splitmix64).
fn fingerprint(n: u64) -> Fingerprint {
    let mix = |n: u64| {
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    };
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&mix(2 * n + 1).to_le_bytes());
    bytes[8..].copy_from_slice(&mix(2 * n + 2).to_le_bytes()[..4]);
    Fingerprint(bytes)
}

/// Numbers that are not in any table: fingerprints of `ABSENT + n` are misses.
const ABSENT: u64 = 1 << 40;

fn always() -> Fold {
    Fold { always: true, ..Fold::default() }
}

fn filled(count: u64) -> (Arc<Denylist>, Writer, Duration) {
    let (table, mut writer) = Denylist::new(Fingerprinter::random());
    let fold = always();
    let start = Instant::now();
    for n in 0..count {
        writer.set_of_kind(SelectorKind::Token, fingerprint(n), &fold);
    }
    (table, writer, start.elapsed())
}

fn marks() -> Marks {
    Marks {
        token: fingerprint(ABSENT),
        session: Some(fingerprint(ABSENT + 1)),
        subject: Some(fingerprint(ABSENT + 2)),
        client: Some(fingerprint(ABSENT + 3)),
        key: fingerprint(ABSENT + 4),
        issuer: fingerprint(ABSENT + 5),
        claims: Box::default(),
        issued_at: Some(UnixMs(1)),
        version: None,
        admission: None,
    }
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

fn table(max: u64) {
    println!("table: entries, bytes an entry, ns: insert, hit, miss, miss of all six kinds");
    let mut count = 1_000;
    while count <= max {
        let (table, mut writer, filling) = filled(count);
        assert_eq!(table.len() as u64, count);
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
        println!("{count:>11} {bytes:>7.1} {insert:>7.0} {hit:>6.0} {miss:>6.0} {all:>6.0}");
        count *= 10;
    }
}

/// How long look-ups take while a writer adds as fast as it can and then removes everything.
fn readers(count: u64) {
    let (table, mut writer, _) = filled(count);
    let stop = Arc::new(AtomicBool::new(false));
    let watch = |table: Arc<Denylist>, stop: Arc<AtomicBool>| {
        std::thread::spawn(move || {
            let mut marks = marks();
            let mut took = Vec::with_capacity(1 << 24);
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) && took.len() < 1 << 24 {
                n += 1;
                marks.token = fingerprint(ABSENT + n);
                let start = Instant::now();
                black_box(table.check(&marks));
                took.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            took.sort_unstable();
            let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
            format!(
                "p50 {} p99 {} p99.9 {} p99.99 {} max {} ns",
                at(0.5),
                at(0.99),
                at(0.999),
                at(0.9999),
                at(1.0)
            )
        })
    };
    let reader = watch(Arc::clone(&table), Arc::clone(&stop));
    std::thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    println!("reader alone at {count}:           {}", reader.join().unwrap());

    stop.store(false, Ordering::Relaxed);
    let reader = watch(Arc::clone(&table), Arc::clone(&stop));
    let start = Instant::now();
    for n in count..3 * count {
        writer.set_of_kind(SelectorKind::Token, fingerprint(n), &always());
    }
    let rate = 2.0 * count as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    println!("reader while {rate:.0} a second are added:   {}", reader.join().unwrap());

    stop.store(false, Ordering::Relaxed);
    let reader = watch(Arc::clone(&table), Arc::clone(&stop));
    let start = Instant::now();
    for n in 0..3 * count {
        writer.set_of_kind(SelectorKind::Token, fingerprint(n), &Fold::default());
    }
    let rate = 3.0 * count as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    println!("reader while {rate:.0} a second are removed: {}", reader.join().unwrap());
    println!("bytes of the emptied table: {}", table.bytes());
}

fn denial(n: u64) -> NewDenial {
    NewDenial {
        issuer: IssuerId::new("https://id.example.com/"),
        selector: Selector::Token(TokenId::Jti(format!("1b4e28ba-2fa1-11d2-{n:017}"))),
        condition: Condition::Always,
        except: None,
        kept_until: Some(UnixMs::now().plus(Duration::from_secs(43_200))),
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

fn store(count: u64) {
    let directory = tempfile::tempdir_in("target").unwrap();
    let open = || {
        let start = Instant::now();
        let (denylist, writer) = Denylist::new(Fingerprinter::random());
        let options = Options { limit: u64::MAX };
        let store = Store::open(directory.path(), &options, writer, denylist).unwrap();
        (store, start.elapsed())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (store, _) = open();
    let next = Arc::new(AtomicU64::new(0));
    for clients in [1, 64, 256, 1024] {
        concurrent(&runtime, &store, &next, clients);
    }
    let start = Instant::now();
    let before = next.load(Ordering::Relaxed);
    runtime.block_on(async {
        while next.load(Ordering::Relaxed) < count {
            let first = next.fetch_add(4096, Ordering::Relaxed);
            let answers =
                store.deny_all((first..first + 4096).map(denial).collect()).await.unwrap();
            assert!(answers.iter().all(Result::is_ok));
        }
    });
    let added = next.load(Ordering::Relaxed).saturating_sub(before);
    let rate = added as f64 / start.elapsed().as_secs_f64();
    println!("store: {added} in batches of 4,096: {rate:.0} durable a second");
    concurrent(&runtime, &store, &next, 256);
    let held = store.count();
    store.close();
    let bytes = std::fs::metadata(directory.path().join("denials.redb")).unwrap().len();
    let (store, took) = open();
    assert_eq!(store.count(), held);
    println!(
        "store: start with {held} denials {:.2} s; file {} bytes a denial",
        took.as_secs_f64(),
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
fn concurrent(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
    next: &Arc<AtomicU64>,
    clients: u64,
) {
    let (start, busy) = (Instant::now(), cpu());
    let before = next.load(Ordering::Relaxed);
    runtime.block_on(async {
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let (store, next) = (store.clone(), Arc::clone(next));
                tokio::spawn(async move {
                    while start.elapsed() < Duration::from_secs(3) {
                        store.deny(denial(next.fetch_add(1, Ordering::Relaxed))).await.unwrap();
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
