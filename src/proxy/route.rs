//! Routes: which policy and upstream a request gets. The order of matching is that of the
//! configuration, [`crate::config::ORDER`].

use std::sync::Arc;

use http::HeaderName;

use crate::config::{
    Access, Capture, Carrier, Forward, HostPattern, PathPattern, Requirements, specificity,
};
use crate::token::ClaimPath;

use super::answer::{BadRequest, Rejection};
use super::canonical::Canonical;
use super::path;
use super::upstream::Upstream;

/// A compiled route.
pub struct Route {
    pub name: Arc<str>,
    pub host: HostPattern,
    pub path: PathPattern,
    pub access: Access,
    pub credentials: Vec<Carrier>,
    pub forward: Forward,
    pub identity: Vec<(HeaderName, ClaimPath)>,
    pub require: Requirements,
    /// Names of issuers whose tokens it takes; `None`: all.
    pub issuers: Option<Vec<String>>,
    pub capture: Option<Capture>,
    pub login_url: Option<String>,
    pub upstream: Arc<Upstream>,
}

/// All routes, in order of matching.
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
}

impl RouteTable {
    pub fn new(mut routes: Vec<Arc<Route>>) -> Self {
        routes.sort_by_cached_key(|route| specificity(&route.host, &route.path));
        Self { routes }
    }

    /// The routes' names, for whoever shows a figure for each.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.routes.iter().map(|route| Arc::clone(&route.name)).collect()
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route of a canonical request. A path with several readings must have the same route in
    /// all of them.
    pub fn select(&self, request: &Canonical) -> Result<&Route, Rejection> {
        self.select_path(&request.host, request.path())
    }

    /// Like [`Self::select`], for `explain` and `check --url`. `host` is lower case without port.
    pub fn select_path(&self, host: &str, path: &str) -> Result<&Route, Rejection> {
        let found = self.first(host, path);
        for reading in path::readings(path) {
            let other = self.first(host, &reading);
            let same = match (found, other) {
                (Some(one), Some(two)) => Arc::ptr_eq(one, two),
                (None, None) => true,
                _ => false,
            };
            if !same {
                return Err(BadRequest::PathRoutes.into());
            }
        }
        found.map(|route| &**route).ok_or(Rejection::NoRoute)
    }

    fn first(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.routes
            .iter()
            .find(|route| path_matches(&route.path, path) && host_matches(&route.host, host))
    }
}

pub fn host_matches(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => name == host,
        HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
    }
}

/// Prefixes match by whole segments: `/api/` and `/api` match `/api` and all below `/api/`.
pub fn path_matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => {
            let stem = prefix.strip_suffix('/').unwrap_or(prefix);
            path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(path.to_owned())
    }

    #[test]
    fn prefixes_match_whole_segments_only() {
        for pattern in ["/api/", "/api"] {
            assert!(path_matches(&prefix(pattern), "/api"));
            assert!(path_matches(&prefix(pattern), "/api/"));
            assert!(path_matches(&prefix(pattern), "/api/x"));
            assert!(!path_matches(&prefix(pattern), "/apix"));
            assert!(!path_matches(&prefix(pattern), "/API/x"));
        }
        assert!(path_matches(&prefix("/"), "/anything"));
        assert!(!path_matches(&PathPattern::Exact("/a".into()), "/a/"));
    }

    #[test]
    fn a_wildcard_host_needs_a_label_in_front() {
        let pattern = HostPattern::Suffix(".example.com".into());
        assert!(host_matches(&pattern, "a.example.com"));
        assert!(!host_matches(&pattern, "example.com"));
        assert!(!host_matches(&pattern, ".example.com"));
        assert!(!host_matches(&pattern, "aexample.com"));
    }
}
