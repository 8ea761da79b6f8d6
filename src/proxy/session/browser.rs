//! What is remembered of a request whose route serves browsers, until its answer goes: the cookies to
//! set or to clear, and the login page that a refused page request is sent to. Other routes have
//! none of it.

use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderValue, LOCATION};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};

use crate::clock::UnixMs;
use crate::config::Carrier;
use crate::desk::{Renewal, RenewalFault, Renewed, Renewing};
use crate::proxy::answer::{self, Rejection};
use crate::proxy::auth::return_path;
use crate::proxy::body::Body;
use crate::proxy::canonical::Canonical;
use crate::proxy::connection::Connection;
use crate::proxy::credential;
use crate::proxy::cross_site::Asked;
use crate::proxy::headers::X_REQUEST_ID;
use crate::proxy::published::Published;
use crate::proxy::route::Route;
use crate::proxy::streams::Cause;
use crate::verify::TokenFault;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// See the module.
#[derive(Default)]
pub struct Browser {
    /// Our cookies that the request brought, by name.
    brought: Vec<String>,
    /// Where a page request goes when a login would help.
    login: Option<HeaderValue>,
    /// The credential, if any, is one that a browser sends by itself.
    by_cookie: bool,
    /// It is the session's own cookie, or there is none.
    by_session: bool,
    /// The answer sets the cookies of another session, or leaves them.
    captures: bool,
    /// See [`Page::told`].
    told: bool,
    set: Vec<HeaderValue>,
    /// A renewal that was begun ahead of time; its cookies go with this answer or a later one.
    pub(super) renewing: Option<Renewing>,
}

/// A request as a browser made it, which another proxy may have told us of.
pub struct Page<'p> {
    pub asked: Asked<'p>,
    pub path: &'p str,
    /// With its query.
    pub target: &'p str,
    /// Another proxy holds it, and no session is renewed here.
    pub told: bool,
}

impl<'p> Page<'p> {
    pub fn of(request: &'p Canonical, connection: &Connection) -> Self {
        let parts = &request.parts;
        Self {
            asked: Asked::of(
                &parts.method,
                &parts.headers,
                request.asks_for_websocket(),
                connection,
            ),
            path: request.path(),
            target: parts.uri.path_and_query().map_or("/", |target| target.as_str()),
            told: false,
        }
    }
}

impl Browser {
    /// `None` for a route that knows no sessions.
    pub fn of(page: &Page<'_>, route: &Route, published: &Published) -> Option<Box<Self>> {
        let session = published.session.as_ref();
        let takes = route.credentials.contains(&Carrier::Session);
        if !takes && route.login_url.is_none() {
            return None;
        }
        let brought = session.filter(|_| takes).map(|session| session.brought(page.asked.headers));
        let login = route.login_url.as_deref().filter(|_| is_page(&page.asked));
        Some(Box::new(Self {
            brought: brought.unwrap_or_default(),
            login: login.and_then(|url| location(url, page, &published.external_origins)),
            by_cookie: true,
            by_session: true,
            captures: route.capture.is_some(),
            told: page.told,
            ..Self::default()
        }))
    }

    /// Of a request that the gateway answers itself.
    pub fn of_visit(headers: &HeaderMap, published: &Published) -> Self {
        let brought = published.session.as_ref().map(|session| session.brought(headers));
        // Where both are there the header counts.
        let by_cookie = !headers.get(AUTHORIZATION).is_some_and(credential::is_bearer);
        let brought = brought.unwrap_or_default();
        Self { brought, by_cookie, by_session: by_cookie, ..Self::default() }
    }

    /// The session's new cookies go with the answer. `false`: they do not fit.
    pub fn renewed(&mut self, renewed: &Renewed, published: &Published) -> bool {
        let Renewed { access, signed, kept } = renewed;
        let session = published.session.as_ref();
        let set = session.and_then(|session| {
            session.set(&self.brought, access, signed, Some(kept), UnixMs::now())
        });
        let fits = set.is_some();
        self.set = set.unwrap_or_default();
        fits
    }

    /// The session's cookies go.
    pub fn clear(&mut self, published: &Published) {
        if let Some(session) = published.session.as_ref().filter(|_| !self.brought.is_empty()) {
            self.set = session.clear(&self.brought);
        }
    }

    pub fn presented_by(&mut self, carrier: Option<&Carrier>) {
        self.by_cookie = carrier.is_none_or(Carrier::is_cookie);
        self.by_session = carrier.is_none_or(|carrier| *carrier == Carrier::Session);
    }

    /// It counts as none here: one that will never pass again is cleared.
    pub fn ignored(&mut self, why: &Rejection, published: &Published) {
        if !self.captures {
            self.clear_dead(why, published);
        }
    }

    fn clear_dead(&mut self, why: &Rejection, published: &Published) {
        // A token that has ended while its session is being renewed, or may be elsewhere, has a
        // successor.
        let lives_on = is_over(why) && (self.told || self.renewing.is_some());
        if self.by_session && is_dead(why) && !lives_on {
            self.renewing = None;
            self.clear(published);
        }
    }

    /// Taken once; `None`: it is no page, or a login would not help.
    pub fn way_to_login(&mut self, rejection: &Rejection) -> Option<HeaderValue> {
        let helps = self.by_cookie && login_helps(rejection);
        helps.then(|| self.login.take()).flatten()
    }

    /// Adds them.
    pub fn dress(&mut self, response: &mut Response<Body>, published: &Published) {
        // What was ended since is not put into a browser that may have logged in anew.
        if let Some(Renewal::Done(renewed)) = self.renewing.take().and_then(|mut one| one.now())
            && published.denylist.check(renewed.signed.marks()).is_none()
        {
            self.renewed(&renewed, published);
        }
        super::add_cookies(response.headers_mut(), std::mem::take(&mut self.set));
    }

    /// The answer to a refusal: cookies that will never pass again are cleared, and a page request
    /// goes to the login page.
    pub fn refused(
        &mut self,
        rejection: &Rejection,
        published: &Published,
        mut response: Response<Body>,
    ) -> Response<Body> {
        if !self.by_cookie {
            return response;
        }
        self.clear_dead(rejection, published);
        if let Some(login) = self.way_to_login(rejection) {
            let request_id = response.headers_mut().remove(X_REQUEST_ID);
            response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SEE_OTHER;
            let headers = response.headers_mut();
            headers.insert(LOCATION, login);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.extend(request_id.map(|id| (X_REQUEST_ID, id)));
        }
        self.dress(&mut response, published);
        response
    }
}

/// A whole page, asked for by a person: never what a script fetches.
fn is_page(asked: &Asked<'_>) -> bool {
    let reads = matches!(*asked.method, Method::GET | Method::HEAD);
    if !reads || asked.websocket || asked.headers.contains_key(X_REQUESTED_WITH) {
        return false;
    }
    if asked.headers.contains_key(SEC_FETCH_MODE) {
        return asked.is_navigation();
    }
    answer::wants_html(asked.headers.get(ACCEPT))
}

/// The login page, told where the person wanted to go: by a path where it is of this host, by a whole
/// address where it is of another. `None` when that is the login page.
fn location(url: &str, page: &Page<'_>, listed: &[String]) -> Option<HeaderValue> {
    let path = url.split('?').next().unwrap_or(url);
    if path == page.path {
        return None;
    }
    let back = return_path::safe(page.target).unwrap_or("/");
    let back = match url.starts_with('/') {
        true => return_path::escaped(back),
        false => return_path::escaped(&format!("{}{back}", page.asked.origin(listed)?)),
    };
    let sign = if url.contains('?') { '&' } else { '?' };
    HeaderValue::try_from(format!("{url}{sign}return_to={back}")).ok()
}

fn is_over(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::Cut(Cause::Expired) | Rejection::Token(TokenFault::Expired { .. })
    )
}

/// The token will never pass again, so its cookies are of no use. A key that is not known yet, or a
/// clock that is behind, is no reason.
fn is_dead(rejection: &Rejection) -> bool {
    match rejection {
        Rejection::Denied(_)
        | Rejection::Cut(Cause::Denied(_) | Cause::Expired)
        | Rejection::Renewal(RenewalFault::Over(_)) => true,
        Rejection::Token(
            TokenFault::KeysAbsent { .. }
            | TokenFault::UnknownKey { .. }
            | TokenFault::KeyAwaited { .. },
        ) => false,
        Rejection::Token(fault) => fault.code() != "token_not_yet_valid",
        Rejection::Cut(
            Cause::KeyRemoved
            | Cause::Draining
            | Cause::RouteChanged
            | Cause::Operator
            | Cause::Idle,
        )
        | Rejection::BadRequest(_)
        | Rejection::NoRoute
        | Rejection::OriginNotAllowed
        | Rejection::TooManyFailures { .. }
        | Rejection::BodyTooLarge
        | Rejection::BodyTooSlow
        | Rejection::Overloaded
        | Rejection::Method(_)
        | Rejection::TokenMissing
        | Rejection::IssuerNotTaken(_)
        | Rejection::TokenNotTaken(_)
        | Rejection::ClaimUnmet(_)
        | Rejection::CrossSite(_)
        | Rejection::ScopeMissing { .. }
        | Rejection::TooOldLogin { .. }
        | Rejection::ClaimUnfit(_)
        | Rejection::Upstream(_)
        | Rejection::Capture(_)
        | Rejection::Desk(_)
        | Rejection::Renewal(RenewalFault::Later(_))
        | Rejection::NotSigned
        | Rejection::Exchange(_)
        | Rejection::NotTrusted => false,
    }
}

fn login_helps(rejection: &Rejection) -> bool {
    is_dead(rejection)
        || matches!(rejection, Rejection::TokenMissing | Rejection::TooOldLogin { .. })
}
