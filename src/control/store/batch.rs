//! One write transaction: the changes of a group, and what they will mean for the hot table once
//! they are on disk. Changes commute and duplicates are harmless: a record is put once, a tombstone
//! may come before its record, and of two tombstones the same one stays in any order.

mod folding;
mod sessions;

#[cfg(test)]
pub(super) use folding::OWN_MAX;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use redb::{ReadableTable, Table, WriteTransaction};

use crate::clock::UnixMs;
use crate::denylist::{
    Condition, Denial, DenialId, Denylist, Fingerprint, Fold, Lift, SelectorKind, canonical,
};

use super::rows::{self, Fault};
use super::schema::{self, Logged, Progress, SelectorHash};
use super::tally::Changes;
use super::{Accepted, Applied, Change, NewDenial, Record, StoreError, codec};

/// A record is forgotten this long after no token can match it any more.
pub(super) const PURGE_DELAY: Duration = Duration::from_secs(3600);

/// How long what a lift leaves behind is kept after this store took the lift: the tombstone, and
/// its record unless that is due before. By this store's guarded clock rather than by the lift's
/// own time, so that an old tombstone out of an export still meets its record.
///
/// Forgetting a lifted denial takes nothing out of force. What a tombstone still does is to meet a
/// denial that another replica brings later; one that is brought later than this is in force again
/// (the safe side) and is lifted once more.
pub(super) const LIFTED_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// The tables of one write transaction.
pub(super) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    log: Table<'t, u64, &'static [u8; 11]>,
    records: Table<'t, &'static [u8; 10], &'static [u8]>,
    lifts: Table<'t, &'static [u8; 10], &'static [u8]>,
    by_selector: Table<'t, &'static [u8; 19], ()>,
    due: Table<'t, &'static [u8; 18], ()>,
    denylist: &'t Denylist,
    index_key: &'t [u8; 16],
    limit: u64,
    pub(super) progress: Progress,
    effects: Effects,
    /// Selectors with additions in this transaction, which the hot table does not know yet.
    pending: HashSet<Fingerprint>,
    /// Something is to be written: without it there is nothing to commit.
    changed: bool,
}

/// What a committed transaction means for the hot table.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) additions: Vec<Addition>,
    /// Selectors that lost a record, by canonical form.
    pub(super) recomputed: BTreeMap<Vec<u8>, Fold>,
    /// Earliest time at which something of this transaction is due.
    pub(super) next_due: Option<UnixMs>,
    /// Denials that a wider one of the same person took the place of.
    pub(super) folded: u64,
    pub(super) tally: Changes,
}

pub(super) struct Addition {
    pub(super) kind: SelectorKind,
    pub(super) at: Fingerprint,
    pub(super) form: Vec<u8>,
    pub(super) condition: Condition,
    pub(super) except: Option<Fingerprint>,
}

/// When a record is purged, on the guarded clock. A registration lets pass no longer than it says.
pub(super) fn due_at(denial: &Denial) -> Option<UnixMs> {
    let delay = if is_registration(denial) { Duration::ZERO } else { PURGE_DELAY };
    let forgotten = denial.kept_until.map(|until| until.plus(delay));
    match (forgotten, denial.ends_at) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

impl<'t> Batch<'t> {
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        denylist: &'t Denylist,
        index_key: &'t [u8; 16],
        limit: u64,
        progress: Progress,
    ) -> Result<Self, Fault> {
        Ok(Self {
            transaction,
            log: transaction.open_table(schema::LOG)?,
            records: transaction.open_table(schema::RECORDS)?,
            lifts: transaction.open_table(schema::LIFTS)?,
            by_selector: transaction.open_table(schema::BY_SELECTOR)?,
            due: transaction.open_table(schema::DUE)?,
            denylist,
            index_key,
            limit,
            progress,
            effects: Effects::default(),
            pending: HashSet::new(),
            changed: false,
        })
    }

    /// A new denial, unless the same one stands. The outer error is the disk's.
    pub(super) fn deny(
        &mut self,
        new: NewDenial,
        id: DenialId,
        now: UnixMs,
    ) -> Result<Result<Accepted, StoreError>, Fault> {
        if let Some(record) = self.standing(&new)? {
            return Ok(Ok(Accepted { record, already: true }));
        }
        let reserve = if new.created_by.role == "admin" { 0 } else { self.limit / 10 };
        if self.progress.in_force >= self.limit - reserve {
            return Ok(Err(StoreError::Full { limit: self.limit }));
        }
        self.accept(new, id, now).map(Ok)
    }

    fn accept(&mut self, new: NewDenial, id: DenialId, now: UnixMs) -> Result<Accepted, Fault> {
        let form = canonical::of_selector(&new.issuer, &new.selector);
        let NewDenial { issuer, selector, condition, except, kept_until, ends_at, .. } = new;
        let NewDenial { reason, reference, created_by, .. } = new;
        let denial = Denial {
            id,
            issuer,
            selector,
            condition,
            except,
            created_at: now,
            kept_until,
            ends_at,
            reason,
            reference,
            created_by,
        };
        let (sequence, lift) = self.put(&denial, form)?;
        Ok(Accepted { record: Record { sequence, denial, lift }, already: false })
    }

    /// A change that was made before, here or elsewhere.
    pub(super) fn apply(&mut self, change: Change, clock: UnixMs) -> Result<Applied, Fault> {
        match change {
            Change::Denied(denial) => {
                if let Some(row) = self.records.get(&denial.id.0)? {
                    let (_, known) = codec::decode_denial(denial.id, row.value())?;
                    return Ok(if known == denial { Applied::Known } else { Applied::Conflict });
                }
                if due_at(&denial).is_some_and(|due| due <= clock) {
                    return Ok(Applied::Expired);
                }
                let form = canonical::of_selector(&denial.issuer, &denial.selector);
                self.put(&denial, form)?;
                Ok(Applied::New)
            }
            Change::Lifted(lift) => self.put_lift(&lift),
        }
    }

    /// Lifts a denial that is known and not lifted; answers it as it then stands.
    pub(super) fn lift(&mut self, lift: Lift) -> Result<Option<Record>, Fault> {
        let mut record = rows::record(&self.records, &self.lifts, lift.denial)?;
        if let Some(record) = &mut record
            && record.lift.is_none()
        {
            self.put_lift(&lift)?;
            record.lift = Some(lift);
        }
        Ok(record)
    }

    /// Commit also when nothing else changes: the clock is to be written.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Forgets what is due at `clock`, looking at no more than `most`; how many it looked at.
    pub(super) fn purge(&mut self, clock: UnixMs, most: usize) -> Result<usize, Fault> {
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
        if let Some(Record { denial, lift: None, .. }) = &record
            && due_at(denial).is_none_or(|due| due > clock)
        {
            return Ok(());
        }
        if let Some(row) = self.lifts.remove(&id.0)? {
            let (sequence, _) = codec::decode_lift(id, row.value())?;
            self.log.remove(sequence)?;
        }
        let Some(record) = record else { return Ok(()) };
        if let Some(due) = due_at(&record.denial) {
            self.due.remove(&schema::due_key(due, id))?;
        }
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

    /// Puts a record that is not there yet; its sequence, and its tombstone if that came first.
    fn put(&mut self, denial: &Denial, form: Vec<u8>) -> Result<(u64, Option<Lift>), Fault> {
        let id = denial.id;
        let lift = match self.lifts.get(&id.0)? {
            Some(row) => Some(codec::decode_lift(id, row.value())?.1),
            None => None,
        };
        let sequence = self.next_sequence(Logged::Denied(id))?;
        self.records.insert(&id.0, codec::encode_denial(sequence, denial).as_slice())?;
        for key in rows::index_keys(denial, &form, lift.is_some(), self.index_key) {
            self.by_selector.insert(&key, ())?;
        }
        if let Some(due) = due_at(denial) {
            self.put_due(due, id)?;
        }
        if lift.is_none() {
            self.progress.in_force += 1;
            self.progress.registered += u64::from(is_registration(denial));
            self.tally(denial, 1);
            let by = self.denylist.fingerprinter();
            let at = by.form(&form);
            self.pending.insert(at);
            let except = denial.except.as_ref().map(|except| by.except(&denial.issuer, except));
            let (kind, condition) = (denial.selector.kind(), denial.condition);
            self.effects.additions.push(Addition { kind, at, form, condition, except });
        }
        Ok((sequence, lift))
    }

    fn put_lift(&mut self, lift: &Lift) -> Result<Applied, Fault> {
        let id = lift.denial;
        let known = match self.lifts.get(&id.0)? {
            Some(row) => Some(codec::decode_lift(id, row.value())?),
            None => None,
        };
        if let Some((sequence, known)) = known {
            // Of several tombstones of a denial the least stays, in whatever order they come.
            if precedence(lift) < precedence(&known) {
                self.lifts.insert(&id.0, codec::encode_lift(sequence, lift).as_slice())?;
                self.changed = true;
                return Ok(Applied::New);
            }
            return Ok(Applied::Known);
        }
        let sequence = self.next_sequence(Logged::Lifted(id))?;
        self.lifts.insert(&id.0, codec::encode_lift(sequence, lift).as_slice())?;
        let denial = match self.records.get(&id.0)? {
            Some(row) => Some(codec::decode_denial(id, row.value())?.1),
            None => None,
        };
        let forgotten = self.progress.clock.plus(LIFTED_KEPT);
        if denial.as_ref().and_then(due_at).is_none_or(|due| due > forgotten) {
            self.put_due(forgotten, id)?;
        }
        let Some(denial) = denial else { return Ok(Applied::New) };
        let form = canonical::of_selector(&denial.issuer, &denial.selector);
        for (stood, lifted) in rows::index_keys(&denial, &form, false, self.index_key)
            .zip(rows::index_keys(&denial, &form, true, self.index_key))
        {
            self.by_selector.remove(&stood)?;
            self.by_selector.insert(&lifted, ())?;
        }
        self.fewer(&denial);
        self.effects.recomputed.insert(form, Fold::default());
        Ok(Applied::New)
    }

    /// The unlifted record that says already what `new` says, for at least as long. Kept times are
    /// compared with the hour by which purging is late, so that a call that is sent again finds
    /// its record, and one much later gets its full time.
    fn standing(&self, new: &NewDenial) -> Result<Option<Record>, Fault> {
        let form = canonical::of_selector(&new.issuer, &new.selector);
        let at = self.denylist.fingerprinter().form(&form);
        if !self.pending.contains(&at) && self.denylist.fold(&at).is_empty() {
            return Ok(None);
        }
        for id in rows::indexed(&self.by_selector, self.hash(&form).in_force())? {
            let record = rows::record(&self.records, &self.lifts, id)?.ok_or(Fault::Missing(id))?;
            let old = &record.denial;
            // Who registered it first makes no difference to what passes.
            let is_registration = old.selector.kind() == SelectorKind::Registration;
            let same = old.selector == new.selector
                && old.issuer == new.issuer
                && old.condition == new.condition
                && old.except == new.except
                && (is_registration
                    || (old.reference == new.reference
                        && old.created_by.name == new.created_by.name));
            let delay = if is_registration { Duration::ZERO } else { PURGE_DELAY };
            let kept = old.kept_until.map(|until| until.plus(delay));
            if same && lasts(kept, new.kept_until) && lasts(old.ends_at, new.ends_at) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Ends the changes: folds what lost records. The tables close with this.
    pub(super) fn finish(mut self) -> Result<(Progress, Effects), Fault> {
        let mut recomputed = std::mem::take(&mut self.effects.recomputed);
        for (form, fold) in &mut recomputed {
            let by = self.denylist.fingerprinter();
            *fold = rows::fold_of(&self.records, &self.by_selector, self.hash(form), form, by)?;
        }
        self.effects.recomputed = recomputed;
        Ok((self.progress, self.effects))
    }

    /// A record is in force no longer.
    fn fewer(&mut self, denial: &Denial) {
        self.tally(denial, -1);
        let progress = &mut self.progress;
        progress.in_force = progress.in_force.saturating_sub(1);
        progress.registered =
            progress.registered.saturating_sub(u64::from(is_registration(denial)));
    }

    fn tally(&mut self, denial: &Denial, by: i64) {
        let place = (denial.issuer.as_str().to_owned(), denial.selector.kind());
        *self.effects.tally.entry(place).or_default() += by;
    }

    fn hash(&self, form: &[u8]) -> SelectorHash {
        SelectorHash::of(form, self.index_key)
    }

    fn put_due(&mut self, due: UnixMs, id: DenialId) -> Result<(), Fault> {
        self.due.insert(&schema::due_key(due, id), ())?;
        let next = self.effects.next_due.map_or(due, |next| next.min(due));
        self.effects.next_due = Some(next);
        Ok(())
    }

    fn next_sequence(&mut self, logged: Logged) -> Result<u64, Fault> {
        self.changed = true;
        self.progress.sequence += 1;
        self.log.insert(self.progress.sequence, &logged.to_bytes())?;
        Ok(self.progress.sequence)
    }
}

/// It lets pass instead of denying.
pub(super) fn is_registration(denial: &Denial) -> bool {
    denial.selector.kind() == SelectorKind::Registration
}

/// Does an end (`None`: never) reach another?
fn lasts(old: Option<UnixMs>, new: Option<UnixMs>) -> bool {
    match (old, new) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(old), Some(new)) => old >= new,
    }
}

pub(super) fn precedence(lift: &Lift) -> (UnixMs, Vec<u8>) {
    (lift.at, codec::encode_lift(0, lift))
}
