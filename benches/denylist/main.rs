//! The denylist by itself: bytes an entry and nanoseconds a look-up by size, readers beside a busy
//! writer, and the store: acknowledged denials a second, a million that expire in one second, and
//! its start.
//!
//! `cargo bench --bench denylist -- [table MAX] [readers N] [store N] [expiry N]`; without arguments
//! `table 10000000 readers 1000000 store 1000000 expiry 1000000`. `table 100000000` takes 4 GiB and
//! says so where they are not to be had. A plain harness rather than criterion: what is measured
//! here are states of hundreds of megabytes that are built once. Limits that must hold are asserted,
//! so that a run which ends well has met them; times are printed, since they are the machine's.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop"
)]

mod expiry;
mod memory;
mod readers;
mod store;
mod table;

use portcullis::denylist::{Fingerprint, Fold, Marks};

use portcullis::clock::UnixMs;

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
        table::by_size(max);
    }
    if let Some(count) = wanted("readers", 1_000_000) {
        readers::beside_a_writer(count);
    }
    if let Some(count) = wanted("store", 1_000_000) {
        store::acknowledged(count);
    }
    if let Some(count) = wanted("expiry", 1_000_000) {
        expiry::in_one_second(count);
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
