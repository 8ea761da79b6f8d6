//! What the data plane tells the control plane about requests: first sight of a token, and each
//! refusal. Bounded: when the control plane is behind, observations are dropped and counted.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::clock::UnixMs;
use crate::denylist::Hit;
use crate::verify::Signed;

/// A token whose signature was verified for the first time, or again after it left the cache.
pub struct Sighting {
    pub at: UnixMs,
    pub token: Arc<Signed>,
    pub address: Option<IpAddr>,
}

/// A request that was refused. `explain --request` is answered from these.
pub struct Refusal {
    pub at: UnixMs,
    pub request_id: String,
    pub method: http::Method,
    pub host: String,
    /// Path without query.
    pub path: String,
    pub route: Option<Arc<str>>,
    pub status: u16,
    /// The stable code, also the log's reason.
    pub code: &'static str,
    /// The precise reason, for operators.
    pub detail: String,
    pub address: Option<IpAddr>,
    /// The token, where its signature held.
    pub token: Option<Arc<Signed>>,
    pub hit: Option<Hit>,
}

pub enum Observation {
    Sighting(Sighting),
    Refusal(Refusal),
}

/// What happened on a core since it last reported.
pub struct Report {
    pub observations: Vec<Observation>,
    /// Where somebody waits until they are remembered.
    pub remembered: Option<oneshot::Sender<()>>,
}

/// Asks one core to report now; whoever asks is told when that is remembered. `false`: the core has
/// ended.
pub type AskToReport = Box<dyn Fn(oneshot::Sender<()>) -> bool + Send + Sync>;

/// Observations that a core keeps between two reports; more are dropped.
const KEPT_MAX: usize = 1024;

/// The data plane's end. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    reports: mpsc::Sender<Report>,
    dropped: Arc<AtomicU64>,
}

/// One core's end. It reports with the core's tick, so that a flood of refusals costs the control
/// plane one wake-up a tick and not one a request; and when it is asked to.
pub struct CoreObserver {
    observer: Observer,
    kept: RefCell<Vec<Observation>>,
}

impl Observer {
    /// The two ends; `capacity` reports may wait.
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(capacity);
        (Self { reports, dropped: Arc::default() }, receiver)
    }

    pub fn core_observer(&self) -> CoreObserver {
        CoreObserver { observer: self.clone(), kept: RefCell::default() }
    }

    /// Observations that nobody saw.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl CoreObserver {
    /// Never waits. Made only when there is room for it: a flood costs no more than this test.
    pub fn tell(&self, observation: impl FnOnce() -> Observation) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(observation());
        } else {
            self.observer.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what was kept.
    pub fn report(&self) {
        if !self.kept.borrow().is_empty() {
            self.send(None);
        }
    }

    /// The same for somebody who waits for it, also where nothing was kept: an earlier report may be
    /// on its way. Where it is dropped, he waits no longer.
    pub fn report_to(&self, remembered: oneshot::Sender<()>) {
        self.send(Some(remembered));
    }

    fn send(&self, remembered: Option<oneshot::Sender<()>>) {
        let observations = self.kept.take();
        let count = observations.len() as u64;
        if self.observer.reports.try_send(Report { observations, remembered }).is_err() {
            self.observer.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}
