//! A session begins: it is on disk before the browser gets its cookies.

use crate::clock::UnixMs;
use crate::control::registrations::{self, NewRegistration};
use crate::denylist::{Actor, Via};
use crate::desk::{Begin, DeskFault};
use crate::telemetry::Sighting;
use crate::verify::Mode;

use super::{Record, Sessions, told};

impl Sessions {
    /// Its generation, which the refresh cookie carries.
    pub(super) async fn begin(&self, begin: Begin) -> Result<u64, DeskFault> {
        let now = UnixMs::now();
        let record = record(&begin, now);
        self.register(&begin, now).await?;
        let begun =
            self.records.begin(record, &begin.signed).await.map_err(|fault| told(&fault))?;
        // The login verified the token, so that no request will be the first with it.
        let Begin { signed, address, .. } = begin;
        self.people.sight(&Sighting { at: now, token: signed, address });
        Ok(begun.generation)
    }
}

impl Sessions {
    /// Where its issuer asks for it, a login is what lets the session's tokens pass.
    async fn register(&self, begin: &Begin, now: UnixMs) -> Result<(), DeskFault> {
        let policy = begin.signed.policy();
        if policy.mode != Mode::Allowlist {
            return Ok(());
        }
        let by = Actor {
            name: "login".to_owned(),
            role: "gateway".to_owned(),
            via: Via::Gateway,
            address: begin.address.map(|address| address.to_string()),
        };
        let new = NewRegistration::of_login(&begin.signed, by);
        let registered = registrations::register(&self.store, new, &policy.retention(), now).await;
        registered.map(drop).map_err(|fault| told(&fault))
    }
}

fn record(begin: &Begin, now: UnixMs) -> Record {
    let signed = &begin.signed;
    let policy = signed.policy();
    let kept_until = match begin.renewed {
        true => signed.issued_at().unwrap_or(now).plus(policy.session_lifetime_max),
        false => signed.expires_at().plus(policy.leeway),
    };
    Record {
        issuer: policy.id.clone(),
        subject: signed.subject().map(str::to_owned),
        session: begin.session.clone(),
        named_here: begin.named_here,
        first_seen: now,
        last_seen: now,
        address: begin.address,
        user_agent: begin.user_agent.as_deref().map(bounded),
        token: signed.token_id().clone(),
        issued_at: signed.issued_at(),
        expires_at: signed.expires_at(),
        kept_until,
        generation: 0,
    }
}

/// For people to read: a longer one is cut.
fn bounded(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(128).collect()
}
