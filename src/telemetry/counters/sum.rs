//! All cores' cells at one moment, added up by name.

use std::collections::BTreeMap;

use super::cell::HistogramSum;
use super::{Closed, Counters, IssuerSum, Limit, RouteSum, StreamSum, UpstreamSum};

/// See the module.
#[derive(Default)]
pub struct Sums {
    pub routes: BTreeMap<String, RouteSum>,
    pub issuers: BTreeMap<String, IssuerSum>,
    pub upstreams: BTreeMap<String, UpstreamSum>,
    /// By route.
    pub streams: BTreeMap<String, StreamSum>,
    pub cut_took: HistogramSum,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// In the order of [`Limit::ALL`].
    pub shed: [u64; Limit::ALL.len()],
    /// In the order of [`Closed::ALL`].
    pub closed: [u64; Closed::ALL.len()],
}

impl Counters {
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for core in self.cores.lock().iter() {
            for (name, cells) in core.routes.lock().iter() {
                sums.routes.entry(name.to_string()).or_default().add(cells);
            }
            for (name, cells) in core.issuers.lock().iter() {
                sums.issuers.entry(name.to_string()).or_default().add(cells);
            }
            for (name, cells) in core.upstreams.lock().iter() {
                sums.upstreams.entry(name.to_string()).or_default().add(cells);
            }
            for (name, cells) in core.streams.lock().iter() {
                sums.streams.entry(name.to_string()).or_default().add(cells);
            }
            sums.cut_took.add(&core.cut_took.0);
            sums.cache_hits += core.cache.hits.value();
            sums.cache_misses += core.cache.misses.value();
            for (sum, count) in sums.shed.iter_mut().zip(&core.shed) {
                *sum += count.value();
            }
            for (sum, count) in sums.closed.iter_mut().zip(&core.closed) {
                *sum += count.value();
            }
        }
        sums
    }
}
