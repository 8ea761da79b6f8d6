//! Which endpoint a request goes to. Pure: the time and the random number are arguments.
//!
//! Regular servers that are up and not ejected come first; then backups. When passive ejection has
//! left nobody, the ejected ones are used after all: a gateway that sends nothing helps nobody. What
//! an active check calls down gets nothing.

use std::sync::Arc;

use super::endpoint::{Endpoint, Health, Moment};
use super::set::EndpointSet;

/// How a server is chosen.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    /// The one of two, drawn by weight, with fewer requests in flight for its weight.
    LeastRequest,
    /// In turn; the number of the turn.
    Turn(usize),
    /// By hash of a key, unless that server has more than its share: `in_flight` requests are under
    /// way in the group.
    Hash { key: u64, in_flight: u32 },
}

/// Endpoints that this request was tried on.
#[derive(Default)]
pub struct Tried {
    /// Most requests are tried on one: that costs no allocation. No endpoint has serial 0.
    first: u64,
    more: Vec<u64>,
}

impl Tried {
    pub fn add(&mut self, endpoint: &Endpoint) {
        match self.first {
            0 => self.first = endpoint.key().serial,
            _ => self.more.push(endpoint.key().serial),
        }
    }

    pub fn count(&self) -> usize {
        usize::from(self.first != 0) + self.more.len()
    }

    fn has(&self, endpoint: &Endpoint) -> bool {
        let serial = endpoint.key().serial;
        self.first == serial || self.more.contains(&serial)
    }
}

/// Draws before all are looked at in order.
const DRAWS: u32 = 6;
/// A server takes at most 5/4 of its share before a hashed key goes to the next one.
const BOUND: (u64, u64) = (5, 4);

struct Scene<'s> {
    set: &'s EndpointSet,
    tried: &'s Tried,
    now: Moment,
    slow_start: std::time::Duration,
    random: u64,
}

impl EndpointSet {
    /// `None`: there is none that may be tried.
    pub fn choose<'s>(
        &'s self,
        pick: Pick,
        tried: &'s Tried,
        now: Moment,
        slow_start: std::time::Duration,
        random: u64,
    ) -> Option<&'s Arc<Endpoint>> {
        let mut scene = Scene { set: self, tried, now, slow_start, random };
        let regular = match pick {
            Pick::LeastRequest => None,
            Pick::Turn(number) => scene.by_turn(number),
            Pick::Hash { key, in_flight } => scene.by_hash(key, in_flight),
        };
        regular
            .or_else(|| scene.least_request(false))
            .or_else(|| scene.least_request(true))
            .or_else(|| scene.ejected())
    }
}

impl<'s> Scene<'s> {
    fn may(&self, endpoint: &Endpoint) -> bool {
        endpoint.is_usable(self.now) && !self.tried.has(endpoint)
    }

    fn next_random(&mut self) -> u64 {
        // splitmix64: good enough to spread load, and without state of its own.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// It is warm, or its turn in the slow start comes up.
    fn is_warm(&mut self, endpoint: &Endpoint) -> bool {
        let share = endpoint.share(self.now, self.slow_start);
        share >= 256 || (self.next_random() & 255) < u64::from(share)
    }

    fn part(&self, backups: bool) -> &'s [Arc<Endpoint>] {
        if backups { self.set.backups() } else { self.set.regular() }
    }

    fn least_request(&mut self, backups: bool) -> Option<&'s Arc<Endpoint>> {
        let part = self.part(backups);
        if part.is_empty() {
            return None;
        }
        let mut first: Option<&'s Arc<Endpoint>> = None;
        for _ in 0..DRAWS {
            let random = self.next_random();
            let drawn = part.get(self.set.by_weight(backups, random)?)?;
            if first.is_some_and(|first| Arc::ptr_eq(first, drawn)) || !self.may(drawn) {
                continue;
            }
            if !self.is_warm(drawn) {
                continue;
            }
            match first {
                None => first = Some(drawn),
                Some(one) => return Some(lighter(one, drawn)),
            }
        }
        // Chance has not found two: the next ones in order.
        let start = usize::try_from(self.next_random()).unwrap_or(0) % part.len();
        for endpoint in part.iter().cycle().skip(start).take(part.len()) {
            let other = first.is_none_or(|first| !Arc::ptr_eq(first, endpoint));
            if !other || !self.may(endpoint) {
                continue;
            }
            match first {
                None => first = Some(endpoint),
                Some(one) if self.is_warm(endpoint) => return Some(lighter(one, endpoint)),
                Some(_) => {}
            }
        }
        first
    }

    /// Whose turn it is and no other: were the next one taken in its place, a server would do the work
    /// of each that fails before it. What is left over is shared by all.
    fn by_turn(&mut self, number: usize) -> Option<&'s Arc<Endpoint>> {
        let endpoint = self.set.regular().get(self.set.turn(number)?)?;
        (self.may(endpoint) && self.is_warm(endpoint)).then_some(endpoint)
    }

    fn by_hash(&self, key: u64, in_flight: u32) -> Option<&'s Arc<Endpoint>> {
        let regular = self.set.regular();
        let usable = || regular.iter().filter(|endpoint| self.may(endpoint));
        let weights: u64 = usable().map(|endpoint| u64::from(endpoint.weight)).sum();
        let within = |endpoint: &Endpoint| {
            let bound = (u64::from(in_flight) + 1) * BOUND.0 * u64::from(endpoint.weight);
            u64::from(endpoint.in_flight()) < bound.div_ceil((weights * BOUND.1).max(1))
        };
        let mut first = None;
        for index in self.set.ring().from(key) {
            let endpoint = regular.get(index)?;
            if !self.may(endpoint) {
                continue;
            }
            if within(endpoint) {
                return Some(endpoint);
            }
            first = first.or(Some(endpoint));
        }
        first
    }

    /// Panic: all that are left were ejected.
    fn ejected(&self) -> Option<&'s Arc<Endpoint>> {
        let all = self.set.all();
        let left = |endpoint: &&Arc<Endpoint>| {
            endpoint.health() != Health::Down && !self.tried.has(endpoint)
        };
        let regular = all.iter().filter(left).filter(|endpoint| !endpoint.backup);
        regular.reduce(lighter).or_else(|| all.iter().filter(left).reduce(lighter))
    }
}

/// The one with fewer requests in flight for its weight; the first of equals.
fn lighter<'s>(one: &'s Arc<Endpoint>, two: &'s Arc<Endpoint>) -> &'s Arc<Endpoint> {
    let load = |a: &Endpoint, b: &Endpoint| u64::from(a.in_flight()) * u64::from(b.weight);
    if load(two, one) < load(one, two) { two } else { one }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::super::endpoint::Address;
    use super::*;

    const NOW: Moment = Moment(1_000);

    fn set(servers: &[(u32, bool)]) -> EndpointSet {
        let endpoint = |(index, (weight, backup)): (usize, &(u32, bool))| {
            let port = 9000 + u16::try_from(index).unwrap();
            let address = Address::Tcp(([127, 0, 0, 1], port).into());
            Arc::new(Endpoint::new(index, address, *weight, *backup))
        };
        EndpointSet::new(servers.iter().enumerate().map(endpoint).collect(), true, true)
    }

    fn counts(set: &EndpointSet, picks: impl Iterator<Item = Pick>) -> HashMap<usize, u32> {
        let mut counts = HashMap::new();
        for (number, pick) in picks.enumerate() {
            let random = (number as u64).wrapping_mul(0x1234_5678_9abc_def1);
            let tried = Tried::default();
            let chosen = set.choose(pick, &tried, NOW, Duration::from_secs(10), random);
            *counts.entry(chosen.unwrap().server).or_default() += 1;
        }
        counts
    }

    fn least(count: usize) -> impl Iterator<Item = Pick> {
        std::iter::repeat_n(Pick::LeastRequest, count)
    }

    #[test]
    fn idle_servers_share_by_weight_and_a_busy_one_gets_less() {
        let set = set(&[(3, false), (1, false)]);
        let shares = counts(&set, least(4000));
        assert!((2800..3200).contains(&shares[&0]), "{shares:?}");
        for _ in 0..10 {
            set.all()[0].begin();
        }
        let shares = counts(&set, least(1000));
        assert!(shares[&1] > 900, "{shares:?}");
    }

    #[test]
    fn round_robin_is_exact() {
        let set = set(&[(2, false), (1, false)]);
        let shares = counts(&set, (0..300).map(Pick::Turn));
        assert_eq!((shares[&0], shares[&1]), (200, 100));
    }

    #[test]
    fn the_turns_of_a_server_that_is_out_are_shared_by_all_others() {
        let set = set(&[(1, false), (1, false), (1, false), (1, false)]);
        set.all()[1].set_health(Health::Down, None);
        let shares = counts(&set, (0..4000).map(Pick::Turn));
        assert!([0, 2, 3].iter().all(|index| (1200..1500).contains(&shares[index])), "{shares:?}");
    }

    #[test]
    fn backups_are_used_only_when_nobody_else_is_left() {
        let set = set(&[(1, false), (1, false), (1, true)]);
        assert!(!counts(&set, least(200)).contains_key(&2));
        assert!(!counts(&set, (0..200).map(Pick::Turn)).contains_key(&2));
        for endpoint in set.regular() {
            endpoint.set_health(Health::Down, None);
        }
        for pick in [Pick::LeastRequest, Pick::Turn(0), Pick::Hash { key: 7, in_flight: 0 }] {
            let shares = counts(&set, std::iter::repeat_n(pick, 20));
            assert_eq!(shares.get(&2), Some(&20));
        }
    }

    #[test]
    fn the_ejected_are_used_when_all_are_and_the_down_are_not() {
        let set = set(&[(1, false), (1, false)]);
        for endpoint in set.all() {
            endpoint.ejected_until.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
        }
        assert_eq!(counts(&set, least(10)).values().sum::<u32>(), 10);
        set.all()[0].set_health(Health::Down, None);
        assert_eq!(counts(&set, least(10)), HashMap::from([(1, 10)]));
        set.all()[1].set_health(Health::Down, None);
        let tried = Tried::default();
        assert!(set.choose(Pick::LeastRequest, &tried, NOW, Duration::ZERO, 1).is_none());
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let set = set(&[(1, false), (1, false), (1, false)]);
        let mut tried = Tried::default();
        for _ in 0..3 {
            let chosen =
                set.choose(Pick::LeastRequest, &tried, NOW, Duration::ZERO, 3).unwrap().clone();
            tried.add(&chosen);
        }
        assert!(set.choose(Pick::LeastRequest, &tried, NOW, Duration::ZERO, 3).is_none());
    }

    #[test]
    fn a_key_keeps_its_server_and_a_server_that_leaves_moves_only_its_own_keys() {
        let set = set(&[(1, false), (1, false), (1, false), (1, false)]);
        let server = |key: u64| {
            let pick = Pick::Hash { key: key.wrapping_mul(0x9e37_79b9_7f4a_7c15), in_flight: 0 };
            set.choose(pick, &Tried::default(), NOW, Duration::ZERO, key).unwrap().server
        };
        let before: Vec<usize> = (0..1000).map(server).collect();
        for index in 0..4 {
            let share = before.iter().filter(|server| **server == index).count();
            assert!((120..400).contains(&share), "server {index}: {share}");
        }
        set.all()[2].set_health(Health::Down, None);
        for (key, was) in before.iter().enumerate() {
            let is = server(key as u64);
            assert!(if *was == 2 { is != 2 } else { is == *was });
        }
    }

    #[test]
    fn a_hashed_key_leaves_a_server_that_has_more_than_its_share() {
        let set = set(&[(1, false), (1, false)]);
        let pick = |in_flight| Pick::Hash { key: 42, in_flight };
        let choose = |in_flight| {
            set.choose(pick(in_flight), &Tried::default(), NOW, Duration::ZERO, 0).unwrap().server
        };
        let home = choose(0);
        for _ in 0..20 {
            set.all()[home].begin();
        }
        assert_ne!(choose(20), home, "all 20 are there: over 5/4 of half");
        assert_eq!(choose(100), home, "20 of 100 is within its share");
    }

    #[test]
    fn a_server_in_its_slow_start_gets_a_small_share() {
        let set = set(&[(1, false), (1, false)]);
        set.all()[1].warm_up(NOW);
        let shares = counts(&set, least(2000));
        let warm = shares.get(&1).copied().unwrap_or(0);
        assert!(warm > 0 && warm < 500, "{shares:?}");
    }
}
