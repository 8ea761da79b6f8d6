//! How slowly a client may send a body. It has a grace, and earns more time with every byte: whoever
//! sends at the least rate or faster is never too slow, and a byte a minute buys a minute of nobody.
//!
//! Only time in which we wait for the client counts: a backend that takes nothing is not its fault.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::BodyPace;

/// See the module.
pub struct Pace {
    allowance: Allowance,
    since: Option<Instant>,
    /// Set up when the client first lets us wait: most bodies come with their head.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Waiting that is left to the client.
struct Allowance {
    left: Duration,
    bytes_per_second: u64,
}

impl Pace {
    pub fn new(BodyPace { bytes_per_second, grace }: BodyPace) -> Self {
        let allowance = Allowance { left: grace, bytes_per_second };
        Self { allowance, since: None, alarm: None }
    }

    /// So many bytes came.
    pub fn moved(&mut self, bytes: usize) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.allowance.moved(bytes, waited);
    }

    /// Nothing has come: has it been too long? Wakes the task when it will have been.
    pub fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            // What a fast sender has earned is more than any clock can hold.
            let until = now + self.allowance.left.min(Duration::from_secs(86_400));
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(until),
                None => self.alarm = Some(Box::pin(sleep_until(until))),
            }
        }
        self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready())
    }
}

impl Allowance {
    /// So many bytes came after so much waiting.
    fn moved(&mut self, bytes: usize, waited: Duration) {
        let earned = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second.max(1);
        let left = self.left.saturating_sub(waited);
        self.left = left.saturating_add(Duration::from_micros(earned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second() -> Duration {
        Duration::from_secs(1)
    }

    #[test]
    fn who_sends_at_the_least_rate_goes_on_for_ever_and_who_trickles_does_not() {
        let grace = 10 * second();
        let mut steady = Allowance { left: grace, bytes_per_second: 100 };
        (0..1000).for_each(|_| steady.moved(500, 5 * second()));
        assert_eq!(steady.left, grace);
        let mut trickle = Allowance { left: grace, bytes_per_second: 100 };
        let beats = (0..100).take_while(|_| {
            trickle.moved(1, 3 * second());
            trickle.left > 3 * second()
        });
        assert_eq!(beats.count(), 2);
    }

    #[test]
    fn no_amount_of_bytes_is_too_much() {
        let mut fast = Allowance { left: second(), bytes_per_second: 1 };
        (0..3).for_each(|_| fast.moved(usize::MAX, second()));
        assert!(fast.left > 1_000_000 * second());
    }
}
