//! Records and tombstones that are forgotten: those that are due, and of what one person ended
//! themselves those that a wider denial took the place of, beyond a bound.

use redb::ReadableTable as _;

use crate::clock::UnixMs;
use crate::control::store::rows::{self, Fault};
use crate::control::store::schema;
use crate::control::store::{Record, codec};
use crate::denylist::{DenialId, Fold, IssuerId, canonical};

use super::{Batch, LIFTED_KEPT, due_at};

/// Lifted records of one person that are kept.
pub(in crate::control::store) const LIFTED_OWN_MAX: usize = 64;

impl Batch<'_> {
    /// Forgets what is due at `clock`, looking at no more than `most`; how many it looked at.
    pub(in crate::control::store) fn purge(
        &mut self,
        clock: UnixMs,
        most: usize,
    ) -> Result<usize, Fault> {
        let end = schema::due_key(clock, DenialId([0xff; 10]));
        let start = schema::due_key(UnixMs(0), DenialId([0; 10]));
        let due = self
            .due
            .range::<&[u8; 18]>(&start..=&end)?
            .take(most)
            .map(|entry| Ok(*entry?.0.value()))
            .collect::<Result<Vec<[u8; 18]>, Fault>>()?;
        for key in &due {
            self.due.remove(key)?;
            let (_, id) = schema::due_parts(key);
            self.forget(id, clock)?;
        }
        self.changed |= !due.is_empty();
        Ok(due.len())
    }

    /// Forgets a record with its tombstone, or a tombstone alone. A time that a lift left behind
    /// may outlive it: what is in force goes by its own time only.
    fn forget(&mut self, id: DenialId, clock: UnixMs) -> Result<(), Fault> {
        let record = rows::record(&self.records, &self.lifts, id)?;
        if let Some(Record { denial, lift: None, .. }) = &record {
            if due_at(denial).is_none_or(|due| due > clock) || self.is_held(id)? {
                return Ok(());
            }
            if let Some(end) = denial.ends_at.filter(|end| *end <= clock) {
                self.act_of_end(denial, end)?;
            }
        }
        self.remove(id, record)
    }

    /// Takes away what there is of an id.
    fn remove(&mut self, id: DenialId, record: Option<Record>) -> Result<(), Fault> {
        if let Some(row) = self.lifts.remove(&id.0)? {
            let (sequence, _) = codec::decode_lift(id, row.value())?;
            self.log.remove(sequence)?;
        }
        let Some(record) = record else { return Ok(()) };
        if let Some(due) = due_at(&record.denial) {
            self.due.remove(&schema::due_key(due, id))?;
        }
        self.release(id)?;
        self.records.remove(&id.0)?;
        self.log.remove(record.sequence)?;
        let form = canonical::of_selector(&record.denial.issuer, &record.denial.selector);
        let lifted = record.lift.is_some();
        for key in rows::index_keys(&record.denial, &form, lifted, self.index_key) {
            self.by_selector.remove(&key)?;
        }
        if !lifted {
            self.fewer(&record.denial);
            self.effects.recomputed.insert(form, Fold::default());
        }
        Ok(())
    }

    /// Of what a person ended themselves and was lifted, the oldest beyond a bound. Nothing of it is
    /// in force, so nothing passes that did not before; who logs out without end fills no disk.
    pub(super) fn forget_folded(&mut self, issuer: &IssuerId, person: &str) -> Result<(), Fault> {
        let form = canonical::of_person(issuer, person);
        let lifted = self.hash(&form).lifted();
        let mut ids = rows::indexed(&self.by_selector, &lifted, usize::MAX)?;
        let Some(beyond) = ids.len().checked_sub(LIFTED_OWN_MAX) else { return Ok(()) };
        // Ids are in the order of their times.
        ids.sort_unstable();
        for id in ids.into_iter().take(beyond) {
            let record = rows::record(&self.records, &self.lifts, id)?;
            let record = record.ok_or(Fault::Missing(id))?;
            if record.denial.created_by.person() != Some(person) || record.denial.issuer != *issuer
            {
                // Another form has the same hash.
                continue;
            }
            if let Some(lift) = &record.lift {
                // As it was put by the folding.
                self.due.remove(&schema::due_key(lift.at.plus(LIFTED_KEPT), id))?;
            }
            self.remove(id, Some(record))?;
        }
        Ok(())
    }
}
