//! People end their own access: the denials that a log-out comes to. They are marked as made by
//! the person, so that the audit tells them from an operator's, and bounded for each person. What an
//! operator or the gateway ends is ended in the same way, under their names.

use std::time::Duration;

use crate::clock::UnixMs;
use crate::control::store::{NewDenial, OwnDenial, StoreError};
use crate::denylist::{Condition, DenialId, Selector, Via, kept_until};
use crate::desk::{By, End, Ending, Renewed};
use crate::verify::Policy;

use super::Sessions;

impl Sessions {
    /// Returns when all of them are on disk and in force; the denials.
    pub(super) async fn end(&self, ends: &[End]) -> Result<Vec<DenialId>, StoreError> {
        let began = UnixMs::now();
        let ends = self.records.whole(ends)?;
        let mut denials = self.end_these(&ends).await?;
        // From here on a renewal that was under way brings no token of a denied session; what one has
        // brought a moment ago, and no cutoff reaches, is ended for itself.
        let brought = self.brought_meanwhile(&ends, began);
        if !brought.is_empty() {
            denials.extend(self.end_these(&brought).await?);
        }
        Ok(denials)
    }

    async fn end_these(&self, ends: &[End]) -> Result<Vec<DenialId>, StoreError> {
        let verifier = (self.verifier)();
        let now = UnixMs::now();
        let (mut denied, mut denials) = (Vec::new(), Vec::new());
        for end in ends {
            let issuer = verifier.issuers().iter().find(|issuer| issuer.policy.id == end.issuer);
            // An issuer that left the config meanwhile: its tokens pass nowhere.
            let Some(issuer) = issuer else { continue };
            let unregistered = self.unregister(end, &issuer.policy, now).await?;
            denied.extend(unregistered.denied);
            if !unregistered.is_all {
                denials.push(denial(end, &issuer.policy, now));
            }
        }
        if !denials.is_empty() {
            for outcome in self.store.deny_own(denials).await? {
                denied.push(outcome?.record.denial.id);
            }
        }
        // In force already: that it stays in a list would be no reason to fail.
        if let Err(fault) = self.records.ended(ends).await {
            tracing::warn!(target: "portcullis::session", %fault, "an ended session stays listed");
        }
        for end in ends {
            tracing::info!(
                target: "portcullis::session",
                issuer = end.issuer.as_str(),
                what = kind(&end.what),
                "{}", told(end)
            );
        }
        Ok(denied)
    }
}

impl Sessions {
    fn brought_meanwhile(&self, ends: &[End], began: UnixMs) -> Vec<End> {
        let named = ends.iter().filter_map(|end| match &end.what {
            Ending::NamedHere(session) | Ending::Session(session) => Some((end, session)),
            Ending::Token { .. } | Ending::Subject(..) => None,
        });
        let brought = named.flat_map(|(end, session)| {
            let results = self.renewals.results_of(end.issuer.as_str(), session);
            let unreached = results.into_iter().filter(move |renewed| !is_cut(end, renewed, began));
            unreached.map(|renewed| {
                let (id, expires_at) = (renewed.kept.access.clone(), renewed.kept.access_ends_at());
                End { what: Ending::Token { id, expires_at }, ..end.clone() }
            })
        });
        brought.filter(|token| ends.iter().all(|end| end.what != token.what)).collect()
    }
}

/// The session's cutoff reaches this token: it says the session's name, and was issued before by a
/// clock that is not ahead.
fn is_cut(end: &End, renewed: &Renewed, began: UnixMs) -> bool {
    matches!(end.what, Ending::Session(_))
        && renewed.signed.issued_at().is_none_or(|issued_at| issued_at < began)
}

/// From when on a token passes again. What is ended was issued before: its issuer's clock may be
/// ahead of ours, as far as its tokens pass at all.
fn cutoff(end: &End, policy: &Policy, now: UnixMs) -> UnixMs {
    let before = now.plus(policy.cutoff_skew).ceil_to_second();
    let reaches = match end.what {
        Ending::Session(_) | Ending::Subject(..) => end.issued_at,
        // Denied by their names.
        Ending::Token { .. } | Ending::NamedHere(_) => None,
    };
    match reaches.filter(|issued_at| *issued_at <= now.plus(policy.leeway)) {
        Some(at) => before.max(at.plus(Duration::from_millis(1)).ceil_to_second()),
        None => before,
    }
}

fn denial(end: &End, policy: &Policy, now: UnixMs) -> OwnDenial {
    let before = cutoff(end, policy, now);
    let cutoff = Condition::IssuedBefore(before);
    // A genuine token from so far in the future that it does not pass yet is denied for itself: no
    // cutoff may ever take that denial's place.
    let latest = now.plus(policy.leeway);
    let in_time = end.issued_at.is_none_or(|issued_at| issued_at <= latest);
    let subject = end.subject.as_ref().filter(|_| in_time);
    let (selector, condition, except, expires) = match &end.what {
        Ending::Token { id, expires_at } => {
            (Selector::Token(id.clone()), Condition::Always, None, Some(*expires_at))
        }
        Ending::Session(session) => (Selector::Session(session.clone()), cutoff, None, None),
        Ending::NamedHere(session) => {
            (Selector::Session(session.clone()), Condition::Always, None, None)
        }
        Ending::Subject(subject, except) => {
            (Selector::Subject(subject.clone()), cutoff, except.clone(), None)
        }
    };
    let of = |selector, condition, except, expires| NewDenial {
        issuer: end.issuer.clone(),
        kept_until: kept_until(&selector, condition, now, expires, &policy.retention()),
        selector,
        condition,
        except,
        ends_at: None,
        reason: end.reason.to_string(),
        reference: None,
        created_by: end.by.actor(subject.map(String::as_str)),
    };
    // One whose issuer's clock is ahead may have been issued after the cutoff.
    let covered = match (&selector, end.issued_at) {
        (Selector::Token(_), Some(issued_at)) => issued_at < before,
        (_, _) => true,
    };
    let instead = subject
        .filter(|_| covered)
        .map(|subject| of(Selector::Subject(subject.clone()), cutoff, except.clone(), None));
    OwnDenial { denial: of(selector, condition, except, expires), instead }
}

/// An operator's own words are for the record, which has them.
fn told(end: &End) -> &str {
    match &end.by {
        By::Other(by) if by.via != Via::Gateway => "ended by an operator",
        By::Other(_) | By::Holder(_) => &end.reason,
    }
}

fn kind(what: &Ending) -> &'static str {
    match what {
        Ending::Token { .. } => "token",
        Ending::Session(_) | Ending::NamedHere(_) => "session",
        Ending::Subject(..) => "subject",
    }
}
