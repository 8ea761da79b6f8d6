//! The one order in which routes are tried: exact host, then the longest wildcard, then any host;
//! within a host the exact path, then the longest prefix. Never file order.

use std::cmp::Reverse;

use super::{HostPattern, PathPattern, Route};

/// Smaller is tried first. The name of the host only keeps its routes together.
pub type Specificity = (u8, Reverse<usize>, String, u8, Reverse<usize>);

pub fn specificity(route: &Route) -> Specificity {
    let (host, length) = match &route.host {
        HostPattern::Exact(_) => (0, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
        HostPattern::Any => (2, 0),
    };
    let (path, depth) = match &route.path {
        PathPattern::Exact(path) => (0, path.len()),
        PathPattern::Prefix(prefix) => (1, prefix.trim_end_matches('/').len()),
    };
    (host, Reverse(length), route.host.shown(), path, Reverse(depth))
}

/// Indices into `routes` in the order in which they are tried.
pub fn order(routes: &[Route]) -> Vec<usize> {
    let mut order: Vec<(Specificity, usize)> =
        routes.iter().enumerate().map(|(index, route)| (specificity(route), index)).collect();
    order.sort();
    order.into_iter().map(|(_, index)| index).collect()
}
