//! Is the file whole: its structure, every row, and whether index, log, due times and counts say
//! what records and tombstones say.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};

use crate::denylist::{DenialId, canonical};

use super::super::batch::{due_at, is_registration};
use super::super::codec;
use super::super::open::Opened;
use super::super::rows::{self, Fault};
use super::super::schema::{self, Logged};
use super::OfflineError;

/// Faults that are told one by one.
const TOLD: usize = 20;

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    pub bytes: u64,
    pub records: u64,
    pub in_force: u64,
    /// Of those in force.
    pub registered: u64,
    pub tombstones: u64,
    /// Browser sessions.
    pub sessions: u64,
    pub acts: u64,
    /// What is wrong, the first of it in words.
    pub faults: Vec<String>,
    /// How much more is wrong.
    pub faults_beyond: u64,
}

impl Checked {
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn wrong(&mut self, fault: String) {
        if self.faults.len() < TOLD {
            self.faults.push(fault);
        } else {
            self.faults_beyond += 1;
        }
    }

    pub(super) fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.wrong(fault());
        }
    }
}

/// Checks the store in a directory. Damage is in the answer; an error is what kept it from
/// looking.
pub fn check(directory: &Path) -> Result<Checked, OfflineError> {
    check_file(&super::file_of(directory))
}

pub(super) fn check_file(path: &Path) -> Result<Checked, OfflineError> {
    let mut checked = Checked::default();
    let mut database = match super::open_layered(path) {
        Ok(database) => database,
        Err(OfflineError::Damaged { why, .. }) => {
            checked.wrong(why);
            return Ok(checked);
        }
        Err(
            other @ (OfflineError::NoStore(_)
            | OfflineError::InUse(_)
            | OfflineError::Foreign { .. }
            | OfflineError::Failed { .. }),
        ) => return Err(other),
    };
    checked.bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let integrity =
        super::guarded(|| database.check_integrity().map_err(|error| Fault::Redb(error.into())));
    match integrity {
        Ok(true) => {}
        Ok(false) => checked.wrong("its pages or its map of free pages are damaged".to_owned()),
        Err(why) => {
            checked.wrong(why);
            return Ok(checked);
        }
    }
    let opened = match super::describe(&database, path)? {
        Ok(opened) => opened,
        Err(why) => {
            checked.wrong(why);
            return Ok(checked);
        }
    };
    if let Err(why) = super::guarded(|| rows(&database, &opened, &mut checked)) {
        checked.wrong(why);
    }
    Ok(checked)
}

fn rows(database: &Database, opened: &Opened, checked: &mut Checked) -> Result<(), Fault> {
    let transaction = database.begin_read()?;
    let log = transaction.open_table(schema::LOG)?;
    let records = transaction.open_table(schema::RECORDS)?;
    let lifts = transaction.open_table(schema::LIFTS)?;
    let by_selector = transaction.open_table(schema::BY_SELECTOR)?;
    let due = transaction.open_table(schema::DUE)?;
    let (mut last, mut entries) = (0, 0);
    let logged = |sequence: u64, said: Logged| -> Result<bool, Fault> {
        Ok(log.get(sequence)?.is_some_and(|row| *row.value() == said.to_bytes()))
    };
    for entry in records.iter()? {
        let (id, row) = entry?;
        let id = DenialId(*id.value());
        checked.records += 1;
        let (sequence, denial) = match codec::decode_denial(id, row.value()) {
            Ok(read) => read,
            Err(error) => {
                checked.wrong(format!("the record {id} cannot be read: {error}"));
                continue;
            }
        };
        last = last.max(sequence);
        let lifted = lifts.get(&id.0)?.is_some();
        checked.in_force += u64::from(!lifted);
        checked.registered += u64::from(!lifted && is_registration(&denial));
        checked.expect(logged(sequence, Logged::Denied(id))?, || {
            format!("the log does not have the record {id}")
        });
        let form = canonical::of_selector(&denial.issuer, &denial.selector);
        for key in rows::index_keys(&denial, &form, lifted, &opened.index_key) {
            entries += 1;
            checked.expect(by_selector.get(&key)?.is_some(), || {
                format!("the index by selector does not have the record {id}")
            });
        }
        if let Some(at) = due_at(&denial) {
            let held = due.get(&schema::due_key(schema::NEVER, id))?.is_some();
            checked.expect(held || due.get(&schema::due_key(at, id))?.is_some(), || {
                format!("the record {id} has lost the time when it is due")
            });
        }
    }
    for entry in lifts.iter()? {
        let (id, row) = entry?;
        let id = DenialId(*id.value());
        checked.tombstones += 1;
        match codec::decode_lift(id, row.value()) {
            Ok((sequence, _)) => {
                last = last.max(sequence);
                checked.expect(logged(sequence, Logged::Lifted(id))?, || {
                    format!("the log does not have the tombstone of {id}")
                });
            }
            Err(error) => checked.wrong(format!("the tombstone of {id} cannot be read: {error}")),
        }
    }
    for entry in due.iter()? {
        entry?;
    }
    last = last.max(acts(database, checked));
    let said = opened.progress.in_force;
    let (in_force, rows) = (checked.in_force, checked.records + checked.tombstones);
    let (indexed, changes) = (by_selector.len()?, log.len()?);
    let most = opened.progress.sequence;
    checked.expect(said == in_force, || {
        format!("it should hold {said} denials in force and has {in_force}")
    });
    let (said, registered) = (opened.progress.registered, checked.registered);
    checked.expect(said == registered, || {
        format!("it should hold {said} registrations and has {registered}")
    });
    checked.expect(indexed == entries, || {
        format!("the index by selector has {indexed} entries and should have {entries}")
    });
    checked.expect(changes == rows, || {
        format!("the log has {changes} entries for {rows} records and tombstones")
    });
    checked
        .expect(last <= most, || format!("the last sequence should be {most} and there is {last}"));
    super::sessions::check(&transaction, &opened.index_key, checked)
}

/// The audit; the last sequence in it.
fn acts(database: &Database, checked: &mut Checked) -> u64 {
    let acts = super::acts::look(database);
    checked.acts = acts.readable;
    checked.expect(acts.unreadable == 0 && !acts.broken, || {
        format!("{} acts of the audit cannot be read, or more", acts.unreadable)
    });
    acts.last
}
