//! What the refresh cookie holds, and what comes of it when it is handed in. Only the gateway makes
//! and reads it, so what it says of the login is believed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::UnixMs;
use crate::denylist::{Denylist, Fingerprinter, Hit, Identity, IssuerId, Marks, Selector, TokenId};
use crate::keys::Thumbprint;
use crate::verify::Signed;

/// The key that no token is signed by: a thumbprint is a digest.
const NO_KEY: Thumbprint = Thumbprint([0; 32]);

/// Tokens that a session may be spared by. Of more, the oldest is forgotten, which ends it.
const SPARED_MAX: usize = 8;

/// See the module. It has no `Debug`, so that the refresh token is printed nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub issuer: String,
    pub subject: Option<String>,
    pub client: Option<String>,
    /// The session's name: the token's own, or one that was made for it.
    pub session: String,
    /// The tokens do not name the session: it was named here.
    pub named_here: bool,
    /// By the issuer's clock, as cutoffs are compared.
    pub login_time_ms: i64,
    /// From then on it is renewed no more, whatever the config says by then: cutoffs were kept for
    /// as long as it lasts.
    pub ends_at_ms: i64,
    /// Raised by each login and each renewal, so that an old cookie is known for one.
    pub generation: u64,
    /// The access token that was given with it.
    pub access: TokenId,
    pub access_ends_at_ms: i64,
    /// Of a session that its tokens do not name: those by which it was spared when its owner logged
    /// out everywhere else. Its login stays what it was, so that no other cutoff is laundered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<TokenId>,
    /// The refresh token.
    pub token: String,
}

impl std::ops::Drop for Kept {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.token);
    }
}

impl Kept {
    pub fn issuer_id(&self) -> IssuerId {
        IssuerId::new(&self.issuer)
    }

    pub fn login_time(&self) -> UnixMs {
        UnixMs(self.login_time_ms)
    }

    pub fn ends_at(&self) -> UnixMs {
        UnixMs(self.ends_at_ms)
    }

    pub fn access_ends_at(&self) -> UnixMs {
        UnixMs(self.access_ends_at_ms)
    }

    /// It goes on when everything else of its owner that is older than now ends.
    pub fn spare(&mut self, by: TokenId) {
        if !self.spared.contains(&by) {
            let beyond = (self.spared.len() + 1).saturating_sub(SPARED_MAX);
            self.spared.drain(..beyond);
            self.spared.push(by);
        }
    }

    /// What the table says of the session, spared by whichever token.
    pub fn denied_by(&self, denylist: &Denylist) -> Option<Hit> {
        let by = denylist.fingerprinter();
        let marks = self.marks(by);
        if let Some(hit) = denylist.check(&Marks { subject: None, ..marks.clone() }) {
            return Some(hit);
        }
        let hit = denylist.check(&marks)?;
        let issuer = self.issuer_id();
        let spares = |token: &TokenId| {
            let token = by.selector(&issuer, &Selector::Token(token.clone()));
            denylist.check(&Marks { token, ..marks.clone() }).is_none()
        };
        (!self.spared.iter().any(spares)).then_some(hit)
    }

    /// By these the denylist knows the session. Cutoffs are compared with the login; a version is
    /// the next token's to say.
    pub fn marks(&self, by: &Fingerprinter) -> Marks {
        self.marks_of(false, by)
    }

    /// The same where only registered sessions pass.
    pub fn marks_to_be_registered(&self, by: &Fingerprinter) -> Marks {
        self.marks_of(true, by)
    }

    fn marks_of(&self, must_be_registered: bool, by: &Fingerprinter) -> Marks {
        let issuer = self.issuer_id();
        Marks::of(
            &Identity {
                issuer: &issuer,
                token: self.access.clone(),
                session: Some(&self.session),
                subject: self.subject.as_deref(),
                client: self.client.as_deref(),
                key: &NO_KEY,
                claims: Vec::new(),
                issued_at: Some(self.login_time()),
                version: Some(u64::MAX),
                must_be_registered,
            },
            by,
        )
    }

    /// The same with another refresh token, where one came.
    pub fn holding(&self, token: Option<String>) -> Self {
        let mut next = self.clone();
        if let Some(token) = token {
            next.token = token;
        }
        next
    }

    /// The session after a renewal that brought this access token, and perhaps another refresh token.
    pub fn next(&self, signed: &Signed, token: Option<String>, generation: u64) -> Self {
        let mut next = self.holding(token);
        next.generation = generation;
        next.access = signed.token_id().clone();
        next.access_ends_at_ms = signed.expires_at().0;
        next
    }
}

/// A renewed session.
pub struct Renewed {
    /// The access token.
    pub access: Zeroizing<String>,
    /// The same, verified and not denied when it came.
    pub signed: Arc<Signed>,
    pub kept: Kept,
}

/// What became of a renewal.
#[derive(Clone)]
pub enum Renewal {
    Done(Arc<Renewed>),
    Failed(RenewalFault),
}

/// Why a session was not renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenewalFault {
    /// It never will be: the cookies are of no use.
    Over(Over),
    /// Perhaps in a moment: the cookies stay.
    Later(Later),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The issuer takes the refresh token no more.
    Refused,
    /// The session, its person or its client is denied, or it is registered no longer.
    Denied,
    /// The refresh cookie was used again after its successor.
    UsedTwice,
    /// The session is as old as `session_lifetime_max`.
    TooOld,
    /// The issuer left the config, or is not renewed any more.
    NotRenewed,
    /// The new token is somebody else's, of another session or client, or does not pass.
    OtherToken,
    /// The new tokens are too long for cookies.
    TooLong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Later {
    /// The issuer could not be asked, or did not answer in time.
    Unreachable,
    /// Its answer is none: an error of its own, or not what it must be.
    BadAnswer,
    /// The key of the new token is not known yet, or its time has not come.
    NotYetGood,
    /// Too many are being renewed.
    Busy,
    /// The store could not be written.
    Store,
    /// It was renewed by another request a moment ago, whose answer has the cookies.
    Elsewhere,
}

impl RenewalFault {
    /// For the log and the metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Over(Over::Refused) => "not renewed: the issuer refused the refresh token",
            Self::Over(Over::Denied) => "not renewed: the session is denied",
            Self::Over(Over::UsedTwice) => "not renewed: refresh token used twice",
            Self::Over(Over::TooOld) => "not renewed: the session is as old as it may be",
            Self::Over(Over::NotRenewed) => "not renewed: the issuer's sessions are not renewed",
            Self::Over(Over::OtherToken) => "not renewed: the new token is not one for the session",
            Self::Over(Over::TooLong) => "not renewed: the new tokens do not fit into cookies",
            Self::Later(Later::Unreachable) => "not renewed: the issuer did not answer",
            Self::Later(Later::BadAnswer) => "not renewed: the issuer's answer is not usable",
            Self::Later(Later::NotYetGood) => "not renewed: the new token is not good yet",
            Self::Later(Later::Busy) => "not renewed: too many renewals at once",
            Self::Later(Later::Store) => "not renewed: the store could not be written",
            Self::Later(Later::Elsewhere) => "not renewed: another request did so just now",
        }
    }
}
#[cfg(test)]
impl Kept {
    /// Of a login that says nothing of interest.
    pub fn of_tests(token: &str) -> Self {
        Self {
            issuer: "https://id.example.com/".to_owned(),
            subject: None,
            client: None,
            session: "s-1".to_owned(),
            named_here: false,
            login_time_ms: 0,
            ends_at_ms: 0,
            generation: 0,
            access: TokenId::Jti("t-1".to_owned()),
            access_ends_at_ms: 0,
            spared: Vec::new(),
            token: token.to_owned(),
        }
    }
}
