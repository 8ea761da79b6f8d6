//! Rows as records: the reads that transactions of both kinds share, and the error of both.

use redb::ReadableTable;

use crate::denylist::{Denial, DenialId, Fingerprinter, Fold, canonical};

use super::codec::{self, CodecError};
use super::schema::SelectorHash;
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
pub(super) trait BySelector: ReadableTable<&'static [u8; 19], ()> {}
impl<T: ReadableTable<&'static [u8; 19], ()>> BySelector for T {}

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
) -> impl Iterator<Item = [u8; 19]> {
    let id = denial.id;
    let of_selector = SelectorHash::of(form, index_key).key(lifted, id);
    let of_person = denial.created_by.person().map(|person| {
        let form = canonical::of_person(&denial.issuer, person);
        SelectorHash::of(&form, index_key).key(lifted, id)
    });
    std::iter::once(of_selector).chain(of_person)
}

/// Ids that the index has in a range: of this selector, or of one whose hash collides.
pub(super) fn indexed(
    by_selector: &impl BySelector,
    range: std::ops::RangeInclusive<[u8; 19]>,
) -> Result<Vec<DenialId>, Fault> {
    by_selector
        .range::<&[u8; 19]>(range.start()..=range.end())?
        .map(|entry| Ok(SelectorHash::id_of(entry?.0.value())))
        .collect()
}

/// The fold of the unlifted records of the selector with this canonical form.
pub(super) fn fold_of(
    records: &impl ById,
    by_selector: &impl BySelector,
    hash: SelectorHash,
    form: &[u8],
    by: &Fingerprinter,
) -> Result<Fold, Fault> {
    let mut fold = Fold::default();
    for id in indexed(by_selector, hash.in_force())? {
        let row = records.get(&id.0)?.ok_or(Fault::Missing(id))?;
        let hot = codec::decode_hot(id, row.value())?;
        if hot.form == form {
            fold.add_condition(hot.condition, hot.except.map(|except| by.form(except)));
        }
    }
    Ok(fold)
}
