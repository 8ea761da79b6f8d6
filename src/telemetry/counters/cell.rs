//! A cell that one thread writes and others read, and a histogram of such cells.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of what a whole request takes, in microseconds.
pub const REQUEST_BOUNDS_US: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];
/// Upper bounds of what the gateway adds to it.
pub const ADDED_BOUNDS_US: &[u64] =
    &[25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// Only one thread adds, so that a load and a store are enough.
#[derive(Default, Debug)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A cell that goes both ways; one thread writes it.
#[derive(Default, Debug)]
pub(super) struct Level(AtomicU64);

impl Level {
    pub fn up(&self) {
        self.set(self.value().saturating_add(1));
    }

    pub fn down(&self) {
        self.set(self.value().saturating_sub(1));
    }

    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations in buckets.
#[derive(Debug)]
pub struct Histogram {
    bounds_us: &'static [u64],
    /// One more than there are bounds.
    counts: Box<[Count]>,
    sum_us: Count,
}

impl Histogram {
    pub fn of_requests() -> Self {
        Self::new(REQUEST_BOUNDS_US)
    }

    pub fn of_added() -> Self {
        Self::new(ADDED_BOUNDS_US)
    }

    pub(super) fn of_cuts() -> Self {
        Self::new(super::stream::CUT_BOUNDS_US)
    }

    fn new(bounds_us: &'static [u64]) -> Self {
        let counts = (0..=bounds_us.len()).map(|_| Count::default()).collect();
        Self { bounds_us, counts, sum_us: Count::default() }
    }

    pub fn observe(&self, took: Duration) {
        self.observe_times(took, 1);
    }

    /// So many took as long.
    pub fn observe_times(&self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds_us.partition_point(|bound| *bound < micros);
        if let Some(count) = self.counts.get(bucket) {
            count.add(times);
        }
        self.sum_us.add(micros.saturating_mul(times));
    }
}

/// A histogram at one moment, or the sum of several over the same bounds.
#[derive(Clone, Default, Debug)]
pub struct HistogramSum {
    bounds_us: &'static [u64],
    counts: Vec<u64>,
    sum_us: u64,
}

impl HistogramSum {
    pub fn of(histogram: &Histogram) -> Self {
        let mut sum = Self::default();
        sum.add(histogram);
        sum
    }

    pub fn add(&mut self, histogram: &Histogram) {
        self.bounds_us = histogram.bounds_us;
        self.counts.resize(histogram.counts.len(), 0);
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum += count.value();
        }
        self.sum_us = self.sum_us.wrapping_add(histogram.sum_us.value());
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn seconds(&self) -> f64 {
        in_seconds(self.sum_us)
    }

    /// Upper bound in seconds and the count between it and the one before.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds_us.iter().map(|bound| in_seconds(*bound));
        bounds.chain([f64::INFINITY]).zip(self.counts.iter().copied()).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of centuries fit a mantissa")]
fn in_seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
