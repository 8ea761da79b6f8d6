//! One address of a server: what it is, how it does. Shared by all cores.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Where a connection goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    pub fn shown(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Milliseconds since the group was made; times of different groups do not compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// What active checks say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Not checked, or not yet: used.
    Unknown,
    Up,
    Down,
}

/// Names an endpoint in the pools of the cores. The slot is used again when the endpoint is gone;
/// the serial never is, so that no connection is taken for one to another server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub slot: usize,
    pub serial: u64,
}

/// See the module.
pub struct Endpoint {
    key: Key,
    /// Which of the configured servers it belongs to.
    pub server: usize,
    pub address: Address,
    pub weight: u32,
    /// Used only while no other can be.
    pub backup: bool,
    health: AtomicU8,
    in_flight: AtomicU32,
    /// Requests in a row that failed.
    pub(super) failures: AtomicU32,
    /// It gets no request before then; 0: never ejected.
    pub(super) ejected_until: AtomicU64,
    /// Ejections one soon after the other: each is longer.
    pub(super) ejections: AtomicU32,
    /// Since when it takes a growing share of requests; 0: it takes its whole share.
    warm_since: AtomicU64,
    /// Its name no longer resolves to it.
    gone: AtomicBool,
    /// Why the last check failed, for people.
    detail: Mutex<Option<String>>,
}

impl Endpoint {
    pub fn new(server: usize, address: Address, weight: u32, backup: bool) -> Self {
        Self {
            key: slots::take(),
            server,
            address,
            weight: weight.max(1),
            backup,
            health: AtomicU8::new(0),
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            warm_since: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            detail: Mutex::new(None),
        }
    }

    pub fn key(&self) -> Key {
        self.key
    }

    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// What a check found, and why where it failed.
    pub fn set_health(&self, health: Health, detail: Option<String>) {
        let code = match health {
            Health::Unknown => 0,
            Health::Up => 1,
            Health::Down => 2,
        };
        *self.detail.lock() = detail;
        self.health.store(code, Ordering::Relaxed);
    }

    /// Why the last check failed.
    pub fn detail(&self) -> Option<String> {
        self.detail.lock().clone()
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn is_ejected(&self, now: Moment) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now.0
    }

    pub fn ejected_until(&self) -> Moment {
        Moment(self.ejected_until.load(Ordering::Relaxed))
    }

    /// It may get requests.
    pub fn is_usable(&self, now: Moment) -> bool {
        self.health() != Health::Down && !self.is_ejected(now)
    }

    /// Begins its slow start.
    pub fn warm_up(&self, now: Moment) {
        self.warm_since.store(now.0.max(1), Ordering::Relaxed);
    }

    /// The share of its weight that it takes, of 256: a tenth at first, all of it when `window` has
    /// passed.
    pub fn share(&self, now: Moment, window: Duration) -> u32 {
        let since = self.warm_since.load(Ordering::Relaxed);
        if since == 0 || window.is_zero() {
            return 256;
        }
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        let passed = now.0.saturating_sub(since);
        if passed >= window_ms {
            self.warm_since.store(0, Ordering::Relaxed);
            return 256;
        }
        u32::try_from(26 + passed * 230 / window_ms).unwrap_or(256).min(256)
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub fn set_gone(&self, gone: bool) {
        self.gone.store(gone, Ordering::Relaxed);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        slots::give_back(self.key.slot);
    }
}

/// Numbers for the pools: small, and used again.
mod slots {
    use parking_lot::Mutex;

    use super::Key;

    struct Slots {
        free: Vec<usize>,
        next: usize,
        serial: u64,
    }

    static SLOTS: Mutex<Slots> = Mutex::new(Slots { free: Vec::new(), next: 0, serial: 0 });

    pub fn take() -> Key {
        let mut slots = SLOTS.lock();
        slots.serial += 1;
        let serial = slots.serial;
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.next += 1;
            slots.next - 1
        });
        Key { slot, serial }
    }

    pub fn give_back(slot: usize) {
        SLOTS.lock().free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(0, Address::Tcp(([127, 0, 0, 1], 80).into()), 1, false)
    }

    #[test]
    fn a_slow_start_grows_from_a_tenth_to_all() {
        let endpoint = endpoint();
        let window = Duration::from_secs(10);
        assert_eq!(endpoint.share(Moment(5_000), window), 256);
        endpoint.warm_up(Moment(5_000));
        assert_eq!(endpoint.share(Moment(5_000), window), 26);
        let half = endpoint.share(Moment(10_000), window);
        assert!((130..160).contains(&half), "{half}");
        assert_eq!(endpoint.share(Moment(15_000), window), 256);
        endpoint.warm_up(Moment(5_000));
        assert_eq!(endpoint.share(Moment(5_000), Duration::ZERO), 256);
    }

    #[test]
    fn no_two_endpoints_have_one_key_even_when_a_slot_is_used_again() {
        let first = endpoint();
        let key = first.key();
        drop(first);
        let others: Vec<Endpoint> = (0..64).map(|_| endpoint()).collect();
        assert!(others.iter().all(|other| other.key() != key));
    }
}
