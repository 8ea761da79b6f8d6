//! The verifier: all issuers, and the one way to a [`VerifiedToken`].

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::denylist::Fingerprinter;
use crate::token::Credential;

use super::{Check, Issuer, SignatureCache, Signed, TokenFault};

/// All issuers of one configuration.
pub struct Verifier {
    issuers: Vec<Arc<Issuer>>,
    fingerprinter: Fingerprinter,
    cache: Arc<SignatureCache>,
}

/// Proof that a token's signature, issuer, audience, type and times held at `now`. Cannot be built
/// elsewhere, is not `Clone`, and is consumed by the permit.
#[must_use]
pub struct VerifiedToken {
    signed: Arc<Signed>,
    fresh: bool,
}

impl VerifiedToken {
    pub fn signed(&self) -> &Arc<Signed> {
        &self.signed
    }

    /// The signature was verified for this request rather than remembered.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }
}

impl Verifier {
    pub fn new(
        issuers: Vec<Arc<Issuer>>,
        fingerprinter: Fingerprinter,
        cache: Arc<SignatureCache>,
    ) -> Self {
        Self { issuers, fingerprinter, cache }
    }

    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    pub fn verify(
        &self,
        credential: &Credential,
        now: UnixMs,
    ) -> Result<VerifiedToken, TokenFault> {
        let _ = (credential, now, &self.fingerprinter, &self.cache);
        unimplemented!()
    }

    /// Every check on this token, and what is known of it when the signature holds.
    pub fn explain(
        &self,
        credential: &Credential,
        now: UnixMs,
    ) -> (Vec<Check>, Option<Arc<Signed>>) {
        let _ = (credential, now);
        unimplemented!()
    }
}
