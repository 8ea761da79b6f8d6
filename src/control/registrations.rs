//! The allowlist of issuers in `mode = "allowlist"`: what is let pass, and its end.
//!
//! A registration is a record of the store like a denial: durable before it is acknowledged, in the
//! log, the audit, the export. Ending one also denies its session or token, for at least as long as
//! the registration would have lasted: so a registration that comes back from an old export, or is
//! made once more by a login that was under way, lets nothing pass that was ended.

use crate::clock::UnixMs;
use crate::denylist::{
    Actor, Condition, Except, IssuerId, Retention, Selector, kept_until, registered_until,
};
use crate::verify::Signed;

use super::store::{Accepted, NewDenial, Record, Store, StoreError};

/// What is to be let pass.
pub struct NewRegistration {
    pub issuer: IssuerId,
    pub registered: Except,
    /// `exp` of the token, where one token is registered and it is known.
    pub token_expires: Option<UnixMs>,
    /// Ends sooner than the longest life of such a session or token.
    pub ends_at: Option<UnixMs>,
    pub reason: String,
    pub reference: Option<String>,
    pub created_by: Actor,
}

impl NewRegistration {
    /// What a login brought: its session, so that the session's later tokens pass too; the token
    /// alone where it names no session.
    pub fn of_login(token: &Signed, created_by: Actor) -> Self {
        let registered = match token.session() {
            Some(session) => Except::Session(session.to_owned()),
            None => Except::Token(token.token_id().clone()),
        };
        Self {
            issuer: token.policy().id.clone(),
            registered,
            token_expires: Some(token.expires_at()),
            ends_at: None,
            reason: "login".to_owned(),
            reference: None,
            created_by,
        }
    }
}

/// Returns when the registration is on disk and in force; one that stands is answered as it is.
pub async fn register(
    store: &Store,
    new: NewRegistration,
    retention: &Retention,
    now: UnixMs,
) -> Result<Accepted, StoreError> {
    let longest = registered_until(&new.registered, now, new.token_expires, retention);
    let ends_at = new.ends_at.filter(|end| *end < longest);
    store
        .deny(NewDenial {
            issuer: new.issuer,
            selector: Selector::Registration(new.registered),
            condition: Condition::Always,
            except: None,
            // Where it ends sooner it is kept no longer, and one that lasts as long stands for it.
            kept_until: Some(ends_at.unwrap_or(longest)),
            ends_at,
            reason: new.reason,
            reference: new.reference,
            created_by: new.created_by,
        })
        .await
}

/// A registration that was ended.
pub struct Ended {
    /// As it stands now; `None`: forgotten meanwhile.
    pub record: Option<Record>,
    /// What denies its session or token from now on; `None` where the denylist is full. It passes
    /// no longer all the same.
    pub denied: Option<Accepted>,
}

/// Ends a registration: denied first, so that at no instant it is neither.
pub async fn end(
    store: &Store,
    record: &Record,
    reason: Option<String>,
    by: Actor,
    retention: Option<&Retention>,
    now: UnixMs,
) -> Result<Ended, StoreError> {
    let denial = &record.denial;
    let Selector::Registration(registered) = &denial.selector else {
        return Ok(Ended { record: Some(record.clone()), denied: None });
    };
    let selector = registered.selector();
    let own = retention.map_or(denial.kept_until, |retention| {
        kept_until(&selector, Condition::Always, now, None, retention)
    });
    let denied = store
        .deny(NewDenial {
            issuer: denial.issuer.clone(),
            selector,
            condition: Condition::Always,
            except: None,
            kept_until: own.zip(denial.kept_until).map(|(own, registered)| own.max(registered)),
            ends_at: None,
            reason: reason.clone().unwrap_or_else(|| "registration removed".to_owned()),
            reference: denial.reference.clone(),
            created_by: by.clone(),
        })
        .await;
    let denied = match denied {
        Ok(accepted) => Some(accepted),
        Err(StoreError::Full { .. }) => None,
        Err(
            fault @ (StoreError::NoSpace(_)
            | StoreError::Disk(_)
            | StoreError::Closed
            | StoreError::Open(_)),
        ) => return Err(fault),
    };
    let mut lifted = store.lift(vec![denial.id], reason, by).await?;
    Ok(Ended { record: lifted.pop(), denied })
}
