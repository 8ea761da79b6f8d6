//! People end their own access: the denials that a log-out comes to. They are marked as made by
//! the person, so that the audit tells them from an operator's.

use crate::clock::UnixMs;
use crate::control::store::{NewDenial, StoreError};
use crate::denylist::{Actor, Condition, Selector, Via, kept_until};
use crate::desk::{DeskFault, End, Ending};
use crate::verify::Policy;

use super::Sessions;

/// The kind of credential of whoever ends their own sessions.
pub const SELF: &str = "self";

impl Sessions {
    /// Returns when all of them are on disk and in force.
    pub(super) async fn end(&self, ends: &[End]) -> Result<(), DeskFault> {
        let verifier = (self.verifier)();
        let now = UnixMs::now();
        let mut denials = Vec::new();
        for end in ends {
            let issuer = verifier.issuers().iter().find(|issuer| issuer.policy.id == end.issuer);
            // An issuer that left the config meanwhile: its tokens pass nowhere.
            let Some(issuer) = issuer else { continue };
            denials.push(denial(end, &issuer.policy, now));
        }
        if denials.is_empty() {
            return Ok(());
        }
        let accepted = self.store.deny_all(denials).await.map_err(|fault| told(&fault))?;
        for outcome in accepted {
            outcome.map_err(|fault| told(&fault))?;
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

fn denial(end: &End, policy: &Policy, now: UnixMs) -> NewDenial {
    let cutoff = Condition::IssuedBefore(now.plus(policy.cutoff_skew).ceil_to_second());
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
    NewDenial {
        issuer: end.issuer.clone(),
        kept_until: kept_until(&selector, condition, now, expires, &policy.retention()),
        selector,
        condition,
        except,
        ends_at: None,
        reason: end.reason.to_owned(),
        reference: None,
        created_by: Actor {
            name: SELF.to_owned(),
            role: SELF.to_owned(),
            via: Via::Api,
            address: end.address.map(|address| address.to_string()),
        },
    }
}

fn kind(what: &Ending) -> &'static str {
    match what {
        Ending::Token { .. } => "token",
        Ending::Session(_) | Ending::NamedHere(_) => "session",
        Ending::Subject(..) => "subject",
    }
}

fn told(fault: &StoreError) -> DeskFault {
    match fault {
        StoreError::Full { .. } => DeskFault::Full,
        StoreError::Closed => DeskFault::Closed,
        StoreError::Disk(why) | StoreError::Open(why) => {
            tracing::error!(target: "portcullis::session", why, "the store failed");
            DeskFault::Store
        }
    }
}
