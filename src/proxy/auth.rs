//! `/.auth/…`: what the gateway answers itself about the person behind a request. It is decided
//! before any route, so that no route can shadow it, and is there as soon as an issuer is.

mod form;
mod jwks;
mod log_out;
mod me;
mod page;
mod refresh;
pub mod return_path;
mod sessions;
mod streams;
mod token;
mod verify;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::clock::UnixMs;
use crate::config::{Access, Carrier, Config};
use crate::token::Credential;

use super::answer::{BadRequest, Rejection};
use super::body::Body;
use super::canonical::Canonical;
use super::connection::Connection;
use super::core::Core;
use super::credential::{self, Asker, Presented};
use super::cross_site::Asked;
use super::exchange::{self, Exchange};
use super::held::{self, Held};
use super::path;
use super::published::{Carriers, Published};
use super::session::Kept;
use super::session::browser::Browser;
use super::session::renewal::{Asking, Outcome};

/// What of the configuration these answers need.
pub struct Auth {
    /// `/.auth`, without a slash at its end.
    prefix: String,
    /// For the log.
    pub(super) name: Arc<str>,
    /// Every carrier that any route takes: whatever the person holds is known here.
    carriers: Vec<Carrier>,
    /// Where a browser goes after a log-out that says no other place.
    after_logout: String,
}

/// What a path below the prefix means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    Me,
    LogOut,
    LogOutAll,
    Sessions,
    /// One of them, to be ended; with the method that does so.
    Session {
        id: String,
        by: Method,
    },
    Refresh,
    Streams,
    /// The keys of assertions.
    Jwks,
    /// The exchange of a token.
    Token,
    Verify {
        /// The path that is asked about, where it follows that of the endpoint (Envoy).
        rest: Option<String>,
    },
    Unknown,
}

impl Auth {
    /// `None`: nothing of it is there.
    pub fn compile(config: &Config, carriers: &Carriers) -> Option<Self> {
        let prefix = config.session.prefix.clone().filter(|_| !config.issuers.is_empty())?;
        let cookies = carriers.cookies.iter().cloned().map(Carrier::Cookie);
        Some(Self {
            name: Arc::from(prefix.as_str()),
            prefix,
            carriers: [Carrier::Bearer, Carrier::Session].into_iter().chain(cookies).collect(),
            after_logout: config.session.after_logout.clone(),
        })
    }

    /// Which of them a path means. A path that can be read as below the prefix and is not written
    /// so is refused: what this gateway takes for a page of the backend, another could take for one
    /// of these.
    pub fn place(&self, path: &str) -> Result<Option<Place>, Rejection> {
        let Some(rest) = self.below(path) else {
            if path::readings(path).iter().any(|reading| self.below(reading).is_some()) {
                return Err(BadRequest::PathRoutes.into());
            }
            return Ok(None);
        };
        Ok(Some(match rest {
            "/me" => Place::Me,
            "/logout" => Place::LogOut,
            "/logout-all" => Place::LogOutAll,
            "/sessions" => Place::Sessions,
            "/refresh" => Place::Refresh,
            "/streams" => Place::Streams,
            "/jwks" => Place::Jwks,
            "/token" => Place::Token,
            "/verify" => Place::Verify { rest: None },
            rest => session(rest).or_else(|| asked_about(rest)).unwrap_or(Place::Unknown),
        }))
    }

    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&self.prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// `/sessions/{id}`, `/sessions/{id}/end`.
fn session(rest: &str) -> Option<Place> {
    let one = rest.strip_prefix("/sessions/")?;
    let (id, by) = match one.strip_suffix("/end") {
        Some(id) => (id, Method::POST),
        None => (one, Method::DELETE),
    };
    (!id.is_empty() && !id.contains('/')).then(|| Place::Session { id: id.to_owned(), by })
}

/// `/verify/…`: the path that is asked about is behind.
fn asked_about(rest: &str) -> Option<Place> {
    let asked = rest.strip_prefix("/verify").filter(|asked| asked.starts_with('/'))?;
    Some(Place::Verify { rest: Some(asked.to_owned()) })
}

/// One of these requests, and what answering it needs.
pub(super) struct Visit<'v> {
    core: &'v Rc<Core>,
    connection: &'v Connection,
    exchange: &'v mut Exchange,
    request: Box<Canonical>,
    auth: &'v Auth,
    published: &'v Published,
    /// The session's new token, where it was renewed for this request.
    renewed: Option<Credential>,
    now: UnixMs,
}

/// Answers a request below the prefix.
pub(super) async fn answer(
    core: &Rc<Core>,
    connection: &Connection,
    exchange: &mut Exchange,
    request: Box<Canonical>,
    (auth, place): (&Auth, Place),
    published: &Published,
) -> Result<Response<Body>, Rejection> {
    exchange.answered_by(&auth.name);
    let now = exchange.now();
    let mut visit =
        Visit { core, connection, exchange, request, auth, published, renewed: None, now };
    if !matches!(place, Place::LogOut | Place::Verify { .. }) {
        // A log-out clears by itself; a verdict is about another request.
        let browser = Browser::of_visit(visit.headers(), published);
        visit.exchange.browser = Some(Box::new(browser));
    }
    let reads = matches!(*visit.method(), Method::GET | Method::HEAD);
    let posts = *visit.method() == Method::POST;
    let mut response = match place {
        Place::Me if reads => me::me(&mut visit).await?,
        Place::Me => return Err(Rejection::Method("GET, HEAD")),
        Place::LogOut if reads => page::confirm(&visit)?,
        Place::LogOut if posts => log_out::this(&mut visit).await?,
        Place::LogOut => return Err(Rejection::Method("GET, HEAD, POST")),
        Place::LogOutAll if posts => log_out::all(&mut visit).await?,
        Place::LogOutAll => return Err(Rejection::Method("POST")),
        Place::Sessions if reads => sessions::list(&mut visit).await?,
        Place::Sessions => return Err(Rejection::Method("GET, HEAD")),
        Place::Session { id, by } if *visit.method() == by => sessions::end(&mut visit, id).await?,
        Place::Session { by: Method::DELETE, .. } => return Err(Rejection::Method("DELETE")),
        Place::Session { .. } => return Err(Rejection::Method("POST")),
        Place::Refresh if posts => refresh::refresh(&mut visit).await?,
        Place::Refresh => return Err(Rejection::Method("POST")),
        Place::Streams if posts => streams::rebase(&mut visit).await?,
        Place::Streams => return Err(Rejection::Method("POST")),
        Place::Jwks if reads => jwks::jwks(&visit)?,
        Place::Jwks => return Err(Rejection::Method("GET, HEAD")),
        Place::Token if posts => token::token(&mut visit).await?,
        Place::Token => return Err(Rejection::Method("POST")),
        Place::Verify { rest } => verify::verify(&mut visit, rest.as_deref()).await,
        Place::Unknown => return Err(Rejection::NoRoute),
    };
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    exchange::stamp(headers, visit.exchange.request_id());
    Ok(response)
}

const X_CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

impl Visit<'_> {
    fn method(&self) -> &Method {
        &self.request.parts.method
    }

    fn headers(&self) -> &HeaderMap {
        &self.request.parts.headers
    }

    fn query(&self) -> Option<&str> {
        self.request.parts.uri.query()
    }

    /// Another site may not act here, nor look.
    fn same_site(&self) -> Result<(), Rejection> {
        if self.brings_a_bearer_token_alone() {
            return Ok(());
        }
        let parts = &self.request.parts;
        Asked::of(&parts.method, &parts.headers, self.request.asks_for_websocket(), self.connection)
            .check(&self.published.external_origins)
            .map_err(Rejection::CrossSite)
    }

    /// A browser puts no bearer token into a request because another site asked for it, and an app has
    /// no origin to say.
    fn brings_a_bearer_token_alone(&self) -> bool {
        let session = self.published.session.as_ref();
        let brought = |bearer: bool| {
            let mut carriers = self.auth.carriers.iter();
            carriers.any(|carrier| {
                (*carrier == Carrier::Bearer) == bearer
                    && !credential::all_of(self.headers(), carrier, session).is_empty()
            })
        };
        brought(true) && !brought(false) && self.kept().is_none()
    }

    /// What the request brought: `Authorization` counts first, then the session's cookie, then those
    /// of the routes.
    fn presented(&self) -> Result<Option<Presented<'_>>, Rejection> {
        if let Some(renewed) = &self.renewed {
            return Ok(Presented::renewed(renewed.clone(), &self.auth.carriers));
        }
        credential::present_first(self.headers(), &self.auth.carriers, self.published)
    }

    /// The session is renewed first where it is time. `at_once`: whatever the time.
    async fn renew(&mut self, at_once: bool) -> Result<(), Rejection> {
        let parts = &self.request.parts;
        let asking = Asking {
            method: &parts.method,
            headers: &parts.headers,
            websocket: self.request.asks_for_websocket(),
            connection: self.connection,
            published: self.published,
            carriers: &self.auth.carriers,
            issuers: None,
            now: self.now,
        };
        let presented = self.presented()?;
        let Some(due) = asking.due(presented.as_ref(), at_once)? else { return Ok(()) };
        let address = self.exchange.client().address();
        let browser = self.exchange.browser.get_or_insert_default();
        **browser = Browser::of_visit(&parts.headers, self.published);
        let desk = (&self.core.desk, address);
        let settling = due.settle(desk, Access::Required, browser, self.published);
        if let Outcome::Renewed(credential) = settling.await? {
            self.renewed = Some(credential);
        }
        self.now = UnixMs::now();
        Ok(())
    }

    /// What the refresh cookie holds.
    fn kept(&self) -> Option<Kept> {
        self.published.session.as_ref()?.kept(self.headers())
    }

    /// Verified, whether or not it still passes. A token whose signature does not hold is nobody's.
    async fn held(&self, credential: &Credential) -> Result<Held, Rejection> {
        held::held(self.asker(), credential, self.published, self.now).await
    }

    /// Every token that the request holds.
    async fn all_held(&self) -> held::All {
        held::all(self.asker(), &self.auth.carriers, self.published, self.now).await
    }

    fn asker(&self) -> Asker<'_> {
        (self.core, self.exchange.client(), self.headers())
    }
}

/// An answer as JSON.
fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from(format!("{value}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_spelling() {
        let auth = Auth {
            prefix: "/.auth".to_owned(),
            name: Arc::from("/.auth"),
            carriers: Vec::new(),
            after_logout: "/".to_owned(),
        };
        let place = |path: &str| auth.place(path);
        assert_eq!(place("/.auth/me"), Ok(Some(Place::Me)));
        assert_eq!(
            place("/.auth/verify/a%20b"),
            Ok(Some(Place::Verify { rest: Some("/a%20b".into()) }))
        );
        let one = |id: &str, by| Ok(Some(Place::Session { id: id.to_owned(), by }));
        assert_eq!(place("/.auth/sessions/a"), one("a", Method::DELETE));
        assert_eq!(place("/.auth/sessions/a/end"), one("a", Method::POST));
        for unknown in ["/.auth/sessions/a/b", "/.auth/sessions//end", "/.auth/sessions/a/end/"] {
            assert_eq!(place(unknown), Ok(Some(Place::Unknown)), "{unknown}");
        }
        for unknown in
            ["/.auth", "/.auth/", "/.auth/me/", "/.auth/m%65", "/.auth/verifyx", "/.auth/sessions/"]
        {
            assert_eq!(place(unknown), Ok(Some(Place::Unknown)), "{unknown}");
        }
        for other in ["/", "/auth/me", "/.authx", "/x/.auth/me", "/.Auth/me"] {
            assert_eq!(place(other), Ok(None), "{other}");
        }
        for odd in ["/.auth%2Fme", "//.auth/me", "/%2eauth/me", "/.auth;x/me", "/%2Fauth/../me"] {
            let found = place(odd);
            assert!(found.is_err() || odd.contains(".."), "{odd}: {found:?}");
        }
    }
}
