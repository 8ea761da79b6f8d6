//! The fold of one selector's unlifted records: what the hot table holds. The strictest wins.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

use super::{Condition, ConditionKind, Denial, Fingerprint, Fingerprinter, Marks};

/// A cutoff and the session or token that it spares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cutoff {
    pub before: UnixMs,
    pub except: Option<Fingerprint>,
}

impl Cutoff {
    /// `iat` before the cutoff, or no `iat`; and not the one that it spares.
    pub(crate) fn denies(&self, marks: &Marks) -> bool {
        if marks.issued_at.is_some_and(|issued_at| issued_at >= self.before) {
            return false;
        }
        match self.except {
            None => true,
            Some(spared) => marks.token != spared && marks.session != Some(spared),
        }
    }
}

/// The version claim below `below`, or none.
pub(crate) fn version_denies(below: u64, marks: &Marks) -> bool {
    marks.version.is_none_or(|version| version < below)
}

/// All that is in force for one selector.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Fold {
    pub always: bool,
    /// Only cutoffs that matter: at most three, latest first, none that others cover.
    pub cutoffs: Vec<Cutoff>,
    pub version_below: Option<u64>,
}

impl Fold {
    /// Adds a record of the same selector.
    pub fn add(&mut self, denial: &Denial, by: &Fingerprinter) {
        let except = denial.except.as_ref().map(|except| by.except(&denial.issuer, except));
        self.add_condition(denial.condition, except);
    }

    /// Adds one condition. The result does not depend on the order of additions.
    pub(crate) fn add_condition(&mut self, condition: Condition, except: Option<Fingerprint>) {
        match condition {
            Condition::Always => self.always = true,
            Condition::IssuedBefore(before) => self.cutoffs.push(Cutoff { before, except }),
            Condition::VersionBelow(version) => {
                self.version_below = self.version_below.max(Some(version));
            }
        }
        if self.always {
            // Nothing is stricter.
            self.cutoffs.clear();
            self.version_below = None;
        } else {
            drop_covered(&mut self.cutoffs);
        }
    }

    /// Under which condition a token with these marks is denied; the strictest comes first.
    pub fn denies(&self, marks: &Marks) -> Option<ConditionKind> {
        if self.always {
            return Some(ConditionKind::Always);
        }
        if self.cutoffs.iter().any(|cutoff| cutoff.denies(marks)) {
            return Some(ConditionKind::IssuedBefore);
        }
        let below = self.version_below?;
        version_denies(below, marks).then_some(ConditionKind::VersionBelow)
    }

    pub fn is_empty(&self) -> bool {
        !self.always && self.cutoffs.is_empty() && self.version_below.is_none()
    }
}

/// Leaves the cutoffs that matter, in one order: at most three. A cutoff is covered by a later one
/// that spares nobody or spares the same. And a token can be the spared one of two cutoffs at the
/// most (one names its session, one the token itself), so the third spares nobody in effect and
/// covers all below it.
fn drop_covered(cutoffs: &mut Vec<Cutoff>) {
    cutoffs.sort_unstable_by_key(|cutoff| {
        (std::cmp::Reverse(cutoff.before), cutoff.except.map(|spared| spared.0))
    });
    let mut kept: Vec<Cutoff> = Vec::with_capacity(3);
    for cutoff in cutoffs.iter() {
        if kept.iter().any(|later| later.except.is_none() || later.except == cutoff.except) {
            continue;
        }
        let except = if kept.len() == 2 { None } else { cutoff.except };
        kept.push(Cutoff { before: cutoff.before, except });
    }
    // One that spares nobody covers its equals too, in whatever order they were met.
    if let Some(last) = kept.last().copied().filter(|last| last.except.is_none()) {
        kept.retain(|cutoff| *cutoff == last || cutoff.before > last.before);
    }
    *cutoffs = kept;
}
