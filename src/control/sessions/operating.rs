//! An operator ends one session of somebody, by its id in the list.

use std::borrow::Cow;
use std::sync::Arc;

use crate::control::store::StoreError;
use crate::denylist::{Actor, DenialId, Selector};
use crate::desk::By;

use super::{Record, Records, Sessions};

/// A session that an operator ended.
pub struct Ended {
    pub denials: Vec<DenialId>,
    /// By this its streams are known.
    pub selector: Selector,
    /// What became of its refresh token, where it has one.
    pub refresh: Option<RefreshToken>,
    /// Sessions of other people that have the same name: what says a device, not a login.
    pub shared_with: usize,
}

/// Of a session that has ended: here it is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefreshToken {
    /// Its issuer is being told.
    Revoked,
    /// Its issuer is told when the browser brings it: nobody else has it.
    InTheBrowser,
    /// No `revoke_url` says where.
    NobodyToTell,
}

impl Sessions {
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Returns when it is denied, on disk and in force.
    pub async fn end_by_operator(
        self: &Arc<Self>,
        record: &Record,
        by: Actor,
        reason: Option<String>,
    ) -> Result<Ended, StoreError> {
        let (id, issuer) = (record.id(), &record.issuer);
        let named = if record.named_here { Vec::new() } else { self.records.named_as(record)? };
        let reason = reason.map_or(Cow::Borrowed("session ended"), Cow::Owned);
        let denials = self.end(&[record.end(By::Other(by), reason)]).await?;
        let results = self.renewals.results_of(issuer.as_str(), &record.session);
        let knows = !results.is_empty();
        results.into_iter().for_each(|renewed| self.revoke(renewed.kept.clone()));
        Ok(Ended {
            denials,
            selector: match record.named_here {
                true => Selector::Token(record.token.clone()),
                false => Selector::Session(record.session.clone()),
            },
            refresh: self.refresh_token_of(record, knows),
            shared_with: named.iter().filter(|other| **other != id).count(),
        })
    }

    /// A session that is renewed lives longer than its token.
    fn refresh_token_of(&self, record: &Record, is_known: bool) -> Option<RefreshToken> {
        let verifier = (self.verifier)();
        let mut issuers = verifier.issuers().iter();
        let policy = &issuers.find(|issuer| issuer.policy.id == record.issuer)?.policy;
        if !policy.renewed || record.kept_until <= record.expires_at.plus(policy.leeway) {
            return None;
        }
        Some(match (self.renewals.revokes(&record.issuer), is_known) {
            (true, true) => RefreshToken::Revoked,
            (true, false) => RefreshToken::InTheBrowser,
            (false, _) => RefreshToken::NobodyToTell,
        })
    }
}
