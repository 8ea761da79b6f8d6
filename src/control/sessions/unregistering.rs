//! A log-out where tokens must be registered: a cutoff alone would let a later token of the session
//! pass, for its registration stands. So it goes too, and what it let pass is denied for good.

use crate::clock::UnixMs;
use crate::control::registrations;
use crate::control::store::StoreError;
use crate::denylist::{Actor, Except, Selector};
use crate::desk::{End, Ending};
use crate::verify::{Mode, Policy};

use super::{Record, Sessions};

impl Sessions {
    /// Ends the registrations that an end reaches; `true`: nothing more needs to be denied.
    pub(super) async fn unregister(
        &self,
        end: &End,
        policy: &Policy,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        if policy.mode != Mode::Allowlist {
            return Ok(false);
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
        let all = is_all && !found.is_empty();
        let by =
            Actor::holder(end.subject.as_deref(), end.address.map(|address| address.to_string()));
        for record in found {
            let reason = Some(end.reason.to_owned());
            let retention = policy.retention();
            let retention = Some(&retention);
            registrations::end(&self.store, &record, reason, by.clone(), retention, now).await?;
        }
        Ok(all)
    }

    fn of_records(&self, end: &End) -> Result<Vec<Except>, StoreError> {
        let registered = |record: Record| match record.named_here {
            true => Except::Token(record.token),
            false => Except::Session(record.session),
        };
        Ok(self.records.reached(end)?.into_iter().map(registered).collect())
    }
}
