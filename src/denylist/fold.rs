//! The fold of one selector's unlifted records: what the hot table holds. The strictest wins.

use crate::clock::UnixMs;

use super::{Denial, Fingerprint, Fingerprinter};

/// A cutoff and the session or token that it spares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cutoff {
    pub before: UnixMs,
    pub except: Option<Fingerprint>,
}

/// All that is in force for one selector.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fold {
    pub always: bool,
    /// Only cutoffs that matter: none that another one covers.
    pub cutoffs: Vec<Cutoff>,
    pub version_below: Option<u64>,
}

impl Fold {
    /// Adds a record of the same selector.
    pub fn add(&mut self, denial: &Denial, by: &Fingerprinter) {
        let _ = (denial, by);
        unimplemented!()
    }

    pub fn is_empty(&self) -> bool {
        !self.always && self.cutoffs.is_empty() && self.version_below.is_none()
    }
}
