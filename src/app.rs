//! The whole gateway: the only place that sees both planes. It compiles the configuration, opens
//! the store, binds the sockets, starts the data plane's cores and the control plane's thread, and
//! ends them in order.

mod certificates;
mod control_thread;
mod explain;
mod session_key;
mod signals;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::clock::UnixMs;
use crate::config::{Config, Listen};
use crate::control::admin::FirstCredentialSource;
use crate::control::metrics::{Metrics, Sources};
use crate::control::store::{self, Store};
use crate::control::traces::Exported;
use crate::denylist::{Denylist, Fingerprint, Fingerprinter};
use crate::proxy::accept::{self, Acceptor, Listener};
use crate::proxy::core::{Command, CoreHandle, Shared};
use crate::proxy::{self, Addresses, Published};
use crate::sockets::{self, Bound, Socket, SocketFile};
use crate::telemetry::Observer;
use crate::telemetry::access::{AccessLogWriter, Format};
use crate::telemetry::counters::Counters;
use crate::telemetry::trace::Tracer;
use crate::verify::{Issuer, SignatureCache, Verifier};

use control_thread::{ControlThread, Parts};

pub use signals::StopSignals;
pub use sockets::BindError;

/// Reports of the cores that may wait for the control plane.
const REPORTS: usize = 64;

/// How to start, beyond the configuration.
pub struct Options {
    pub log_format: Format,
    /// Where access log lines go.
    pub log_sink: Box<dyn Write + Send>,
    /// The admin credential of the environment, if there is one.
    pub admin_token: Option<zeroize::Zeroizing<String>>,
}

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    Bind(BindError),
    Store(store::StoreError),
    AdminToken(String),
    SessionKey(String),
    /// Certificates that were to be trusted cannot be.
    Trust(String),
    Thread(std::io::Error),
}

/// A running gateway.
pub struct Gateway {
    listen: Vec<Listen>,
    /// So many of them are for requests, the others only redirect.
    listening: usize,
    scheme: &'static str,
    socket_files: Vec<SocketFile>,
    cores: Vec<CoreHandle>,
    acceptor: Acceptor,
    control: ControlThread,
    store: Store,
    drain_timeout: Duration,
    ready: Arc<AtomicBool>,
    log: Option<(AccessLogWriter, JoinHandle<()>)>,
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// Every request in flight was finished.
    Clean,
    /// The deadline passed with this many connections open.
    Cut { connections: usize },
}

impl Gateway {
    /// Starts everything. When this returns, the sockets are bound, the denylist is loaded and
    /// requests are served.
    pub fn start(mut config: Config, options: Options) -> Result<Self, StartError> {
        let server = &config.server;
        let addresses = [server.listen.as_slice(), &server.redirect_from].concat();
        let bound = sockets::bind_all(&addresses).map_err(StartError::Bind)?;
        let (denylist, writer) = Denylist::new(Fingerprinter::random());
        let store_options = store::Options { limit: config.store.limit };
        let store = Store::open(&config.store.path, &store_options, writer, Arc::clone(&denylist))
            .map_err(StartError::Store)?;
        session_key::complete(&mut config).map_err(StartError::SessionKey)?;
        let published = Arc::new(ArcSwap::from_pointee(publish(&config, &denylist)));
        let (observer, observations) = Observer::new(REPORTS);
        let (log, log_thread) = AccessLogWriter::spawn(options.log_format, options.log_sink)
            .map_err(StartError::Thread)?;
        let (desk, asks) = crate::desk::desk();
        let counters = Counters::default();
        let (tracer, spans) = Tracer::new();
        let exported = Arc::new(Exported::default());
        let shared = Shared {
            published: Arc::clone(&published),
            observer: observer.clone(),
            counters: counters.clone(),
            tracer: tracer.clone(),
            log: log.clone(),
            desk,
        };
        let cores = start_cores(config.server.threads, &shared).map_err(StartError::Thread)?;
        tell_cores_of_changes(&denylist, &cores);
        let ready = Arc::new(AtomicBool::new(true));
        let started_at = UnixMs::now();
        let (verifier_of, routes_of) = (Arc::clone(&published), Arc::clone(&published));
        let tls_of = Arc::clone(&published);
        let loads: Vec<_> = cores.iter().map(|core| Arc::clone(&core.open)).collect();
        let metrics = Metrics::new(Sources {
            counters,
            store: store.clone(),
            store_file: config.store.path.join("denials.redb"),
            store_limit: config.store.limit,
            denylist: Arc::clone(&denylist),
            verifier: Box::new(move || Arc::clone(&verifier_of.load().verifier)),
            routes: Box::new(move || routes_of.load().routes.names()),
            connections: Box::new(move || loads.iter().map(|n| n.load(Ordering::Relaxed)).sum()),
            // The configuration and the keys in files are read once, at the start.
            reload: Box::new(move || (true, started_at)),
            keys_read_at: Box::new(move |_| Some(started_at)),
            certificates: Box::new(move || certificates::ends(&tls_of.load())),
            observer,
            tracer,
            exported: Arc::clone(&exported),
            log: log.clone(),
            codes: proxy::answer::CODES,
        });
        let control = ControlThread::start(Parts {
            config: &config,
            admin_token: options.admin_token.as_ref().map(|token| token.as_str()),
            store: store.clone(),
            denylist,
            published,
            observations,
            asks,
            ready: Arc::clone(&ready),
            metrics,
            spans,
            exported,
        })?;
        let (listeners, listen, socket_files) = apart(bound, config.server.listen.len());
        let targets = cores.iter().map(CoreHandle::target).collect();
        let connections_max = config.server.limits.connections_max;
        let acceptor =
            Acceptor::spawn(listeners, targets, connections_max).map_err(StartError::Thread)?;
        Ok(Self {
            listen,
            listening: config.server.listen.len(),
            scheme: config.server.entrance.scheme(),
            socket_files,
            cores,
            acceptor,
            control,
            store,
            drain_timeout: config.server.drain_timeout,
            ready,
            log: Some((log, log_thread)),
        })
    }

    /// Where the gateway listens, ports resolved.
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    /// Where the admin API listens, ports resolved.
    pub fn admin(&self) -> &[Listen] {
        self.control.admin()
    }

    /// Where metrics are scraped, as people type it.
    pub fn metrics_urls(&self) -> Vec<String> {
        self.control.metrics().iter().map(Listen::url).collect()
    }

    /// The listening addresses as people type them.
    pub fn listen_urls(&self) -> Vec<String> {
        let (listening, redirecting) = self.listen.split_at(self.listening.min(self.listen.len()));
        let listening = listening.iter().map(|listen| listen.url_of(self.scheme));
        listening.chain(redirecting.iter().map(Listen::url)).collect()
    }

    /// The admin API's addresses as people type them.
    pub fn admin_urls(&self) -> Vec<String> {
        self.admin().iter().map(Listen::url).collect()
    }

    /// Waits for SIGTERM or SIGINT, then drains.
    pub fn run_until_stopped(self, stop: StopSignals) -> std::io::Result<Drained> {
        stop.wait()?;
        tracing::info!("draining");
        Ok(self.drain())
    }

    /// Where the first admin credential came from; `None` where the config names credentials.
    pub fn first_credential(&self) -> Option<&FirstCredentialSource> {
        self.control.credential()
    }

    /// Finishes what is in flight and ends: readiness goes first, then the sockets, then idle
    /// connections; after the deadline the rest is cut.
    pub fn drain(mut self) -> Drained {
        self.ready.store(false, Ordering::Release);
        self.acceptor.stop();
        for core in &self.cores {
            core.commands.send(Command::Drain).ok();
        }
        let deadline = Instant::now() + self.drain_timeout;
        while open(&self.cores) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = open(&self.cores);
        for CoreHandle { commands, thread, .. } in self.cores.drain(..) {
            drop(commands);
            thread.join().ok();
        }
        self.control.stop();
        self.store.close();
        if let Some((log, thread)) = self.log.take() {
            drop(log);
            thread.join().ok();
        }
        self.socket_files.clear();
        if left == 0 { Drained::Clean } else { Drained::Cut { connections: left } }
    }
}

/// A change of the table reaches the open streams: the store's thread calls this after the table
/// and before it acknowledges.
fn tell_cores_of_changes(denylist: &Denylist, cores: &[CoreHandle]) {
    let commands: Vec<_> = cores.iter().map(|core| core.commands.downgrade()).collect();
    denylist.listen(Box::new(move |marks| {
        let marks: Arc<[Fingerprint]> = marks.into();
        for commands in commands.iter().filter_map(|commands| commands.upgrade()) {
            // A core that has ended has no streams.
            commands.send(Command::Changed(Arc::clone(&marks))).ok();
        }
    }));
}

/// The sockets for the acceptor; their addresses; the files that leave with the gateway. Those of
/// `listen` come first, then those which only redirect.
fn apart(bound: Vec<Bound>, listening: usize) -> (Vec<Listener>, Vec<Listen>, Vec<SocketFile>) {
    let (mut listeners, mut addresses, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (number, Bound { socket, address }) in bound.into_iter().enumerate() {
        let entrance = usize::from(number >= listening);
        addresses.push(address);
        let bound = match socket {
            Socket::Tcp(listener) => accept::Bound::Tcp(listener),
            Socket::Unix(listener, file) => {
                files.push(file);
                accept::Bound::Unix(listener)
            }
        };
        listeners.push(Listener { bound, entrance });
    }
    (listeners, addresses, files)
}

fn open(cores: &[CoreHandle]) -> usize {
    cores.iter().map(|core| core.open.load(Ordering::Relaxed)).sum()
}

/// Compiles what the data plane is to know.
pub(crate) fn publish(config: &Config, denylist: &Arc<Denylist>) -> Published {
    let issuers = config
        .issuers
        .iter()
        .map(|issuer| Arc::new(Issuer::new(issuer.policy.clone(), Arc::clone(&issuer.keys))))
        .collect();
    let cache = Arc::new(SignatureCache::new(config.server.signature_cache_bytes));
    let verifier = Arc::new(Verifier::new(issuers, denylist.fingerprinter().clone(), cache));
    proxy::compile(config, verifier, Arc::clone(denylist), &mut Addresses::default())
}

fn start_cores(threads: usize, shared: &Shared) -> std::io::Result<Vec<CoreHandle>> {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = if threads == 0 { available } else { threads };
    (0..count).map(|index| proxy::core::spawn(index, shared.clone())).collect()
}

impl std::fmt::Display for StartError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(error) => write!(out, "{error}"),
            Self::Store(error) => write!(out, "the store cannot be opened: {error}"),
            Self::AdminToken(text) | Self::Trust(text) => out.write_str(text),
            Self::SessionKey(text) => write!(out, "the key of sessions cannot be used: {text}"),
            Self::Thread(error) => write!(out, "a thread cannot be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(error) => Some(error),
            Self::Thread(error) => Some(error),
            Self::Store(_) | Self::AdminToken(_) | Self::SessionKey(_) | Self::Trust(_) => None,
        }
    }
}
