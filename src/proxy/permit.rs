//! The permit: proof that this request may go to this route's upstream. Only [`decide`] makes one,
//! and only a permit can be forwarded.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE};

use crate::clock::UnixMs;
use crate::config::Carrier;
use crate::token::Credential;
use crate::verify::{Signed, TokenFault};

use super::answer::Rejection;
use super::canonical::Canonical;
use super::connection::Connection;
use super::credential::{Judged, Verified, is_optional_cookie};
use super::cross_site::Asked;
use super::published::Published;
use super::requirements;
use super::route::Route;

/// See the module. Not `Clone`; consumed by the forwarder.
#[must_use]
pub struct Permit<'r> {
    request: Box<Canonical>,
    route: &'r Route,
    token: Option<Verified<'r>>,
    ignored: Option<Rejection>,
}

/// Who asked for it, the denylist, then what the route asks of the token.
pub fn decide<'r>(
    request: Box<Canonical>,
    route: &'r Route,
    token: Option<Verified<'r>>,
    connection: &Connection,
    published: &Published,
    now: UnixMs,
) -> Result<Permit<'r>, Rejection> {
    let parts = &request.parts;
    let asked = Asked::of(&parts.method, &parts.headers, request.asks_for_websocket(), connection);
    let Judged { token, ignored } = judge(asked, route, token, published, now)?;
    Ok(Permit { request, route, token, ignored })
}

/// A CORS preflight carries no token (Fetch standard, section 3.2.2): where the route leaves it to the
/// backend, it goes there without one. Only [`super::cors::preflight`] says what one is.
pub fn of_preflight<'r>(mut request: Box<Canonical>, route: &'r Route) -> Permit<'r> {
    // Nobody looked at what is there all the same, so none of it goes on.
    for name in [AUTHORIZATION, COOKIE] {
        request.parts.headers.remove(name);
    }
    Permit { request, route, token: None, ignored: None }
}

/// The verdict on a token at a route, and whose request it is. `verify` of forward auth asks it too.
pub(super) fn judge<'r>(
    asked: Asked<'_>,
    route: &Route,
    token: Option<Verified<'r>>,
    published: &Published,
    now: UnixMs,
) -> Result<Judged<'r>, Rejection> {
    let by_cookie = token.as_ref().is_some_and(|verified| verified.carrier.is_cookie());
    if by_cookie || route.capture.is_some() {
        // A cookie comes along whoever asked for the request, and whoever asks for a login chooses
        // whose session the browser gets.
        asked.check(&published.external_origins).map_err(Rejection::CrossSite)?;
    }
    let Some(verified) = token else { return Ok(Judged::good(None)) };
    match examine(verified.token.signed(), route, published, now) {
        Ok(()) => Ok(Judged::good(Some(verified))),
        Err(why @ (Rejection::Denied(_) | Rejection::TokenNotTaken(_)))
            if is_optional_cookie(route, verified.carrier) =>
        {
            Ok(Judged::ignored(why))
        }
        Err(rejection) => Err(rejection),
    }
}

fn examine(
    signed: &Arc<Signed>,
    route: &Route,
    published: &Published,
    now: UnixMs,
) -> Result<(), Rejection> {
    if let Some(hit) = published.denylist.check(signed.marks()) {
        return Err(Rejection::Denied(hit));
    }
    requirements::check(signed, route, now)
}

impl<'r> Permit<'r> {
    pub fn route(&self) -> &'r Route {
        self.route
    }

    /// Why a cookie that the request brought counts as none.
    pub fn ignored(&self) -> Option<&Rejection> {
        self.ignored.as_ref()
    }

    pub fn carrier(&self) -> Option<&'r Carrier> {
        self.token.as_ref().map(|verified| verified.carrier)
    }

    pub fn credential(&self) -> Option<&Credential> {
        self.token.as_ref().map(|verified| &verified.credential)
    }

    pub fn signed(&self) -> Option<&Arc<Signed>> {
        self.token.as_ref().map(|verified| verified.token.signed())
    }

    pub(super) fn request(&self) -> &Canonical {
        &self.request
    }

    pub(super) fn headers(&self) -> &http::HeaderMap {
        &self.request.parts.headers
    }

    pub(super) fn request_mut(&mut self) -> &mut Canonical {
        &mut self.request
    }

    /// What to ask again after a wait.
    pub fn recheck(&self) -> Recheck {
        Recheck(self.signed().cloned())
    }

    /// Lends the request's head to be rewritten; [`Self::request_mut`] takes it back.
    pub(super) fn take_parts(&mut self) -> http::request::Parts {
        let (empty, ()) = http::Request::new(()).into_parts();
        std::mem::replace(&mut self.request.parts, empty)
    }

    /// The request, for the one who sends it.
    pub(super) fn into_request(self) -> Box<Canonical> {
        self.request
    }
}

/// The question that a request which waited after its permit asks before it is sent: a denial that
/// was acknowledged meanwhile, or a key that was removed, holds.
pub struct Recheck(Option<Arc<Signed>>);

impl Recheck {
    pub fn still_holds(&self, published: &Published) -> Result<(), Rejection> {
        let Some(signed) = &self.0 else { return Ok(()) };
        if let Some(hit) = published.denylist.check(signed.marks()) {
            return Err(Rejection::Denied(hit));
        }
        if !signed.key_is_published() {
            let (kid, issuers) = (signed.kid(), vec![signed.policy().id.clone()]);
            let kid = kid.unwrap_or_default().to_owned();
            return Err(Rejection::Token(match signed.issuer().keys.load().is_empty() {
                true => TokenFault::KeysAbsent { issuers },
                false => TokenFault::UnknownKey {
                    kid,
                    issuers,
                    issued_at: signed.issued_at(),
                    former: true,
                },
            }));
        }
        Ok(())
    }
}
