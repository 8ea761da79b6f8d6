//! The clock by which records are forgotten. It never runs backwards and never faster than twice
//! monotonic time, so that a wall clock that jumps forward, also while the process was down,
//! cannot take a denial back. The price: after a long stop it lags until it has caught up, and
//! what could be forgotten is kept for longer. That side is safe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::UnixMs;

/// Where the store's thread reads time: the seam for tests.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's. Holds the instant that monotonic time is counted from.
    System(Instant),
    Simulated(Arc<SimulatedClock>),
}

/// Wall and monotonic time that a test moves.
#[derive(Debug)]
pub struct SimulatedClock(Mutex<(UnixMs, Duration)>);

impl Clock {
    pub fn system() -> Self {
        Self::System(Instant::now())
    }

    pub fn wall(&self) -> UnixMs {
        self.read().0
    }

    /// Wall time, and the time since some fixed instant of this process, which never runs
    /// backwards.
    pub fn read(&self) -> (UnixMs, Duration) {
        match self {
            Self::System(start) => (UnixMs::now(), start.elapsed()),
            Self::Simulated(clock) => *clock.0.lock(),
        }
    }
}

impl SimulatedClock {
    pub fn at(wall: UnixMs) -> Arc<Self> {
        Arc::new(Self(Mutex::new((wall, Duration::ZERO))))
    }

    /// Time passes: both clocks move.
    pub fn pass(&self, by: Duration) {
        let mut both = self.0.lock();
        *both = (both.0.plus(by), both.1.saturating_add(by));
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn set_wall(&self, to: UnixMs) {
        self.0.lock().0 = to;
    }
}

/// See the module. Pure: it is told both times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuardedClock {
    reading: UnixMs,
    monotonic: Duration,
}

impl GuardedClock {
    /// Goes on from a stored reading; monotonic time before `monotonic` is not known and counts
    /// for nothing.
    pub fn resume(stored: UnixMs, monotonic: Duration) -> Self {
        Self { reading: stored, monotonic }
    }

    pub fn reading(&self) -> UnixMs {
        self.reading
    }

    /// Follows the wall clock as far as the rule allows.
    pub fn advance(&mut self, (wall, monotonic): (UnixMs, Duration)) -> UnixMs {
        let passed = monotonic.saturating_sub(self.monotonic);
        self.monotonic = self.monotonic.max(monotonic);
        let most = self.reading.plus(passed.saturating_mul(2));
        self.reading = wall.clamp(self.reading, most);
        self.reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_follows_a_wall_clock_that_behaves() {
        let mut clock = GuardedClock::resume(UnixMs(10_000), Duration::ZERO);
        assert_eq!(clock.advance((UnixMs(11_000), SECOND)), UnixMs(11_000));
        assert_eq!(clock.advance((UnixMs(12_000), SECOND * 2)), UnixMs(12_000));
    }

    #[test]
    fn a_jump_forward_is_followed_at_twice_monotonic_time_at_the_most() {
        let mut clock = GuardedClock::resume(UnixMs(10_000), Duration::ZERO);
        let year = UnixMs(10_000).plus(Duration::from_secs(31_536_000));
        assert_eq!(clock.advance((year, Duration::ZERO)), UnixMs(10_000));
        assert_eq!(clock.advance((year, SECOND)), UnixMs(12_000));
        assert_eq!(clock.advance((year, SECOND)), UnixMs(12_000), "no time has passed");
    }

    #[test]
    fn a_jump_back_stops_it_until_the_wall_clock_is_there_again() {
        let mut clock = GuardedClock::resume(UnixMs(10_000), Duration::ZERO);
        assert_eq!(clock.advance((UnixMs(5_000), SECOND)), UnixMs(10_000));
        assert_eq!(clock.advance((UnixMs(10_500), SECOND * 7)), UnixMs(10_500));
    }

    #[test]
    fn a_restart_gives_no_credit_for_the_time_between() {
        let clock = SimulatedClock::at(UnixMs(10_000));
        let seam = Clock::Simulated(Arc::clone(&clock));
        let mut first = GuardedClock::resume(UnixMs(10_000), seam.read().1);
        clock.pass(SECOND);
        let stored = first.advance(seam.read());
        clock.set_wall(UnixMs(99_000_000));
        let mut second = GuardedClock::resume(stored, seam.read().1);
        assert_eq!(second.advance(seam.read()), UnixMs(11_000));
        clock.pass(SECOND);
        assert_eq!(second.advance(seam.read()), UnixMs(13_000));
    }
}
