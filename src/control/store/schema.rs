//! The tables of `denials.redb`, and what its rows are called.
//!
//! Records and lifts are the state; the log gives changes an order for cursors and for links
//! between replicas; the two indexes are derived. Nothing is keyed by a fingerprint, which lives
//! as long as the process.

use redb::TableDefinition;

use crate::clock::UnixMs;
use crate::denylist::DenialId;

use super::index;

/// Format of the file as a whole. Another number is another layout.
pub(super) const FORMAT: u64 = 2;
/// The one before, which opening brings up to this one: `upgrade`.
pub(super) const FORMAT_BEFORE: u64 = 1;

/// What the file is: see the names below.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Every change by sequence: what happened and to which id.
pub(super) const LOG: TableDefinition<'_, u64, &[u8; 11]> = TableDefinition::new("log");
pub(super) const RECORDS: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("records");
/// Tombstones by the id they name, also of denials that have not arrived.
pub(super) const LIFTS: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("lifts");
/// See `index`.
pub(super) const BY_SELECTOR: TableDefinition<'_, &index::Key, ()> =
    TableDefinition::new("by_strictness");
/// The index of format 1.
pub(super) const BY_SELECTOR_BEFORE: TableDefinition<'_, &[u8; 19], ()> =
    TableDefinition::new("by_selector");
/// When a record or a tombstone is due to be forgotten (milliseconds, big endian) and its id.
pub(super) const DUE: TableDefinition<'_, &[u8; 18], ()> = TableDefinition::new("due");

/// Browser sessions by id. Not in the log: they are this store's alone. The three tables are absent
/// from a file in which no session ever began.
pub(super) const SESSIONS: TableDefinition<'_, &[u8; 20], &[u8]> = TableDefinition::new("sessions");
/// Eight bytes of a keyed hash of the subject's canonical form, and the session's id.
pub(super) const SESSIONS_BY_SUBJECT: TableDefinition<'_, &[u8; 28], ()> =
    TableDefinition::new("sessions_by_subject");
/// When a session can be used no more (milliseconds, big endian) and its id.
pub(super) const SESSIONS_DUE: TableDefinition<'_, &[u8; 28], ()> =
    TableDefinition::new("sessions_due");
/// The audit by sequence: what single calls did, calls of many, and people with their own sessions.
pub(super) const ACTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("acts");
pub(super) const ACTS_OF_MANY: TableDefinition<'_, u64, &[u8]> =
    TableDefinition::new("acts_of_many");
pub(super) const ACTS_OF_PEOPLE: TableDefinition<'_, u64, &[u8]> =
    TableDefinition::new("acts_of_people");

pub(super) const META_FORMAT: &str = "format";
/// Sixteen random bytes that say "this store and its history" to replicas.
pub(super) const META_EPOCH: &str = "epoch";
/// Key of the hash in `BY_SELECTOR`, random so that collisions cannot be aimed at.
pub(super) const META_INDEX_KEY: &str = "index_key";
/// [`Progress`], written with every commit.
pub(super) const META_PROGRESS: &str = "progress";

/// Numbers that change with every commit: 32 bytes, little endian. Of a file that never held a
/// registration there may be 24.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Progress {
    /// Last sequence given, since the log's end may be purged.
    pub(super) sequence: u64,
    /// Unlifted records, registrations among them.
    pub(super) in_force: u64,
    /// Unlifted registrations.
    pub(super) registered: u64,
    /// Reading of the guarded clock.
    pub(super) clock: UnixMs,
}

impl Progress {
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut row = [0; 32];
        let parts = [
            self.sequence.to_le_bytes(),
            self.in_force.to_le_bytes(),
            self.clock.0.to_le_bytes(),
            self.registered.to_le_bytes(),
        ];
        for (to, from) in row.iter_mut().zip(parts.as_flattened()) {
            *to = *from;
        }
        row
    }

    pub(super) fn from_bytes(row: &[u8]) -> Option<Self> {
        let (sequence, row) = row.split_first_chunk::<8>()?;
        let (in_force, row) = row.split_first_chunk::<8>()?;
        let (clock, row) = row.split_first_chunk::<8>()?;
        let registered = if row.is_empty() { [0; 8] } else { row.try_into().ok()? };
        Some(Self {
            sequence: u64::from_le_bytes(*sequence),
            in_force: u64::from_le_bytes(*in_force),
            registered: u64::from_le_bytes(registered),
            clock: UnixMs(i64::from_le_bytes(*clock)),
        })
    }
}

/// A row of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Logged {
    Denied(DenialId),
    Lifted(DenialId),
}

impl Logged {
    pub(super) fn to_bytes(self) -> [u8; 11] {
        let (tag, id) = match self {
            Self::Denied(id) => (1, id),
            Self::Lifted(id) => (2, id),
        };
        let mut row = [tag; 11];
        if let Some((_, rest)) = row.split_first_mut() {
            rest.copy_from_slice(&id.0);
        }
        row
    }

    pub(super) fn from_bytes(row: &[u8; 11]) -> Option<Self> {
        let [tag, id @ ..] = *row;
        match tag {
            1 => Some(Self::Denied(DenialId(id))),
            2 => Some(Self::Lifted(DenialId(id))),
            _ => None,
        }
    }
}

/// The place in `DUE` of what is kept until it is lifted though it says a time: see `batch::holding`.
pub(super) const NEVER: UnixMs = UnixMs(i64::MAX);

/// Key of the `DUE` table. Times before 1970 sort as 1970.
pub(super) fn due_key(at: UnixMs, id: DenialId) -> [u8; 18] {
    let mut key = [0; 18];
    let at = u64::try_from(at.0).unwrap_or(0).to_be_bytes();
    for (to, from) in key.iter_mut().zip(at.iter().chain(&id.0)) {
        *to = *from;
    }
    key
}

pub(super) fn due_parts(key: &[u8; 18]) -> (UnixMs, DenialId) {
    let [a, b, c, d, e, f, g, h, id @ ..] = *key;
    let at = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (UnixMs(i64::try_from(at).unwrap_or(i64::MAX)), DenialId(id))
}
