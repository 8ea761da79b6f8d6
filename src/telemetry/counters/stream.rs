//! What a core counts of lasting streams: how many are open, how many it cut and why, and how long
//! it took from a denial to the end at the client.

use crate::telemetry::streams::{ByKind, CutCause, StreamKind};

use super::cell::{Count, Level};

/// Upper bounds of the time from a denial to the end that the client sees, in microseconds.
pub(super) const CUT_BOUNDS_US: &[u64] = &[
    500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000,
];

#[derive(Default)]
pub(super) struct StreamCells {
    open: [Level; StreamKind::ALL.len()],
    cut: [Count; CutCause::ALL.len()],
}

impl StreamCells {
    pub fn opened(&self, kind: StreamKind) {
        if let Some(open) = self.open.get(kind.index()) {
            open.up();
        }
    }

    pub fn ended(&self, kind: StreamKind) {
        if let Some(open) = self.open.get(kind.index()) {
            open.down();
        }
    }

    pub fn cut(&self, cause: CutCause) {
        if let Some(count) = self.cut.get(cause.index()) {
            count.add(1);
        }
    }
}

/// Streams of a route over all cores.
#[derive(Clone, Copy, Default, Debug)]
pub struct StreamSum {
    pub open: ByKind,
    pub cut: [u64; CutCause::ALL.len()],
}

impl StreamSum {
    pub(super) fn add(&mut self, cells: &StreamCells) {
        for (sum, level) in self.open.iter_mut().zip(&cells.open) {
            *sum += level.value();
        }
        for (sum, count) in self.cut.iter_mut().zip(&cells.cut) {
            *sum += count.value();
        }
    }
}
