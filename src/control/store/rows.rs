//! Rows as records: the reads that transactions of both kinds share, and the error of both.

use redb::ReadableTable;

use crate::denylist::{Denial, DenialId, Fingerprinter, Fold, canonical};

use super::codec::{self, CodecError};
use super::index::{self, Facts, Key, Rank, SelectorHash};
use super::{Record, StoreError};

/// Why a transaction could not be done.
#[derive(Debug)]
pub(super) enum Fault {
    Redb(redb::Error),
    Record(CodecError),
    /// An index points to a record that is not there.
    Missing(DenialId),
    /// The file could not be opened again after a failure.
    Open(StoreError),
    Closed,
}

/// Nothing more fits: as a file system or a quota says it.
pub(super) fn is_no_space(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

impl Fault {
    /// Rather than of a row: the file must be opened again.
    pub(super) fn is_of_disk(&self) -> bool {
        match self {
            Self::Redb(_) => true,
            Self::Record(_) | Self::Missing(_) | Self::Open(_) | Self::Closed => false,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Redb(error) => error.fmt(out),
            Self::Record(error) => error.fmt(out),
            Self::Missing(id) => write!(out, "the record of {id} is missing"),
            Self::Open(error) => error.fmt(out),
            Self::Closed => out.write_str("the store is closed"),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Closed => Self::Closed,
            Fault::Open(no_space @ Self::NoSpace(_)) => no_space,
            Fault::Redb(redb::Error::Io(error)) if is_no_space(&error) => {
                Self::NoSpace(error.to_string())
            }
            Fault::Redb(_) | Fault::Record(_) | Fault::Missing(_) | Fault::Open(_) => {
                Self::Disk(fault.to_string())
            }
        }
    }
}

impl From<CodecError> for Fault {
    fn from(error: CodecError) -> Self {
        Self::Record(error)
    }
}

macro_rules! fault_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
fault_from!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::SetDurabilityError
);

/// A table of rows by id.
pub(super) trait ById: ReadableTable<&'static [u8; 10], &'static [u8]> {}
impl<T: ReadableTable<&'static [u8; 10], &'static [u8]>> ById for T {}

/// The index by selector.
pub(super) trait BySelector: ReadableTable<&'static Key, ()> {}
impl<T: ReadableTable<&'static Key, ()>> BySelector for T {}

pub(super) fn record(
    records: &impl ById,
    lifts: &impl ById,
    id: DenialId,
) -> Result<Option<Record>, Fault> {
    let Some(row) = records.get(&id.0)? else { return Ok(None) };
    let (sequence, denial) = codec::decode_denial(id, row.value())?;
    let lift = match lifts.get(&id.0)? {
        Some(row) => Some(codec::decode_lift(id, row.value())?.1),
        None => None,
    };
    Ok(Some(Record { sequence, denial, lift }))
}

/// Where the index has a record: below its selector, whose form this is, and below the person who
/// made it about their own access.
pub(super) fn index_keys(
    denial: &Denial,
    form: &[u8],
    lifted: bool,
    index_key: &[u8; 16],
) -> impl Iterator<Item = Key> {
    let id = denial.id;
    let rank = Rank::of(&Facts::of(denial), index_key);
    let of_selector = SelectorHash::of(form, index_key).key(lifted, rank, id);
    let of_person = denial.created_by.person().map(|person| {
        let form = canonical::of_person(&denial.issuer, person);
        SelectorHash::of(&form, index_key).key(lifted, rank, id)
    });
    std::iter::once(of_selector).chain(of_person)
}

/// Ids that the index has in a range, at most so many: of this selector, or of one whose hash
/// collides.
pub(super) fn indexed(
    by_selector: &impl BySelector,
    range: &std::ops::RangeInclusive<Key>,
    most: usize,
) -> Result<Vec<DenialId>, Fault> {
    keys(by_selector, range)?.take(most).map(|key| Ok(index::id_of(&key?))).collect()
}

pub(super) fn keys(
    by_selector: &impl BySelector,
    range: &std::ops::RangeInclusive<Key>,
) -> Result<impl Iterator<Item = Result<Key, Fault>>, Fault> {
    let found = by_selector.range::<&Key>(range.start()..=range.end())?;
    Ok(found.map(|entry| Ok(*entry?.0.value())))
}

/// The fold of the unlifted records of a selector. It reads the strictest of each kind, and one for
/// each session or token that a cutoff spares: not what stands below those.
pub(super) struct Folding<'a, R, B> {
    pub(super) records: &'a R,
    pub(super) by_selector: &'a B,
    pub(super) by: &'a Fingerprinter,
    /// Records that were read.
    pub(super) reads: u64,
}

impl<R: ById, B: BySelector> Folding<'_, R, B> {
    pub(super) fn of(&mut self, hash: SelectorHash, form: &[u8]) -> Result<Fold, Fault> {
        let mut fold = Fold::default();
        if self.first(&hash.always(), form, &mut fold)?.is_some() {
            return Ok(fold);
        }
        self.first(&hash.cutoffs(), form, &mut fold)?;
        let mut after = None;
        while let Some(range) = hash.cutoffs_sparing(after) {
            after = self.first(&range, form, &mut fold)?;
            if after.is_none() {
                break;
            }
        }
        self.first(&hash.versions(), form, &mut fold)?;
        Ok(fold)
    }

    /// Adds the first record of the range; its rank.
    fn first(
        &mut self,
        range: &std::ops::RangeInclusive<Key>,
        form: &[u8],
        fold: &mut Fold,
    ) -> Result<Option<Rank>, Fault> {
        for key in keys(self.by_selector, range)? {
            let key = key?;
            let id = index::id_of(&key);
            let row = self.records.get(&id.0)?.ok_or(Fault::Missing(id))?;
            self.reads += 1;
            let hot = codec::decode_hot(id, row.value())?;
            // Another selector may have the same hash.
            if hot.form == form {
                fold.add_condition(hot.condition, hot.except.map(|except| self.by.form(except)));
                return Ok(Some(index::rank_of(&key)));
            }
        }
        Ok(None)
    }
}
