//! Gives the room of what was forgotten back to the disk, at start. While the store runs its free
//! pages are used again, so the file stays near the most that it ever held; only a file that is
//! mostly free is made small.

use std::path::Path;
use std::time::Instant;

use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _};

use super::StoreError;
use super::acts::Part;
use super::open::Meta;
use super::rows::Fault;
use super::{damage, open, schema, sessions};

/// Smaller files are left alone.
pub(super) const FILE_BYTES_MIN: u64 = 64 << 20;
/// What is alive is moved: this bounds the time that a start may take longer.
const LIVE_BYTES_MAX: u64 = 256 << 20;
/// The file is this many times what is alive.
const FREE_FACTOR: u64 = 4;
/// What a record and a tombstone take with their rows in log and indexes, pages half full.
const RECORD_BYTES: u64 = 700;
const LIFT_BYTES: u64 = 400;
const SESSION_BYTES: u64 = 700;
const ACT_BYTES: u64 = 300;

/// Compacts the file of a directory where that is worth it; how many bytes it had and has.
/// Nothing here keeps a store from starting: what is wrong with the file, opening it will say.
pub(super) fn at_start(directory: &Path, file_bytes_min: u64) -> Option<(u64, u64)> {
    let path = directory.join(open::FILE);
    let bytes = || std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let before = bytes();
    if before < file_bytes_min {
        return None;
    }
    let start = Instant::now();
    let compacting = || compact(&path, before);
    match damage::guarded(compacting) {
        Ok(Ok(true)) => {
            let (after, took_ms) = (bytes(), start.elapsed().as_millis());
            tracing::info!(before, after, took_ms, "the store's file was compacted");
            Some((before, after))
        }
        Ok(Ok(false)) => None,
        Ok(Err(fault)) => {
            tracing::warn!(%fault, "the store's file was not compacted");
            None
        }
        Err(damage::Panicked) => None,
    }
}

fn compact(path: &Path, file_bytes: u64) -> Result<bool, Fault> {
    let opened = open::builder().open(path);
    let mut database = opened.map_err(|error| Fault::Open(StoreError::Open(error.to_string())))?;
    let (Meta::Ours(_) | Meta::Before(_)) = open::read_meta(&database)? else { return Ok(false) };
    let live = live_bytes(&database)?;
    if live > LIVE_BYTES_MAX || live.saturating_mul(FREE_FACTOR) > file_bytes {
        return Ok(false);
    }
    database.compact().map_err(|error| Fault::Redb(error.into()))
}

fn live_bytes(database: &Database) -> Result<u64, Fault> {
    let transaction = database.begin_read()?;
    let records = transaction.open_table(schema::RECORDS)?.len()?;
    let lifts = transaction.open_table(schema::LIFTS)?.len()?;
    let sessions = sessions::count(&transaction)?;
    let mut acts = 0_u64;
    for part in Part::ALL {
        // A file of the format before has none.
        acts += transaction.open_table(part.table()).map_or(Ok(0), |table| table.len())?;
    }
    let rows = [
        (records, RECORD_BYTES),
        (lifts, LIFT_BYTES),
        (sessions, SESSION_BYTES),
        (acts, ACT_BYTES),
    ];
    let sum =
        |sum: u64, (rows, bytes): &(u64, u64)| sum.saturating_add(rows.saturating_mul(*bytes));
    Ok(rows.iter().fold(0, sum))
}
