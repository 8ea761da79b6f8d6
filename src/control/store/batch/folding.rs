//! What people deny of their own access, bounded: nobody fills the denylist by logging in and out.
//!
//! A person has at most [`OWN_MAX`] such denials in force. The next one becomes a cutoff of the
//! whole subject, and those that it covers are lifted, in the same transaction; the cutoff stands
//! before them in the log. What is lifted denies nothing of this person that the cutoff does not
//! deny, for no longer than it: [`covers`] says so of each. Of what was lifted so, the last
//! `LIFTED_OWN_MAX` are kept. What is not covered stays, and while
//! there are as many of those, each further log-out is a cutoff that takes the former one's place.

use std::time::Duration;

use crate::clock::UnixMs;
use crate::control::store::rows::{self, Fault};
use crate::control::store::{Accepted, NewDenial, OwnDenial, Record, StoreError};
use crate::denylist::{
    Actor, Condition, Denial, DenialId, Except, IssuerId, Lift, Selector, canonical,
};

use super::{Batch, LIFTED_KEPT, lasts};

/// Denials in force that one person may have made of their own access.
pub(in crate::control::store) const OWN_MAX: usize = 64;
/// The longest `leeway` that a config may have: no token was issued later than this after it was
/// first taken.
const LEEWAY_MAX: Duration = Duration::from_secs(300);

impl Batch<'_> {
    /// A person's own denial, or what is denied instead. The outer error is the disk's.
    pub(in crate::control::store) fn deny_own(
        &mut self,
        own: OwnDenial,
        id: DenialId,
        now: UnixMs,
    ) -> Result<Result<Accepted, StoreError>, Fault> {
        let OwnDenial { denial, instead } = own;
        let person = denial.created_by.person().map(str::to_owned);
        let (Some(instead), Some(person)) = (instead, person) else {
            return self.deny(denial, id, now);
        };
        if let Some(record) = self.standing(&denial)? {
            return Ok(Ok(Accepted { record, already: true }));
        }
        let own = self.of_person(&denial.issuer, &person)?;
        if own.len() < OWN_MAX {
            return self.deny(denial, id, now);
        }
        if let Some(record) = self.standing(&instead)? {
            return Ok(Ok(Accepted { record, already: true }));
        }
        let covered: Vec<DenialId> = own
            .iter()
            .filter(|record| covers(&instead, &record.denial))
            .map(|record| record.denial.id)
            .collect();
        let issuer = instead.issuer.clone();
        // Where nothing goes for it, the limit holds.
        let accepted = if covered.is_empty() {
            match self.deny(instead, id, now)? {
                Ok(accepted) => accepted,
                Err(full) => return Ok(Err(full)),
            }
        } else {
            self.accept(instead, id, now)?
        };
        for denial in covered {
            let reason = Some(format!("folded into {id}"));
            let lift = Lift { denial, at: now, reason, by: Actor::gateway() };
            self.lift_until(lift, now.plus(LIFTED_KEPT))?;
            self.effects.folded += 1;
        }
        self.forget_folded(&issuer, &person)?;
        Ok(Ok(accepted))
    }

    /// Unlifted records that a person has made about their own access.
    fn of_person(&self, issuer: &IssuerId, person: &str) -> Result<Vec<Record>, Fault> {
        let form = canonical::of_person(issuer, person);
        let mut found = Vec::new();
        for id in rows::indexed(&self.by_selector, &self.hash(&form).in_force(), usize::MAX)? {
            let record = rows::record(&self.records, &self.lifts, id)?.ok_or(Fault::Missing(id))?;
            let denial = &record.denial;
            // Another form may have the same hash.
            if denial.issuer == *issuer && denial.created_by.person() == Some(person) {
                found.push(record);
            }
        }
        Ok(found)
    }
}

/// Does a cutoff of a subject deny at least what this denial of the same person denies of their
/// tokens, for at least as long?
fn covers(cutoff: &NewDenial, old: &Denial) -> bool {
    let Condition::IssuedBefore(before) = cutoff.condition else { return false };
    if !lasts(cutoff.kept_until, old.kept_until) || cutoff.ends_at.is_some() {
        return false;
    }
    let cut_before = match old.condition {
        Condition::IssuedBefore(cut) => cut <= before,
        // What it denies was issued before it was made, by a clock that may be ahead.
        Condition::Always => {
            matches!(old.selector, Selector::Token(_)) && old.created_at.plus(LEEWAY_MAX) < before
        }
        Condition::VersionBelow(_) => false,
    };
    let spares_nothing_of_it = match (&old.selector, &cutoff.except) {
        (Selector::Subject(_), except) => except.is_none() || *except == old.except,
        (Selector::Session(_) | Selector::Token(_), None) => true,
        (Selector::Session(session), Some(Except::Session(spared))) => session != spared,
        // One token has one id.
        (Selector::Token(token), Some(Except::Token(spared))) => token != spared,
        // The token may be of the session that is spared, and the session the spared token's.
        (Selector::Session(_), Some(Except::Token(_)))
        | (Selector::Token(_), Some(Except::Session(_)))
        | (
            Selector::Client(_)
            | Selector::Key(_)
            | Selector::Claim { .. }
            | Selector::Issuer
            | Selector::Registration(_),
            _,
        ) => false,
    };
    let same_person =
        !matches!(old.selector, Selector::Subject(_)) || old.selector == cutoff.selector;
    cut_before && spares_nothing_of_it && same_person
}
