//! The session that ends with a login, and the one that begins: denied, and on disk, before the
//! browser gets its cookies.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HeaderMap, USER_AGENT};

use crate::clock::UnixMs;
use crate::desk::{Begin, Desk};
use crate::proxy::answer::Rejection;
use crate::proxy::session::{self, Ended, Kept, Session};
use crate::token::base64url;
use crate::verify::Signed;

use super::CaptureFault;

/// What is known of the browser before its login is asked for.
pub(super) struct Before {
    /// Its cookies of ours, by name.
    pub brought: Vec<String>,
    /// The session that it had: it ends when another begins.
    session: Vec<Ended>,
    /// The same, as its refresh cookie has it.
    kept: Option<Kept>,
    address: Option<IpAddr>,
    /// What it calls itself, for the list of the person's sessions.
    user_agent: Option<String>,
}

/// The session's name.
pub(super) struct Named {
    session: String,
    /// The token has none: it was made here.
    here: bool,
}

impl Before {
    /// With the genuine tokens that the browser brought.
    pub fn of(
        headers: &HeaderMap,
        session: &Session,
        tokens: &[Arc<Signed>],
        address: Option<IpAddr>,
    ) -> Self {
        let kept = session.kept(headers);
        Self {
            brought: session.brought(headers),
            session: session::endings(tokens.iter().map(AsRef::as_ref), kept.as_ref()),
            kept,
            address,
            user_agent: user_agent(headers),
        }
    }

    /// The session that the browser had may not outlive the new one in somebody else's hand, nor its
    /// refresh token at the issuer. One that goes on under the same name is one session to its
    /// issuer, who could take the new refresh token for a part of what is revoked.
    pub async fn end(
        &self,
        signed: &Signed,
        refresh: Option<&str>,
        desk: &Desk,
    ) -> Result<(), Rejection> {
        let new = session::endings([signed], None);
        let is_in = |ends: &[Ended], one: &Ended| ends.iter().any(|other| other.is_same(one));
        let old: Vec<Ended> =
            self.session.iter().filter(|ended| !is_in(&new, ended)).cloned().collect();
        if old.is_empty() {
            return Ok(());
        }
        let of_old =
            |kept: &&Kept| session::endings([], Some(kept)).iter().any(|one| is_in(&old, one));
        let revoked = self.kept.as_ref().filter(of_old);
        let asked = session::asked(old, self.address, "logged in anew");
        desk.end(asked).await.map_err(Rejection::Desk)?;
        // Where an issuer gives the same one again, it is the new session's.
        if let Some(kept) = revoked.filter(|kept| Some(kept.token.as_str()) != refresh) {
            desk.revoke(kept.clone());
        }
        Ok(())
    }

    /// On disk before the browser gets its cookies; its generation.
    pub async fn begin(
        &self,
        signed: &Arc<Signed>,
        name: &Named,
        renewed: bool,
        desk: &Desk,
    ) -> Result<u64, Rejection> {
        let begin = Begin {
            signed: Arc::clone(signed),
            session: name.session.clone(),
            named_here: name.here,
            renewed,
            address: self.address,
            user_agent: self.user_agent.clone(),
        };
        desk.begin(begin).await.map_err(Rejection::Desk)
    }
}

impl Named {
    pub fn of(signed: &Signed) -> Result<Self, CaptureFault> {
        if let Some(session) = signed.session() {
            return Ok(Self { session: session.to_owned(), here: false });
        }
        let mut name = [0; 16];
        aws_lc_rs::rand::fill(&mut name).map_err(|_| CaptureFault::Random)?;
        Ok(Self { session: format!("portcullis.{}", base64url::encode(&name)), here: true })
    }

    /// What the refresh cookie of a login that has just happened holds.
    pub fn keep(self, signed: &Signed, generation: u64, token: String, now: UnixMs) -> Kept {
        let login = signed.issued_at().unwrap_or(now);
        Kept {
            issuer: signed.policy().id.as_str().to_owned(),
            subject: signed.subject().map(str::to_owned),
            client: signed.client().map(str::to_owned),
            session: self.session,
            named_here: self.here,
            login_time_ms: login.0,
            ends_at_ms: login.plus(signed.policy().session_lifetime_max).0,
            generation,
            access: signed.token_id().clone(),
            access_ends_at_ms: signed.expires_at().0,
            spared: Vec::new(),
            token,
        }
    }
}

/// The beginning of it: what is kept of it is shorter.
fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(512).collect())
}
