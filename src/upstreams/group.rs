//! An upstream as all cores share it: its endpoints of this moment, what is under way, the budget
//! for repetitions, the places where their number is limited.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::Semaphore;

use crate::config::{Balance, HashKey, ServerAddress, Upstream};
use crate::sockets::dial::Secure;

use super::choice::Pick;
use super::endpoint::{Address, Endpoint, Moment};
use super::set::EndpointSet;

/// See the module.
pub struct Group {
    pub config: Upstream,
    /// The one endpoint of an upstream that can never have another.
    sole: Option<Arc<Endpoint>>,
    set: ArcSwap<EndpointSet>,
    changing: Mutex<()>,
    pub(super) deciding: Mutex<()>,
    born: Instant,
    turn: AtomicUsize,
    in_flight: AtomicU32,
    repeats: AtomicU32,
    /// One for each request that may be under way, where that is limited.
    pub places: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
    /// Of `tls`; replaced when its files change.
    client: Option<ArcSwap<ClientConfig>>,
    /// What became of the names, one entry for each configured server.
    resolutions: Mutex<Vec<Resolution>>,
}

/// How the last look-up of a server's name went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// An address or a socket: there is nothing to look up.
    Fixed,
    Pending,
    Resolved,
    /// Why not. Addresses found before are used on.
    Failed(String),
}

/// A request that is under way to an endpoint.
pub struct Busy {
    group: Arc<Group>,
    endpoint: Arc<Endpoint>,
}

/// A repetition that is under way, out of the budget.
pub struct Repeat(Arc<Group>);

/// A request that waits for a place.
pub struct Waiting(Arc<Group>);

impl Group {
    pub(super) fn new(config: Upstream, former: Option<&Group>) -> Self {
        let mut endpoints = Vec::new();
        let mut resolutions = Vec::new();
        for (index, server) in config.servers.iter().enumerate() {
            let fixed = fixed_address(&server.address);
            resolutions.push(match fixed {
                Some(_) => Resolution::Fixed,
                None => Resolution::Pending,
            });
            if let Some(address) = fixed {
                let known = former.and_then(|former| former.known(&config, index, &address));
                let new = || Endpoint::new(index, address, server.weight, server.backup);
                endpoints.push(known.unwrap_or_else(|| Arc::new(new())));
            } else if let Some(former) = former {
                // The addresses known so far, until the name is looked up again.
                let set = former.set();
                let known = set.all().iter().filter(|endpoint| {
                    former.may_take_over(&config, index, endpoint)
                        && endpoint.backup >= server.backup
                });
                endpoints.extend(known.map(Arc::clone));
            }
        }
        let sole = match (endpoints.as_slice(), resolutions.as_slice()) {
            ([one], [Resolution::Fixed]) => Some(Arc::clone(one)),
            _ => None,
        };
        let set = ArcSwap::from_pointee(new_set(&config, endpoints));
        let places = config.concurrency.as_ref().map(|limit| Arc::new(Semaphore::new(limit.max)));
        let client = config.tls.as_ref().map(|tls| ArcSwap::new(Arc::clone(&tls.client)));
        Self {
            client,
            sole,
            set,
            changing: Mutex::new(()),
            deciding: Mutex::new(()),
            born: former.map_or_else(Instant::now, |former| former.born),
            turn: AtomicUsize::new(0),
            in_flight: AtomicU32::new(0),
            repeats: AtomicU32::new(0),
            places,
            waiting: AtomicUsize::new(0),
            resolutions: Mutex::new(resolutions),
            config,
        }
    }

    /// An endpoint of this group that the next one may go on with: its state holds, and so do the
    /// connections to it.
    fn known(&self, config: &Upstream, index: usize, address: &Address) -> Option<Arc<Endpoint>> {
        let set = self.set();
        let known = set.all().iter().find(|endpoint| {
            endpoint.address == *address && self.may_take_over(config, index, endpoint)
        });
        known.map(Arc::clone)
    }

    fn may_take_over(&self, config: &Upstream, index: usize, endpoint: &Endpoint) -> bool {
        let (Some(new), Some(old)) = (config.servers.get(index), self.config.servers.get(index))
        else {
            return false;
        };
        new == old
            && endpoint.server == index
            && config.tls == self.config.tls
            && config.health == self.config.health
    }

    /// How TLS is spoken to a server; `None`: it is not.
    pub fn secure(&self, endpoint: &Endpoint) -> Option<Secure> {
        let client = self.client.as_ref()?;
        let ServerAddress::Tcp { host, tls: true, .. } =
            &self.config.servers.get(endpoint.server)?.address
        else {
            return None;
        };
        let name = self.config.tls.as_ref().and_then(|tls| tls.server_name.clone());
        // A host that is no name for TLS was refused with the configuration.
        let name = name.or_else(|| ServerName::try_from(host.clone()).ok())?;
        Some(Secure { config: client.load_full(), name })
    }

    /// The files of `tls` have changed: new connections use what is in them now.
    pub fn set_client(&self, client: Arc<ClientConfig>) {
        if let Some(current) = &self.client {
            current.store(client);
        }
    }

    pub fn sole(&self) -> Option<&Arc<Endpoint>> {
        self.sole.as_ref()
    }

    pub fn set(&self) -> Guard<Arc<EndpointSet>> {
        self.set.load()
    }

    /// The time of day of this group.
    pub fn moment(&self, now: Instant) -> Moment {
        Moment::default().plus(now.saturating_duration_since(self.born))
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How the next request is placed; `key`: the hash of what it is placed by, if it has that.
    pub fn pick(&self, key: Option<u64>) -> Pick {
        match (&self.config.balance, key) {
            (Balance::RoundRobin, _) => Pick::Turn(self.turn.fetch_add(1, Ordering::Relaxed)),
            (Balance::Hash(_), Some(key)) => Pick::Hash { key, in_flight: self.in_flight() },
            (Balance::Hash(_), None) | (Balance::LeastRequest, _) => Pick::LeastRequest,
        }
    }

    /// What requests are placed by.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.config.balance {
            Balance::Hash(key) if self.sole.is_none() => Some(key),
            Balance::Hash(_) | Balance::LeastRequest | Balance::RoundRobin => None,
        }
    }

    pub fn begin(self: &Arc<Self>, endpoint: &Arc<Endpoint>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.begin();
        Busy { group: Arc::clone(self), endpoint: Arc::clone(endpoint) }
    }

    /// Room in the budget for one more repetition: a share of what is under way, and a few in any
    /// case. Without a bound, repetitions finish off servers that are merely slow.
    pub fn repeat(self: &Arc<Self>) -> Option<Repeat> {
        let retry = &self.config.retry;
        let share = u64::from(self.in_flight()) * u64::from(retry.budget_percent) / 100;
        let most = u32::try_from(share).unwrap_or(u32::MAX).max(retry.budget_min);
        let before = self.repeats.fetch_add(1, Ordering::Relaxed);
        let repeat = Repeat(Arc::clone(self));
        (before < most).then_some(repeat)
    }

    /// A place in the queue, unless it is full.
    pub fn queue(self: &Arc<Self>, most: usize) -> Option<Waiting> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(Arc::clone(self));
        (before < most).then_some(waiting)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A name was looked up. Addresses that stay keep their state; those that are new warm up; the
    /// others are left to finish what they have.
    pub fn resolved(&self, index: usize, found: &[(SocketAddr, bool)], now: Moment) -> bool {
        let Some(server) = self.config.servers.get(index) else { return false };
        let _changing = self.changing.lock();
        if let Some(resolution) = self.resolutions.lock().get_mut(index) {
            *resolution = Resolution::Resolved;
        }
        let set = self.set.load_full();
        let (ours, mut next): (Vec<Arc<Endpoint>>, Vec<Arc<Endpoint>>) =
            set.all().iter().map(Arc::clone).partition(|endpoint| endpoint.server == index);
        let mut kept = 0;
        for (address, second) in found {
            let (address, backup) = (Address::Tcp(*address), server.backup || *second);
            let same = |e: &&Arc<Endpoint>| e.address == address && e.backup == backup;
            if let Some(known) = ours.iter().find(same) {
                kept += 1;
                next.push(Arc::clone(known));
                continue;
            }
            let endpoint = Endpoint::new(index, address, server.weight, backup);
            if !ours.is_empty() {
                endpoint.warm_up(now);
            }
            next.push(Arc::new(endpoint));
        }
        if kept == ours.len() && kept == found.len() {
            return false;
        }
        for endpoint in &ours {
            endpoint.set_gone(!next.iter().any(|other| Arc::ptr_eq(other, endpoint)));
        }
        next.sort_by_key(|endpoint| endpoint.server);
        self.set.store(Arc::new(new_set(&self.config, next)));
        true
    }

    /// A look-up failed: the addresses found before stay.
    pub fn unresolved(&self, index: usize, why: String) {
        if let Some(resolution) = self.resolutions.lock().get_mut(index) {
            *resolution = Resolution::Failed(why);
        }
    }

    pub fn resolution(&self, index: usize) -> Resolution {
        self.resolutions.lock().get(index).cloned().unwrap_or(Resolution::Fixed)
    }
}

fn new_set(config: &Upstream, endpoints: Vec<Arc<Endpoint>>) -> EndpointSet {
    let (ring, turns) = match config.balance {
        Balance::LeastRequest => (false, false),
        Balance::RoundRobin => (false, true),
        Balance::Hash(_) => (true, false),
    };
    EndpointSet::new(endpoints, ring, turns)
}

/// `None`: a name.
fn fixed_address(address: &ServerAddress) -> Option<Address> {
    match address {
        ServerAddress::Unix(path) => Some(Address::Unix(path.clone())),
        ServerAddress::Tcp { host, port, .. } => {
            host.parse().ok().map(|ip| Address::Tcp(SocketAddr::new(ip, *port)))
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.endpoint.end();
        self.group.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        self.0.repeats.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::super::Registry;
    use super::*;

    /// An upstream out of its lines in the file.
    pub fn upstream(servers: &str, lines: &str) -> Upstream {
        let text = format!(
            "[[issuer]]\nname = \"a\"\nissuer = \"a\"\naudiences = [\"a\"]\n\
             keys = {{ secret_env = \"S\" }}\n[[upstream]]\nname = \"app\"\n\
             servers = [{servers}]\n{lines}\n[[route]]\npath = \"/\"\nupstream = \"app\"\n"
        );
        let secret = |_: &str| Some("0123456789abcdef0123456789abcdef0123456789abcdef".to_owned());
        let loaded = crate::config::parse(&text, Path::new("gateway.toml"), &secret);
        loaded.unwrap_or_else(|found| panic!("{found}")).config.upstreams.remove(0)
    }

    fn addresses(list: &[&str]) -> Vec<(SocketAddr, bool)> {
        list.iter().map(|address| (address.parse().unwrap(), false)).collect()
    }

    #[test]
    fn a_new_address_leaves_the_others_and_their_state_alone() {
        let group = Registry::default().group(upstream("\"http://app.test:80\"", ""));
        assert_eq!(group.resolution(0), Resolution::Pending);
        assert!(group.set().all().is_empty());
        assert!(group.resolved(0, &addresses(&["10.0.0.1:80", "10.0.0.2:80"]), Moment(0)));
        let before = group.set().all().to_vec();
        assert!(!group.resolved(0, &addresses(&["10.0.0.2:80", "10.0.0.1:80"]), Moment(1)));
        assert!(group.resolved(0, &addresses(&["10.0.0.2:80", "10.0.0.3:80"]), Moment(2)));
        let after = group.set().all().to_vec();
        assert!(Arc::ptr_eq(&before[1], &after[0]));
        assert!(before[0].is_gone() && !before[1].is_gone());
        group.unresolved(0, "no such name".to_owned());
        assert_eq!(group.set().all().len(), 2, "the last good ones stay");
    }

    #[test]
    fn the_budget_is_a_share_of_what_is_under_way_and_a_few_at_least() {
        let lines = "retry = { budget_percent = 20, budget_min = 2 }";
        let servers = "\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"";
        let group = Registry::default().group(upstream(servers, lines));
        let first = group.repeat();
        let second = group.repeat();
        assert!(first.is_some() && second.is_some() && group.repeat().is_none());
        drop(first);
        assert!(group.repeat().is_some());
        let endpoint = Arc::clone(&group.set().all()[0]);
        let busy: Vec<Busy> = (0..50).map(|_| group.begin(&endpoint)).collect();
        let repeats: Vec<Repeat> = std::iter::from_fn(|| group.repeat()).collect();
        assert_eq!(repeats.len(), 9, "20 % of 50, one of which is taken");
        drop((busy, repeats, second));
        assert_eq!((group.in_flight(), endpoint.in_flight()), (0, 0));
    }
}
