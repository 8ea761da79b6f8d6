//! The index by selector: below each selector its records, the strictest first, so that what is in
//! force of it is known from the first few, however many stand. It is derived from the records;
//! check and repair make it anew.
//!
//! A key is a keyed hash of the selector's canonical form, whether the record is lifted, the
//! record's [`Rank`], its id. Hashes may collide: who reads compares the record.

use std::ops::RangeInclusive;

use siphasher::sip::SipHasher24;

use crate::clock::UnixMs;
use crate::denylist::{Condition, Denial, DenialId, Except, IssuerId, SelectorKind, canonical};

use super::NewDenial;

pub(super) type Key = [u8; 36];

const ALWAYS: u8 = 0;
const CUTOFF: u8 = 1;
const CUTOFF_SPARING: u8 = 2;
const VERSION: u8 = 3;

/// What the rank of a record follows from.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    issuer: &'a IssuerId,
    kind: SelectorKind,
    condition: Condition,
    except: Option<&'a Except>,
    ends_at: Option<UnixMs>,
    reference: Option<&'a str>,
    name: &'a str,
}

impl<'a> Facts<'a> {
    pub(super) fn of(denial: &'a Denial) -> Self {
        Self {
            issuer: &denial.issuer,
            kind: denial.selector.kind(),
            condition: denial.condition,
            except: denial.except.as_ref(),
            ends_at: denial.ends_at,
            reference: denial.reference.as_deref(),
            name: &denial.created_by.name,
        }
    }

    pub(super) fn of_new(new: &'a NewDenial) -> Self {
        Self {
            issuer: &new.issuer,
            kind: new.selector.kind(),
            condition: new.condition,
            except: new.except.as_ref(),
            ends_at: new.ends_at,
            reference: new.reference.as_deref(),
            name: &new.created_by.name,
        }
    }

    /// Who said it, and what for: two that differ in nothing else are the same denial where this is
    /// the same. Who registered something first makes no difference to what passes.
    fn said(&self, key: &[u8; 16]) -> u64 {
        if self.kind == SelectorKind::Registration {
            return 0;
        }
        let mut text = u64::try_from(self.name.len()).unwrap_or(u64::MAX).to_le_bytes().to_vec();
        text.extend_from_slice(self.name.as_bytes());
        if let Some(reference) = self.reference {
            text.push(1);
            text.extend_from_slice(reference.as_bytes());
        }
        SipHasher24::new_with_key(key).hash(&text)
    }
}

/// Where a record stands among those of its selector: by its condition's kind, within that by
/// strictness. Always: the latest end first, and who said it. Cutoffs that spare nobody, and
/// versions: the highest first, and who said it. Cutoffs that spare: by what they spare, the latest
/// first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rank {
    kind: u8,
    major: u64,
    minor: u64,
}

impl Rank {
    pub(super) fn of(facts: &Facts<'_>, key: &[u8; 16]) -> Self {
        match (facts.condition, facts.except) {
            (Condition::Always, _) => {
                let major = facts.ends_at.map_or(0, latest_first);
                Self { kind: ALWAYS, major, minor: facts.said(key) }
            }
            (Condition::IssuedBefore(at), None) => {
                Self { kind: CUTOFF, major: latest_first(at), minor: facts.said(key) }
            }
            (Condition::IssuedBefore(at), Some(except)) => {
                let form = canonical::of_selector(facts.issuer, &except.selector());
                let major = SipHasher24::new_with_key(key).hash(&form);
                Self { kind: CUTOFF_SPARING, major, minor: latest_first(at) }
            }
            (Condition::VersionBelow(version), _) => {
                Self { kind: VERSION, major: !version, minor: facts.said(key) }
            }
        }
    }

    /// Could a record of this rank say what one of `new` says, for as long?
    pub(super) fn may_stand_for(self, new: Self) -> bool {
        self.kind == new.kind && self.minor == new.minor
    }
}

fn latest_first(at: UnixMs) -> u64 {
    !(u64::from_ne_bytes(at.0.to_ne_bytes()) ^ (1 << 63))
}

/// The part of a key that all records of a selector share, and its ranges.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SelectorHash(pub(super) [u8; 8]);

impl SelectorHash {
    pub(super) fn of(form: &[u8], key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key).hash(form).to_be_bytes())
    }

    pub(super) fn key(self, lifted: bool, rank: Rank, id: DenialId) -> Key {
        let mut key = [0; 36];
        let parts = self.0.into_iter().chain([u8::from(lifted), rank.kind]);
        let parts = parts.chain(rank.major.to_be_bytes()).chain(rank.minor.to_be_bytes());
        for (to, from) in key.iter_mut().zip(parts.chain(id.0)) {
            *to = from;
        }
        key
    }

    fn between(self, from: (bool, Rank), to: (bool, Rank)) -> RangeInclusive<Key> {
        let (low, high) = (DenialId([0; 10]), DenialId([0xff; 10]));
        self.key(from.0, from.1, low)..=self.key(to.0, to.1, high)
    }

    /// Records in force.
    pub(super) fn in_force(self) -> RangeInclusive<Key> {
        self.between((false, FIRST), (false, LAST))
    }

    /// Records that are lifted.
    pub(super) fn lifted(self) -> RangeInclusive<Key> {
        self.between((true, FIRST), (true, LAST))
    }

    /// All of them.
    pub(super) fn all(self) -> RangeInclusive<Key> {
        self.between((false, FIRST), (true, LAST))
    }

    /// In force and, by their rank, at least as strict as this one of the same kind. Of a block
    /// without an end that is only what the same credential said.
    pub(super) fn as_strict(self, rank: Rank) -> RangeInclusive<Key> {
        let first = match rank {
            Rank { kind: ALWAYS, major: 1.., .. } => Rank { major: 0, minor: 0, ..rank },
            exact => exact,
        };
        self.between((false, first), (false, rank))
    }

    pub(super) fn always(self) -> RangeInclusive<Key> {
        self.of_kind(ALWAYS)
    }

    /// Cutoffs that spare nobody.
    pub(super) fn cutoffs(self) -> RangeInclusive<Key> {
        self.of_kind(CUTOFF)
    }

    pub(super) fn versions(self) -> RangeInclusive<Key> {
        self.of_kind(VERSION)
    }

    /// Cutoffs that spare somebody, from the first that spares anybody else than `after` does.
    pub(super) fn cutoffs_sparing(self, after: Option<Rank>) -> Option<RangeInclusive<Key>> {
        let major = match after {
            None => 0,
            Some(rank) => rank.major.checked_add(1)?,
        };
        let (first, last) = (FIRST.major, LAST);
        let first = Rank { kind: CUTOFF_SPARING, major, minor: first };
        Some(self.between((false, first), (false, Rank { kind: CUTOFF_SPARING, ..last })))
    }

    fn of_kind(self, kind: u8) -> RangeInclusive<Key> {
        self.between((false, Rank { kind, ..FIRST }), (false, Rank { kind, ..LAST }))
    }
}

const FIRST: Rank = Rank { kind: 0, major: 0, minor: 0 };
const LAST: Rank = Rank { kind: u8::MAX, major: u64::MAX, minor: u64::MAX };

pub(super) fn id_of(key: &Key) -> DenialId {
    key.last_chunk().map_or(DenialId([0; 10]), |id| DenialId(*id))
}

pub(super) fn rank_of(key: &Key) -> Rank {
    let [_, _, _, _, _, _, _, _, _, kind, rest @ ..] = *key;
    let number = |at: usize| {
        rest.get(at..).and_then(|part| part.first_chunk()).copied().map_or(0, u64::from_be_bytes)
    };
    Rank { kind, major: number(0), minor: number(8) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_comes_first_and_a_key_says_its_rank_and_id() {
        let times = [i64::MIN, -1, 0, 1, 1_795_259_641_000, i64::MAX].map(UnixMs);
        assert!(times.map(latest_first).is_sorted_by(|before, after| before > after));
        let rank = Rank { kind: VERSION, major: 7, minor: u64::MAX };
        let key = SelectorHash([1; 8]).key(true, rank, DenialId([9; 10]));
        assert_eq!((rank_of(&key), id_of(&key)), (rank, DenialId([9; 10])));
        assert!(SelectorHash([1; 8]).lifted().contains(&key));
        assert!(SelectorHash([1; 8]).all().contains(&key));
        assert!(!SelectorHash([1; 8]).in_force().contains(&key));
    }
}
