//! Wrong credentials cost: each address has a small bucket of failures. Bounded in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::UnixMs;

/// Failures that an address may make at once.
const BURST: u32 = 10;
/// One failure is forgiven in this time.
const REFILL: Duration = Duration::from_secs(6);
/// Addresses remembered. When full, forgiven ones leave; if none is, new addresses share one.
const ADDRESSES_MAX: usize = 4096;

/// The buckets. An IPv6 address counts by its /64, which is what one host can take at will; a
/// unix socket has no address and is not counted.
#[derive(Default)]
pub(super) struct Throttle {
    /// When each bucket will be full of forgiveness again.
    clear_at: Mutex<HashMap<IpAddr, UnixMs>>,
}

impl Throttle {
    /// Notes a failure. `Err`: too many; seconds to wait.
    pub fn fail(&self, address: IpAddr, now: UnixMs) -> Result<(), u64> {
        let mut buckets = self.clear_at.lock();
        let mut address = network(address);
        if !buckets.contains_key(&address) && buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, clear_at| *clear_at > now);
            if buckets.len() >= ADDRESSES_MAX {
                address = IpAddr::from([0, 0, 0, 0]);
            }
        }
        let clear_at = buckets.entry(address).or_insert(now);
        // A clock that jumped back must not lock anyone out for long.
        let full = now.plus(REFILL * BURST);
        *clear_at = (*clear_at).max(now).min(full);
        let after = clear_at.plus(REFILL);
        if after > full {
            let wait = after.since(full);
            return Err(wait.as_secs().max(1));
        }
        *clear_at = after;
        Ok(())
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn failures_beyond_the_burst_wait_and_others_do_not() {
        let throttle = Throttle::default();
        let now = UnixMs::from_secs(1_000);
        for _ in 0..BURST {
            assert_eq!(throttle.fail(at("10.0.0.1"), now), Ok(()));
        }
        assert_eq!(throttle.fail(at("10.0.0.1"), now), Err(6));
        assert_eq!(throttle.fail(at("10.0.0.2"), now), Ok(()));
        assert_eq!(throttle.fail(at("10.0.0.1"), now.plus(REFILL)), Ok(()));
        assert!(throttle.fail(at("10.0.0.1"), now.plus(REFILL)).is_err());
        assert_eq!(throttle.fail(at("10.0.0.1"), now.plus(REFILL * 100)), Ok(()));
    }

    #[test]
    fn an_ipv6_host_cannot_change_its_address_to_start_anew() {
        let throttle = Throttle::default();
        let now = UnixMs::from_secs(1_000);
        for host in 0..BURST {
            assert_eq!(throttle.fail(at(&format!("2001:db8::{host:x}")), now), Ok(()));
        }
        assert!(throttle.fail(at("2001:db8::ffff"), now).is_err());
        assert_eq!(throttle.fail(at("2001:db8:0:1::1"), now), Ok(()));
    }

    #[test]
    fn the_map_is_bounded_and_a_clock_that_jumps_back_locks_nobody_out() {
        let throttle = Throttle::default();
        let now = UnixMs::from_secs(1_000_000);
        for host in 0..10_000_u32 {
            let _ = throttle.fail(IpAddr::from(host.to_be_bytes()), now);
        }
        assert!(throttle.clear_at.lock().len() <= ADDRESSES_MAX + 1);
        for _ in 0..20 {
            let _ = throttle.fail(at("9.9.9.9"), now);
        }
        let before = UnixMs::from_secs(10);
        assert!(throttle.fail(at("9.9.9.9"), before).is_err());
        assert_eq!(throttle.fail(at("9.9.9.9"), before.plus(REFILL)), Ok(()));
    }
}
