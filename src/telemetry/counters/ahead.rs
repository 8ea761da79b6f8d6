//! How far ahead of ours an issuer's clock was at the most, of late: `iat` less the time at which the
//! token was seen. Looked at where a signature was verified, which is seldom.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::UnixMs;

/// What is told is of the last so many minutes, this one among them.
const MINUTES: usize = 5;

/// A slot for each minute: the minute above, milliseconds below, so that of two the greater is the
/// later, and of one minute the farther ahead. Only one thread writes.
#[derive(Default)]
pub(super) struct Ahead([AtomicU64; MINUTES]);

impl Ahead {
    pub fn note(&self, by: Duration, now: UnixMs) {
        let minute = minute(now);
        let seen = minute << 32 | u64::try_from(by.as_millis()).unwrap_or(u64::MAX).min(MS);
        let slot = usize::try_from(minute).unwrap_or(0) % MINUTES;
        if let Some(slot) = self.0.get(slot)
            && slot.load(Ordering::Relaxed) < seen
        {
            slot.store(seen, Ordering::Relaxed);
        }
    }
}

/// Of all cores.
#[derive(Clone, Copy, Default, Debug)]
pub struct AheadSum([u64; MINUTES]);

impl AheadSum {
    pub(super) fn add(&mut self, slots: &Ahead) {
        for (most, slot) in self.0.iter_mut().zip(&slots.0) {
            *most = (*most).max(slot.load(Ordering::Relaxed));
        }
    }

    /// In the minutes before `now`.
    pub fn most(&self, now: UnixMs) -> Duration {
        let now = minute(now);
        let late = self.0.iter().filter(|slot| (**slot >> 32) + MINUTES as u64 > now);
        Duration::from_millis(late.map(|slot| slot & MS).max().unwrap_or(0))
    }
}

const MS: u64 = u32::MAX as u64;

fn minute(at: UnixMs) -> u64 {
    u64::try_from(at.secs()).unwrap_or(0) / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_of_five_minutes_counts_over_all_cores_and_then_no_more() {
        let at = |seconds: i64| UnixMs::from_secs(1_800_000_000 + seconds);
        let (one, two) = (Ahead::default(), Ahead::default());
        one.note(Duration::from_secs(9), at(0));
        one.note(Duration::from_secs(4), at(1));
        two.note(Duration::from_millis(2_500), at(130));
        let mut sum = AheadSum::default();
        sum.add(&one);
        sum.add(&two);
        for (seconds, most_ms) in [(2, 9_000), (299, 9_000), (300, 2_500), (419, 2_500), (420, 0)] {
            assert_eq!(sum.most(at(seconds)), Duration::from_millis(most_ms), "{seconds}");
        }
        // The slot is used again, also for less.
        one.note(Duration::from_secs(1), at(300));
        let mut sum = AheadSum::default();
        sum.add(&one);
        assert_eq!(sum.most(at(300)), Duration::from_secs(1));
    }
}
