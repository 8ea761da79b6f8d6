//! The admin API: denials made, listed and taken back; tokens explained; people and status.
//!
//! JSON over HTTP/1.1 on listeners of its own, never on the public ones. What always holds: a
//! request that a browser was made to send is refused; every other needs a named credential, and
//! the record of what it did carries that name; an answer to a denial is sent when the denial is
//! on disk and in force; no answer and no log line holds a token or a secret.

mod answer;
mod audit;
mod batch;
mod caller;
mod calls;
mod condition;
mod config;
mod create;
mod endpoints;
mod event;
mod events;
mod exchange;
mod exchange_format;
mod explain;
mod filter;
mod first_credential;
mod guard;
mod handle;
mod idempotency;
mod json;
mod keys;
mod leftover;
mod lines;
mod list;
mod listener;
mod members;
mod moment;
mod near;
mod noted;
mod openapi;
mod paging;
mod plan;
mod problem;
mod query;
mod record;
mod registrations;
mod selecting;
mod serve;
mod sessions;
mod status;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod throttle;
mod undo;
mod undo_matching;
mod upstreams;
mod verdict;
mod waiting;
mod warnings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::UnixMs;
use crate::config::AdminToken;
use crate::control::config::Desk;
use crate::control::keys::KeyRing;
use crate::control::observed::Observed;
use crate::control::people::{People, Refusals};
use crate::control::sessions::Sessions;
use crate::control::store::{Store, StoreError};
use crate::control::streams::OpenStreams;
use crate::denylist::{Denylist, IssuerId};
use crate::telemetry::counters::Counters;
use crate::verify::Verifier;

pub use calls::Calls;
pub use explain::{RouteExplainer, RouteFound, RouteQuestion, RouteRefusal, RouteReport};
pub use first_credential::{
    FIRST_CREDENTIAL_VARIABLE, FirstCredentialFault, FirstCredentialSource, first_credential,
};
pub use listener::AdminListener;
pub(crate) use near::distance;
pub use serve::serve;

use idempotency::Remembered;
use throttle::Throttle;

/// Batches, exports and imports at once.
const STREAMS_MAX: usize = 8;
/// Event streams at once.
const WATCHERS_MAX: usize = 32;

/// The verifier in force. A reload publishes another one.
pub type VerifierSource = Arc<dyn Fn() -> Arc<Verifier> + Send + Sync>;

/// What a reload may change of the admin API itself.
pub struct Settings {
    pub tokens: Vec<AdminToken>,
    /// Lower case, without port.
    hosts: Vec<String>,
    log_subject: bool,
}

impl Settings {
    /// `log_subject`: events may say who was denied.
    pub fn new(tokens: Vec<AdminToken>, hosts: &[String], log_subject: bool) -> Self {
        let hosts = hosts.iter().map(|host| guard::comparable_host(host)).collect();
        Self { tokens, hosts, log_subject }
    }
}

/// What the app gives.
pub struct Parts {
    pub store: Store,
    pub denylist: Arc<Denylist>,
    pub verifier: VerifierSource,
    pub routes: RouteExplainer,
    pub people: Arc<People>,
    pub sessions: Arc<Sessions>,
    pub refusals: Arc<Refusals>,
    pub observed: Arc<Observed>,
    /// What a reload may change.
    pub settings: Settings,
    pub config: Arc<Desk>,
    /// `store.limit` of the config.
    pub store_limit: u64,
    /// True while the gateway takes requests: after the start, until a drain begins.
    pub ready: Arc<AtomicBool>,
    pub open_streams: Arc<OpenStreams>,
    pub counters: Counters,
    pub calls: Arc<Calls>,
    pub keys: Arc<KeyRing>,
    pub upstreams: crate::upstreams::Source,
}

/// All that the endpoints need.
pub struct Api {
    store: Store,
    denylist: Arc<Denylist>,
    verifier: VerifierSource,
    routes: RouteExplainer,
    people: Arc<People>,
    sessions: Arc<Sessions>,
    refusals: Arc<Refusals>,
    observed: Arc<Observed>,
    settings: ArcSwap<Settings>,
    config: Arc<Desk>,
    store_limit: u64,
    ready: Arc<AtomicBool>,
    open_streams: Arc<OpenStreams>,
    counters: Counters,
    calls: Arc<Calls>,
    keys: Arc<KeyRing>,
    upstreams: crate::upstreams::Source,
    started_at: UnixMs,
    throttle: Throttle,
    remembered: Remembered,
    /// Places for those who watch events.
    watchers: Arc<Semaphore>,
    /// Places for calls that stream: each holds some memory for its answer.
    streams: Arc<Semaphore>,
}

impl Api {
    pub fn new(parts: Parts) -> Self {
        Self {
            store: parts.store,
            denylist: parts.denylist,
            verifier: parts.verifier,
            routes: parts.routes,
            people: parts.people,
            sessions: parts.sessions,
            refusals: parts.refusals,
            observed: parts.observed,
            settings: ArcSwap::from_pointee(parts.settings),
            config: parts.config,
            store_limit: parts.store_limit,
            ready: parts.ready,
            open_streams: parts.open_streams,
            counters: parts.counters,
            calls: parts.calls,
            keys: parts.keys,
            upstreams: parts.upstreams,
            started_at: UnixMs::now(),
            throttle: Throttle::default(),
            remembered: Remembered::default(),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// For the calls that begin from now on.
    pub fn reconfigure(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Keeps what is denied of an issuer until it is undone. Blocks.
    pub fn hold(&self, issuer: &IssuerId) -> Result<(), StoreError> {
        self.store.hold(issuer)
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    fn verifier(&self) -> Arc<Verifier> {
        (self.verifier)()
    }

    /// A place for a call that streams, until it is dropped.
    fn place(&self) -> Result<OwnedSemaphorePermit, problem::Refused> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| problem::Refused::TooManyStreams)
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.verifier().can_verify()
    }
}
