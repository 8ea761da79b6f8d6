//! A file of the format before is brought up to this one when it is opened, in one transaction: what
//! is new in this format follows from what that one has. Format 2 has the index in the order of
//! strictness, and an audit of its own, which begins with what the log still tells.

use redb::{Database, ReadableTable as _};

use crate::denylist::{DenialId, canonical};

use super::acts::{Act, Deed, Part, What};
use super::batch::is_registration;
use super::codec;
use super::open::Opened;
use super::rows::{self, Fault};
use super::schema::{self, Logged};

pub(super) fn upgrade(database: &Database, opened: &Opened) -> Result<(), Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let records = transaction.open_table(schema::RECORDS)?;
        let lifts = transaction.open_table(schema::LIFTS)?;
        let mut by_selector = transaction.open_table(schema::BY_SELECTOR)?;
        for entry in records.iter()? {
            let (id, row) = entry?;
            let id = DenialId(*id.value());
            let (_, denial) = codec::decode_denial(id, row.value())?;
            let form = canonical::of_selector(&denial.issuer, &denial.selector);
            let lifted = lifts.get(&id.0)?.is_some();
            for key in rows::index_keys(&denial, &form, lifted, &opened.index_key) {
                by_selector.insert(&key, ())?;
            }
        }
        for part in Part::ALL {
            transaction.open_table(part.table())?;
        }
        let mut acts = transaction.open_table(Part::Many.table())?;
        for entry in transaction.open_table(schema::LOG)?.iter()? {
            let (sequence, row) = entry?;
            let logged = Logged::from_bytes(row.value()).ok_or(codec::CodecError::Damaged)?;
            let act = told(&records, &lifts, sequence.value(), logged)?;
            let row = codec::acts::encode(opened.progress.clock, &act);
            acts.insert(act.sequence, row.as_slice())?;
        }
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
    }
    transaction.delete_table(schema::BY_SELECTOR_BEFORE)?;
    transaction.commit()?;
    tracing::info!(format = schema::FORMAT, "the store's file was brought up to this format");
    Ok(())
}

/// A row of the log as an act.
fn told(
    records: &impl rows::ById,
    lifts: &impl rows::ById,
    sequence: u64,
    logged: Logged,
) -> Result<Act, Fault> {
    let (Logged::Denied(id) | Logged::Lifted(id)) = logged;
    let denial = match records.get(&id.0)? {
        Some(row) => Some(codec::decode_denial(id, row.value())?.1),
        None => None,
    };
    let lift = match lifts.get(&id.0)? {
        Some(row) if logged == Logged::Lifted(id) => Some(codec::decode_lift(id, row.value())?.1),
        Some(_) | None => None,
    };
    let lets_pass = denial.as_ref().is_some_and(is_registration);
    let what = denial.as_ref().map(What::of);
    match (lift, denial) {
        (Some(lift), _) => {
            let deed = if lets_pass { Deed::Removed } else { Deed::Undone };
            let (at, by, reason) = (lift.at, lift.by, lift.reason);
            let (denial, counts) = (Some(id), Vec::new());
            Ok(Act { sequence, at, deed, by, denial, what, reason, counts })
        }
        (None, Some(denial)) => Ok(Act {
            deed: if lets_pass { Deed::Registered } else { Deed::Denied },
            ..Act::of_denial(sequence, &denial)
        }),
        (None, None) => Err(Fault::Missing(id)),
    }
}
