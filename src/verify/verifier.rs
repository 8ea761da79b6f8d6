//! The verifier: all issuers, and the one way to a [`VerifiedToken`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::clock::UnixMs;
use crate::denylist::Fingerprinter;
use crate::token::{Compact, Credential, check_length};

use super::cache::SignatureCache;
use super::signer::{Published, Signer};
use super::{Check, Issuer, Signed, TokenFault, explain, policy};

/// All issuers of one configuration.
pub struct Verifier {
    issuers: Vec<Arc<Issuer>>,
    by_iss: HashMap<String, Arc<Issuer>>,
    /// Those whose tokens may lack `iss`.
    without_iss: Vec<Arc<Issuer>>,
    /// Where they are in memory. They are held here, so nothing else can be there.
    places: HashSet<usize>,
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

impl std::fmt::Debug for VerifiedToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "VerifiedToken({})", self.signed.policy().name)
    }
}

/// A token that was refused.
#[derive(Debug)]
pub struct Refused {
    pub fault: TokenFault,
    /// Whose it says it is, where that is one of ours: the name of a configured issuer, never what
    /// a token made up. `None`: not that far, or several come into question.
    pub issuer: Option<Arc<Issuer>>,
    /// Signatures that were checked in vain.
    pub tries: usize,
}

impl Refused {
    fn of(issuer: &Arc<Issuer>) -> impl FnOnce(TokenFault) -> Self {
        move |fault| Self { fault, issuer: Some(Arc::clone(issuer)), tries: 0 }
    }
}

impl From<TokenFault> for Refused {
    fn from(fault: TokenFault) -> Self {
        Self { fault, issuer: None, tries: 0 }
    }
}

impl Verifier {
    /// Of several issuers with the same `iss` the first counts; the config refuses such a file.
    pub fn new(
        issuers: Vec<Arc<Issuer>>,
        fingerprinter: Fingerprinter,
        cache: Arc<SignatureCache>,
    ) -> Self {
        let mut by_iss = HashMap::new();
        for issuer in &issuers {
            if let Some(iss) = &issuer.policy.iss {
                by_iss.entry(iss.clone()).or_insert_with(|| Arc::clone(issuer));
            }
        }
        let without_iss =
            issuers.iter().filter(|issuer| issuer.policy.missing.iss).map(Arc::clone).collect();
        let places = issuers.iter().map(place).collect();
        Self { issuers, by_iss, without_iss, places, fingerprinter, cache }
    }

    pub(super) fn fingerprinter(&self) -> &Fingerprinter {
        &self.fingerprinter
    }

    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Some issuer has a key, or none is configured. One of several whose keys are missing answers
    /// 503 for its own tokens; it must not take the others out of service.
    pub fn can_verify(&self) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|issuer| !issuer.keys.load().is_empty())
    }

    pub fn cache(&self) -> &Arc<SignatureCache> {
        &self.cache
    }

    /// The verdict at `now` where the signature is remembered, without verifying any.
    pub fn recall(
        &self,
        credential: &Credential,
        now: UnixMs,
    ) -> Option<Result<VerifiedToken, Refused>> {
        let signed = self.remembered(credential)?;
        Some(match policy::check(&signed, now) {
            Ok(()) => {
                signed.seen(now);
                Ok(VerifiedToken { signed, fresh: false })
            }
            Err(fault) => Err(Refused::of(signed.issuer())(fault)),
        })
    }

    /// The token whose signature is remembered, whether or not it passes.
    pub fn remembered(&self, credential: &Credential) -> Option<Arc<Signed>> {
        check_length(credential.expose()).ok()?;
        let found = self.cache.find(self.cache.key(credential), credential);
        found.filter(|signed| self.vouches(signed))
    }

    /// The signature from the cache or verified now; every rule at `now`, always.
    pub fn verify(
        &self,
        credential: &Credential,
        now: UnixMs,
    ) -> Result<VerifiedToken, TokenFault> {
        self.judge(credential, now).map_err(|refused| refused.fault)
    }

    /// Like [`Self::verify`], for whoever counts by issuer.
    pub fn judge(&self, credential: &Credential, now: UnixMs) -> Result<VerifiedToken, Refused> {
        self.recall(credential, now).unwrap_or_else(|| self.judge_unseen(credential, now))
    }

    /// Of one whose signature is not remembered.
    pub fn judge_unseen(
        &self,
        credential: &Credential,
        now: UnixMs,
    ) -> Result<VerifiedToken, Refused> {
        // Before it is hashed: nobody buys work by length.
        check_length(credential.expose()).map_err(TokenFault::Form)?;
        let signed = Arc::new(self.verify_signature(credential)?);
        self.cache.insert(self.cache.key(credential), credential, &signed);
        policy::check(&signed, now).map_err(Refused::of(signed.issuer()))?;
        signed.seen(now);
        Ok(VerifiedToken { signed, fresh: true })
    }

    /// It was signed for an issuer that is one of ours, as it is now, by a key that it has now.
    fn vouches(&self, signed: &Signed) -> bool {
        self.has(signed.issuer()) && signed.key_is_published()
    }

    /// Costs the same with a thousand issuers as with one.
    fn has(&self, issuer: &Arc<Issuer>) -> bool {
        self.issuers.first().is_some_and(|first| Arc::ptr_eq(first, issuer))
            || self.places.contains(&place(issuer))
    }

    /// Every check on this token, and what is known of it when the signature holds.
    pub fn explain(
        &self,
        credential: &Credential,
        now: UnixMs,
    ) -> (Vec<Check>, Option<Arc<Signed>>) {
        explain::explain(self, credential, now)
    }

    fn verify_signature(&self, credential: &Credential) -> Result<Signed, Refused> {
        let token = Compact::parse(credential.expose()).map_err(TokenFault::Form)?;
        let issuers = self.issuers_of(&token)?;
        let published = Published::of(issuers);
        let found = published.candidates(&token).map_err(|fault| (fault, 0));
        let signer = found.and_then(|found| found.verify(&token)).map_err(|(fault, tries)| {
            let issuer = match issuers {
                [only] => Some(Arc::clone(only)),
                _ => None,
            };
            Refused { fault, issuer, tries }
        })?;
        self.signed(token, &signer).map_err(Refused::of(signer.issuer))
    }

    /// Reads what must be remembered of a token that `signer` signed.
    pub(super) fn signed(
        &self,
        token: Compact<'_>,
        signer: &Signer<'_>,
    ) -> Result<Signed, TokenFault> {
        Signed::new(token, signer, &self.fingerprinter)
    }

    /// Who may have issued it: the one of its exact `iss`, or those whose tokens may lack it.
    pub(super) fn issuers_of(&self, token: &Compact<'_>) -> Result<&[Arc<Issuer>], TokenFault> {
        match token.claims.member("iss") {
            Some(Value::String(iss)) => self
                .by_iss
                .get(iss)
                .map(std::slice::from_ref)
                .ok_or_else(|| TokenFault::UnknownIssuer { iss: iss.clone() }),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            ) => Err(TokenFault::IssuerType),
            None if self.without_iss.is_empty() => Err(TokenFault::IssuerMissing),
            None => Ok(&self.without_iss),
        }
    }
}

fn place(issuer: &Arc<Issuer>) -> usize {
    Arc::as_ptr(issuer).addr()
}
