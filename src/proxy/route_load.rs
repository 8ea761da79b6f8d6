//! Requests in flight on a route, over all cores: what is beyond the limit is shed before it costs
//! anything more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Only where the route has such a limit.
#[derive(Default)]
pub struct RouteLoad {
    max: AtomicUsize,
    in_flight: AtomicUsize,
}

/// A request's place; given back when this is dropped.
pub struct Ticket(Arc<RouteLoad>);

impl RouteLoad {
    /// From now on so many.
    pub fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// `None`: the route is full.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        let ticket = Ticket(Arc::clone(self));
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (before < self.max.load(Ordering::Relaxed)).then_some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
