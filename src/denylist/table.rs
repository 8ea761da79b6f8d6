//! The hot table.

use std::sync::Arc;

use super::{ConditionKind, Fingerprint, Fingerprinter, Fold, Marks, SelectorKind};

/// Why a token is denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    pub fingerprint: Fingerprint,
    pub selector: SelectorKind,
    pub condition: ConditionKind,
}

/// The reader half. Shared by every core; a look-up never waits for I/O.
#[derive(Debug)]
pub struct Denylist {
    fingerprinter: Fingerprinter,
}

/// The writer half: one owner, the store's thread.
#[derive(Debug)]
pub struct Writer {
    table: Arc<Denylist>,
}

impl Denylist {
    /// An empty table and its writer.
    pub fn new(fingerprinter: Fingerprinter) -> (Arc<Self>, Writer) {
        let table = Arc::new(Self { fingerprinter });
        (Arc::clone(&table), Writer { table })
    }

    /// Is a token with these marks denied?
    pub fn check(&self, marks: &Marks) -> Option<Hit> {
        let _ = marks;
        unimplemented!()
    }

    pub fn fingerprinter(&self) -> &Fingerprinter {
        &self.fingerprinter
    }

    /// Selectors with something in force.
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Writer {
    /// Replaces what is in force for a selector; an empty fold removes it. In force for every
    /// request that begins after this returns.
    pub fn set(&mut self, at: Fingerprint, fold: &Fold) {
        let _ = (at, fold, &self.table);
        unimplemented!()
    }
}
