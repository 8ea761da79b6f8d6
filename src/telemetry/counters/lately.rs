//! What failed lately at one upstream, for people who ask how it does: how many requests of the last
//! minute, since when, and why the last of them. It is written on faults only.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::Instant;

/// How far back.
const WINDOW_MS: u64 = 60_000;
/// Faults that are forgotten together.
const SLICE_MS: u64 = 5_000;

/// Milliseconds of this process, from 1 on.
pub fn moment(at: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let since = at.saturating_duration_since(*START).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
}

/// See the module.
#[derive(Default)]
pub struct Lately {
    /// When the first of a slice failed, and how many did.
    slices: VecDeque<(u64, u64)>,
    last: (u64, String),
}

/// Faults of the last minute, over all cores.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Failing {
    pub requests: u64,
    /// When the first of them failed.
    since: u64,
    last_at: u64,
    /// Why the last of them did, for people.
    pub cause: String,
}

impl Lately {
    pub fn failed(&mut self, now: u64, cause: String) {
        self.forget(now);
        match self.slices.back_mut() {
            Some((began, count)) if now.saturating_sub(*began) < SLICE_MS => *count += 1,
            Some(_) | None => self.slices.push_back((now, 1)),
        }
        self.last = (now, cause);
    }

    /// Added to what others have seen.
    pub fn add_to(&mut self, sum: &mut Option<Failing>, now: u64) {
        self.forget(now);
        let Some((since, _)) = self.slices.front() else { return };
        let sum = sum.get_or_insert_with(|| Failing { since: *since, ..Failing::default() });
        sum.since = sum.since.min(*since);
        sum.requests += self.slices.iter().map(|(_, count)| count).sum::<u64>();
        if sum.last_at <= self.last.0 {
            (sum.last_at, sum.cause) = self.last.clone();
        }
    }

    fn forget(&mut self, now: u64) {
        let old = |(began, _): &(u64, u64)| now.saturating_sub(*began) > WINDOW_MS;
        while self.slices.front().is_some_and(old) {
            self.slices.pop_front();
        }
    }
}

impl Failing {
    /// Nothing was answered since the first of them, where that was at `answered_at`.
    pub fn are_all(&self, answered_at: u64) -> bool {
        answered_at < self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(cores: &mut [Lately], now: u64) -> Option<Failing> {
        let mut sum = None;
        cores.iter_mut().for_each(|core| core.add_to(&mut sum, now));
        sum
    }

    #[test]
    fn what_failed_within_a_minute_is_told_over_all_cores_with_the_last_reason() {
        let mut cores = [Lately::default(), Lately::default(), Lately::default()];
        assert_eq!(sum(&mut cores, 1), None);
        cores[1].failed(2_000, "refused".to_owned());
        cores[0].failed(1_000, "too late".to_owned());
        cores[0].failed(1_500, "closed".to_owned());
        let told = sum(&mut cores, 3_000).unwrap();
        assert_eq!((told.requests, told.cause.as_str()), (3, "refused"));
        assert!(told.are_all(0) && told.are_all(999) && !told.are_all(1_000));
        let told = sum(&mut cores, 61_500).unwrap();
        assert_eq!(told.requests, 1, "those of a slice are forgotten together");
        assert_eq!(sum(&mut cores, 62_001), None);
    }

    #[test]
    fn ten_thousand_faults_are_a_few_numbers() {
        let mut lately = Lately::default();
        (0..100_000).for_each(|at| lately.failed(at, String::new()));
        assert!(lately.slices.len() <= 14, "{}", lately.slices.len());
        let mut told = None;
        lately.add_to(&mut told, 99_999);
        assert!((60_000..=65_000).contains(&told.unwrap().requests));
    }
}
