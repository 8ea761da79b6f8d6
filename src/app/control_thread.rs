//! The control plane's own thread and runtime: the admin API, and what the data plane observed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};

use crate::clock::UnixMs;
use crate::config::{AdminToken, Config, Listen};
use crate::control;
use crate::control::admin::{
    self, AdminListener, Api, Calls, FirstCredentialSource, Settings, first_credential,
};
use crate::control::config::Desk;
use crate::control::keys::KeyRing;
use crate::control::metrics::{self, Metrics};
use crate::control::observed::Observed;
use crate::control::outbound;
use crate::control::people::{self, People, Refusals};
use crate::control::sessions::renewal::{Issuers, Renewals};
use crate::control::sessions::{self, Records, Sessions};
use crate::control::store::Store;
use crate::control::streams::OpenStreams;
use crate::control::traces::{self, Exported};
use crate::denylist::Denylist;
use crate::desk::Asks;
use crate::proxy::Published;
use crate::sockets::{self, BindError, Bound};
use crate::telemetry::Report;
use crate::telemetry::counters::Counters;
use crate::telemetry::trace::Span;
use crate::upstreams;

use super::explain::route_explainer;
use super::inherited::Inherited;
use super::{StartError, certificates, replace};

/// What the control plane is started with.
pub struct Parts<'c> {
    pub config: &'c Config,
    /// The admin credential of the environment, if there is one.
    pub admin_token: Option<&'c str>,
    pub store: Store,
    pub denylist: Arc<Denylist>,
    pub published: Arc<ArcSwap<Published>>,
    /// What the cores report, and whom to ask for what they saw up to now.
    pub observations: (mpsc::Receiver<Report>, Arc<Observed>),
    pub asks: Asks,
    pub ready: Arc<AtomicBool>,
    pub keys: Arc<KeyRing>,
    /// Who renews sessions.
    pub renewed: Arc<Issuers>,
    pub desk: Arc<Desk>,
    pub metrics: Metrics,
    pub calls: Arc<Calls>,
    /// Whom to ask about open streams, and who counts them.
    pub streams: (Arc<OpenStreams>, Counters),
    pub spans: mpsc::Receiver<Vec<Span>>,
    pub exported: Arc<Exported>,
    /// Sockets of the process that this one takes the place of: admin, metrics.
    pub inherited: (Inherited, Inherited),
}

/// The running control plane.
pub struct ControlThread {
    admin: Vec<Listen>,
    metrics: Vec<Listen>,
    credential: Option<FirstCredentialSource>,
    api: Arc<Api>,
    handles: (Handles, Handles),
    runtime: Handle,
    /// Nobody new; then the end of all.
    close: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl ControlThread {
    /// Returns when the admin API can be reached.
    #[expect(clippy::too_many_lines, reason = "what runs here, top to bottom")]
    pub fn start(parts: Parts<'_>) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let (tokens, credential) = credentials(parts.config, parts.admin_token)?;
        let (mut admins, mut scrapes) = parts.inherited;
        let (listeners, admin, admin_handles) =
            bind(&runtime, &parts.config.admin.listen, &mut admins)?;
        let (scraped, metrics_at, metrics_handles) =
            bind(&runtime, &parts.config.metrics.listen, &mut scrapes)?;
        admins.close();
        scrapes.close();
        let people = Arc::new(People::new(
            parts.config.admin.people,
            parts.denylist.fingerprinter().clone(),
            UnixMs::now(),
        ));
        let refusals = Arc::new(Refusals::default());
        let groups = Arc::clone(&parts.published);
        let upstreams: upstreams::Source = Arc::new(move || groups.load().groups());
        let published = Arc::clone(&parts.published);
        let certificates = certificates::watch(Arc::clone(&parts.published));
        let verifier = {
            let published = Arc::clone(&published);
            Arc::new(move || Arc::clone(&published.load().verifier))
        };
        let records = Arc::new(Records::new(parts.store.clone(), Arc::clone(&parts.denylist)));
        let sessions = Sessions::new(sessions::Parts {
            store: parts.store.clone(),
            verifier,
            streams: Arc::clone(&parts.streams.0),
            records: Arc::clone(&records),
            people: Arc::clone(&people),
            renewals: Renewals::new(
                Arc::clone(&parts.denylist),
                Arc::clone(&parts.keys),
                parts.renewed,
            ),
        });
        let api = Arc::new(Api::new(admin::Parts {
            upstreams: Arc::clone(&upstreams),
            store: parts.store,
            denylist: parts.denylist,
            verifier: Arc::new(move || Arc::clone(&published.load().verifier)),
            routes: route_explainer(parts.published),
            people: Arc::clone(&people),
            sessions: Arc::clone(&sessions),
            refusals: Arc::clone(&refusals),
            observed: parts.observations.1,
            settings: Settings::new(tokens, &parts.config.admin.hosts, parts.config.log.subject),
            config: parts.desk,
            store_limit: parts.config.store.limit,
            ready: parts.ready,
            open_streams: parts.streams.0,
            counters: parts.streams.1,
            calls: parts.calls,
            keys: Arc::clone(&parts.keys),
        }));
        let export = match &parts.config.tracing {
            None => None,
            Some(tracing) => {
                let client = outbound::client(tracing.ca.as_deref()).map_err(StartError::Trust)?;
                Some(traces::export(tracing.clone(), client, parts.spans, parts.exported))
            }
        };
        let (stop, stopped) = watch::channel(false);
        let (close, closed) = watch::channel(false);
        let (observations, asks) = (parts.observations.0, parts.asks);
        let handle = runtime.handle().clone();
        let served = Arc::clone(&api);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                runtime.spawn(control::upstreams::watch(upstreams));
                if let Some(export) = export {
                    runtime.spawn(export);
                }
                runtime.spawn(certificates);
                runtime.spawn(sessions.serve(asks));
                runtime.spawn(Arc::clone(&records).keep());
                runtime.spawn(people::watch(observations, people, records, refusals));
                let metrics = Arc::new(parts.metrics);
                for listener in scraped {
                    let metrics = Arc::clone(&metrics);
                    runtime.spawn(metrics::serve(listener, metrics, closed.clone()));
                }
                runtime.block_on(admin::serve(listeners, served, until(closed)));
                runtime.block_on(until(stopped));
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            admin,
            metrics: metrics_at,
            credential,
            api,
            handles: (admin_handles, metrics_handles),
            runtime: handle,
            close,
            stop,
            thread,
        })
    }

    /// Where the admin API listens, ports resolved.
    pub fn admin(&self) -> &[Listen] {
        &self.admin
    }

    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Where background work of the control plane runs.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Where metrics are scraped, ports resolved.
    pub fn metrics(&self) -> &[Listen] {
        &self.metrics
    }

    pub fn credential(&self) -> Option<&FirstCredentialSource> {
        self.credential.as_ref()
    }

    /// Further handles of its sockets, for a process that takes the place of this one: admin,
    /// metrics. Given once.
    pub fn handles(&mut self) -> (Handles, Handles) {
        std::mem::take(&mut self.handles)
    }

    /// Takes no more admin connections, and finishes the requests under way; everything else that
    /// runs here goes on.
    pub fn close(&self) {
        self.close.send_replace(true);
    }

    /// Lets the admin requests under way finish.
    pub fn stop(self) {
        self.close();
        self.stop.send_replace(true);
        self.thread.join().ok();
    }
}

/// Credentials, and the first one's source where none is configured.
type Credentials = (Vec<AdminToken>, Option<FirstCredentialSource>);

/// The configured credentials, and where the first one comes from when none is configured.
pub fn credentials(config: &Config, admin_token: Option<&str>) -> Result<Credentials, StartError> {
    let mut tokens = config.admin.tokens.clone();
    if !tokens.is_empty() && admin_token.is_none() {
        return Ok((tokens, None));
    }
    let (token, source) = first_credential(&config.admin.first_token, admin_token)
        .map_err(|fault| StartError::AdminToken(fault.to_string()))?;
    tokens.push(token);
    Ok((tokens, Some(source)))
}

/// Of one kind of listener.
type Handles = Vec<replace::Handle>;

fn bind(
    runtime: &Runtime,
    addresses: &[Listen],
    inherited: &mut Inherited,
) -> Result<(Vec<AdminListener>, Vec<Listen>, Handles), StartError> {
    let _inside = runtime.enter();
    let mut listeners = Vec::new();
    let mut names = Vec::new();
    let mut handles = Vec::new();
    let bound = addresses
        .iter()
        .map(|address| inherited.take_at(address).map_or_else(|| sockets::bind(address), Ok))
        .collect::<Result<Vec<Bound>, BindError>>()
        .map_err(StartError::Bind)?;
    for (configured, Bound { socket, address }) in addresses.iter().zip(bound) {
        let handle = replace::Handle::of(configured, &address, &socket)
            .map_err(|error| StartError::Bind(BindError::new(&address, error)))?;
        handles.push(handle);
        let listener = AdminListener::new(socket)
            .map_err(|error| StartError::Bind(BindError::new(&address, error)))?;
        listeners.push(listener);
        names.push(address);
    }
    Ok((listeners, names, handles))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means stop as well.
    stopped.wait_for(|stop| *stop).await.ok();
}
