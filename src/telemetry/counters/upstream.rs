//! What a core counts of one upstream: its answers, and the connections by which they came.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::cell::{Count, Histogram, HistogramSum, Level};
use super::lately::{Failing, Lately, moment};
use super::route::{STATUS_CLASSES, class};

pub(super) struct UpstreamCells {
    took: Histogram,
    statuses: [Count; STATUS_CLASSES.len()],
    reused: Count,
    opened: Count,
    open: Level,
    /// Of those that are open; as of the last look at them.
    idle: Level,
    /// The moment of the last answer.
    answered_at: Level,
    /// Its lock is taken on a fault, and by who looks.
    lately: Mutex<Lately>,
}

impl Default for UpstreamCells {
    fn default() -> Self {
        Self {
            took: Histogram::of_requests(),
            statuses: Default::default(),
            reused: Count::default(),
            opened: Count::default(),
            open: Level::default(),
            idle: Level::default(),
            answered_at: Level::default(),
            lately: Mutex::default(),
        }
    }
}

impl UpstreamCells {
    /// `reused`: by a connection that had been there before the request.
    pub fn answered(&self, status: u16, (sent_at, now): (Instant, Instant), reused: bool) {
        self.took.observe(now.saturating_duration_since(sent_at));
        self.answered_at.set(moment(now));
        self.reused.add(u64::from(reused));
        if let Some(count) = self.statuses.get(class(status)) {
            count.add(1);
        }
    }

    pub fn failed(&self, cause: String) {
        self.lately.lock().failed(moment(Instant::now()), cause);
    }

    pub fn idle(&self, connections: u64) {
        self.idle.set(connections);
    }
}

/// A connection to a server counts as open for as long as this lives, on the core that counts it.
pub struct OpenConnection {
    cells: Arc<UpstreamCells>,
    _core: PhantomData<Rc<()>>,
}

impl OpenConnection {
    pub(super) fn of(cells: Arc<UpstreamCells>) -> Self {
        cells.opened.add(1);
        cells.open.up();
        Self { cells, _core: PhantomData }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.cells.open.down();
    }
}

/// An upstream over all cores.
#[derive(Default)]
pub struct UpstreamSum {
    pub took: HistogramSum,
    pub statuses: [u64; STATUS_CLASSES.len()],
    pub reused: u64,
    pub opened: u64,
    open: u64,
    pub idle: u64,
    /// `None`: nothing failed in the last minute.
    pub failing: Option<Failing>,
    answered_at: u64,
}

impl UpstreamSum {
    pub(super) fn add(&mut self, cells: &UpstreamCells) {
        self.took.add(&cells.took);
        for (sum, count) in self.statuses.iter_mut().zip(&cells.statuses) {
            *sum += count.value();
        }
        self.reused += cells.reused.value();
        self.opened += cells.opened.value();
        let open = cells.open.value();
        self.open += open;
        // What has closed since the last look was idle.
        self.idle += cells.idle.value().min(open);
        self.answered_at = self.answered_at.max(cells.answered_at.value());
        cells.lately.lock().add_to(&mut self.failing, moment(Instant::now()));
    }

    /// What failed in the last minute, where nothing was answered since it began.
    pub fn fails(&self) -> Option<&Failing> {
        self.failing.as_ref().filter(|failing| failing.are_all(self.answered_at))
    }

    /// With a request on them.
    pub fn active(&self) -> u64 {
        self.open.saturating_sub(self.idle)
    }
}
