//! Failed credentials, counted by client address, so that garbage cannot buy signature checks. Asked
//! only for a token whose signature is not remembered: who is known already is never held up.
//!
//! A fixed table of atomics, shared by the cores: sets of four places, found by a keyed hash. When a
//! set is full the one that owes least makes room, so that many addresses can at worst free each
//! other; nobody can fill the table against somebody else. Each place holds when its address will
//! owe nothing (the generic cell rate algorithm).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::HeaderMap;
use siphasher::sip::SipHasher13;

use crate::verify::{Refused, TokenFault};

use super::client_address::{Client, network};

const SETS: usize = 4096;
const WAYS: usize = 4;
/// What may be owed: a minute's failures, all at once or spread.
const WINDOW_MS: u64 = 60_000;
/// A place: 24 bits that name the address, 40 bits of milliseconds.
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// Tokens whose key may be on its way, for one failure. They cost no signature check.
const UNDECIDED_IN_ONE: u64 = 4;

/// What a credential costs the address that sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cost {
    /// Somebody vouched for it, or nothing could be judged.
    Nothing,
    /// It may be a good one of a key that is not here yet. At a rotation a whole office sends such;
    /// whoever invents key ids sends many more.
    Undecided,
    /// So many failures: one for each signature that was checked in vain.
    Failures(u64),
}

impl Cost {
    pub fn of(refused: &Refused) -> Self {
        if matches!(refused.fault, TokenFault::KeyAwaited { .. }) {
            Self::Undecided
        } else if refused.fault.is_unproven() {
            Self::Failures(refused.tries.max(1) as u64)
        } else {
            Self::Nothing
        }
    }
}

/// See the module.
pub struct Failures {
    /// What one failure costs; `None`: nothing is counted.
    cost_ms: Option<u64>,
    hasher: SipHasher13,
    started: Instant,
    places: Box<[AtomicU64]>,
    /// When it was last said in the log that somebody is refused.
    told_ms: AtomicU64,
}

impl Failures {
    /// So many a minute and address; 0: any number.
    pub fn new(per_minute: u64) -> Self {
        let mut key = [0; 16];
        // Without randomness somebody could aim at another's place; it is a limit, not a proof.
        aws_lc_rs::rand::fill(&mut key).ok();
        let places = if per_minute == 0 { 0 } else { SETS * WAYS };
        Self {
            cost_ms: WINDOW_MS.checked_div(per_minute).map(|cost| cost.max(1)),
            hasher: SipHasher13::new_with_key(&key),
            started: Instant::now(),
            places: (0..places).map(|_| AtomicU64::new(0)).collect(),
            told_ms: AtomicU64::new(0),
        }
    }

    /// May this address have a signature checked? If not: when it may.
    pub fn admit(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.admit_at(address, self.now_ms())
    }

    /// It has failed once more, and it cost this much.
    pub fn note(&self, address: Option<IpAddr>, cost: Cost) {
        self.note_at(address, cost, self.now_ms());
    }

    fn admit_at(&self, address: Option<IpAddr>, now: u64) -> Result<(), Duration> {
        let Some((set, name)) = self.place(address) else { return Ok(()) };
        let owes_until = set
            .iter()
            .map(|place| place.load(Ordering::Relaxed))
            .find(|place| place >> TIME_BITS == name)
            .map_or(0, |place| place & TIME_MASK);
        // There must be room for one more failure.
        let room_until = now + WINDOW_MS.saturating_sub(self.cost_ms.unwrap_or(0));
        match owes_until.saturating_sub(room_until) {
            0 => Ok(()),
            over => Err(Duration::from_millis(over)),
        }
    }

    fn note_at(&self, address: Option<IpAddr>, cost: Cost, now: u64) {
        let (Some((set, name)), Some(one)) = (self.place(address), self.cost_ms) else { return };
        let cost = match cost {
            Cost::Nothing => return,
            Cost::Undecided => one.div_ceil(UNDECIDED_IN_ONE),
            Cost::Failures(count) => one.saturating_mul(count),
        };
        let ours = set.iter().find(|place| place.load(Ordering::Relaxed) >> TIME_BITS == name);
        let owes = |place: &&AtomicU64| place.load(Ordering::Relaxed) & TIME_MASK;
        let Some(place) = ours.or_else(|| set.iter().min_by_key(owes)) else { return };
        let more = |held: u64| {
            let owed = if held >> TIME_BITS == name { held & TIME_MASK } else { 0 };
            let until = owed.max(now) + cost;
            // No more is owed than the window: a minute after the last failure all is forgiven.
            Some(name << TIME_BITS | (until.min(now + WINDOW_MS) & TIME_MASK))
        };
        place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok();
    }

    fn place(&self, address: Option<IpAddr>) -> Option<(&[AtomicU64], u64)> {
        let network = network(address?);
        let hash = self.hasher.hash(&network.to_be_bytes());
        let set = usize::try_from(hash % SETS as u64).ok()? * WAYS;
        // Never 0, which is what an empty place holds.
        let name = (hash >> TIME_BITS) | 1;
        Some((self.places.get(set..set + WAYS)?, name))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Says in the log, once a minute, that somebody is refused; and what may be wrong where that
    /// somebody looks like a proxy.
    pub fn tell(&self, client: Client, headers: &HeaderMap) {
        let now = self.now_ms() + 1;
        let told = self.told_ms.load(Ordering::Relaxed);
        let due = told == 0 || now.saturating_sub(told) >= WINDOW_MS;
        let ours = Ordering::Relaxed;
        if !due || self.told_ms.compare_exchange(told, now, ours, ours).is_err() {
            return;
        }
        let address = client.address().map(|address| address.to_string()).unwrap_or_default();
        let relays = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
        let hint = match relays && client.is_peer() {
            true => "it sends X-Forwarded-For: if it is a proxy, list it in `trusted_proxies`",
            false => "tokens of it that are known already still pass",
        };
        tracing::warn!(address, hint, "too many failed credentials from one address: 429");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Cost = Cost::Failures(1);

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn so_many_failures_a_minute_and_then_none_until_time_has_passed() {
        let failures = Failures::new(60);
        let stranger = ip("192.0.2.1");
        for _ in 0..60 {
            assert_eq!(failures.admit_at(stranger, 5), Ok(()));
            failures.note_at(stranger, ONE, 5);
        }
        let wait = failures.admit_at(stranger, 5).unwrap_err();
        assert!(wait <= Duration::from_secs(2), "{wait:?}");
        assert_eq!(failures.admit_at(ip("192.0.2.2"), 5), Ok(()));
        assert!(failures.admit_at(stranger, 900).is_err());
        assert_eq!(failures.admit_at(stranger, 1_100), Ok(()));
        // However many fail meanwhile, a minute later all is forgiven.
        (0..10_000).for_each(|_| failures.note_at(stranger, ONE, 2_000));
        assert!(failures.admit_at(stranger, 2_000).is_err());
        assert_eq!(failures.admit_at(stranger, 2_000 + 62_000), Ok(()));
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_one_is_ipv4() {
        let failures = Failures::new(1);
        failures.note_at(ip("2001:db8:1:2::1"), ONE, 0);
        assert!(failures.admit_at(ip("2001:db8:1:2:ffff::9"), 0).is_err());
        assert_eq!(failures.admit_at(ip("2001:db8:1:3::1"), 0), Ok(()));
        failures.note_at(ip("::ffff:192.0.2.7"), ONE, 0);
        assert!(failures.admit_at(ip("192.0.2.7"), 0).is_err());
    }

    #[test]
    fn many_addresses_take_no_more_room_and_hold_nobody_else_up() {
        let failures = Failures::new(10);
        for number in 0..200_000_u32 {
            failures.note_at(Some(IpAddr::V4(number.into())), ONE, 0);
        }
        assert_eq!(failures.places.len(), SETS * WAYS);
        let held = (0..10_000_u32)
            .filter(|number| {
                failures.admit_at(Some(IpAddr::V4((number + (1 << 30)).into())), 0).is_err()
            })
            .count();
        assert_eq!(held, 0);
    }

    #[test]
    fn nothing_is_counted_where_the_limit_is_off_or_the_address_unknown() {
        let off = Failures::new(0);
        (0..1_000).for_each(|_| off.note_at(ip("192.0.2.1"), ONE, 0));
        assert_eq!(off.admit_at(ip("192.0.2.1"), 0), Ok(()));
        let on = Failures::new(1);
        on.note_at(None, ONE, 0);
        assert_eq!(on.admit_at(None, 0), Ok(()));
    }

    #[test]
    fn what_cost_more_counts_more_and_what_may_be_good_counts_less() {
        // There must be room for a whole failure: the last quarters are not given away.
        for (cost, taken) in [(Cost::Failures(4), 15), (ONE, 60), (Cost::Undecided, 237)] {
            let failures = Failures::new(60);
            let mut count = 0;
            while failures.admit_at(ip("192.0.2.1"), 0).is_ok() {
                failures.note_at(ip("192.0.2.1"), cost, 0);
                count += 1;
            }
            assert_eq!(count, taken, "{cost:?}");
        }
    }
}
