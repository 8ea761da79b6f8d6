//! Routes: which policy and target a request gets. The order of matching is that of the
//! configuration, [`crate::config::ORDER`].

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};

use crate::config::{
    Access, Capture, Carrier, Conditions, Cors, Forward, HeaderRules, HostPattern, PathPattern,
    Redirect, Requirements, Rewrite, RouteAssertion, RouteLimits, StaticAnswer, specificity,
};
use crate::token::ClaimPath;

use super::answer::{BadRequest, Rejection};
use super::canonical::Canonical;
use super::route_index::HostIndex;
use super::route_load::RouteLoad;
use super::streams::StreamPolicy;
use super::upstream::Upstream;
use super::{headers, path};

/// A compiled route.
pub struct Route {
    pub name: Arc<str>,
    pub host: HostPattern,
    pub path: PathPattern,
    pub conditions: Conditions,
    pub access: Access,
    pub credentials: Vec<Carrier>,
    pub forward: Forward,
    pub identity: Vec<(HeaderName, ClaimPath)>,
    pub assertion: Option<Arc<RouteAssertion>>,
    pub require: Requirements,
    /// Names of issuers whose tokens it takes; `None`: all.
    pub issuers: Option<HashSet<String>>,
    pub capture: Option<Capture>,
    pub login_url: Option<String>,
    /// How its streams end.
    pub streams: Arc<StreamPolicy>,
    pub target: Target,
    pub limits: RouteLimits,
    pub load: Option<Arc<RouteLoad>>,
    pub cors: Cors,
    /// Protocols besides WebSocket to which a connection may switch.
    pub upgrades: Vec<String>,
    pub rewrite: Option<Rewrite>,
    pub request_headers: HeaderRules,
    pub response_headers: HeaderRules,
}

/// Who answers.
pub enum Target {
    Upstream(Arc<Upstream>),
    Answer(StaticAnswer),
    Redirect(Redirect),
}

impl Route {
    /// Where it forwards to; `None`: it answers itself.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.target {
            Target::Upstream(upstream) => Some(upstream),
            Target::Answer(_) | Target::Redirect(_) => None,
        }
    }
}

/// What of a request chooses its route.
#[derive(Clone, Copy)]
pub struct Wanted<'q> {
    /// Lower case, without port.
    pub host: &'q str,
    pub path: &'q str,
    pub method: &'q Method,
    pub headers: &'q HeaderMap,
}

impl Wanted<'_> {
    /// The conditions beside host and path hold.
    fn meets(&self, conditions: &Conditions) -> bool {
        conditions.takes_method(self.method)
            && conditions.headers.iter().all(|condition| {
                let mut values = self.headers.get_all(&condition.name).iter();
                match (&condition.equals, values.next()) {
                    (_, None) => false,
                    (None, Some(_)) => true,
                    // Of two lines a backend may read either: then it does not have the value.
                    (Some(wanted), Some(value)) => value == wanted && values.next().is_none(),
                }
            })
    }
}

/// All routes, in order of matching, and the way to the one of a request.
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    index: HostIndex,
    has_cors: bool,
    /// Some route is chosen by the method.
    has_methods: bool,
}

impl RouteTable {
    pub fn new(mut routes: Vec<Arc<Route>>) -> Self {
        routes.sort_by_cached_key(|route| specificity(&route.host, &route.path, &route.conditions));
        let index = HostIndex::new(routes.iter().map(|route| (&route.host, &route.path)));
        let has_cors = routes.iter().any(|route| route.cors != Cors::Off);
        let has_methods = routes.iter().any(|route| !route.conditions.methods.is_empty());
        Self { routes, index, has_cors, has_methods }
    }

    /// The routes' names, for whoever shows a figure for each.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.routes.iter().map(|route| Arc::clone(&route.name)).collect()
    }

    /// Some route has to do with other origins.
    pub fn has_cors(&self) -> bool {
        self.has_cors
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route of a canonical request. A path with several readings must have the same route in
    /// all of them.
    pub fn select(&self, request: &Canonical) -> Result<&Arc<Route>, Rejection> {
        self.select_wanted(Wanted {
            host: &request.host,
            path: request.path(),
            method: &request.parts.method,
            headers: &request.parts.headers,
        })
    }

    /// Like [`Self::select`], for what is not a request yet, or not only one.
    pub fn select_wanted(&self, wanted: Wanted<'_>) -> Result<&Arc<Route>, Rejection> {
        let found = self.first(wanted);
        let same = |other: Option<&Arc<Route>>| match (found, other) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        };
        if self.has_methods {
            for method in headers::overriding_methods(wanted.headers) {
                // A backend may act by this one.
                let method = method.map_err(|()| BadRequest::MethodRoutes)?;
                if !same(self.first(Wanted { method: &method, ..wanted })) {
                    return Err(BadRequest::MethodRoutes.into());
                }
            }
        }
        for reading in path::readings(wanted.path) {
            let other = self.first(Wanted { path: &reading, ..wanted });
            if !same(other) {
                return Err(BadRequest::PathRoutes.into());
            }
        }
        found.ok_or(Rejection::NoRoute)
    }

    /// Places of the routes whose host and path match and that come before the one that is found:
    /// their other conditions do not hold.
    pub fn passed_over(&self, wanted: Wanted<'_>) -> Vec<usize> {
        let passed = std::cell::RefCell::new(Vec::new());
        self.index.find(wanted.host, wanted.path, |at| {
            let meets = self.routes.get(at).is_some_and(|route| wanted.meets(&route.conditions));
            passed.borrow_mut().extend((!meets).then_some(at));
            meets.then_some(())
        });
        passed.into_inner()
    }

    fn first(&self, wanted: Wanted<'_>) -> Option<&Arc<Route>> {
        let meets = |at: usize| {
            let route = self.routes.get(at)?;
            wanted.meets(&route.conditions).then_some(route)
        };
        self.index.find(wanted.host, wanted.path, meets)
    }
}

#[cfg(test)]
mod tests;
