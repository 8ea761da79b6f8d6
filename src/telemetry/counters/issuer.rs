//! What a core counts of one issuer's tokens.

use std::collections::BTreeMap;

use crate::denylist::SelectorKind;

use super::ahead::{Ahead, AheadSum};
use super::cell::Count;

/// What a token lacks to be revoked so finely.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unrevocable {
    Token,
    Session,
    IssuedAt,
}

impl Unrevocable {
    pub const ALL: [Self; 3] = [Self::Token, Self::Session, Self::IssuedAt];

    /// The label `missing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "jti",
            Self::Session => "session",
            Self::IssuedAt => "iat",
        }
    }
}

#[derive(Default)]
pub(super) struct IssuerCells {
    accepted: Count,
    refused: Count,
    unknown_key: Count,
    unrevocable: [Count; Unrevocable::ALL.len()],
    hits: [Count; SelectorKind::ALL.len()],
    pub ahead: Ahead,
}

impl IssuerCells {
    pub fn accepted(&self) {
        self.accepted.add(1);
    }

    pub fn refused(&self, unknown_key: bool) {
        self.refused.add(1);
        self.unknown_key.add(u64::from(unknown_key));
    }

    pub fn unrevocable(&self, missing: Unrevocable) {
        let found = Unrevocable::ALL.iter().position(|one| *one == missing);
        if let Some(count) = found.and_then(|index| self.unrevocable.get(index)) {
            count.add(1);
        }
    }

    pub fn denied(&self, selector: SelectorKind) {
        let found = SelectorKind::ALL.iter().position(|one| *one == selector);
        if let Some(count) = found.and_then(|index| self.hits.get(index)) {
            count.add(1);
        }
    }
}

/// An issuer over all cores.
#[derive(Default)]
pub struct IssuerSum {
    pub accepted: u64,
    pub refused: u64,
    pub unknown_key: u64,
    pub unrevocable: BTreeMap<Unrevocable, u64>,
    pub hits: BTreeMap<SelectorKind, u64>,
    pub ahead: AheadSum,
}

impl IssuerSum {
    pub(super) fn add(&mut self, cells: &IssuerCells) {
        self.accepted += cells.accepted.value();
        self.refused += cells.refused.value();
        self.unknown_key += cells.unknown_key.value();
        self.ahead.add(&cells.ahead);
        for (missing, count) in Unrevocable::ALL.iter().zip(&cells.unrevocable) {
            *self.unrevocable.entry(*missing).or_default() += count.value();
        }
        for (selector, count) in SelectorKind::ALL.iter().zip(&cells.hits) {
            *self.hits.entry(*selector).or_default() += count.value();
        }
    }
}
