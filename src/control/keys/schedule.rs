//! When to fetch again. Pure: what the server said about freshness, within the configured bounds;
//! how long to wait after a failure. A little before the end, and never all gateways at once.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, RETRY_AFTER};

use crate::clock::UnixMs;
use crate::config::RemoteKeys;

/// Where the server says nothing.
const DEFAULT: Duration = Duration::from_secs(300);
/// The first pause after a failure; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// How long an answer counts as fresh: RFC 9111 section 4.2.1, `max-age` before `Expires`, less its
/// age. `no-store` and `no-cache` mean at once, which the bounds then turn into the least.
pub fn freshness(headers: &HeaderMap, now: UnixMs) -> Option<Duration> {
    let mut directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase());
    let mut max_age = None;
    if directives.any(|directive| match directive.split_once('=') {
        Some(("max-age", seconds)) => {
            max_age = max_age.or(seconds.trim_matches('"').parse::<u64>().ok());
            false
        }
        Some(_) => false,
        None => matches!(directive.as_str(), "no-store" | "no-cache"),
    }) {
        return Some(Duration::ZERO);
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(seconds) = max_age {
        let age = text(AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
        return Some(Duration::from_secs(seconds.saturating_sub(age)));
    }
    let expires = text(EXPIRES)?;
    let from = text(DATE).and_then(http_date).unwrap_or(now);
    // A date that cannot be read is in the past (RFC 9111 section 5.3).
    Some(http_date(expires).map_or(Duration::ZERO, |until| until.since(from)))
}

/// RFC 9110 section 5.6.7, the form that is still sent.
fn http_date(text: &str) -> Option<UnixMs> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(UnixMs(at.timestamp().as_millisecond()))
}

/// How long a server that was asked in vain may say that it wants to be left alone.
const LEFT_ALONE: Duration = Duration::from_secs(300);
/// At a start one fetch begins in so long, on average, where keys were kept and nothing hurries.
const APART: Duration = Duration::from_millis(10);

/// `Retry-After` (RFC 9110 section 10.2.3) in seconds or as a date.
pub fn retry_after(headers: &HeaderMap, now: UnixMs) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| Some(http_date(text)?.since(now)))
}

/// What of it is heeded.
pub fn left_alone(said: Option<Duration>, bounds: &RemoteKeys) -> Duration {
    said.unwrap_or_default().min(LEFT_ALONE).min(bounds.refresh_max)
}

/// Until the first fetch of one of `count` sources that start together.
pub fn at_start(count: usize, chance: u8) -> Duration {
    let all = APART.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    all.mul_f64(f64::from(chance) / 255.0)
}

/// Until the next fetch after a good one. `chance` is from 0 to 255.
pub fn after_success(said: Option<Duration>, bounds: &RemoteKeys, chance: u8) -> Duration {
    let fresh = said.unwrap_or(DEFAULT).clamp(bounds.refresh_min, bounds.refresh_max);
    // Between three quarters of it and nearly all.
    fresh.mul_f64(0.75 + 0.2 * f64::from(chance) / 255.0)
}

/// Until the next fetch after `failures` bad ones in a row, the first being 1.
pub fn after_failure(failures: u32, chance: u8) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(8));
    doubled.min(RETRY_LAST).mul_f64(0.75 + 0.5 * f64::from(chance) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        freshness(&headers, UnixMs::from_secs(784_111_777))
    }

    fn seconds(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count))
    }

    #[test]
    fn freshness_is_what_rfc_9111_says() {
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[("cache-control", "public, max-age=600")]), seconds(600));
        assert_eq!(said(&[("cache-control", "Max-Age=\"60\"")]), seconds(60));
        assert_eq!(said(&[("cache-control", "max-age=600"), ("age", "500")]), seconds(100));
        assert_eq!(said(&[("cache-control", "max-age=60"), ("age", "500")]), seconds(0));
        assert_eq!(said(&[("cache-control", "max-age=600, no-store")]), seconds(0));
        assert_eq!(said(&[("cache-control", "max-age=lots")]), None);
        let expires = ("expires", "Sun, 06 Nov 1994 08:59:37 GMT");
        assert_eq!(said(&[expires]), seconds(600));
        assert_eq!(said(&[expires, ("date", "Sun, 06 Nov 1994 08:58:37 GMT")]), seconds(60));
        assert_eq!(said(&[expires, ("cache-control", "max-age=5")]), seconds(5));
        assert_eq!(said(&[("expires", "0")]), seconds(0));
    }

    #[test]
    fn the_next_fetch_is_ahead_of_the_end_and_within_the_bounds() {
        let bounds = crate::control::keys::tests::remote();
        let (least, most) = (bounds.refresh_min, bounds.refresh_max);
        for said in [None, seconds(0), seconds(70), seconds(1 << 40)] {
            for chance in [0, 128, 255] {
                let next = after_success(said, &bounds, chance);
                assert!(next >= least.mul_f64(0.7) && next < most, "{said:?} {chance}: {next:?}");
            }
        }
        assert!(after_success(None, &bounds, 0) != after_success(None, &bounds, 255));
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_says_within_bounds() {
        let bounds = crate::control::keys::tests::remote();
        let said = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            let said = retry_after(&headers, UnixMs::from_secs(784_111_777));
            left_alone(said, &bounds).as_secs()
        };
        assert_eq!(said("7"), 7);
        assert_eq!(said("Sun, 06 Nov 1994 08:50:37 GMT"), 60);
        assert_eq!(said("Sun, 06 Nov 1994 08:00:00 GMT"), 0);
        assert_eq!((said("soon"), said("-1"), said("")), (0, 0, 0));
        assert_eq!(said("99999999999"), 300);
    }

    #[test]
    fn those_that_start_together_begin_apart() {
        assert!(at_start(1, 255) <= APART);
        assert_eq!(at_start(1000, 0), Duration::ZERO);
        assert_eq!(at_start(1000, 255), Duration::from_secs(10));
    }

    #[test]
    fn retries_grow_apart_and_never_stop() {
        let pauses: Vec<_> = (1..20).map(|failures| after_failure(failures, 128)).collect();
        assert!(pauses.is_sorted());
        assert!(pauses.iter().all(|pause| *pause <= RETRY_LAST.mul_f64(1.25)));
        assert!(after_failure(1, 0) >= RETRY_FIRST.mul_f64(0.7));
        assert!(after_failure(u32::MAX, 255) <= RETRY_LAST.mul_f64(1.25));
    }
}
