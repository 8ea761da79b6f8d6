//! The durable copy of the records: redb in a directory, written by one named thread with group
//! commit. A change is on disk, then in the hot table, then acknowledged.

use std::path::Path;
use std::sync::Arc;

use crate::clock::UnixMs;
use crate::denylist::{Actor, Denial, DenialId, Denylist, Except, IssuerId, Lift, Selector};

/// Handle of the store's thread; cheap to clone.
#[derive(Clone)]
pub struct Store {
    denylist: Arc<Denylist>,
}

/// A denial with what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Position in the store's ordered log.
    pub sequence: u64,
    pub denial: Denial,
    pub lift: Option<Lift>,
}

/// What a caller asks to be denied; the store adds id and creation time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDenial {
    pub issuer: IssuerId,
    pub selector: Selector,
    pub condition: crate::denylist::Condition,
    pub except: Option<Except>,
    pub kept_until: Option<UnixMs>,
    pub ends_at: Option<UnixMs>,
    pub reason: String,
    pub reference: Option<String>,
    pub created_by: Actor,
}

/// The denial is on disk and in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    pub record: Record,
    /// It stood already: same selector, condition, exception, reference and credential.
    pub already: bool,
}

/// Which records to list, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    pub issuer: Option<IssuerId>,
    pub selector: Option<Selector>,
    pub kind: Option<crate::denylist::SelectorKind>,
    pub created_by: Option<String>,
    pub reason_contains: Option<String>,
    pub reference: Option<String>,
    pub since: Option<UnixMs>,
    /// `true`: lifted ones too.
    pub with_lifted: bool,
    /// Only records of a lower sequence: the cursor.
    pub before: Option<u64>,
    pub limit: usize,
}

/// A page of records; `next` is the cursor of the following page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    pub records: Vec<Record>,
    pub next: Option<u64>,
}

/// Why the store could not do it.
#[derive(Debug)]
pub enum StoreError {
    /// The configured limit of denials is reached.
    Full { limit: u64 },
    /// The disk failed; nothing was changed.
    Disk(String),
    /// The store's thread has ended.
    Closed,
    /// The file exists and cannot be used; the text says what to do.
    Open(String),
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Denials in force at the most; a tenth is kept for admins.
    pub limit: u64,
}

impl Store {
    /// Opens or creates `directory/denials.redb`, fills the hot table and starts the thread.
    pub fn open(
        directory: &Path,
        options: &Options,
        writer: crate::denylist::Writer,
        denylist: Arc<Denylist>,
    ) -> Result<Self, StoreError> {
        let _ = (directory, options, writer, denylist);
        unimplemented!()
    }

    /// Returns when the denial is fsynced and in force.
    pub async fn deny(&self, denial: NewDenial) -> Result<Accepted, StoreError> {
        let _ = (denial, &self.denylist);
        unimplemented!()
    }

    /// Writes tombstones; ids that are unknown or lifted already are answered as they stand.
    pub async fn lift(
        &self,
        ids: Vec<DenialId>,
        reason: Option<String>,
        by: Actor,
    ) -> Result<Vec<Record>, StoreError> {
        let _ = (ids, reason, by);
        unimplemented!()
    }

    pub fn find(&self, id: DenialId) -> Result<Option<Record>, StoreError> {
        let _ = id;
        unimplemented!()
    }

    /// Records whose written id begins with `prefix` (with or without `dn_`); at most two, which
    /// is enough to know that it is not unique.
    pub fn find_by_prefix(&self, prefix: &str) -> Result<Vec<Record>, StoreError> {
        let _ = prefix;
        unimplemented!()
    }

    pub fn list(&self, filter: &Filter) -> Result<Page, StoreError> {
        let _ = filter;
        unimplemented!()
    }

    /// Unlifted records of one selector.
    pub fn in_force(
        &self,
        issuer: &IssuerId,
        selector: &Selector,
    ) -> Result<Vec<Record>, StoreError> {
        let _ = (issuer, selector);
        unimplemented!()
    }

    /// Unlifted records.
    pub fn count(&self) -> u64 {
        unimplemented!()
    }

    /// Position of the last change.
    pub fn sequence(&self) -> u64 {
        unimplemented!()
    }

    /// Writes what is pending and ends the thread.
    pub fn close(self) {}
}
