//! A token whose signature was verified once: all that may be remembered of it. Not a verdict:
//! times, audience, route and denylist are asked on every request.

mod again;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::UnixMs;
use crate::denylist::{Fingerprinter, Identity, Marks, TokenId};
use crate::keys::{Algorithm, Thumbprint};
use crate::token::{Claims, Compact};

use super::facts::{self, Names, Times};
use super::signer::Signer;
use super::{Issuer, Mode, Policy, TokenFault, policy};

/// See the module. Shared by the cache and by the requests that carry the token.
pub struct Signed {
    issuer: Arc<Issuer>,
    key: Thumbprint,
    algorithm: Algorithm,
    kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Claims,
    pub(super) audiences: Vec<String>,
    pub(super) times: Times,
    names: Names,
    token_id: TokenId,
    marks: Marks,
    /// The last key set in which its key was found.
    keys: AtomicU64,
    /// When a request last carried it, for the list of people. Milliseconds; a hint, not exact.
    pub last_seen: AtomicI64,
    /// When a client first brought it; 0: none has.
    first_presented: AtomicI64,
}

impl Signed {
    /// Reads what must be remembered. The signature by `key` has been verified.
    pub(super) fn new(
        token: Compact<'_>,
        signer: &Signer<'_>,
        by: &Fingerprinter,
    ) -> Result<Self, TokenFault> {
        let policy = &signer.issuer.policy;
        let times = Times::read(&token.claims)?;
        let audiences = facts::audiences(&token.claims)?;
        let names = Names::read(&token.claims, policy)?;
        if signer.key.client().is_some_and(|client| names.client.as_deref() != Some(client)) {
            return Err(TokenFault::WrongClient { client: names.client });
        }
        let token_id = match &names.jti {
            Some(jti) => TokenId::Jti(jti.clone()),
            None => TokenId::Digest(token.signing_digest()),
        };
        let indexed = names.indexed.iter().filter_map(|(index, value)| {
            let (name, _) = policy.claims.indexed.get(*index)?;
            Some((name.as_str(), value.clone()))
        });
        let marks = Marks::of(
            &Identity {
                issuer: &policy.id,
                token: token_id.clone(),
                session: names.session.as_deref(),
                subject: names.subject.as_deref(),
                client: names.client.as_deref(),
                key: signer.key.thumbprint(),
                claims: indexed.collect(),
                issued_at: times.issued_at,
                version: names.version,
                must_be_registered: policy.mode == Mode::Allowlist,
            },
            by,
        );
        Ok(Self {
            issuer: Arc::clone(signer.issuer),
            key: *signer.key.thumbprint(),
            algorithm: signer.algorithm,
            kid: token.header.kid,
            typ: token.header.typ,
            claims: token.claims,
            audiences,
            times,
            names,
            token_id,
            marks,
            keys: AtomicU64::new(signer.keys.id()),
            last_seen: AtomicI64::new(0),
            first_presented: AtomicI64::new(0),
        })
    }

    /// Is its key still among the issuer's, for its algorithm, its `kid` and its client? The answer
    /// is remembered per set, which never changes.
    pub fn key_is_published(&self) -> bool {
        let keys = self.issuer.keys.load();
        if self.keys.load(Ordering::Relaxed) == keys.id() {
            return true;
        }
        let there = keys.vouches(&self.key, self.algorithm, self.kid(), self.client());
        if there {
            self.keys.store(keys.id(), Ordering::Relaxed);
        }
        there
    }

    /// Notes when it was seen, to the second, so that cores rarely write to the same line.
    pub(super) fn seen(&self, now: UnixMs) {
        if now.0.saturating_sub(self.last_seen.load(Ordering::Relaxed)) >= 1000 {
            self.last_seen.store(now.0, Ordering::Relaxed);
        }
    }

    /// A client has brought it. `true`: for the first time since it was verified.
    pub fn presented(&self, now: UnixMs) -> bool {
        let first = &self.first_presented;
        first.load(Ordering::Relaxed) == 0
            && first.compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// `None`: nobody has brought it, as far as is known here.
    pub fn first_presented_at(&self) -> Option<UnixMs> {
        let at = self.first_presented.load(Ordering::Relaxed);
        (at != 0).then_some(UnixMs(at))
    }

    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    pub fn policy(&self) -> &Policy {
        &self.issuer.policy
    }

    /// Thumbprint of the key that signed it.
    pub fn key(&self) -> &Thumbprint {
        &self.key
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How a denial names this token: its `jti`, or the SHA-256 of its signing input.
    pub fn token_id(&self) -> &TokenId {
        &self.token_id
    }

    /// `aud`; empty where it is absent.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Its `typ` header is this media type (RFC 7515 section 4.1.9).
    pub fn is_type(&self, wanted: &str) -> bool {
        self.typ.as_ref().is_some_and(|typ| policy::same_media_type(typ, wanted))
    }

    pub fn issued_at(&self) -> Option<UnixMs> {
        self.times.issued_at
    }

    pub fn expires_at(&self) -> UnixMs {
        self.times.expires_at
    }

    /// When the person last proved who they are (OpenID Connect Core section 2).
    pub fn auth_time(&self) -> Option<UnixMs> {
        self.times.auth_time
    }

    /// Time since `auth_time`; `None` where the token does not say, which satisfies no limit.
    pub fn auth_age(&self, now: UnixMs) -> Option<Duration> {
        self.times.auth_time.map(|at| now.since(at))
    }

    pub fn subject(&self) -> Option<&str> {
        self.names.subject.as_deref()
    }

    pub fn session(&self) -> Option<&str> {
        self.names.session.as_deref()
    }

    pub fn client(&self) -> Option<&str> {
        self.names.client.as_deref()
    }

    pub fn jti(&self) -> Option<&str> {
        self.names.jti.as_deref()
    }

    pub fn version(&self) -> Option<u64> {
        self.names.version
    }

    /// Indexed claims: the configured name and one value each.
    pub fn indexed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.indexed.iter().filter_map(|(index, value)| {
            let (name, _) = self.policy().claims.indexed.get(*index)?;
            Some((name.as_str(), value.as_str()))
        })
    }

    /// What people are shown by, where the policy names such a claim.
    pub fn display(&self) -> Option<&str> {
        self.names.display.as_deref()
    }

    pub fn scopes(&self) -> &[String] {
        &self.names.scopes
    }

    /// Those of `needed` that it does not have.
    pub fn missing_scopes<'n>(&self, needed: &'n [String]) -> Vec<&'n str> {
        let missing = needed.iter().filter(|scope| !self.names.scopes.contains(scope));
        missing.map(String::as_str).collect()
    }

    /// About how much memory it takes, for the cache's bound.
    pub(super) fn size_bytes(&self) -> usize {
        let texts = [&self.names.subject, &self.names.session, &self.names.client, &self.names.jti];
        let lists = [&self.audiences, &self.names.scopes];
        size_of::<Self>()
            + self.claims.size_bytes()
            + texts.into_iter().flatten().map(|text| text.len() + 16).sum::<usize>()
            + lists.into_iter().flatten().map(|text| text.len() + 40).sum::<usize>()
            + self.names.indexed.iter().map(|(_, value)| value.len() + 64).sum::<usize>()
            + self.kid.as_ref().map_or(0, String::len)
            + self.names.jti.as_ref().map_or(0, String::len)
            + self.marks.claims.len() * size_of::<crate::denylist::Fingerprint>()
    }
}
