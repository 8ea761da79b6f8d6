//! Whether a session may be renewed, and whether what came is its next token.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::control::registrations::{NewRegistration, register};
use crate::denylist::{Actor, Condition, Denial, Except, Marks, Selector, Via};
use crate::desk::{Kept, Later, Over, RenewalFault};
use crate::token::Credential;
use crate::verify::{Issuer, Mode, Signed, TokenFault};

use super::call::Tokens;
use crate::control::sessions::Sessions;

impl Sessions {
    pub(super) fn issuer_of(&self, kept: &Kept) -> Result<Arc<Issuer>, RenewalFault> {
        let verifier = (self.verifier)();
        let found = verifier.issuers().iter().find(|one| one.policy.id.as_str() == kept.issuer);
        found.map(Arc::clone).ok_or(RenewalFault::Over(Over::NotRenewed))
    }

    /// The session as it began, with the token that it has, and its next token: by what that says
    /// itself, and as if it had been issued at the login.
    pub(super) fn is_denied(
        &self,
        kept: &Kept,
        next: Option<&Signed>,
    ) -> Result<bool, RenewalFault> {
        let denylist = &self.renewals.denylist;
        // Whether it must be registered is another question.
        let own = next.map(|signed| Marks { admission: None, ..signed.marks().clone() });
        let at_login = |marks: Marks| Marks { issued_at: Some(kept.login_time()), ..marks };
        let mut since_login = vec![kept.marks(denylist.fingerprinter())];
        since_login.extend(own.clone().map(at_login));
        if !kept.spared.is_empty() {
            // The table knows a session that no token names by one token alone.
            if self.is_cut_off(kept)? {
                return Ok(true);
            }
            since_login.iter_mut().for_each(|marks| marks.subject = None);
        }
        Ok(since_login.iter().chain(&own).any(|marks| denylist.check(marks).is_some()))
    }

    /// Its person is denied since the login, and nothing of it is spared.
    fn is_cut_off(&self, kept: &Kept) -> Result<bool, RenewalFault> {
        let Some(subject) = &kept.subject else { return Ok(false) };
        let standing = self.store.in_force(&kept.issuer_id(), &Selector::Subject(subject.clone()));
        let standing = standing.map_err(|_| RenewalFault::Later(Later::Store))?;
        Ok(standing.iter().any(|record| cuts_off(&record.denial, kept)))
    }

    /// Of an issuer in allowlist mode whose tokens name the session.
    pub(super) fn is_registered(&self, kept: &Kept) -> bool {
        let denylist = &self.renewals.denylist;
        let marks = kept.marks_to_be_registered(denylist.fingerprinter());
        denylist.is_registered(&marks).unwrap_or(false)
    }

    /// The session's next token, verified, not denied, and registered where it must be.
    pub(super) async fn judge(
        &self,
        kept: &Kept,
        tokens: &Tokens,
    ) -> Result<Arc<Signed>, RenewalFault> {
        let signed = self.verified(kept, &Credential::new(&tokens.access)).await?;
        if !is_next(kept, &signed) {
            told(kept, "it is another person's, or of another session or client");
            return Err(RenewalFault::Over(Over::OtherToken));
        }
        if self.is_denied(kept, Some(&signed))? {
            return Err(RenewalFault::Over(Over::Denied));
        }
        if signed.policy().mode == Mode::Allowlist && kept.named_here {
            let (name, role) = ("renewal".to_owned(), "gateway".to_owned());
            let by = Actor { name, role, via: Via::Gateway, address: None };
            let new = NewRegistration {
                reason: "session renewed".to_owned(),
                ..NewRegistration::of_login(&signed, by)
            };
            let (retention, now) = (signed.policy().retention(), UnixMs::now());
            let registered = register(&self.store, new, &retention, now).await;
            registered.map_err(|_| RenewalFault::Later(Later::Store))?;
        }
        Ok(signed)
    }

    /// Once more where fresher keys may tell another tale.
    async fn verified(
        &self,
        kept: &Kept,
        credential: &Credential,
    ) -> Result<Arc<Signed>, RenewalFault> {
        let judge = || (self.verifier)().verify(credential, UnixMs::now());
        let mut verdict = judge();
        if matches!(verdict, Err(TokenFault::UnknownKey { .. } | TokenFault::KeysAbsent { .. }))
            && self.renewals.keys.freshen(&kept.issuer_id()).await
        {
            verdict = judge();
        }
        match verdict {
            Ok(token) => Ok(Arc::clone(token.signed())),
            Err(fault) => {
                told(kept, &fault.detail());
                Err(match fault.may_pass_later() {
                    true => RenewalFault::Later(Later::NotYetGood),
                    false => RenewalFault::Over(Over::OtherToken),
                })
            }
        }
    }
}

fn cuts_off(denial: &Denial, kept: &Kept) -> bool {
    let spares = match &denial.except {
        Some(Except::Token(token)) => kept.access == *token || kept.spared.contains(token),
        Some(Except::Session(session)) => kept.session == *session,
        None => false,
    };
    match denial.condition {
        Condition::Always => true,
        Condition::IssuedBefore(before) => kept.login_time() < before && !spares,
        // The next token's to say.
        Condition::VersionBelow(_) => false,
    }
}

/// The same person's, in the same session and program.
fn is_next(kept: &Kept, signed: &Signed) -> bool {
    signed.policy().id.as_str() == kept.issuer
        && signed.subject() == kept.subject.as_deref()
        && signed.client() == kept.client.as_deref()
        && (kept.named_here || signed.session() == Some(kept.session.as_str()))
}

fn told(kept: &Kept, why: &str) {
    tracing::warn!(
        target: "portcullis::session",
        issuer = kept.issuer,
        "the token of a renewal was not taken: {why}"
    );
}
