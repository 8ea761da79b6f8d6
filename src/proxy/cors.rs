//! Cross-origin requests (Fetch standard, section 3.2): preflights, which carry no token and are
//! answered before one is asked for, and what an answer tells the browser about who may read it.
//!
//! A preflight grants nothing but that the browser sends the request itself, which then needs its
//! token like any other. It decides nothing here that a client could not have by not asking.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use crate::config::{Cors, CorsPolicy, Origins};

use super::answer::Rejection;
use super::body::Body;
use super::canonical::Canonical;
use super::exchange::{self, Exchange};
use super::route::{Route, RouteTable, Wanted};

const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What becomes of a preflight.
pub enum Preflight<'t> {
    /// Answered here.
    Ours(&'t Arc<Route>, Arc<CorsPolicy>),
    /// The backend's, without a token.
    Backends(&'t Arc<Route>),
}

/// Is this the preflight of a request to a route that has to do with other origins? An OPTIONS
/// request with a body, with two origins, or without a method asked for is none.
pub fn preflight<'t>(
    request: &Canonical,
    routes: &'t RouteTable,
) -> Result<Option<Preflight<'t>>, Rejection> {
    let parts = &request.parts;
    if parts.method != Method::OPTIONS || !routes.has_cors() || !request.body.is_end_stream() {
        return Ok(None);
    }
    let method = single(&parts.headers, &ACCESS_CONTROL_REQUEST_METHOD);
    let method = method.and_then(|value| Method::from_bytes(value.as_bytes()).ok());
    let (Some(method), Some(_)) = (method, single(&parts.headers, &ORIGIN)) else {
        return Ok(None);
    };
    // The route of the request that is asked about: its method, and the headers that it will have.
    let headers = promised(&parts.headers);
    let (host, path) = (request.host.as_str(), request.path());
    let wanted = Wanted { host, path, method: &method, headers: &headers };
    let route = match routes.select_wanted(wanted) {
        Ok(route) => route,
        // There is no such request; what OPTIONS itself gets is another matter.
        Err(Rejection::NoRoute) => return Ok(None),
        Err(rejection) => return Err(rejection),
    };
    Ok(match &route.cors {
        Cors::Off => None,
        Cors::Pass if route.upstream().is_some() => Some(Preflight::Backends(route)),
        Cors::Pass => None,
        Cors::Policy(policy) => Some(Preflight::Ours(route, Arc::clone(policy))),
    })
}

/// The headers that the request will have are known by name alone.
fn promised(headers: &HeaderMap) -> HeaderMap {
    let mut promised = HeaderMap::new();
    for value in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        for name in value.as_bytes().split(|&byte| byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                // Names beyond what a map holds are nobody's.
                promised.try_insert(name, HeaderValue::from_static("")).ok();
            }
        }
    }
    promised
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

/// The answer to a preflight; an origin that may not ask is refused.
pub fn answer(
    policy: &CorsPolicy,
    request: &Canonical,
    exchange: &Exchange,
) -> Result<Response<Body>, Rejection> {
    let origin = single(&request.parts.headers, &ORIGIN);
    let Some(origin) = origin.filter(|origin| policy.origins.holds(origin.as_bytes())) else {
        return Err(Rejection::OriginNotAllowed);
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(policy, origin, headers);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, policy.methods.clone());
    if let Some(names) = &policy.headers {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, policy.max_age.clone());
    headers.insert(VARY, VARY_PREFLIGHT);
    exchange::stamp(headers, exchange.request_id());
    Ok(response)
}

fn allow(policy: &CorsPolicy, origin: &HeaderValue, headers: &mut HeaderMap) {
    let allowed = match policy.origins {
        Origins::Any => ANY,
        Origins::Listed(_) => origin.clone(),
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if policy.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
}

/// What the answers of one request tell the browser, ours and the backend's alike.
pub struct Reader {
    policy: Arc<CorsPolicy>,
    origin: Option<HeaderValue>,
}

impl Reader {
    /// `None`: the gateway has no say in it.
    pub fn of(cors: &Cors, origin: Option<&HeaderValue>) -> Option<Self> {
        match cors {
            Cors::Off | Cors::Pass => None,
            Cors::Policy(policy) => {
                Some(Self { policy: Arc::clone(policy), origin: origin.cloned() })
            }
        }
    }

    /// In place of whatever the backend says of it.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let policy = &*self.policy;
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
        let origin = self.origin.as_ref();
        if let Some(origin) = origin.filter(|origin| policy.origins.holds(origin.as_bytes())) {
            allow(policy, origin, headers);
            if let Some(names) = &policy.expose {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
            }
        }
        if policy.origins != Origins::Any {
            // A cache must not give one origin's answer to another.
            headers.append(VARY, VARY_ORIGIN);
        }
    }
}
