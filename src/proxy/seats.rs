//! Connections of one address, so that one alone cannot take all places. Counted over all cores when
//! a connection begins and when it ends, and never per request.
//!
//! What always holds: an address is here only while it has a connection, so the table is never
//! larger than the number of connections. IPv6 counts by /64.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::client_address::network;

/// So that cores seldom wait for each other.
const SHARDS: usize = 16;

/// See the module.
#[derive(Default)]
pub struct Seats([Mutex<HashMap<u128, usize>>; SHARDS]);

/// A connection of its address, until it is dropped.
pub struct Seat {
    seats: Arc<Seats>,
    network: u128,
}

impl Seats {
    /// `None`: the address has `max` already.
    pub fn take(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<Seat> {
        let network = network(address);
        let mut shard = self.shard(network)?.lock();
        let taken = shard.entry(network).or_default();
        if *taken >= max {
            return None;
        }
        *taken += 1;
        Some(Seat { seats: Arc::clone(self), network })
    }

    fn shard(&self, network: u128) -> Option<&Mutex<HashMap<u128, usize>>> {
        // The bits that differ: the low ones of IPv4, and of the /64 of IPv6.
        self.0.get(usize::try_from(network % SHARDS as u128).ok()?)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(shard) = self.seats.shard(self.network) else { return };
        let mut shard = shard.lock();
        if let Some(taken) = shard.get_mut(&self.network) {
            *taken -= 1;
            if *taken == 0 {
                shard.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_gives_each_back_and_nobody_else_notices() {
        let seats = Arc::<Seats>::default();
        let take = |address: &str| seats.take(address.parse().unwrap(), 2);
        let (first, second) = (take("2001:db8::1"), take("2001:db8::ffff:1"));
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8::2").is_none(), "the same /64");
        assert!(take("2001:db8:0:1::1").is_some());
        assert!(take("192.0.2.1").is_some());
        drop(first);
        assert!(take("2001:db8::2").is_some());
        drop(second);
        assert!(seats.0.iter().all(|shard| shard.lock().is_empty()), "none is left behind");
    }
}
