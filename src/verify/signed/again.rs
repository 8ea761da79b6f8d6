//! A token that was verified once, as another configuration reads it: a stream outlives reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::super::facts::{self, Names};
use super::super::{Issuer, Mode, TokenFault, Verifier, policy};
use super::{Identity, Marks, Signed};
use crate::clock::UnixMs;

impl Verifier {
    /// What is known of a token whose signature was verified under whatever was published then, by
    /// the issuers and claims in force. All rules are asked but for its expiry and its key, which
    /// its holder asks for itself. The same token where nothing of its issuer has changed.
    pub fn read_again(&self, signed: &Arc<Signed>, now: UnixMs) -> Result<Arc<Signed>, TokenFault> {
        let id = &signed.issuer.policy.id;
        let found = self.issuers().iter().find(|issuer| issuer.policy.id == *id);
        let issuer = found.ok_or_else(|| TokenFault::UnknownIssuer { iss: id.as_str().into() })?;
        if Arc::ptr_eq(issuer, &signed.issuer) {
            return Ok(Arc::clone(signed));
        }
        let again = Arc::new(signed.under(issuer, self)?);
        policy::still(&again, now)?;
        Ok(again)
    }
}

impl Signed {
    fn under(&self, issuer: &Arc<Issuer>, verifier: &Verifier) -> Result<Self, TokenFault> {
        let policy = &issuer.policy;
        let names = Names::read(&self.claims, policy)?;
        let indexed = names.indexed.iter().filter_map(|(index, value)| {
            let (name, _) = policy.claims.indexed.get(*index)?;
            Some((name.as_str(), value.clone()))
        });
        let marks = Marks::of(
            &Identity {
                issuer: &policy.id,
                token: self.token_id.clone(),
                session: names.session.as_deref(),
                subject: names.subject.as_deref(),
                client: names.client.as_deref(),
                key: &self.key,
                claims: indexed.collect(),
                issued_at: self.times.issued_at,
                version: names.version,
                must_be_registered: policy.mode == Mode::Allowlist,
            },
            verifier.fingerprinter(),
        );
        Ok(Self {
            issuer: Arc::clone(issuer),
            key: self.key,
            algorithm: self.algorithm,
            kid: self.kid.clone(),
            typ: self.typ.clone(),
            claims: self.claims.clone(),
            audiences: facts::audiences(&self.claims)?,
            times: self.times,
            names,
            token_id: self.token_id.clone(),
            marks,
            // No set: whether its key is there is asked anew.
            keys: AtomicU64::new(u64::MAX),
            last_seen: AtomicI64::new(self.last_seen.load(Ordering::Relaxed)),
            first_presented: AtomicI64::new(self.first_presented.load(Ordering::Relaxed)),
        })
    }
}
