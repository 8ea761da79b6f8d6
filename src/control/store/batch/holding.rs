//! Records that are kept until they are lifted, although they say an earlier time: their issuer's
//! tokens came to live longer, without a bound, after they were made.

use redb::ReadableTable as _;

use crate::clock::UnixMs;
use crate::control::store::codec;
use crate::control::store::rows::Fault;
use crate::control::store::schema;
use crate::denylist::{Denial, DenialId, IssuerId, canonical};

use super::{Batch, due_at, is_registration};

impl Batch<'_> {
    /// Holds what stands of an issuer, looking at `most` records after an id; the last of them, and
    /// `None` at the end.
    pub(in crate::control::store) fn hold(
        &mut self,
        issuer: &IssuerId,
        after: Option<DenialId>,
        most: usize,
    ) -> Result<Option<DenialId>, Fault> {
        let from = after.unwrap_or(DenialId([0; 10]));
        let mut looked = None;
        let mut held = Vec::new();
        for entry in self.records.range::<&[u8; 10]>(&from.0..)?.take(most.saturating_add(1)) {
            let (id, row) = entry?;
            let id = DenialId(*id.value());
            if Some(id) == after {
                continue;
            }
            looked = Some(id);
            let hot = codec::decode_hot(id, row.value())?;
            if canonical::issuer(hot.form) != Some(issuer.as_str()) {
                continue;
            }
            let (_, denial) = codec::decode_denial(id, row.value())?;
            if is_held_by(&denial) && self.lifts.get(&id.0)?.is_none() {
                held.extend(due_at(&denial).map(|due| (id, due)));
            }
        }
        for (id, due) in held {
            self.due.remove(&schema::due_key(due, id))?;
            self.due.insert(&schema::due_key(schema::NEVER, id), ())?;
            self.changed = true;
        }
        Ok(looked)
    }

    pub(super) fn is_held(&self, id: DenialId) -> Result<bool, Fault> {
        Ok(self.due.get(&schema::due_key(schema::NEVER, id))?.is_some())
    }

    pub(super) fn release(&mut self, id: DenialId) -> Result<(), Fault> {
        self.due.remove(&schema::due_key(schema::NEVER, id))?;
        Ok(())
    }
}

/// Not what ends at a time that somebody chose, nor what lets pass.
fn is_held_by(denial: &Denial) -> bool {
    denial.kept_until.is_some() && denial.ends_at.is_none() && !is_registration(denial)
}

/// For a new file: the same as `hold` where it is known to be held.
pub(in crate::control::store) fn due_of(denial: &Denial, held: bool) -> Option<UnixMs> {
    if held && is_held_by(denial) { Some(schema::NEVER) } else { due_at(denial) }
}
