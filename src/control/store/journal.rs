//! The log read backwards, for the audit: who denied and lifted what.

use super::rows::{self, Fault};
use super::schema::{self, Logged};
use super::{Store, StoreError, codec};
use crate::denylist::{Denial, DenialId, Lift};

/// One act, at its place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    pub sequence: u64,
    pub id: DenialId,
    /// Absent for a tombstone whose denial is not here.
    pub denial: Option<Denial>,
    /// Present where the act is the lift.
    pub lift: Option<Lift>,
}

impl Store {
    /// Acts before a sequence, newest first, at most so many. What was forgotten is not there.
    pub fn acts_before(&self, sequence: u64, limit: usize) -> Result<Vec<Act>, StoreError> {
        self.read(|transaction| {
            let log = transaction.open_table(schema::LOG)?;
            let records = transaction.open_table(schema::RECORDS)?;
            let lifts = transaction.open_table(schema::LIFTS)?;
            log.range(..sequence)?
                .rev()
                .take(limit)
                .map(|entry| {
                    let (sequence, row) = entry?;
                    let logged = Logged::from_bytes(row.value())
                        .ok_or(Fault::Record(codec::CodecError::Damaged))?;
                    let (id, is_lift) = match logged {
                        Logged::Denied(id) => (id, false),
                        Logged::Lifted(id) => (id, true),
                    };
                    let record = rows::record(&records, &lifts, id)?;
                    let lift = match (is_lift, &record) {
                        (false, _) => None,
                        (true, Some(record)) => record.lift.clone(),
                        (true, None) => {
                            let row = lifts.get(&id.0)?.ok_or(Fault::Missing(id))?;
                            Some(codec::decode_lift(id, row.value())?.1)
                        }
                    };
                    let denial = record.map(|record| record.denial);
                    Ok(Act { sequence: sequence.value(), id, denial, lift })
                })
                .collect()
        })
    }
}
