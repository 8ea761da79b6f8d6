//! The one order in which routes are tried. What `check` prints, what `explain` numbers and what the
//! data plane does are this order.

use std::cmp::Reverse;

use super::{Conditions, HostPattern, PathPattern, Route};

/// The order as a sentence.
pub const ORDER: &str = "exact host, then the longest wildcard, then any host; in a host the longest \
                         path, exact before prefix; on a path more conditions before fewer; never \
                         file order";

/// Smaller is tried first. The names of host and path only keep their routes together; the text of
/// the conditions only gives routes that exclude each other an order of their own.
pub fn specificity(
    host: &HostPattern,
    path: &PathPattern,
    conditions: &Conditions,
) -> impl Ord + use<> {
    let (rank, length) = match host {
        HostPattern::Exact(_) => (0, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
        HostPattern::Any => (2, 0),
    };
    let (form, text) = match path.normal() {
        PathPattern::Exact(path) => (0, path),
        PathPattern::Prefix(prefix) => (1, prefix),
    };
    (
        (rank, Reverse(length), host.shown()),
        (Reverse(text.len()), form, text),
        (Reverse(conditions.weight()), conditions.shown()),
    )
}

/// The routes in the order in which they are tried.
pub fn ordered(routes: &[Route]) -> Vec<&Route> {
    let mut ordered: Vec<&Route> = routes.iter().collect();
    ordered.sort_by_cached_key(|route| specificity(&route.host, &route.path, &route.conditions));
    ordered
}
