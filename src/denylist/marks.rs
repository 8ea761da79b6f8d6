//! The marks by which the denylist knows a token: the fingerprints of every selector that would
//! match it and the values that conditions compare. Computed once when a signature is verified and
//! kept with it, so that a request costs table probes and no hashing.

use crate::clock::UnixMs;
use crate::keys::Thumbprint;

use super::canonical::Parts;
use super::{Fingerprint, Fingerprinter, IssuerId, TokenId};

/// What a token says of itself, in the words of the issuer's configured claims.
#[derive(Clone, Debug)]
pub struct Identity<'a> {
    pub issuer: &'a IssuerId,
    pub token: TokenId,
    pub session: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub client: Option<&'a str>,
    pub key: &'a Thumbprint,
    /// Indexed claims by configured name; a claim that is an array gives one pair per element.
    pub claims: Vec<(&'a str, String)>,
    pub issued_at: Option<UnixMs>,
    pub version: Option<u64>,
    /// Its issuer is in allowlist mode.
    pub must_be_registered: bool,
}

/// The fingerprints under which a token of an issuer in allowlist mode may be registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    pub token: Fingerprint,
    pub session: Option<Fingerprint>,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marks {
    pub token: Fingerprint,
    pub session: Option<Fingerprint>,
    pub subject: Option<Fingerprint>,
    pub client: Option<Fingerprint>,
    pub key: Fingerprint,
    pub issuer: Fingerprint,
    pub claims: Box<[Fingerprint]>,
    pub issued_at: Option<UnixMs>,
    pub version: Option<u64>,
    /// `None`: it passes unless it is denied. Else one of these must be registered.
    pub admission: Option<Admission>,
}

impl Marks {
    pub fn of(identity: &Identity<'_>, by: &Fingerprinter) -> Self {
        let issuer = identity.issuer;
        let mark = |parts: Parts<'_>| by.parts(issuer, parts);
        Self {
            token: mark(Parts::of_token(&identity.token)),
            session: identity.session.map(|session| mark(Parts::Session(session))),
            subject: identity.subject.map(|subject| mark(Parts::Subject(subject))),
            client: identity.client.map(|client| mark(Parts::Client(client))),
            key: mark(Parts::Key(identity.key)),
            issuer: mark(Parts::Issuer),
            claims: identity
                .claims
                .iter()
                .map(|(name, value)| mark(Parts::Claim(name, value)))
                .collect(),
            issued_at: identity.issued_at,
            version: identity.version,
            admission: identity.must_be_registered.then(|| Admission {
                token: mark(Parts::of_registered(&identity.token)),
                session: identity.session.map(|session| mark(Parts::RegisteredSession(session))),
            }),
        }
    }
}
