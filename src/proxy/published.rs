//! What the data plane knows: compiled once from the configuration and the control plane's shared
//! parts, published by one atomic swap, never changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Carrier, Config, Forwarded, IpNet, Limits};
use crate::denylist::Denylist;
use crate::upstreams::{Group, Key, Registry};
use crate::verify::Verifier;

use super::answer::AnswerPolicy;
use super::headers::GuardedNames;
use super::route::{Route, RouteTable};
use super::upstream::Upstream;

/// See the module.
pub struct Published {
    pub routes: RouteTable,
    /// Those of the configuration, also where no route leads there.
    pub upstreams: Vec<Arc<Upstream>>,
    pub verifier: Arc<Verifier>,
    pub denylist: Arc<Denylist>,
    pub carriers: Carriers,
    pub guarded: Arc<GuardedNames>,
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of our own pages, besides the one that a request was sent to.
    pub external_origins: Vec<String>,
    pub forwarded: Forwarded,
    pub limits: Limits,
    pub token_bytes_max: usize,
    pub answers: AnswerPolicy,
    pub access_log: crate::config::AccessLog,
    pub log_subject: bool,
}

/// Every carrier of a credential that the configuration names anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Carriers {
    pub bearer: bool,
    pub cookies: Vec<String>,
}

/// Compiles a valid configuration. References were checked when it was made valid; a route whose
/// upstream is missing all the same is left out and so answers 404.
pub fn compile(
    config: &Config,
    verifier: Arc<Verifier>,
    denylist: Arc<Denylist>,
    registry: &mut Registry,
) -> Published {
    let upstreams: HashMap<&str, Arc<Upstream>> = config
        .upstreams
        .iter()
        .map(|upstream| (upstream.name.as_str(), Arc::new(Upstream::new(upstream, registry))))
        .collect();
    let routes = config.routes.iter().filter_map(|route| {
        let upstream = Arc::clone(upstreams.get(route.upstream.as_str())?);
        Some(Arc::new(Route {
            name: Arc::from(route.name.as_str()),
            host: route.host.clone(),
            path: route.path.clone(),
            access: route.access,
            credentials: route.credentials.clone(),
            forward: route.forward,
            identity: route.identity.clone(),
            require: route.require.clone(),
            issuers: route.issuers.clone(),
            upstream,
        }))
    });
    let identity = config.routes.iter().flat_map(|route| &route.identity);
    Published {
        routes: RouteTable::new(routes.collect()),
        upstreams: config
            .upstreams
            .iter()
            .filter_map(|upstream| upstreams.get(upstream.name.as_str()).map(Arc::clone))
            .collect(),
        verifier,
        denylist,
        carriers: Carriers::named_in(config),
        guarded: Arc::new(GuardedNames::new(identity.map(|(name, _)| name.clone()))),
        trusted_proxies: config.server.trusted_proxies.clone(),
        external_origins: config.server.external_origins.clone(),
        forwarded: config.server.forwarded,
        limits: config.server.limits.clone(),
        token_bytes_max: config.server.limits.token_bytes_max,
        answers: AnswerPolicy { reveal_reason: config.server.reveal_reason },
        access_log: config.log.access,
        log_subject: config.log.subject,
    }
}

impl Published {
    /// What both planes share of the upstreams.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.upstreams.iter().map(|upstream| Arc::clone(&upstream.group)).collect()
    }

    /// How long each endpoint's idle connections are kept.
    pub(super) fn idle_timeouts(&self) -> HashMap<usize, (u64, Duration)> {
        let mut timeouts = HashMap::new();
        for upstream in &self.upstreams {
            for endpoint in upstream.group.set().all() {
                let Key { slot, serial } = endpoint.key();
                timeouts.insert(slot, (serial, upstream.config().idle_timeout));
            }
        }
        timeouts
    }
}

impl Carriers {
    fn named_in(config: &Config) -> Self {
        let mut carriers = Self::default();
        for carrier in config.routes.iter().flat_map(|route| &route.credentials) {
            match carrier {
                Carrier::Bearer => carriers.bearer = true,
                Carrier::Cookie(name) if carriers.cookies.contains(name) => {}
                Carrier::Cookie(name) => carriers.cookies.push(name.clone()),
            }
        }
        carriers
    }
}
