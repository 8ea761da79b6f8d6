//! People end their own access: the denials that a log-out comes to. They are marked as made by
//! the person, so that the audit tells them from an operator's, and bounded for each person.

use crate::clock::UnixMs;
use crate::control::store::{NewDenial, OwnDenial};
use crate::denylist::{Actor, Condition, Selector, kept_until};
use crate::desk::{DeskFault, End, Ending};
use crate::verify::Policy;

use super::{Sessions, told};

impl Sessions {
    /// Returns when all of them are on disk and in force.
    pub(super) async fn end(&self, ends: &[End]) -> Result<(), DeskFault> {
        let ends = self.records.whole(ends).map_err(|fault| told(&fault))?;
        self.end_these(&ends).await?;
        // From here on a renewal that was under way brings no token of a denied session; what one has
        // brought a moment ago, and no mark of which says the session's name, is ended for itself.
        let brought = self.brought_meanwhile(&ends);
        if brought.is_empty() { Ok(()) } else { self.end_these(&brought).await }
    }

    async fn end_these(&self, ends: &[End]) -> Result<(), DeskFault> {
        let verifier = (self.verifier)();
        let now = UnixMs::now();
        let mut denials = Vec::new();
        for end in ends {
            let issuer = verifier.issuers().iter().find(|issuer| issuer.policy.id == end.issuer);
            // An issuer that left the config meanwhile: its tokens pass nowhere.
            let Some(issuer) = issuer else { continue };
            if self.unregister(end, &issuer.policy, now).await.map_err(|fault| told(&fault))? {
                continue;
            }
            denials.push(denial(end, &issuer.policy, now));
        }
        if !denials.is_empty() {
            let accepted = self.store.deny_own(denials).await.map_err(|fault| told(&fault))?;
            for outcome in accepted {
                outcome.map_err(|fault| told(&fault))?;
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
                "{}", end.reason
            );
        }
        Ok(())
    }
}

impl Sessions {
    fn brought_meanwhile(&self, ends: &[End]) -> Vec<End> {
        let named = ends.iter().filter_map(|end| match &end.what {
            Ending::NamedHere(session) => Some((end, self.renewed_tokens(&end.issuer, session))),
            Ending::Token { .. } | Ending::Session(_) | Ending::Subject(..) => None,
        });
        let brought = named.flat_map(|(end, tokens)| {
            let token =
                |(id, expires_at)| End { what: Ending::Token { id, expires_at }, ..end.clone() };
            tokens.into_iter().map(token)
        });
        brought.filter(|token| ends.iter().all(|end| end.what != token.what)).collect()
    }
}

fn denial(end: &End, policy: &Policy, now: UnixMs) -> OwnDenial {
    let before = now.plus(policy.cutoff_skew).ceil_to_second();
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
        reason: end.reason.to_owned(),
        reference: None,
        created_by: Actor::holder(
            subject.map(String::as_str),
            end.address.map(|address| address.to_string()),
        ),
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

fn kind(what: &Ending) -> &'static str {
    match what {
        Ending::Token { .. } => "token",
        Ending::Session(_) | Ending::NamedHere(_) => "session",
        Ending::Subject(..) => "subject",
    }
}
