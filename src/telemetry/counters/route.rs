//! What a core counts of one route.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::telemetry::access::Verdict;

use super::cell::{Count, Histogram, HistogramSum};

/// Classes of status codes, as the label `code` names them.
pub const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Reasons that a core keeps apart on a route; there are fewer in the program.
const REASONS_MAX: usize = 96;
const VERDICTS: usize = 5;

/// How a request ended.
pub struct Outcome {
    pub status: u16,
    pub verdict: Verdict,
    /// Why it was not forwarded; empty where it was.
    pub code: &'static str,
    pub duration: Duration,
    /// From the request's arrival to its sending, where it was sent: our share.
    pub added: Option<Duration>,
}

pub(super) struct RouteCells {
    requests: [[Count; STATUS_CLASSES.len()]; VERDICTS],
    /// Refusals are rare enough for a lock that only this core and a scrape take.
    reasons: parking_lot::Mutex<Vec<(&'static str, u64)>>,
    duration: Histogram,
    added: Histogram,
}

impl Default for RouteCells {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            reasons: parking_lot::Mutex::default(),
            duration: Histogram::of_requests(),
            added: Histogram::of_added(),
        }
    }
}

impl RouteCells {
    pub fn add(&self, outcome: &Outcome) {
        let cells = self.requests.get(index(outcome.verdict));
        if let Some(count) = cells.and_then(|cells| cells.get(class(outcome.status))) {
            count.add(1);
        }
        if !outcome.code.is_empty() {
            self.refused(outcome.code);
        }
        self.duration.observe(outcome.duration);
        if let Some(added) = outcome.added {
            self.added.observe(added);
        }
    }

    fn refused(&self, code: &'static str) {
        let mut reasons = self.reasons.lock();
        if let Some((_, count)) = reasons.iter_mut().find(|(known, _)| *known == code) {
            *count += 1;
        } else if reasons.len() < REASONS_MAX {
            reasons.push((code, 1));
        }
    }
}

/// `2xx` and the like; `None`: no status of HTTP.
pub fn status_class(status: u16) -> Option<&'static str> {
    STATUS_CLASSES.get(class(status)).copied()
}

/// Position of a status in [`STATUS_CLASSES`].
pub(super) fn class(status: u16) -> usize {
    usize::from(status / 100).saturating_sub(1)
}

fn index(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Forwarded => 0,
        Verdict::Refused => 1,
        Verdict::Failed => 2,
        Verdict::Cut => 3,
        Verdict::Answered => 4,
    }
}

/// A route over all cores.
#[derive(Default)]
pub struct RouteSum {
    requests: [[u64; STATUS_CLASSES.len()]; VERDICTS],
    pub rejections: BTreeMap<&'static str, u64>,
    pub duration: HistogramSum,
    pub added: HistogramSum,
}

impl RouteSum {
    pub(super) fn add(&mut self, cells: &RouteCells) {
        let counts = cells.requests.iter().flatten();
        for (sum, count) in self.requests.iter_mut().flatten().zip(counts) {
            *sum += count.value();
        }
        for (code, count) in cells.reasons.lock().iter() {
            *self.rejections.entry(code).or_default() += count;
        }
        self.duration.add(&cells.duration);
        self.added.add(&cells.added);
    }

    /// Requests of a class of [`STATUS_CLASSES`] that ended so.
    pub fn requests(&self, class: usize, verdict: Verdict) -> u64 {
        let cells = self.requests.get(index(verdict));
        cells.and_then(|cells| cells.get(class)).copied().unwrap_or(0)
    }
}
