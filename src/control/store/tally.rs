//! How many denials are in force, by issuer and kind: what metrics show. Counted along with each
//! commit, so that nobody counts records to know.

use std::collections::BTreeMap;

use crate::denylist::SelectorKind;

/// Of each issuer, by its id, a count for each of [`SelectorKind::ALL`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tally(BTreeMap<String, [u64; SelectorKind::ALL.len()]>);

/// What a transaction adds and takes away.
pub(super) type Changes = BTreeMap<(String, SelectorKind), i64>;

impl Tally {
    /// Registrations are no denials and are not counted here.
    pub(super) fn change(&mut self, issuer: &str, kind: SelectorKind, by: i64) {
        let Some(place) = SelectorKind::ALL.iter().position(|known| *known == kind) else { return };
        if !self.0.contains_key(issuer) {
            self.0.insert(issuer.to_owned(), [0; SelectorKind::ALL.len()]);
        }
        if let Some(count) = self.0.get_mut(issuer).and_then(|counts| counts.get_mut(place)) {
            *count = count.saturating_add_signed(by);
        }
    }

    pub(super) fn apply(&mut self, changes: &Changes) {
        for ((issuer, kind), by) in changes {
            self.change(issuer, *kind, *by);
        }
    }

    /// Of one issuer.
    pub fn of(&self, issuer: &str) -> impl Iterator<Item = (SelectorKind, u64)> + use<> {
        SelectorKind::ALL.into_iter().zip(self.0.get(issuer).copied().unwrap_or_default())
    }

    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
