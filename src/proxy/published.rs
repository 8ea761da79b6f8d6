//! What the data plane knows: compiled once from the configuration and the control plane's shared
//! parts, published by one atomic swap, never changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::config::{self, Carrier, Config, Forwarded, Limits, TrustedProxies};
use crate::denylist::Denylist;
use crate::upstreams::{Group, Key};
use crate::verify::Verifier;

use super::answer::AnswerPolicy;
use super::assertion::{Signing, Vouching};
use super::auth::Auth;
use super::entrance::Entrance;
use super::failures::Failures;
use super::headers::{self, GuardedNames};
use super::kept::Kept;
use super::nudge::Nudges;
use super::readiness::Readiness;
use super::route::{Route, RouteTable, Target};
use super::session::Session;
use super::streams::StreamPolicy;
use super::upstream::Upstream;

/// See the module.
pub struct Published {
    pub routes: RouteTable,
    /// Those of the configuration, also where no route leads there.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Connections that clients have open, by the name of what they came through.
    pub connections: BTreeMap<String, Arc<AtomicUsize>>,
    /// How connections begin, by listener.
    pub entrances: Vec<Arc<Entrance>>,
    pub verifier: Arc<Verifier>,
    pub denylist: Arc<Denylist>,
    /// Failed credentials by address.
    pub failures: Arc<Failures>,
    /// How to ask for fresher keys.
    pub nudges: Nudges,
    pub carriers: Carriers,
    /// Where the gateway says whether it is ready.
    pub(super) readiness: Option<Readiness>,
    /// What is answered below `/.auth`.
    pub(super) auth: Option<Auth>,
    /// The gateway's own session cookies, where a route uses them.
    pub(super) session: Option<Session>,
    /// How backends are told for whom a request comes.
    pub(super) vouching: Option<Vouching>,
    pub guarded: Arc<GuardedNames>,
    pub trusted_proxies: TrustedProxies,
    /// Origins of our own pages, besides the one that a request was sent to.
    pub external_origins: Vec<String>,
    pub forwarded: Forwarded,
    pub limits: Limits,
    /// Requests in flight on one core.
    pub requests_max: usize,
    pub token_bytes_max: usize,
    pub answers: AnswerPolicy,
    pub access_log: crate::config::AccessLog,
    /// Of so many requests one has a span; 0: only where a trusted proxy wants it. `None`: none.
    pub trace_sample: Option<u32>,
    pub log_sample: u32,
    pub log_repeats_max: u32,
    pub log_subject: bool,
}

/// The published state as one core holds it: counted without touching a line that other cores
/// write to.
pub struct Snapshot(pub Arc<Published>);

impl std::ops::Deref for Snapshot {
    type Target = Published;

    fn deref(&self) -> &Published {
        &self.0
    }
}

/// Every carrier of a credential that the configuration names anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Carriers {
    pub bearer: bool,
    pub cookies: Vec<String>,
    /// Names of tokens among the subprotocols of WebSockets.
    pub protocols: Vec<String>,
}

/// Compiles a valid configuration. References were checked when it was made valid; a route whose
/// upstream is missing all the same is left out and so answers 404.
pub fn compile(
    config: &Config,
    verifier: Arc<Verifier>,
    denylist: Arc<Denylist>,
    nudges: Nudges,
    kept: &mut Kept,
) -> Published {
    let one = |upstream: &config::Upstream| Upstream::new(upstream, &mut kept.upstreams);
    let upstreams: Vec<Arc<Upstream>> = config.upstreams.iter().map(one).map(Arc::new).collect();
    let routes = routes(config, &upstreams, kept);
    let connections = kept.connections(config);
    let entrances = Entrance::compile(config, &connections, &mut kept.tickets);
    let carriers = Carriers::named_in(config);
    let own = config.routes.iter().flat_map(config::Route::own_headers);
    let asks_client = entrances.iter().any(|entrance| entrance.asks_client());
    let of_client = headers::OF_CLIENT_CERT.into_iter().filter(|_| asks_client);
    Published {
        routes,
        upstreams,
        connections,
        entrances,
        verifier,
        vouching: Vouching::compile(config, &denylist),
        denylist,
        failures: kept.failures(config.server.limits.failed_credentials_per_minute),
        nudges,
        readiness: Readiness::compile(config, kept),
        auth: Auth::compile(config, &carriers),
        session: Session::compile(config),
        carriers,
        guarded: Arc::new(GuardedNames::new(own.cloned().chain(of_client))),
        trusted_proxies: config.server.trusted_proxies.clone(),
        external_origins: config.server.external_origins.clone(),
        forwarded: config.server.forwarded,
        limits: config.server.limits.clone(),
        requests_max: share(config),
        token_bytes_max: config.server.limits.token_bytes_max,
        answers: AnswerPolicy { reveal_reason: config.server.reveal_reason },
        access_log: config.log.access,
        trace_sample: config.tracing.as_ref().map(|tracing| tracing.sample),
        log_sample: config.log.sample,
        log_repeats_max: config.log.repeats_max,
        log_subject: config.log.subject,
    }
}

fn routes(config: &Config, upstreams: &[Arc<Upstream>], kept: &mut Kept) -> RouteTable {
    let names = config.upstreams.iter().map(|upstream| upstream.name.as_str());
    let by_name: HashMap<&str, &Arc<Upstream>> = names.zip(upstreams).collect();
    let conditions = config.routes.iter().flat_map(|route| &route.conditions.headers);
    let selecting = conditions.map(|condition| condition.name.clone()).collect();
    let loads = kept.loads(&config.routes);
    let compiled = config.routes.iter().zip(loads).filter_map(|(route, load)| {
        let target = match &route.target {
            config::Target::Upstream(name) => {
                Target::Upstream(Arc::clone(by_name.get(name.as_str())?))
            }
            config::Target::Answer(answer) => Target::Answer(answer.clone()),
            config::Target::Redirect(redirect) => Target::Redirect(redirect.clone()),
        };
        let name: Arc<str> = Arc::from(route.name.as_str());
        Some(Arc::new(Route {
            host: route.host.clone(),
            path: route.path.clone(),
            conditions: route.conditions.clone(),
            access: route.access,
            credentials: route.credentials.clone(),
            forward: route.forward,
            identity: route.identity.clone(),
            assertion: route.assertion.clone().map(Arc::new),
            require: route.require.clone(),
            issuers: route.issuers.clone().map(|names| names.into_iter().collect()),
            capture: route.capture.clone(),
            login_url: route.login_url.clone(),
            streams: Arc::new(StreamPolicy::new(Arc::clone(&name), &selecting, &route.streams)),
            name,
            target,
            limits: route.limits,
            load,
            cors: route.cors.clone(),
            upgrades: route.upgrades.clone(),
            rewrite: route.rewrite.clone(),
            request_headers: route.request_headers.clone(),
            response_headers: route.response_headers.clone(),
        }))
    });
    RouteTable::new(compiled.collect())
}

impl Published {
    /// What both planes share of the upstreams.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.upstreams.iter().map(|upstream| Arc::clone(&upstream.group)).collect()
    }

    /// What the gateway vouches with.
    pub fn signing(&self) -> Option<&Arc<Signing>> {
        self.vouching.as_ref().map(Vouching::keys)
    }

    /// Whose each endpoint is, by slot, with its serial number.
    pub(super) fn endpoints(&self) -> HashMap<usize, (u64, &Upstream)> {
        let mut endpoints = HashMap::new();
        for upstream in &self.upstreams {
            for endpoint in upstream.group.set().all() {
                let Key { slot, serial } = endpoint.key();
                endpoints.insert(slot, (serial, &**upstream));
            }
        }
        endpoints
    }
}

/// A core's share of the requests in flight: connections are spread evenly, too.
fn share(config: &Config) -> usize {
    let available = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = match config.server.threads {
        0 => available(),
        threads => threads,
    };
    config.server.limits.requests_max.div_ceil(threads)
}

impl Carriers {
    fn named_in(config: &Config) -> Self {
        let mut carriers = Self::default();
        for carrier in config.routes.iter().flat_map(|route| &route.credentials) {
            match carrier {
                Carrier::Bearer => carriers.bearer = true,
                Carrier::Session => {}
                Carrier::Protocol(name) if carriers.protocols.contains(name) => {}
                Carrier::Protocol(name) => carriers.protocols.push(name.clone()),
                Carrier::Cookie(name) if carriers.cookies.contains(name) => {}
                Carrier::Cookie(name) => carriers.cookies.push(name.clone()),
            }
        }
        carriers
    }
}
