//! The one order in which routes are tried. What `check` prints, what `explain` numbers and what the
//! data plane does are this order.

use std::cmp::Reverse;

use super::{HostPattern, PathPattern, Route};

/// The order as a sentence. Never file order.
pub const ORDER: &str = "exact host before wildcard before any, then exact path, then longest path";

/// Smaller is tried first: exact host, then the longest wildcard, then any host; within a host the
/// exact path, then the longest prefix. The name of the host only keeps its routes together.
pub fn specificity(host: &HostPattern, path: &PathPattern) -> impl Ord + use<> {
    let (rank, length) = match host {
        HostPattern::Exact(_) => (0, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
        HostPattern::Any => (2, 0),
    };
    let (form, depth) = match path {
        PathPattern::Exact(path) => (0, path.len()),
        PathPattern::Prefix(prefix) => (1, prefix.trim_end_matches('/').len()),
    };
    (rank, Reverse(length), host.shown(), form, Reverse(depth))
}

/// The routes in the order in which they are tried.
pub fn ordered(routes: &[Route]) -> Vec<&Route> {
    let mut ordered: Vec<&Route> = routes.iter().collect();
    ordered.sort_by_cached_key(|route| specificity(&route.host, &route.path));
    ordered
}
