//! The token that an assertion stands for, as far as an exchange has to know it: with this, and the
//! assertion's own `sub`, `sid` and `client_id`, every denial that would match the token matches the
//! assertion too.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::denylist::{Denylist, Fingerprinter, Hit, Identity, IssuerId, Marks, TokenId};
use crate::keys::{Algorithm, KeySet, Thumbprint};
use crate::token::base64url;
use crate::verify::{Mode, Signed, TokenFault, Verifier};

use super::statement::Person;
use crate::proxy::nudge::Asked;

/// See the module. Seconds, as in the token; rounded down, so that no cutoff misses it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The issuer: its `iss`, or the `id` that it has in the configuration.
    pub iss: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    exp: i64,
    /// Only where some server may exchange it.
    #[serde(flatten)]
    more: Option<More>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct More {
    /// Thumbprint of the key that signed it, and the algorithm.
    key: String,
    alg: String,
    /// How its issuer called that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// SHA-256 of its signing input, where it has no `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ver: Option<u64>,
    /// Indexed claims: name and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    claims: Vec<(String, String)>,
}

/// Why the token behind an assertion would not pass any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It was made where no server could exchange it.
    NotWhole,
    /// The issuer is not configured any more, or its key is gone or not here yet.
    Key(TokenFault),
    Expired {
        at: UnixMs,
    },
    Denied(Hit),
}

impl Lost {
    /// When its keys were asked for.
    pub fn weighed(self, asked: Asked) -> Self {
        match self {
            Self::Key(fault) => Self::Key(asked.weighed(fault)),
            Self::NotWhole | Self::Expired { .. } | Self::Denied(_) => self,
        }
    }
}

impl Origin {
    pub fn of(signed: &Signed, whole: bool) -> Self {
        let (jti, digest) = match signed.token_id() {
            TokenId::Jti(jti) => (Some(jti.clone()), None),
            TokenId::Digest(digest) => (None, Some(base64url::encode(digest))),
        };
        let claims = signed.indexed().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let more = whole.then(|| More {
            key: signed.key().to_string(),
            alg: signed.algorithm().as_str().to_owned(),
            kid: signed.kid().map(str::to_owned),
            digest,
            ver: signed.version(),
            claims: claims.collect(),
        });
        Self {
            iss: signed.policy().id.as_str().to_owned(),
            jti,
            iat: signed.issued_at().map(UnixMs::secs),
            exp: signed.expires_at().secs(),
            more,
        }
    }

    pub fn expires_at(&self) -> UnixMs {
        UnixMs::from_secs(self.exp)
    }

    /// The token would pass at this moment, as far as its issuer, its key and the denylist say.
    pub fn still_passes(
        &self,
        person: &Person,
        verifier: &Verifier,
        denylist: &Denylist,
        now: UnixMs,
    ) -> Result<(), Lost> {
        let more = self.more.as_ref().ok_or(Lost::NotWhole)?;
        let by_id =
            |id: &str| verifier.issuers().iter().find(|issuer| issuer.policy.id.as_str() == id);
        let gone = || Lost::Key(TokenFault::BadSignature);
        let issuer = by_id(&self.iss).ok_or_else(gone)?;
        let key: Thumbprint = more.key.parse().map_err(|()| gone())?;
        let algorithm = Algorithm::parse(&more.alg).ok_or_else(gone)?;
        let (kid, client) = (more.kid.as_deref(), person.client.as_deref());
        let keys = issuer.keys.load();
        if !keys.vouches(&key, algorithm, kid, client) {
            return Err(Lost::Key(self.unvouched(more, &key, &keys)));
        }
        if self.expires_at() <= now {
            return Err(Lost::Expired { at: self.expires_at() });
        }
        let mode = issuer.policy.mode;
        let marks = self.marks(more, &key, person, mode, denylist.fingerprinter());
        match denylist.check(&marks.ok_or(Lost::NotWhole)?) {
            Some(hit) => Err(Lost::Denied(hit)),
            None => Ok(()),
        }
    }

    /// A key that no set had yet may be on its way: another gateway, or this one before a restart,
    /// may have fetched it sooner.
    fn unvouched(&self, more: &More, key: &Thumbprint, keys: &KeySet) -> TokenFault {
        let kid = more.kid.as_deref();
        if keys.contains(key) || kid.is_some_and(|kid| keys.named(kid).next().is_some()) {
            return TokenFault::BadSignature;
        }
        TokenFault::UnknownKey {
            kid: kid.map_or_else(|| key.to_string(), str::to_owned),
            issuers: vec![IssuerId::new(&self.iss)],
            issued_at: self.iat.map(UnixMs::from_secs),
            former: kid.is_some_and(|kid| keys.had(kid)),
        }
    }

    fn marks(
        &self,
        more: &More,
        key: &Thumbprint,
        person: &Person,
        mode: Mode,
        by: &Fingerprinter,
    ) -> Option<Marks> {
        let token = match (&self.jti, &more.digest) {
            (Some(jti), _) => TokenId::Jti(jti.clone()),
            (None, Some(digest)) => {
                TokenId::Digest(base64url::decode(digest).ok()?.try_into().ok()?)
            }
            (None, None) => return None,
        };
        let claims = more.claims.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let identity = Identity {
            issuer: &IssuerId::new(&self.iss),
            token,
            session: person.session.as_deref(),
            subject: person.subject.as_deref(),
            client: person.client.as_deref(),
            key,
            claims: claims.collect(),
            issued_at: self.iat.map(UnixMs::from_secs),
            version: more.ver,
            must_be_registered: mode == Mode::Allowlist,
        };
        Some(Marks::of(&identity, by))
    }
}
