//! Counters of the data plane: each core has its own cells, which only it writes, and a scrape adds
//! them up. Counting costs a plain load and store on a line that no other core touches.
//!
//! What always holds: a cell never goes down, and what a removed route or issuer counted stays, so
//! that a rate over a reload is right. The names are the configuration's: no stranger makes one.

mod ahead;
mod cell;
mod closed;
mod issuer;
mod lately;
mod limit;
mod route;
mod stream;
mod sum;
mod upstream;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use cell::{Count, Histogram, HistogramSum};
pub use closed::Closed;
pub use issuer::{IssuerSum, Unrevocable};
pub use lately::Failing;
pub use limit::Limit;
pub use route::{Outcome, RouteSum, STATUS_CLASSES, status_class};
pub use stream::StreamSum;
pub use sum::Sums;
pub use upstream::{OpenConnection, UpstreamSum};

use issuer::IssuerCells;
use route::RouteCells;
use stream::StreamCells;
use upstream::UpstreamCells;

use crate::clock::UnixMs;
use crate::denylist::SelectorKind;
use crate::telemetry::streams::{CutCause, StreamKind};

/// The route of requests that matched none.
const NO_ROUTE: &str = "";

/// All cores' cells, for the scrape.
#[derive(Clone, Default)]
pub struct Counters {
    cores: Arc<Mutex<Vec<Arc<Shared>>>>,
}

/// One core's cells by name. Its lock is taken by the core when a name is new, and by a scrape.
#[derive(Default)]
struct Shared {
    routes: Mutex<Vec<(Arc<str>, Arc<RouteCells>)>>,
    issuers: Mutex<Vec<(Arc<str>, Arc<IssuerCells>)>>,
    upstreams: Mutex<Vec<(Arc<str>, Arc<UpstreamCells>)>>,
    streams: Mutex<Vec<(Arc<str>, Arc<StreamCells>)>>,
    cache: CacheCells,
    shed: [Count; Limit::ALL.len()],
    closed: [Count; Closed::ALL.len()],
    cut_took: CutCells,
}

/// From a denial to the end at the client.
struct CutCells(Histogram);

impl Default for CutCells {
    fn default() -> Self {
        Self(Histogram::of_cuts())
    }
}

#[derive(Default)]
struct CacheCells {
    hits: Count,
    misses: Count,
}

/// One core's end; never leaves its thread.
pub struct CoreCounters {
    shared: Arc<Shared>,
    routes: RefCell<HashMap<Arc<str>, Arc<RouteCells>>>,
    issuers: RefCell<HashMap<Arc<str>, Arc<IssuerCells>>>,
    upstreams: RefCell<HashMap<Arc<str>, Arc<UpstreamCells>>>,
    streams: RefCell<HashMap<Arc<str>, Arc<StreamCells>>>,
}

impl Counters {
    pub fn core_counters(&self) -> CoreCounters {
        let shared = Arc::new(Shared::default());
        self.cores.lock().push(Arc::clone(&shared));
        CoreCounters {
            shared,
            routes: RefCell::default(),
            issuers: RefCell::default(),
            upstreams: RefCell::default(),
            streams: RefCell::default(),
        }
    }
}

impl CoreCounters {
    /// A request has ended.
    pub fn ended(&self, route: Option<&str>, outcome: &Outcome) {
        let name = route.unwrap_or(NO_ROUTE);
        with(&self.routes, &self.shared.routes, name, |cells| cells.add(outcome));
    }

    /// A token was accepted: its signature was looked up in the cache, or verified.
    pub fn accepted(&self, issuer: &str, cached: bool) {
        let cache = &self.shared.cache;
        if cached {
            cache.hits.add(1)
        } else {
            cache.misses.add(1)
        }
        with(&self.issuers, &self.shared.issuers, issuer, IssuerCells::accepted);
    }

    /// A genuine-looking token of this issuer was refused.
    pub fn refused(&self, issuer: &str, unknown_key: bool) {
        with(&self.issuers, &self.shared.issuers, issuer, |cells| cells.refused(unknown_key));
    }

    /// A token seen for the first time that cannot be revoked so finely.
    pub fn unrevocable(&self, issuer: &str, missing: Unrevocable) {
        with(&self.issuers, &self.shared.issuers, issuer, |cells| cells.unrevocable(missing));
    }

    /// A denial refused a request.
    pub fn denied(&self, issuer: &str, selector: SelectorKind) {
        with(&self.issuers, &self.shared.issuers, issuer, |cells| cells.denied(selector));
    }

    /// A limit turned somebody away.
    pub fn shed(&self, by: Limit) {
        if let Some(count) = self.shared.shed.get(by as usize) {
            count.add(1);
        }
    }

    /// A connection was ended by us.
    pub fn closed(&self, cause: Closed) {
        if let Some(count) = self.shared.closed.get(cause as usize) {
            count.add(1);
        }
    }

    /// A stream has lasted long enough to count as one.
    pub fn stream_opened(&self, route: &str, kind: StreamKind) {
        with(&self.streams, &self.shared.streams, route, |cells| cells.opened(kind));
    }

    /// It ended, or became another kind.
    pub fn stream_ended(&self, route: &str, kind: StreamKind) {
        with(&self.streams, &self.shared.streams, route, |cells| cells.ended(kind));
    }

    /// We ended it.
    pub fn stream_cut(&self, route: &str, cause: CutCause) {
        with(&self.streams, &self.shared.streams, route, |cells| cells.cut(cause));
    }

    /// A client saw the end of its stream so long after the denial.
    pub fn cut_took(&self, took: Duration) {
        self.shared.cut_took.0.observe(took);
    }

    /// A genuine token was seen before its `iat`, by so much.
    pub fn ahead(&self, issuer: &str, by: Duration, now: UnixMs) {
        with(&self.issuers, &self.shared.issuers, issuer, |cells| cells.ahead.note(by, now));
    }

    /// An upstream answered; `reused`: by a connection that had been there before.
    pub fn upstream_answered(
        &self,
        upstream: &str,
        status: u16,
        (sent_at, now): (Instant, Instant),
        reused: bool,
    ) {
        with(&self.upstreams, &self.shared.upstreams, upstream, |cells| {
            cells.answered(status, (sent_at, now), reused);
        });
    }

    /// An upstream gave no answer to a request, by no fault of the client's or ours.
    pub fn upstream_failed(&self, upstream: &str, cause: String) {
        with(&self.upstreams, &self.shared.upstreams, upstream, |cells| cells.failed(cause));
    }

    /// A connection to one of its servers was opened.
    pub fn connected(&self, upstream: &str) -> OpenConnection {
        OpenConnection::of(cells(&self.upstreams, &self.shared.upstreams, upstream))
    }

    /// How many connections have no request now, by upstream; an upstream that is not there has none.
    pub fn idle(&self, connections: &HashMap<&str, u64>) {
        for (upstream, cells) in self.upstreams.borrow().iter() {
            cells.idle(connections.get(&**upstream).copied().unwrap_or(0));
        }
    }
}

/// Cells by name: as the core looks them up, and as a scrape reads them.
type Known<C> = RefCell<HashMap<Arc<str>, Arc<C>>>;
type Told<C> = Mutex<Vec<(Arc<str>, Arc<C>)>>;

fn with<C: Default>(known: &Known<C>, told: &Told<C>, name: &str, count: impl FnOnce(&C)) {
    if let Some(cells) = known.borrow().get(name) {
        return count(cells);
    }
    count(&cells(known, told, name));
}

/// The cells of a name, made when it is first met.
fn cells<C: Default>(known: &Known<C>, told: &Told<C>, name: &str) -> Arc<C> {
    if let Some(cells) = known.borrow().get(name) {
        return Arc::clone(cells);
    }
    let (name, cells): (Arc<str>, Arc<C>) = (Arc::from(name), Arc::default());
    told.lock().push((Arc::clone(&name), Arc::clone(&cells)));
    known.borrow_mut().insert(name, Arc::clone(&cells));
    cells
}

#[cfg(test)]
mod tests {
    use super::cell::ADDED_BOUNDS_US;
    use super::*;
    use crate::telemetry::access::Verdict;

    fn outcome(status: u16, verdict: Verdict, code: &'static str) -> Outcome {
        let duration = Duration::from_micros(700);
        Outcome { status, verdict, code, duration, added: Some(Duration::from_micros(60)) }
    }

    #[test]
    fn what_two_cores_counted_adds_up_by_name_and_nothing_else_moves() {
        let counters = Counters::default();
        let (one, two) = (counters.core_counters(), counters.core_counters());
        one.ended(Some("api"), &outcome(200, Verdict::Forwarded, ""));
        two.ended(Some("api"), &outcome(204, Verdict::Forwarded, ""));
        two.ended(None, &outcome(404, Verdict::Refused, "no_route"));
        one.accepted("main", true);
        two.accepted("main", false);
        two.denied("main", SelectorKind::Subject);
        let sums = counters.sums();
        let api = &sums.routes["api"];
        assert_eq!(api.requests(1, Verdict::Forwarded), 2);
        assert_eq!(api.requests(3, Verdict::Refused), 0);
        assert_eq!(api.duration.count(), 2);
        assert_eq!(api.rejections.get("no_route"), None);
        assert_eq!(sums.routes[""].rejections["no_route"], 1);
        assert_eq!(sums.issuers["main"].accepted, 2);
        assert_eq!(sums.issuers["main"].hits[&SelectorKind::Subject], 1);
        assert_eq!((sums.cache_hits, sums.cache_misses), (1, 1));
    }

    #[test]
    fn a_request_that_took_longer_than_every_bound_is_in_the_last_bucket() {
        let histogram = Histogram::of_requests();
        histogram.observe(Duration::from_micros(100));
        histogram.observe(Duration::from_secs(3_600));
        let sum = HistogramSum::of(&histogram);
        assert_eq!(sum.count(), 2);
        assert_eq!(sum.buckets().first().map(|(_, count)| *count), Some(1));
        assert_eq!(
            sum.buckets().last().map(|(bound, count)| (bound.is_infinite(), *count)),
            Some((true, 1))
        );
        assert!((sum.seconds() - 3_600.000_1).abs() < 1e-6);
        assert!(ADDED_BOUNDS_US.is_sorted());
    }
}
