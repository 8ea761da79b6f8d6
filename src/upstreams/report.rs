//! How the upstreams do, for people: what the admin API and the event log say.

use std::time::{Duration, Instant};

use crate::config::Balance;

use super::endpoint::{Endpoint, Health, Moment};
use super::group::{Group, Resolution};

/// An upstream.
pub struct GroupReport {
    pub name: String,
    pub balance: &'static str,
    /// `None`: not counted, since there is one server without a limit.
    pub in_flight: Option<u32>,
    pub waiting: usize,
    pub max_connections: Option<usize>,
    pub servers: Vec<ServerReport>,
}

/// One address of a server, or a server without one.
pub struct ServerReport {
    /// As configured.
    pub server: String,
    pub address: Option<String>,
    pub backup: bool,
    pub weight: u32,
    pub state: State,
    pub in_flight: Option<u32>,
    /// Why it is not used, or was not found.
    pub detail: Option<String>,
    pub ejected_for: Option<Duration>,
}

/// In one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Used; no check has looked at it.
    Unchecked,
    Up,
    /// An active check failed.
    Down,
    /// Its requests failed: it gets none for a while.
    Ejected,
    /// Its name has no address yet.
    Unresolved,
}

impl State {
    pub const ALL: [Self; 5] =
        [Self::Unchecked, Self::Up, Self::Down, Self::Ejected, Self::Unresolved];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Unresolved => "unresolved",
        }
    }

    /// Requests are sent there.
    pub fn is_used(self) -> bool {
        matches!(self, Self::Unchecked | Self::Up)
    }
}

/// The state of an endpoint.
pub fn state(endpoint: &Endpoint, now: Moment) -> State {
    if endpoint.health() == Health::Down {
        return State::Down;
    }
    if endpoint.is_ejected(now) {
        return State::Ejected;
    }
    match endpoint.health() {
        Health::Up => State::Up,
        Health::Unknown | Health::Down => State::Unchecked,
    }
}

impl Group {
    pub fn report(&self, now: Instant) -> GroupReport {
        let now = self.moment(now);
        let counted = self.sole().is_none() || self.places.is_some();
        let set = self.set();
        let mut servers = Vec::new();
        for (index, server) in self.config.servers.iter().enumerate() {
            let name = server.address.shown();
            let failed = match self.resolution(index) {
                Resolution::Failed(why) => Some(why),
                Resolution::Fixed | Resolution::Pending | Resolution::Resolved => None,
            };
            let before = servers.len();
            for endpoint in set.all().iter().filter(|endpoint| endpoint.server == index) {
                let state = state(endpoint, now);
                servers.push(ServerReport {
                    server: name.clone(),
                    address: Some(endpoint.address.shown()),
                    backup: endpoint.backup,
                    weight: endpoint.weight,
                    state,
                    in_flight: counted.then(|| endpoint.in_flight()),
                    detail: endpoint.detail().or_else(|| failed.clone()),
                    ejected_for: (state == State::Ejected)
                        .then(|| endpoint.ejected_until().since(now)),
                });
            }
            if servers.len() == before {
                servers.push(ServerReport {
                    server: name,
                    address: None,
                    backup: server.backup,
                    weight: server.weight,
                    state: State::Unresolved,
                    in_flight: None,
                    detail: failed,
                    ejected_for: None,
                });
            }
        }
        GroupReport {
            name: self.config.name.clone(),
            balance: match self.config.balance {
                Balance::LeastRequest => "least_request",
                Balance::RoundRobin => "round_robin",
                Balance::Hash(_) => "hash",
            },
            in_flight: counted.then(|| self.in_flight()),
            waiting: self.waiting(),
            max_connections: self.config.concurrency.as_ref().map(|limit| limit.max),
            servers,
        }
    }
}

impl GroupReport {
    /// Servers to which requests are sent.
    pub fn used(&self) -> usize {
        self.servers.iter().filter(|server| server.state.is_used()).count()
    }
}
