//! The index of the route table: by host, then by segments of the path. What it costs grows with
//! the length of the path that a route has, never with the number of routes or with what a client
//! makes of the path below them.

use std::collections::HashMap;

use crate::config::{HostPattern, PathPattern};

/// Paths by host.
#[derive(Default)]
pub struct HostIndex {
    exact: HashMap<String, PathIndex>,
    /// By the suffix, which begins with a dot.
    wildcard: HashMap<String, PathIndex>,
    any: PathIndex,
}

impl HostIndex {
    /// The patterns of routes in their order of matching.
    pub fn new<'p>(patterns: impl Iterator<Item = (&'p HostPattern, &'p PathPattern)>) -> Self {
        let mut index = Self::default();
        for (at, (host, path)) in patterns.enumerate() {
            let paths = match host {
                HostPattern::Exact(name) => index.exact.entry(name.clone()).or_default(),
                HostPattern::Suffix(suffix) => index.wildcard.entry(suffix.clone()).or_default(),
                HostPattern::Any => &mut index.any,
            };
            paths.add(path, at);
        }
        index.exact.values_mut().chain(index.wildcard.values_mut()).for_each(PathIndex::finish);
        index.any.finish();
        index
    }

    /// The first route, in the order of matching, whose host and path match and that `accept`
    /// takes.
    pub fn find<T>(
        &self,
        host: &str,
        path: &str,
        accept: impl Fn(usize) -> Option<T> + Copy,
    ) -> Option<T> {
        let exact = self.exact.get(host).and_then(|paths| paths.find(path, accept));
        exact
            .or_else(|| self.by_wildcard(host, path, accept))
            .or_else(|| self.any.find(path, accept))
    }

    /// The longest suffix first; a wildcard needs a label in front.
    fn by_wildcard<T>(
        &self,
        host: &str,
        path: &str,
        accept: impl Fn(usize) -> Option<T> + Copy,
    ) -> Option<T> {
        if self.wildcard.is_empty() {
            return None;
        }
        let dots = host.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'.');
        let suffixes = dots.filter_map(|(at, _)| self.wildcard.get(host.get(at..)?));
        suffixes.filter_map(|paths| paths.find(path, accept)).next()
    }
}

/// A tree of segments.
struct PathIndex {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// Sorted by segment.
    children: Vec<(Box<str>, usize)>,
    /// Routes of exactly this path, and of all below it, each in order.
    exact: Vec<usize>,
    prefix: Vec<usize>,
    /// The nearest node above that has prefix routes.
    above: Option<usize>,
}

impl Default for PathIndex {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl PathIndex {
    fn add(&mut self, pattern: &PathPattern, route: usize) {
        match pattern {
            PathPattern::Exact(path) => {
                let at = self.place(path.strip_prefix('/').unwrap_or(path).split('/'));
                if let Some(node) = self.nodes.get_mut(at) {
                    node.exact.push(route);
                }
            }
            PathPattern::Prefix(path) => {
                let segments = path.split('/').filter(|segment| !segment.is_empty());
                let at = self.place(segments);
                if let Some(node) = self.nodes.get_mut(at) {
                    node.prefix.push(route);
                }
            }
        }
    }

    fn place<'s>(&mut self, segments: impl Iterator<Item = &'s str>) -> usize {
        let mut at = 0;
        for segment in segments {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return at };
            match node.child(segment) {
                Ok(child) => at = child,
                Err(place) => {
                    node.children.insert(place, (segment.into(), next));
                    self.nodes.push(Node::default());
                    at = next;
                }
            }
        }
        at
    }

    /// Tells every node which one above it has prefix routes.
    fn finish(&mut self) {
        let mut waiting = vec![(0, None)];
        while let Some((at, above)) = waiting.pop() {
            let Some(node) = self.nodes.get_mut(at) else { continue };
            node.above = above;
            let below = if node.prefix.is_empty() { above } else { Some(at) };
            waiting.extend(node.children.iter().map(|(_, child)| (*child, below)));
        }
    }

    /// Prefixes match by whole segments: `/api/` and `/api` match `/api` and all below `/api/`.
    fn find<T>(&self, path: &str, accept: impl Fn(usize) -> Option<T>) -> Option<T> {
        let mut node = self.nodes.first()?;
        let mut whole = true;
        for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
            match node.child(segment) {
                Ok(child) => node = self.nodes.get(child)?,
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        let first = |routes: &[usize]| routes.iter().find_map(|at| accept(*at));
        if whole && let Some(found) = first(&node.exact) {
            return Some(found);
        }
        loop {
            if let Some(found) = first(&node.prefix) {
                return Some(found);
            }
            node = self.nodes.get(node.above?)?;
        }
    }
}

impl Node {
    /// The child of this segment, or where it would stand.
    fn child(&self, segment: &str) -> Result<usize, usize> {
        let found = self.children.binary_search_by(|(name, _)| name.as_ref().cmp(segment));
        found.and_then(|at| self.children.get(at).map(|(_, child)| *child).ok_or(at))
    }
}
