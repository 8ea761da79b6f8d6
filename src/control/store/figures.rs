//! What the store counts of its own work, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::telemetry::counters::{Count, Histogram, HistogramSum};

/// Written by the store's thread and its callers; read by a scrape.
pub struct Figures {
    /// From the first change of a group to its being on disk.
    commits: Histogram,
    /// From the arrival of a denial to its being in force.
    applied: Histogram,
    failed: Count,
    waiting: AtomicU64,
    folded: Count,
    /// Records that the store's thread read to make its changes.
    read: Count,
    /// By action and by the way it came.
    changes: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// Denials that were asked for and not made, by cause.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// Why a denial is not made.
const REFUSALS: [&str; 4] = ["limit", "reserve", "no_space", "disk"];

impl Default for Figures {
    fn default() -> Self {
        Self {
            commits: Histogram::of_requests(),
            applied: Histogram::of_requests(),
            failed: Count::default(),
            waiting: AtomicU64::new(0),
            folded: Count::default(),
            read: Count::default(),
            changes: Mutex::default(),
            refused: Mutex::new(REFUSALS.map(|cause| (cause, 0)).into()),
        }
    }
}

/// A caller that waits for the disk, for as long as this lives.
pub(super) struct Waiting<'f>(&'f Figures);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Figures {
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Called by the store's thread only.
    pub(super) fn committed(&self, took: Duration) {
        self.commits.observe(took);
    }

    /// Called by the store's thread only.
    pub(super) fn applied(&self, took: Duration, denials: u64) {
        self.applied.observe_times(took, denials);
    }

    /// Called by the store's thread only.
    pub(super) fn failed(&self) {
        self.failed.add(1);
    }

    /// Called by the store's thread only.
    pub(super) fn folded(&self, count: u64) {
        self.folded.add(count);
    }

    /// Called by the store's thread only.
    pub(super) fn read(&self, count: u64) {
        self.read.add(count);
    }

    pub(super) fn changed(&self, action: &'static str, via: &'static str, count: u64) {
        if count > 0 {
            *self.changes.lock().entry((action, via)).or_default() += count;
        }
    }

    pub(super) fn refused(&self, cause: &'static str, count: u64) {
        *self.refused.lock().entry(cause).or_default() += count;
    }

    /// Denials that were asked for and not made: cause, and how many.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refused.lock().iter().map(|(cause, n)| (*cause, *n)).collect()
    }

    pub fn commits(&self) -> HistogramSum {
        HistogramSum::of(&self.commits)
    }

    pub fn applied_in(&self) -> HistogramSum {
        HistogramSum::of(&self.applied)
    }

    pub fn failures(&self) -> u64 {
        self.failed.value()
    }

    /// Changes that were asked for and are not on disk yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// People's own denials whose place one cutoff of theirs took.
    pub fn folds(&self) -> u64 {
        self.folded.value()
    }

    /// Records that were read to make changes: what a change costs beside its own rows.
    pub fn reads(&self) -> u64 {
        self.read.value()
    }

    /// Action, way, and how many.
    pub fn changes(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.changes.lock().iter().map(|((action, via), n)| (*action, *via, *n)).collect()
    }
}
