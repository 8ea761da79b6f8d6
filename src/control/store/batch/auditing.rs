//! The acts of a transaction, written in it, and those that are forgotten.

use redb::ReadableTable as _;
use redb::ReadableTableMetadata as _;

use crate::clock::UnixMs;
use crate::control::store::acts::{Act, Deed, NewAct, Part, What};
use crate::control::store::codec;
use crate::control::store::rows::Fault;
use crate::denylist::{Actor, Denial, Lift};

use super::{Batch, is_registration};

impl<'t> Batch<'t> {
    /// An act that changes no record.
    pub(in crate::control::store) fn note(&mut self, new: NewAct, at: UnixMs) -> Result<(), Fault> {
        let NewAct { deed, by, what, reason, counts } = new;
        let sequence = self.sequence_without_change();
        self.act(Part::Single, Act { sequence, at, deed, by, denial: None, what, reason, counts })
    }

    pub(super) fn act_of_denial(&mut self, sequence: u64, denial: &Denial) -> Result<(), Fault> {
        let deed = if is_registration(denial) { Deed::Registered } else { Deed::Denied };
        let part = match denial.created_by.person() {
            Some(_) => Part::Own,
            None => self.part(),
        };
        self.act(part, Act { deed, ..Act::of_denial(sequence, denial) })
    }

    pub(super) fn act_of_lift(
        &mut self,
        sequence: u64,
        lift: &Lift,
        denial: &Denial,
    ) -> Result<(), Fault> {
        let is_own = denial.created_by.person().is_some();
        let (deed, part) = if lift.by == Actor::gateway() {
            (Deed::Ended, if is_own { Part::Own } else { Part::Many })
        } else if is_registration(denial) {
            (Deed::Removed, self.part())
        } else {
            (Deed::Undone, self.part())
        };
        let act = Act {
            sequence,
            at: lift.at,
            deed,
            by: lift.by.clone(),
            denial: Some(lift.denial),
            what: Some(What::of(denial)),
            reason: lift.reason.clone(),
            counts: Vec::new(),
        };
        self.act(part, act)
    }

    /// A timed block whose time is over.
    pub(super) fn act_of_end(&mut self, denial: &Denial, at: UnixMs) -> Result<(), Fault> {
        let sequence = self.sequence_without_change();
        let act = Act {
            at,
            deed: Deed::Ended,
            by: Actor::gateway(),
            reason: None,
            ..Act::of_denial(sequence, denial)
        };
        self.act(Part::Many, act)
    }

    fn part(&self) -> Part {
        if self.is_of_many { Part::Many } else { Part::Single }
    }

    fn act(&mut self, part: Part, act: Act) -> Result<(), Fault> {
        let taken = self.progress.clock;
        let most = part.entries_max(&self.limits.audit);
        self.is_due_by(taken.plus(self.limits.audit.keep));
        let acts = self.acts_of(part);
        acts.insert(act.sequence, codec::acts::encode(taken, &act).as_slice())?;
        if acts.len()? > most {
            acts.pop_first()?;
        }
        Ok(())
    }

    /// Forgets what was kept for long enough, of each part at most so many; how many.
    pub(in crate::control::store) fn purge_acts(
        &mut self,
        clock: UnixMs,
        most: usize,
    ) -> Result<usize, Fault> {
        let keep = self.limits.audit.keep;
        let mut forgotten = 0;
        for part in Part::ALL {
            let acts = self.acts_of(part);
            for _ in 0..most {
                let first = match acts.first()? {
                    Some((sequence, row)) => {
                        let sequence = sequence.value();
                        (sequence, codec::acts::taken(sequence, row.value())?)
                    }
                    None => break,
                };
                if first.1.plus(keep) > clock {
                    break;
                }
                acts.remove(first.0)?;
                forgotten += 1;
            }
        }
        self.changed |= forgotten > 0;
        Ok(forgotten)
    }

    fn acts_of(&mut self, part: Part) -> &mut super::Acts<'t> {
        match part {
            Part::Single => &mut self.acts,
            Part::Many => &mut self.acts_of_many,
            Part::Own => &mut self.acts_of_people,
        }
    }

    /// A place in the order of things for what changes no record.
    fn sequence_without_change(&mut self) -> u64 {
        self.changed = true;
        self.progress.sequence += 1;
        self.progress.sequence
    }
}
