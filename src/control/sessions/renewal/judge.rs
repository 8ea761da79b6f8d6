//! Whether a session may be renewed, and whether what came is its next token.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::control::registrations::{NewRegistration, register};
use crate::denylist::{Actor, Marks, Via};
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
    pub(super) fn is_denied(&self, kept: &Kept, next: Option<&Signed>) -> bool {
        let denylist = &self.renewals.denylist;
        let of_session = kept.marks(denylist.fingerprinter());
        let of_next = next.into_iter().flat_map(|signed| {
            // Whether it must be registered is another question.
            let own = Marks { admission: None, ..signed.marks().clone() };
            [Marks { issued_at: Some(kept.login_time()), ..own.clone() }, own]
        });
        std::iter::once(of_session).chain(of_next).any(|marks| denylist.check(&marks).is_some())
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
        if self.is_denied(kept, Some(&signed)) {
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
