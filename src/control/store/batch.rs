//! One write transaction: the changes of a group, and what they will mean for the hot table once
//! they are on disk. Changes commute and duplicates are harmless: a record is put once, a tombstone
//! may come before its record, and of two tombstones the same one stays in any order.

mod auditing;
mod folding;
mod forgetting;
pub(super) mod holding;
mod sessions;
mod standing;

use standing::lasts;

#[cfg(test)]
pub(super) use folding::OWN_MAX;
#[cfg(test)]
pub(super) use forgetting::LIFTED_OWN_MAX;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use redb::{ReadableTable as _, Table, WriteTransaction};

use crate::clock::UnixMs;
use crate::denylist::{
    Actor, Condition, Denial, DenialId, Denylist, Fingerprint, Fold, Lift, SelectorKind, canonical,
};

use super::acts::Part;
use super::index::{Key, SelectorHash};
use super::rows::{self, Fault, Folding};
use super::schema::{self, Logged, Progress};
use super::tally::Changes;
use super::worker::Limits;
use super::{Accepted, Applied, Change, Matching, NewDenial, Record, StoreError, codec};

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

type Acts<'t> = Table<'t, u64, &'static [u8]>;

/// The tables of one write transaction.
pub(super) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    log: Table<'t, u64, &'static [u8; 11]>,
    records: Table<'t, &'static [u8; 10], &'static [u8]>,
    lifts: Table<'t, &'static [u8; 10], &'static [u8]>,
    by_selector: Table<'t, &'static Key, ()>,
    due: Table<'t, &'static [u8; 18], ()>,
    acts: Acts<'t>,
    acts_of_many: Acts<'t>,
    acts_of_people: Acts<'t>,
    denylist: &'t Denylist,
    index_key: &'t [u8; 16],
    limits: Limits,
    pub(super) progress: Progress,
    effects: Effects,
    /// Selectors with additions in this transaction, which the hot table does not know yet.
    pending: HashSet<Fingerprint>,
    /// Something is to be written: without it there is nothing to commit.
    changed: bool,
    /// What is done now was asked for with much else in one call.
    pub(super) is_of_many: bool,
    /// Records that were read.
    reads: Cell<u64>,
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
    pub(super) reads: u64,
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
        limits: Limits,
        progress: Progress,
    ) -> Result<Self, Fault> {
        Ok(Self {
            transaction,
            log: transaction.open_table(schema::LOG)?,
            records: transaction.open_table(schema::RECORDS)?,
            lifts: transaction.open_table(schema::LIFTS)?,
            by_selector: transaction.open_table(schema::BY_SELECTOR)?,
            due: transaction.open_table(schema::DUE)?,
            acts: transaction.open_table(Part::Single.table())?,
            acts_of_many: transaction.open_table(Part::Many.table())?,
            acts_of_people: transaction.open_table(Part::Own.table())?,
            denylist,
            index_key,
            limits,
            progress,
            effects: Effects::default(),
            pending: HashSet::new(),
            changed: false,
            is_of_many: false,
            reads: Cell::new(0),
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
        let limit = self.limits.records;
        let reserve = if new.created_by.role == "admin" { 0 } else { limit / 10 };
        if self.progress.in_force >= limit - reserve {
            let reserved = self.progress.in_force < limit;
            return Ok(Err(StoreError::Full { limit, reserved }));
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
        self.act_of_denial(sequence, &denial)?;
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
            Change::Lifted(lift) => {
                let forgotten = self.progress.clock.plus(LIFTED_KEPT);
                self.put_lift(&lift, forgotten).map(|(applied, _)| applied)
            }
        }
    }

    /// Lifts a denial that is known and not lifted; answers it as it then stands.
    pub(super) fn lift(&mut self, lift: Lift) -> Result<Option<Record>, Fault> {
        let forgotten = self.progress.clock.plus(LIFTED_KEPT);
        self.lift_until(lift, forgotten)
    }

    fn lift_until(&mut self, lift: Lift, forgotten: UnixMs) -> Result<Option<Record>, Fault> {
        let mut record = rows::record(&self.records, &self.lifts, lift.denial)?;
        if let Some(record) = &mut record
            && record.lift.is_none()
        {
            let (_, sequence) = self.put_lift(&lift, forgotten)?;
            self.act_of_lift(sequence, &lift, &record.denial)?;
            record.lift = Some(lift);
        }
        Ok(record)
    }

    /// Lifts what stands of a selector, the newest first; those.
    pub(super) fn lift_matching(
        &mut self,
        which: &Matching,
        reason: Option<&str>,
        by: &Actor,
        at: UnixMs,
    ) -> Result<Vec<Record>, Fault> {
        let form = canonical::of_selector(&which.issuer, &which.selector);
        let in_force = self.hash(&form).in_force();
        let mut ids = rows::indexed(&self.by_selector, &in_force, usize::MAX)?;
        ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        let mut lifted = Vec::new();
        for id in ids {
            let record = rows::record(&self.records, &self.lifts, id)?.ok_or(Fault::Missing(id))?;
            if lifted.len() < which.most && which.takes(&record.denial) {
                let reason = reason.map(str::to_owned);
                lifted.extend(self.lift(Lift { denial: id, at, reason, by: by.clone() })?);
            }
        }
        Ok(lifted)
    }

    /// Commit also when nothing else changes: the clock is to be written.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
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

    /// And its sequence. `forgotten`: when what is left of it may go.
    fn put_lift(&mut self, lift: &Lift, forgotten: UnixMs) -> Result<(Applied, u64), Fault> {
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
                return Ok((Applied::New, sequence));
            }
            return Ok((Applied::Known, sequence));
        }
        let sequence = self.next_sequence(Logged::Lifted(id))?;
        self.lifts.insert(&id.0, codec::encode_lift(sequence, lift).as_slice())?;
        let denial = match self.records.get(&id.0)? {
            Some(row) => Some(codec::decode_denial(id, row.value())?.1),
            None => None,
        };
        let held = self.is_held(id)?;
        let due = denial.as_ref().and_then(due_at).filter(|_| !held);
        if due.is_none_or(|due| due > forgotten) {
            self.put_due(forgotten, id)?;
        }
        let Some(denial) = denial else { return Ok((Applied::New, sequence)) };
        let form = canonical::of_selector(&denial.issuer, &denial.selector);
        for (stood, lifted) in rows::index_keys(&denial, &form, false, self.index_key)
            .zip(rows::index_keys(&denial, &form, true, self.index_key))
        {
            self.by_selector.remove(&stood)?;
            self.by_selector.insert(&lifted, ())?;
        }
        self.fewer(&denial);
        self.effects.recomputed.insert(form, Fold::default());
        Ok((Applied::New, sequence))
    }

    /// Ends the changes: folds what lost records. The tables close with this.
    pub(super) fn finish(mut self) -> Result<(Progress, Effects), Fault> {
        let mut recomputed = std::mem::take(&mut self.effects.recomputed);
        let mut folding = Folding {
            records: &self.records,
            by_selector: &self.by_selector,
            by: self.denylist.fingerprinter(),
            reads: self.reads.get(),
        };
        for (form, fold) in &mut recomputed {
            *fold = folding.of(self.hash(form), form)?;
        }
        self.effects.reads = folding.reads;
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
        self.is_due_by(due);
        Ok(())
    }

    fn is_due_by(&mut self, due: UnixMs) {
        let next = self.effects.next_due.map_or(due, |next| next.min(due));
        self.effects.next_due = Some(next);
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

pub(super) fn precedence(lift: &Lift) -> (UnixMs, Vec<u8>) {
    (lift.at, codec::encode_lift(0, lift))
}
