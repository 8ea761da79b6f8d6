//! A log-out where tokens must be registered: a cutoff alone would let a later token of the session
//! pass, for its registration stands. So it goes too, and what it let pass is denied for good.

use crate::clock::UnixMs;
use crate::control::registrations;
use crate::control::store::StoreError;
use crate::denylist::{DenialId, Except, Selector};
use crate::desk::{End, Ending};
use crate::verify::{Mode, Policy};

use super::{Record, Sessions};

/// Registrations that were ended.
#[derive(Default)]
pub(super) struct Unregistered {
    /// What denies from now on what they let pass.
    pub denied: Vec<DenialId>,
    /// Nothing more needs to be denied.
    pub is_all: bool,
}

impl Sessions {
    /// Ends the registrations that an end reaches.
    pub(super) async fn unregister(
        &self,
        end: &End,
        policy: &Policy,
        now: UnixMs,
    ) -> Result<Unregistered, StoreError> {
        if policy.mode != Mode::Allowlist {
            return Ok(Unregistered::default());
        }
        let (registered, is_all) = match &end.what {
            Ending::Session(session) => (vec![Except::Session(session.clone())], true),
            Ending::Token { id, .. } => (vec![Except::Token(id.clone())], true),
            // Its tokens do not say its name: each of them is registered for itself.
            Ending::NamedHere(_) => (self.of_records(end)?, false),
            // Tokens of sessions that did not begin here fall to the cutoff.
            Ending::Subject(..) => (self.of_records(end)?, false),
        };
        let mut found = Vec::new();
        for registered in registered {
            found.extend(self.store.in_force(&end.issuer, &Selector::Registration(registered))?);
        }
        let is_all = is_all && !found.is_empty();
        let (by, retention) = (end.by.actor(end.subject.as_deref()), policy.retention());
        let mut denied = Vec::new();
        for record in found {
            let reason = Some(end.reason.to_string());
            let ended =
                registrations::end(&self.store, &record, reason, by.clone(), Some(&retention), now);
            denied.extend(ended.await?.denied.map(|accepted| accepted.record.denial.id));
        }
        Ok(Unregistered { denied, is_all })
    }

    fn of_records(&self, end: &End) -> Result<Vec<Except>, StoreError> {
        let registered = |record: Record| match record.named_here {
            true => Except::Token(record.token),
            false => Except::Session(record.session),
        };
        Ok(self.records.reached(end)?.into_iter().map(registered).collect())
    }
}
