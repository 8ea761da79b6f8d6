//! What the data plane keeps from one configuration to the next, so that a reload forgives nobody,
//! counts from nothing no request that is under way, and costs no client its TLS session. Each is
//! found again by what it is for; what a configuration no longer names is let go.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::server::ProducesTickets;

use crate::config::tls::{CertificateFiles, TlsVersion};
use crate::config::{self, Config};
use crate::upstreams::Registry;

use super::failures::Failures;
use super::route_load::RouteLoad;

/// See the module.
#[derive(Default)]
pub struct Kept {
    /// The groups of servers by upstream.
    pub(super) upstreams: Registry,
    /// With the limit that it counts towards.
    failures: Option<(u64, Arc<Failures>)>,
    /// By route.
    loads: HashMap<String, VecDeque<Arc<RouteLoad>>>,
    pub(super) tickets: Tickets,
    /// Connections that clients have open, by the name of what they came through.
    connections: BTreeMap<String, Arc<AtomicUsize>>,
    /// The gateway takes requests: from the start until a drain begins.
    pub ready: Arc<AtomicBool>,
}

/// Who makes the session tickets of listeners with these certificates, which a ticket stands for.
#[derive(Default)]
pub struct Tickets(Vec<(TicketsFor, Arc<dyn ProducesTickets>)>);

pub type TicketsFor = (Vec<CertificateFiles>, TlsVersion);

impl Kept {
    pub(super) fn failures(&mut self, per_minute: u64) -> Arc<Failures> {
        match &self.failures {
            Some((limit, failures)) if *limit == per_minute => Arc::clone(failures),
            Some(_) | None => {
                let failures = Arc::new(Failures::new(per_minute));
                self.failures = Some((per_minute, Arc::clone(&failures)));
                failures
            }
        }
    }

    /// Of each listener of the configuration, and of those that have gone and whose clients have not.
    pub(super) fn connections(&mut self, config: &Config) -> BTreeMap<String, Arc<AtomicUsize>> {
        let entrance = |listener: &config::Listener| config.entrances.get(listener.entrance);
        let named: BTreeSet<&str> =
            config.listeners.iter().filter_map(entrance).map(|one| one.name.as_str()).collect();
        self.connections
            .retain(|name, open| named.contains(name.as_str()) || open.load(Ordering::Relaxed) > 0);
        for name in named {
            self.connections.entry(name.to_owned()).or_default();
        }
        self.connections.clone()
    }

    /// Of each route that has such a limit. A name that several have stands for them in their order.
    pub(super) fn loads(&mut self, routes: &[config::Route]) -> Vec<Option<Arc<RouteLoad>>> {
        let mut before = std::mem::take(&mut self.loads);
        let mut load = |route: &config::Route| {
            let max = route.limits.requests_max?;
            let of_this = before.get_mut(&route.name).and_then(VecDeque::pop_front);
            let load = of_this.unwrap_or_default();
            load.limit(max);
            self.loads.entry(route.name.clone()).or_default().push_back(Arc::clone(&load));
            Some(load)
        };
        routes.iter().map(&mut load).collect()
    }
}

impl Tickets {
    /// Begins anew: what is not asked for again is let go with the former.
    pub fn again(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The one of before for the same, or of this time, or a new one.
    pub fn of(
        &mut self,
        before: &Self,
        wanted: TicketsFor,
        make: impl FnOnce() -> Option<Arc<dyn ProducesTickets>>,
    ) -> Option<Arc<dyn ProducesTickets>> {
        let found = self.0.iter().chain(&before.0).find(|(what, _)| *what == wanted);
        let tickets = match found {
            Some((_, tickets)) => Arc::clone(tickets),
            None => make()?,
        };
        self.0.push((wanted, Arc::clone(&tickets)));
        Some(tickets)
    }
}
