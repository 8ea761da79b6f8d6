//! Readers of what strangers send, for the fuzz targets in `tests/fuzz`. Not an interface: it may
//! change at any time.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::config::{
    Access, Carrier, Conditions, Cors, Forward, HeaderRules, HostPattern, PathPattern,
    Requirements, RouteLimits, StaticAnswer, StreamRules,
};

pub use super::path::{check as check_path, readings};
pub use super::proxy_protocol::{Progress, Source, parse as proxy_header};
pub use super::tunnel::Frames;
pub use super::upstream_h1::reading::{Said, read as server_answer};

use super::answer::{BadRequest, Rejection};
use super::canonical::Canonical;
use super::headers::{self, GuardedNames};
use super::route::{Route, RouteTable, Target, Wanted};
use super::streams::StreamPolicy;
use super::{cookie, credential};

/// The one token that these headers bring as a bearer token or in this cookie.
pub fn credential(
    headers: &HeaderMap,
    cookie: &str,
    bytes_max: usize,
) -> Result<Option<String>, Rejection> {
    let carriers = [Carrier::Bearer, Carrier::Cookie(cookie.to_owned())];
    let found = credential::present_in(headers, &carriers, bytes_max, None)?;
    Ok(found.map(|found| found.credential().expose().to_owned()))
}

/// What is forwarded of a Cookie header when this cookie is not.
pub fn without_cookie(header: &HeaderValue, name: &str) -> Option<HeaderValue> {
    cookie::without(header, &[name.to_owned()], None)
}

/// The host of a request that has one reading, and whether it asks for a WebSocket.
pub fn canonical(parts: &Parts, bodiless: bool) -> Result<(String, bool), BadRequest> {
    let (host, upgrade) = Canonical::read(parts, bodiless)?;
    Ok((host, upgrade.is_some_and(|upgrade| upgrade.is_websocket())))
}

/// What is left of a client's headers before ours are added; `guarded` are those that we set.
pub fn without_foreign(mut headers: HeaderMap, trusted: bool, guarded: &[HeaderName]) -> HeaderMap {
    let guarded = GuardedNames::new(guarded.iter().cloned());
    let foreign = headers::foreign(&headers, trusted, &guarded);
    headers::remove(&mut headers, foreign);
    headers
}

/// The methods that a backend may take in place of the request's own.
pub fn overriding_methods(headers: &HeaderMap) -> Vec<Option<Method>> {
    headers::overriding_methods(headers).map(Result::ok).collect()
}

/// Routes of these paths, for any host; `=` in front of one says that it is exact.
pub struct Paths(RouteTable);

impl Paths {
    pub fn new(paths: &[&str]) -> Self {
        Self(RouteTable::new(paths.iter().map(|path| Arc::new(route(path))).collect()))
    }

    /// The path of the route that a request gets; `None`: there is none. A fault: the path is
    /// refused.
    pub fn select(&self, path: &str) -> Result<Option<&str>, BadRequest> {
        super::path::check(path, None)?;
        let headers = HeaderMap::new();
        let wanted = Wanted { host: "example.com", path, method: &Method::GET, headers: &headers };
        match self.0.select_wanted(wanted) {
            Ok(route) => Ok(Some(&route.name)),
            Err(Rejection::BadRequest(fault)) => Err(fault),
            Err(_) => Ok(None),
        }
    }
}

fn route(path: &str) -> Route {
    let pattern = match path.strip_prefix('=') {
        Some(exact) => PathPattern::Exact(exact.to_owned()),
        None => PathPattern::Prefix(path.to_owned()),
    };
    let answer = StaticAnswer { status: StatusCode::OK, body: "".into(), content_type: None };
    Route {
        name: path.into(),
        host: HostPattern::Any,
        path: pattern,
        conditions: Conditions::default(),
        access: Access::Public,
        credentials: Vec::new(),
        forward: Forward::Strip,
        identity: Vec::new(),
        assertion: None,
        require: Requirements::default(),
        issuers: None,
        streams: Arc::new(StreamPolicy::new(path.into(), &Arc::from([]), &StreamRules::default())),
        target: Target::Answer(answer),
        limits: RouteLimits::default(),
        load: None,
        cors: Cors::Off,
        upgrades: Vec::new(),
        rewrite: None,
        capture: None,
        login_url: None,
        request_headers: HeaderRules::default(),
        response_headers: HeaderRules::default(),
    }
}
