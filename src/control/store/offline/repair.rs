//! Builds a store anew beside the old one: records and tombstones are copied as far as they can be
//! read; index, log, due times and counts are made from them. Only then do the two change names,
//! and the old file stays.
//!
//! Where the old file is not whole, rows are also looked for in all its pages. Of those a record is
//! taken unless the log shows that it was forgotten, and a tombstone only where the tombstones'
//! own tree is broken: an error on this side denies too much, never too little.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use crate::clock::UnixMs;
use crate::denylist::DenialId;

use super::super::batch;
use super::super::codec::{self, CodecError};
use super::super::open::{self, Meta, Opened};
use super::super::rows::Fault;
use super::super::schema::{self, Logged};
use super::acts::Acts;
use super::derive::derive;
use super::{BY_ID, OfflineError, ROWS};

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repaired {
    pub records: u64,
    pub in_force: u64,
    pub tombstones: u64,
    /// Browser sessions.
    pub sessions: u64,
    pub acts: Acts,
    /// Rows found outside the old file's structure.
    pub salvaged: u64,
    /// Rows whose content could not be read anywhere, by the id they have.
    pub unreadable: Vec<DenialId>,
    /// The old file's structure was broken: more may be lost than is listed.
    pub broken: bool,
    /// Where the old file is now.
    pub kept: PathBuf,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Repairs the store in a directory; `now` names the old file.
pub fn repair(directory: &Path, now: UnixMs) -> Result<Repaired, OfflineError> {
    let whole = super::check::check_file(&super::file_of(directory))?.is_whole();
    rebuilt(directory, whole, now)
}

/// The same of a file of which it is known whether it is whole.
pub(super) fn rebuilt(
    directory: &Path,
    whole: bool,
    now: UnixMs,
) -> Result<Repaired, OfflineError> {
    let path = super::file_of(directory);
    let fresh_path = path.with_extension("redb.new");
    let done = rebuild(directory, &path, &fresh_path, whole, now);
    if done.is_err() {
        // What is left of it is of no use; it may not even be there.
        let _ = std::fs::remove_file(&fresh_path);
    }
    done
}

fn rebuild(
    directory: &Path,
    path: &Path,
    fresh_path: &Path,
    whole: bool,
    now: UnixMs,
) -> Result<Repaired, OfflineError> {
    let before = stamp(path)?;
    let source = match super::open_layered(path) {
        Ok(database) => Some(database),
        Err(OfflineError::Damaged { .. }) => None,
        Err(
            other @ (OfflineError::NoStore(_)
            | OfflineError::InUse(_)
            | OfflineError::Foreign { .. }
            | OfflineError::Failed { .. }),
        ) => return Err(other),
    };
    let described = match &source {
        Some(database) => super::describe(database, path)?.ok(),
        None => None,
    };
    let fresh = create(fresh_path)?;
    let failed = |why: &dyn std::fmt::Display| OfflineError::failed("write", fresh_path, why);
    let foreign = |why: String| OfflineError::Foreign { path: path.to_owned(), why };
    open::write_tables(&fresh, described.as_ref().unwrap_or(&open::newborn(now)))
        .map_err(|fault| failed(&fault))?;
    let mut copy = Copy::to(&fresh);
    let trees = [0, 1].map(|table| source.as_ref().is_some_and(|from| copy.tree(from, table)));
    if !whole {
        let file = File::open(path).map_err(|why| OfflineError::failed("read", path, &why))?;
        let log = source.as_ref().zip(described.as_ref());
        copy.pages(&file, log, trees).map_err(|why| OfflineError::failed("read", path, &why))?;
    }
    let copied = copy.finish().map_err(|fault| failed(&fault))?;
    if let Some(version) = copied.later {
        return Err(foreign(CodecError::Version(version).to_string()));
    }
    if described.is_none() && copied.rows == 0 {
        let why = "nothing in it can be read as a denial: put back a copy of it".to_owned();
        return Err(foreign(why));
    }
    let broken = described.is_none() || trees.contains(&false);
    let lost = broken || !copied.unreadable.is_empty();
    let acts = match &source {
        Some(source) => super::acts::copy(source, &fresh).map_err(|fault| failed(&fault))?,
        None => Acts { broken: true, ..Acts::default() },
    };
    // In doubt all are held: an error on this side denies too long.
    let held = source.as_ref().filter(|_| described.is_some()).and_then(held);
    let counts =
        derive(&fresh, described, lost, (acts.last, held), now).map_err(|fault| failed(&fault))?;
    let sessions = source.as_ref().map_or(0, |source| copy_sessions(source, &fresh));
    drop((fresh, source));
    let kept = swap(directory, path, fresh_path, &before, now)?;
    Ok(Repaired {
        records: counts.records,
        in_force: counts.in_force,
        tombstones: counts.tombstones,
        sessions,
        acts,
        salvaged: copied.salvaged,
        unreadable: copied.unreadable,
        broken,
        kept,
        bytes_before: before.0,
        bytes_after: stamp(path)?.0,
    })
}

/// Which records are held; `None`: that cannot be read.
fn held(source: &Database) -> Option<BTreeSet<DenialId>> {
    let read = super::guarded(|| {
        let due = source.begin_read()?.open_table(schema::DUE)?;
        let first = schema::due_key(schema::NEVER, DenialId([0; 10]));
        let ids = due.range::<&[u8; 18]>(&first..)?;
        ids.map(|entry| Ok(schema::due_parts(entry?.0.value()).1)).collect()
    });
    read.ok()
}

/// As far as they lead: nothing depends on them but their own lists.
fn copy_sessions(source: &Database, fresh: &Database) -> u64 {
    let copied = super::guarded(|| match open::read_meta(fresh)? {
        Meta::Ours(opened) => super::sessions::copy(source, fresh, &opened.index_key),
        Meta::Empty | Meta::Before(_) | Meta::Incomplete | Meta::Foreign(_) => Ok(0),
    });
    copied.unwrap_or(0)
}

/// Length, inode and last change: the same as long as nobody writes.
fn stamp(path: &Path) -> Result<(u64, u64, i64, i64), OfflineError> {
    let of = std::fs::metadata(path).map_err(|why| OfflineError::failed("look at", path, &why))?;
    Ok((of.len(), of.ino(), of.mtime(), of.mtime_nsec()))
}

fn create(path: &Path) -> Result<Database, OfflineError> {
    let failed = |why: &dyn std::fmt::Display| OfflineError::failed("create", path, why);
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(path).map_err(|why| failed(&why))?;
    open::builder().create_file(file).map_err(|why| failed(&why))
}

/// The new file is checked like any other before it takes the old one's name, in one step.
fn swap(
    directory: &Path,
    path: &Path,
    fresh: &Path,
    before: &(u64, u64, i64, i64),
    now: UnixMs,
) -> Result<PathBuf, OfflineError> {
    if let Some(fault) = super::check::check_file(fresh)?.faults.into_iter().next() {
        return Err(OfflineError::failed("build", fresh, &fault));
    }
    if stamp(path)? != *before {
        return Err(OfflineError::InUse(path.to_owned()));
    }
    let mark: String = now.rfc3339().chars().filter(char::is_ascii_alphanumeric).collect();
    let kept = path.with_extension(format!("redb.old-{mark}"));
    std::fs::hard_link(path, &kept).map_err(|why| OfflineError::failed("name", &kept, &why))?;
    std::fs::rename(fresh, path).map_err(|why| OfflineError::failed("replace", path, &why))?;
    open::sync_directory(directory).map_err(|why| OfflineError::failed("sync", directory, &why))?;
    Ok(kept)
}

/// Rows on their way into the new file.
struct Copy<'f> {
    fresh: &'f Database,
    waiting: Vec<(usize, DenialId, Vec<u8>)>,
    copied: Copied,
    /// By table: 0 records, 1 tombstones.
    unreadable: BTreeSet<(usize, DenialId)>,
    fault: Option<Fault>,
}

#[derive(Default)]
struct Copied {
    rows: u64,
    salvaged: u64,
    unreadable: Vec<DenialId>,
    /// A row of a later version of this program.
    later: Option<u8>,
}

impl<'f> Copy<'f> {
    fn to(fresh: &'f Database) -> Self {
        let (waiting, unreadable) = (Vec::new(), BTreeSet::new());
        Self { fresh, waiting, copied: Copied::default(), unreadable, fault: None }
    }

    /// Copies a tree from both ends, as far as they lead; `true`: whole.
    fn tree(&mut self, from: &Database, table: usize) -> bool {
        let Some(definition) = BY_ID.get(table).copied() else { return false };
        let forward = super::guarded(|| {
            for entry in from.begin_read()?.open_table(definition)?.iter()? {
                let (id, row) = entry?;
                self.take(table, DenialId(*id.value()), row.value());
            }
            Ok(())
        });
        if forward.is_ok() {
            return true;
        }
        // It ends at the damage too.
        let _ = super::guarded(|| {
            for entry in from.begin_read()?.open_table(definition)?.iter()?.rev() {
                let (id, row) = entry?;
                self.take(table, DenialId(*id.value()), row.value());
            }
            Ok(())
        });
        false
    }

    /// Takes what the pages have beyond the trees.
    fn pages(
        &mut self,
        file: &File,
        log: Option<(&Database, &Opened)>,
        trees: [bool; 2],
    ) -> std::io::Result<()> {
        self.flush();
        let before = self.copied.rows;
        let [_, tombstones_whole] = trees;
        super::salvage::scan(file, |id, row| {
            let id = DenialId(id);
            if let Ok((sequence, denial)) = codec::decode_denial(id, row) {
                // What lets pass is not taken in doubt.
                let lets_pass = batch::is_registration(&denial);
                if !lets_pass && !forgotten(log, sequence, Logged::Denied(id)) {
                    self.take(0, id, row);
                }
            } else if !tombstones_whole
                && let Ok((sequence, _)) = codec::decode_lift(id, row)
                && !forgotten(log, sequence, Logged::Lifted(id))
            {
                self.take(1, id, row);
            }
        })?;
        self.flush();
        self.copied.salvaged = self.copied.rows - before;
        Ok(())
    }

    fn take(&mut self, table: usize, id: DenialId, row: &[u8]) {
        let readable = match table {
            0 => codec::decode_denial(id, row).map(|_| ()),
            _ => codec::decode_lift(id, row).map(|_| ()),
        };
        match readable {
            Ok(()) => self.waiting.push((table, id, row.to_vec())),
            Err(CodecError::Version(version)) => self.copied.later = Some(version),
            Err(CodecError::Damaged) => {
                self.unreadable.insert((table, id));
            }
        }
        if self.waiting.len() >= ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if self.fault.is_some() || waiting.is_empty() {
            return;
        }
        match write_rows(self.fresh, &waiting) {
            Ok(new) => self.copied.rows += new,
            Err(fault) => self.fault = Some(fault),
        }
        for (table, id, _) in waiting {
            self.unreadable.remove(&(table, id));
        }
    }

    fn finish(mut self) -> Result<Copied, Fault> {
        self.flush();
        match self.fault {
            Some(fault) => Err(fault),
            None => {
                let unreadable: BTreeSet<_> = self.unreadable.iter().map(|(_, id)| *id).collect();
                self.copied.unreadable = unreadable.into_iter().collect();
                Ok(self.copied)
            }
        }
    }
}

/// The log can be read, should have this change, and does not.
fn forgotten(log: Option<(&Database, &Opened)>, sequence: u64, change: Logged) -> bool {
    let Some((database, opened)) = log else { return false };
    let logged = super::guarded(|| {
        let log = database.begin_read()?.open_table(schema::LOG)?;
        Ok(log.get(sequence)?.is_some_and(|row| *row.value() == change.to_bytes()))
    });
    sequence <= opened.progress.sequence && logged == Ok(false)
}

/// How many of the rows were new.
fn write_rows(fresh: &Database, rows: &[(usize, DenialId, Vec<u8>)]) -> Result<u64, Fault> {
    let transaction = fresh.begin_write()?;
    let mut new = 0;
    {
        let mut records = transaction.open_table(schema::RECORDS)?;
        let mut lifts = transaction.open_table(schema::LIFTS)?;
        for (table, id, row) in rows {
            let known = match table {
                0 => records.get(&id.0)?.is_some(),
                _ => {
                    let known = lifts.get(&id.0)?;
                    let known = known.map(|known| codec::decode_lift(*id, known.value()));
                    let (known, lift) = (known.transpose()?, codec::decode_lift(*id, row)?.1);
                    known.is_some_and(|(_, known)| {
                        batch::precedence(&known) <= batch::precedence(&lift)
                    })
                }
            };
            if known {
                continue;
            }
            let replaced = match table {
                0 => records.insert(&id.0, row.as_slice())?.is_some(),
                _ => lifts.insert(&id.0, row.as_slice())?.is_some(),
            };
            new += u64::from(!replaced);
        }
    }
    transaction.commit()?;
    Ok(new)
}
