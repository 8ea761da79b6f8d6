//! A store that no process has open: is it whole ([`check()`]), build it anew from what can be read
//! ([`repair()`]), write it out ([`export()`]). None of them changes the file that it reads: it is
//! opened below a layer in memory that takes every write, recovery after a crash included.

mod acts;
mod check;
mod compact;
mod derive;
mod export;
mod overlay;
mod repair;
mod salvage;
mod sessions;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};

use super::damage;
use super::open::{self, Meta};
use super::rows::Fault;
use super::schema;

pub use self::acts::{Acts, export_acts};
pub use self::check::{Checked, check};
pub use self::compact::{Compacted, compact};
pub use self::export::{Exported, export};
pub use self::repair::{Repaired, repair};

use self::overlay::Overlay;

/// Why a store's file could not be looked at, or not be repaired.
#[derive(Debug)]
pub enum OfflineError {
    NoStore(PathBuf),
    /// A running gateway has it.
    InUse(PathBuf),
    /// It is not ours to read: of another program, or of a later version of this one.
    Foreign {
        path: PathBuf,
        why: String,
    },
    /// Too damaged for what was asked.
    Damaged {
        path: PathBuf,
        why: String,
    },
    /// Reading or writing failed.
    Failed {
        what: String,
        why: String,
    },
}

impl OfflineError {
    fn failed(what: &str, path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self::Failed { what: format!("{what} {}", path.display()), why: why.to_string() }
    }
}

impl std::fmt::Display for OfflineError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoStore(path) => {
                write!(out, "there is no store: {} is not there", path.display())
            }
            Self::InUse(path) => write!(
                out,
                "a running gateway has {}: stop it first; while it runs, `portcullis status` and \
                 `portcullis denials` ask it",
                path.display()
            ),
            Self::Foreign { path, why } => {
                write!(out, "{} was left as it is: {why}", path.display())
            }
            Self::Damaged { path, why } => write!(
                out,
                "{} is damaged: {why}. `portcullis store repair` builds it anew from what can be \
                 read and keeps this file beside it",
                path.display()
            ),
            Self::Failed { what, why } => write!(out, "cannot {what}: {why}"),
        }
    }
}

impl std::error::Error for OfflineError {}

fn file_of(directory: &Path) -> PathBuf {
    directory.join(open::FILE)
}

/// Opens the file below a layer in memory; its own bytes stay as they are.
fn open_layered(path: &Path) -> Result<Database, OfflineError> {
    let damaged = |why: String| OfflineError::Damaged { path: path.to_owned(), why };
    // Writing is asked for because the lock that a gateway takes needs it.
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(OfflineError::NoStore(path.to_owned()));
        }
        Err(error) => return Err(OfflineError::failed("open", path, &error)),
    };
    let backend =
        FileBackend::new(file).map_err(|error| OfflineError::failed("open", path, &error))?;
    let overlay =
        Overlay::over(backend).map_err(|error| OfflineError::failed("read", path, &error))?;
    if overlay.is_empty() {
        return Err(damaged("it is empty".to_owned()));
    }
    let opening = || open::builder().create_with_backend(overlay);
    match damage::guarded(opening) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(OfflineError::InUse(path.to_owned())),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(damage::Panicked) => Err(damaged(STRUCTURE.to_owned())),
    }
}

/// Rows in one transaction.
const ROWS: usize = 20_000;

const STRUCTURE: &str = "its structure is broken";

/// The library panics over some kinds of damage: an error like others here.
fn guarded<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, String> {
    match damage::guarded(read) {
        Ok(done) => done.map_err(|fault| fault.to_string()),
        Err(damage::Panicked) => Err(STRUCTURE.to_owned()),
    }
}

/// What the file says of itself. The outer error: it is not ours, and none of our business; the
/// inner one: it cannot be read.
fn describe(
    database: &Database,
    path: &Path,
) -> Result<Result<open::Opened, String>, OfflineError> {
    match guarded(|| open::read_meta(database)) {
        Ok(Meta::Ours(opened)) => Ok(Ok(opened)),
        Ok(Meta::Before(_)) => Err(OfflineError::Foreign {
            path: path.to_owned(),
            why: format!(
                "it is of format {}: start the gateway once, which brings it up to format {}, or \
                 use the version that wrote it",
                schema::FORMAT_BEFORE,
                schema::FORMAT
            ),
        }),
        Ok(Meta::Empty) => Ok(Err("it has no tables".to_owned())),
        Ok(Meta::Incomplete) => Ok(Err("its description is incomplete".to_owned())),
        Ok(Meta::Foreign(why)) => Err(OfflineError::Foreign { path: path.to_owned(), why }),
        Err(why) => Ok(Err(why)),
    }
}

/// The tables whose rows are known by an id.
const BY_ID: [redb::TableDefinition<'_, &[u8; 10], &[u8]>; 2] = [schema::RECORDS, schema::LIFTS];
