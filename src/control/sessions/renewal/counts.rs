//! What became of renewals and of revocations at issuers, for the scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::desk::{Later, Over, Renewal, RenewalFault};

/// Results, as the metric calls them.
const RESULTS: [&str; 6] =
    ["renewed", "refused", "denied", "used_twice", "unusable", "unavailable"];

/// See the module.
#[derive(Default)]
pub struct RenewalCounts {
    renewals: [AtomicU64; RESULTS.len()],
    revoked: [AtomicU64; 2],
}

impl RenewalCounts {
    /// Each result, and how often.
    pub fn renewals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.renewals.iter().map(|count| count.load(Ordering::Relaxed));
        RESULTS.into_iter().zip(counts)
    }

    /// Refresh tokens that issuers were told of, and those that they were not.
    pub fn revocations(&self) -> [(&'static str, u64); 2] {
        let [done, failed] = &self.revoked;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("success", read(done)), ("failure", read(failed))]
    }

    /// Counted once, however many waited for it.
    pub(super) fn ended(&self, renewal: &Renewal) {
        let result = match renewal {
            Renewal::Done(_) => "renewed",
            Renewal::Failed(RenewalFault::Over(over)) => match over {
                Over::Refused => "refused",
                Over::Denied | Over::TooOld | Over::NotRenewed => "denied",
                Over::OtherToken | Over::TooLong => "unusable",
                // Counted where the session ends.
                Over::UsedTwice => return,
            },
            Renewal::Failed(RenewalFault::Later(later)) => match later {
                Later::BadAnswer | Later::NotYetGood => "unusable",
                Later::Unreachable | Later::Busy | Later::Store | Later::Elsewhere => "unavailable",
            },
        };
        self.add(result);
    }

    pub(super) fn used_twice(&self) {
        self.add("used_twice");
    }

    pub(super) fn revoked(&self, done: bool) {
        let [good, failed] = &self.revoked;
        let count = if done { good } else { failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn add(&self, result: &str) {
        let at = RESULTS.iter().position(|known| *known == result);
        if let Some(count) = at.and_then(|at| self.renewals.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
