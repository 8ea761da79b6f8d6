//! The renewal of a session: the one branch of the straight line that waits for somebody else. A
//! request whose access token has ended, or is missing beside a refresh cookie, waits for the next one
//! and goes on with it. One whose token is only about to end goes on at once with the token that it
//! has, for that one is good; the new cookies go with the answer if they are there by then, and with a
//! later one if not.
//!
//! What always holds: what another site made a browser send renews nothing, and a login or a bearer
//! token never does.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use crate::clock::UnixMs;
use crate::config::{Access, Carrier};
use crate::desk::{Desk, DeskFault, Kept, Later, Over, Renewal, RenewalFault, Renewed, Renewing};
use crate::proxy::answer::Rejection;
use crate::proxy::canonical::Canonical;
use crate::proxy::connection::Connection;
use crate::proxy::core::Core;
use crate::proxy::credential::Presented;
use crate::proxy::cross_site::Asked;
use crate::proxy::exchange::Exchange;
use crate::proxy::published::Published;
use crate::proxy::route::Route;
use crate::token::{Compact, Credential};
use crate::verify::{Refused, Signed, TokenFault, Verifier};

use super::browser::Browser;

/// The branch: what the request goes on with, and from when on.
pub async fn go_on<'r>(
    (core, exchange, connection): (&Core, &mut Exchange, &Connection),
    request: &Canonical,
    route: &'r Route,
    published: &Published,
    presented: Option<Presented<'r>>,
) -> Result<(Option<Presented<'r>>, UnixMs), Rejection> {
    let now = exchange.now();
    let asking = Asking {
        method: &request.parts.method,
        headers: &request.parts.headers,
        websocket: request.asks_for_websocket(),
        connection,
        published,
        // A login begins another session.
        carriers: if route.capture.is_none() { &route.credentials } else { &[] },
        issuers: route.issuers.as_ref(),
        now,
    };
    let Some(due) = asking.due(presented.as_ref(), false)? else { return Ok((presented, now)) };
    let address = exchange.client().address();
    let Some(browser) = &mut exchange.browser else { return Ok((presented, now)) };
    let outcome = due.settle((&core.desk, address), route.access, browser, published).await?;
    let presented = match outcome {
        Outcome::Unchanged => presented,
        Outcome::Renewed(credential) => Presented::renewed(credential, &route.credentials),
    };
    Ok((presented, UnixMs::now()))
}

/// Who asks, and by what: a request at a route, or below `/.auth`.
#[derive(Clone, Copy)]
pub struct Asking<'r> {
    pub method: &'r Method,
    pub headers: &'r HeaderMap,
    pub websocket: bool,
    pub connection: &'r Connection,
    pub published: &'r Published,
    /// Where a token may come from.
    pub carriers: &'r [Carrier],
    /// Names of the issuers whose tokens are taken; `None`: all.
    pub issuers: Option<&'r HashSet<String>>,
    pub now: UnixMs,
}

/// A session that is to be renewed.
pub struct Due {
    kept: Kept,
    /// There is no good token to go on with.
    must_wait: bool,
}

/// What a request goes on with.
pub enum Outcome {
    /// What it brought.
    Unchanged,
    /// The session's next token.
    Renewed(Credential),
}

impl Asking<'_> {
    /// The session to renew, where it is time. `at_once`: the page asks for it, whatever the time.
    pub fn due(
        &self,
        presented: Option<&Presented<'_>>,
        at_once: bool,
    ) -> Result<Option<Due>, Rejection> {
        let session = self.published.session.as_ref().filter(|session| session.renews());
        let Some(session) = session else { return Ok(None) };
        let by_cookie = presented.is_none_or(|found| *found.carrier() == Carrier::Session);
        if !by_cookie || !self.carriers.contains(&Carrier::Session) {
            return Ok(None);
        }
        let life = match presented {
            None => Life::Over,
            Some(found) => Life::of(found.credential(), &self.published.verifier, self.now),
        };
        if !at_once && !life.ends_within(session.ahead_max(), self.now) {
            return Ok(None);
        }
        let Some(kept) = session.kept(self.headers) else { return Ok(None) };
        if presented.is_some_and(|found| self.is_of_another(found.credential(), &kept)) {
            return Ok(None);
        }
        let Some(ahead) = session.ahead(&kept) else { return Ok(None) };
        let due = if at_once { !life.is_new(self.now) } else { life.ends_within(ahead, self.now) };
        if !due || !self.takes(&kept) {
            return Ok(None);
        }
        Asked::of(self.method, self.headers, self.websocket, self.connection)
            .check(&self.published.external_origins)
            .map_err(Rejection::CrossSite)?;
        let must_wait = at_once || life.ends_within(Duration::ZERO, self.now);
        Ok(Some(Due { kept, must_wait }))
    }

    /// Beside a good token of another person or session a refresh cookie is not that browser's own:
    /// where a neighbour can set cookies, nobody is moved into the neighbour's session by it.
    fn is_of_another(&self, credential: &Credential, kept: &Kept) -> bool {
        let Some(Ok(token)) = self.published.verifier.recall(credential, self.now) else {
            return false;
        };
        let signed = token.signed();
        let same_session = match signed.session() {
            Some(session) => !kept.named_here && kept.session == session,
            None => kept.named_here,
        };
        signed.policy().id.as_str() != kept.issuer
            || signed.subject() != kept.subject.as_deref()
            || !same_session
    }

    fn takes(&self, kept: &Kept) -> bool {
        let Some(taken) = self.issuers else { return true };
        let mut issuers = self.published.verifier.issuers().iter();
        let issuer = issuers.find(|issuer| issuer.policy.id.as_str() == kept.issuer);
        issuer.is_some_and(|issuer| taken.contains(&issuer.policy.name))
    }
}

impl Due {
    /// Has it renewed, and waits where there is nothing to go on with.
    pub async fn settle(
        self,
        (desk, address): (&Desk, Option<IpAddr>),
        access: Access,
        browser: &mut Browser,
        published: &Published,
    ) -> Result<Outcome, Rejection> {
        let Self { kept, must_wait } = self;
        let asked = desk.renew(kept, address);
        let fault = match (must_wait, asked) {
            (false, asked) => {
                browser.renewing = asked.ok();
                return Ok(Outcome::Unchanged);
            }
            (true, Ok(renewing)) => match wait(renewing).await {
                Ok(renewed) => match browser.renewed(&renewed, published) {
                    true => return Ok(Outcome::Renewed(Credential::new(&renewed.access))),
                    false => RenewalFault::Over(Over::TooLong),
                },
                Err(fault) => fault,
            },
            (true, Err(_)) => RenewalFault::Later(Later::Busy),
        };
        if access == Access::Required {
            return Err(Rejection::Renewal(fault));
        }
        // Nobody needs a token here: as without one.
        if matches!(fault, RenewalFault::Over(_)) {
            browser.clear(published);
        }
        Ok(Outcome::Unchanged)
    }
}

async fn wait(renewing: Renewing) -> Result<Arc<Renewed>, RenewalFault> {
    match renewing.wait().await {
        Ok(Renewal::Done(renewed)) => Ok(renewed),
        Ok(Renewal::Failed(fault)) => Err(fault),
        Err(DeskFault::Busy) => Err(RenewalFault::Later(Later::Unreachable)),
        Err(DeskFault::Closed | DeskFault::Store | DeskFault::Full) => {
            Err(RenewalFault::Later(Later::Busy))
        }
    }
}

/// How much of its life an access token has left.
#[derive(Clone, Copy)]
enum Life {
    /// It has ended, or there is none.
    Over,
    Until {
        ends_at: UnixMs,
        began_at: Option<UnixMs>,
    },
    /// It will not pass for another reason, which is told where it is verified.
    Unknown,
}

/// A token that is so new is not renewed, whoever asks for it.
const NEW: Duration = Duration::from_secs(5);

impl Life {
    /// Of a token whose signature is remembered, what it says; of another, what it says of itself:
    /// that only decides whether the refresh cookie, which is ours, is looked at.
    fn of(credential: &Credential, verifier: &Verifier, now: UnixMs) -> Self {
        match verifier.recall(credential, now) {
            Some(Ok(token)) => Self::until(token.signed()),
            Some(Err(Refused { fault: TokenFault::Expired { .. }, .. })) => Self::Over,
            Some(Err(_)) => Self::Unknown,
            None => {
                let Ok(token) = Compact::parse(credential.expose()) else { return Self::Over };
                let second = |claim| token.claims.member(claim)?.as_i64();
                let at = |claim| Some(UnixMs(second(claim)?.checked_mul(1000)?));
                match at("exp") {
                    Some(ends_at) => Self::Until { ends_at, began_at: at("iat") },
                    None => Self::Unknown,
                }
            }
        }
    }

    fn until(signed: &Signed) -> Self {
        Self::Until { ends_at: signed.expires_at(), began_at: signed.issued_at() }
    }

    /// Never before half of it: a short token would be renewed by every request.
    fn ends_within(self, ahead: Duration, now: UnixMs) -> bool {
        match self {
            Self::Over => true,
            Self::Unknown => false,
            Self::Until { ends_at, began_at } => {
                let half = began_at.map_or(Duration::ZERO, |began| ends_at.since(began) / 2);
                now.plus(ahead.min(half)) >= ends_at
            }
        }
    }

    fn is_new(self, now: UnixMs) -> bool {
        match self {
            Self::Over | Self::Unknown => false,
            Self::Until { began_at, .. } => began_at.is_some_and(|began| now < began.plus(NEW)),
        }
    }
}
