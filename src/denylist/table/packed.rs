//! A fold in eight bytes: three bits say what it is, four the kind of its selector, 57 hold the
//! value. What does not fit (several conditions, an exception, a huge number) is kept beside the
//! table and found by index.

use crate::clock::UnixMs;
use crate::denylist::fold::version_denies;
use crate::denylist::{ConditionKind, Cutoff, Fold, Marks, SelectorKind};

const VALUE_BITS: u32 = 57;
const VALUE_MASK: u64 = (1 << VALUE_BITS) - 1;

/// The kind of an entry's selector as a small number; the last one stands for "not said".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot(u8);

impl Slot {
    pub(super) const KINDS: usize = 16;

    pub(super) fn of(kind: Option<SelectorKind>) -> Self {
        Self(match kind {
            Some(SelectorKind::Token) => 0,
            Some(SelectorKind::Session) => 1,
            Some(SelectorKind::Subject) => 2,
            Some(SelectorKind::Client) => 3,
            Some(SelectorKind::Key) => 4,
            Some(SelectorKind::Claim) => 5,
            Some(SelectorKind::Issuer) => 6,
            Some(SelectorKind::Registration) => 7,
            None => 8,
        })
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0 & 15)
    }
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed(u64);

/// What a packed fold says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unpacked {
    Always,
    /// One cutoff that spares nobody.
    IssuedBefore(UnixMs),
    VersionBelow(u64),
    /// Index into the shard's complex folds.
    Complex(usize),
}

impl Packed {
    /// The simple form of a fold, where it has one.
    pub(super) fn simple(fold: &Fold) -> Option<Unpacked> {
        match (fold.always, fold.cutoffs.as_slice(), fold.version_below) {
            (true, _, _) => Some(Unpacked::Always),
            (false, [Cutoff { before, except: None }], None)
                if u64::try_from(before.0).is_ok_and(|ms| ms <= VALUE_MASK) =>
            {
                Some(Unpacked::IssuedBefore(*before))
            }
            (false, [], Some(below)) if below <= VALUE_MASK => Some(Unpacked::VersionBelow(below)),
            (false, _, _) => None,
        }
    }

    pub(super) fn new(slot: Slot, what: Unpacked) -> Self {
        let (tag, value) = match what {
            Unpacked::Always => (0, 0),
            Unpacked::IssuedBefore(before) => (1, u64::try_from(before.0).unwrap_or(0)),
            Unpacked::VersionBelow(below) => (2, below),
            Unpacked::Complex(index) => (3, u64::try_from(index).unwrap_or(VALUE_MASK)),
        };
        Self(tag << 61 | u64::from(slot.0) << VALUE_BITS | value & VALUE_MASK)
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    pub(super) fn slot(self) -> Slot {
        Slot(u8::try_from(self.0 >> VALUE_BITS & 15).unwrap_or(15))
    }

    pub(super) fn unpack(self) -> Unpacked {
        let value = self.0 & VALUE_MASK;
        match self.0 >> 61 {
            0 => Unpacked::Always,
            1 => Unpacked::IssuedBefore(UnixMs(i64::try_from(value).unwrap_or(i64::MAX))),
            2 => Unpacked::VersionBelow(value),
            _ => Unpacked::Complex(usize::try_from(value).unwrap_or(usize::MAX)),
        }
    }
}

impl Unpacked {
    /// Of a simple form: under which condition a token is denied.
    pub(super) fn denies(self, marks: &Marks) -> Option<ConditionKind> {
        match self {
            Self::Always => Some(ConditionKind::Always),
            Self::IssuedBefore(before) => {
                Cutoff { before, except: None }.denies(marks).then_some(ConditionKind::IssuedBefore)
            }
            Self::VersionBelow(below) => {
                version_denies(below, marks).then_some(ConditionKind::VersionBelow)
            }
            // Never simple; refusing is the safe side.
            Self::Complex(_) => Some(ConditionKind::Always),
        }
    }

    pub(super) fn fold(self) -> Fold {
        match self {
            Self::Always | Self::Complex(_) => Fold { always: true, ..Fold::default() },
            Self::IssuedBefore(before) => {
                Fold { cutoffs: vec![Cutoff { before, except: None }], ..Fold::default() }
            }
            Self::VersionBelow(below) => Fold { version_below: Some(below), ..Fold::default() },
        }
    }
}
