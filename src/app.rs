//! The whole gateway: the only place that sees both planes. It compiles the configuration, opens
//! the store, binds the sockets, starts the data plane's cores and the control plane's thread, and
//! ends them in order.

mod background;
mod certificates;
mod compile;
mod control_thread;
mod explain;
mod inherited;
mod listening;
mod live;
mod notify;
mod reload;
mod scrape;
mod session_key;
mod signals;
mod streams;
mod watch;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock::UnixMs;
use crate::config::{self, Listen, Loaded};
use crate::control::admin::FirstCredentialSource;
use crate::control::config::{Desk, Trigger};
use crate::control::keys::KeyRing;
use crate::control::store::{self, Store};
use crate::control::tasks::Tasks;
use crate::control::traces::Exported;
use crate::denylist::{Denylist, Fingerprinter};
use crate::proxy;
use crate::proxy::accept::Acceptor;
use crate::proxy::core::{Command, CoreHandle, Shared};
use crate::telemetry::Observer;
use crate::telemetry::access::{AccessLogWriter, Format};
use crate::telemetry::counters::Counters;
use crate::telemetry::trace::Tracer;

use control_thread::{ControlThread, Parts};
use inherited::Inherited;
use listening::Sockets;
use live::{Fixed, Live};
use notify::Notifier;
use reload::ReloadThread;
use signals::Asked;
use watch::Watch;

pub(crate) use compile::{publish, unfetched};

pub use live::Source;
pub use signals::Signals;

pub use crate::sockets::BindError;

/// Reports of the cores that may wait for the control plane.
const REPORTS: usize = 64;

/// How to start, beyond the configuration.
pub struct Options {
    pub log_format: Format,
    /// Where access log lines go.
    pub log_sink: Box<dyn Write + Send>,
    /// The admin credential of the environment, if there is one.
    pub admin_token: Option<zeroize::Zeroizing<String>>,
    /// Where the configuration is read again when somebody asks for it.
    pub source: Source,
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
    urls: Vec<String>,
    cores: Vec<CoreHandle>,
    control: ControlThread,
    reload: ReloadThread,
    desk: Arc<Desk>,
    notifier: Notifier,
    store: Store,
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
    #[expect(clippy::too_many_lines, reason = "the order in which all begins, top to bottom")]
    pub fn start(mut loaded: Loaded, options: Options) -> Result<Self, StartError> {
        let watch = Watch::of(loaded.notes.named.clone());
        session_key::complete(&mut loaded.config).map_err(StartError::SessionKey)?;
        let config = &loaded.config;
        let mut inherited = Inherited::from_environment();
        let sockets = Sockets::default()
            .after(&config.listeners, &mut inherited)
            .map_err(StartError::Bind)?;
        inherited.close();
        let (store, denylist) = open_store(&config.store).map_err(StartError::Store)?;
        let store_path = loaded.config.store.path.clone();
        live::remember_lifetimes(&store_path, &mut loaded.config)
            .map_err(|why| StartError::Store(store::StoreError::Open(why)))?;
        let config = &loaded.config;
        let keys = KeyRing::new(&config.store.path, denylist.fingerprinter().clone());
        let mut addresses = proxy::Addresses::default();
        let published = compile::publish_first(config, &denylist, &keys, &mut addresses);
        let (observer, observations) = Observer::new(REPORTS);
        let (log, log_thread) = AccessLogWriter::spawn(options.log_format, options.log_sink)
            .map_err(StartError::Thread)?;
        let (desk, asks) = crate::desk::desk();
        let (tracer, spans) = Tracer::new();
        let exported = Arc::new(Exported::default());
        let shared = Shared {
            published: Arc::clone(&published),
            observer,
            counters: Counters::default(),
            tracer,
            log: log.clone(),
            desk,
        };
        let cores = start_cores(config.server.threads, &shared).map_err(StartError::Thread)?;
        let ready = Arc::new(AtomicBool::new(true));
        let fixed = Fixed::of(config);
        let (desk, reloads) = Desk::shared(live::standing(&loaded, &fixed, UnixMs::now()));
        let told = scrape::Told { config, shared: &shared, cores: &cores, exported: &exported };
        let metrics = told.metrics(&store, &denylist, &desk, &keys);
        let control = ControlThread::start(Parts {
            config,
            admin_token: options.admin_token.as_ref().map(|token| token.as_str()),
            store: store.clone(),
            streams: (streams::of(&denylist, &keys, &cores), shared.counters.clone()),
            denylist,
            published: Arc::clone(&published),
            observations,
            asks,
            ready: Arc::clone(&ready),
            keys: Arc::clone(&keys),
            desk: Arc::clone(&desk),
            metrics,
            spans,
            exported,
        })?;
        let entrances = published.load().entrances.clone();
        let targets = cores.iter().map(CoreHandle::target).collect();
        let connections_max = config.server.limits.connections_max;
        let acceptor = Acceptor::spawn(sockets.listening(&entrances), targets, connections_max)
            .map_err(StartError::Thread)?;
        keys.run(control.runtime().clone());
        let mut tasks = Tasks::new(control.runtime().clone());
        tasks.settle(background::wanted(config, &published.load_full()));
        let (listen, urls) = (sockets.addresses(), sockets.urls(&entrances));
        let notifier = Notifier::from_environment();
        let live = Live {
            source: options.source,
            config: loaded.config,
            store_path,
            fixed,
            published,
            addresses,
            keys,
            cores: cores.iter().map(|core| core.commands.downgrade()).collect(),
            sockets,
            acceptor,
            tasks,
            api: Arc::clone(control.api()),
            desk: Arc::clone(&desk),
            notifier: notifier.clone(),
            admin_token: options.admin_token,
        };
        let beats = cores.iter().map(|core| Arc::clone(&core.beat)).collect();
        notifier.watchdog(beats).map_err(StartError::Thread)?;
        let reload = ReloadThread::start(live, reloads, watch).map_err(StartError::Thread)?;
        Ok(Self {
            listen,
            urls,
            cores,
            control,
            reload,
            desk,
            notifier,
            store,
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
        self.urls.clone()
    }

    /// The admin API's addresses as people type them.
    pub fn admin_urls(&self) -> Vec<String> {
        self.admin().iter().map(Listen::url).collect()
    }

    /// Serves until SIGTERM or SIGINT, then drains. SIGHUP reads the configuration again.
    pub fn run_until_stopped(self, mut signals: Signals) -> std::io::Result<Drained> {
        self.notifier.ready("Serving");
        while signals.wait() == Asked::Reload {
            self.desk.ask(Trigger::Signal);
        }
        signals.end_at_the_second()?;
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
        self.notifier.stopping();
        let drain_timeout = match self.reload.stop() {
            Some(Live { config, sockets, acceptor, .. }) => {
                // Whoever sends clients here sees that it is not ready, and sends them elsewhere.
                std::thread::sleep(config.server.drain_delay);
                acceptor.stop();
                // From here on nobody connects; the names of unix sockets are gone.
                drop(sockets);
                config.server.drain_timeout
            }
            None => Duration::ZERO,
        };
        for core in &self.cores {
            core.commands.send(Command::Drain).ok();
        }
        let deadline = Instant::now() + drain_timeout;
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
        if left == 0 { Drained::Clean } else { Drained::Cut { connections: left } }
    }
}

fn open_store(config: &config::Store) -> Result<(Store, Arc<Denylist>), store::StoreError> {
    let (denylist, writer) = Denylist::new(Fingerprinter::random());
    let options = store::Options { limit: config.limit };
    let store = Store::open(&config.path, &options, writer, Arc::clone(&denylist))?;
    Ok((store, denylist))
}

fn open(cores: &[CoreHandle]) -> usize {
    cores.iter().map(|core| core.open.load(Ordering::Relaxed)).sum()
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
