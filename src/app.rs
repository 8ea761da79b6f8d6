//! The whole gateway: the only place that sees both planes. It compiles the configuration, opens
//! the store, binds the sockets, starts the data plane's cores and the control plane's thread, and
//! ends them in order.

mod assertion_keys;
mod background;
mod certificates;
mod compile;
mod control_thread;
mod descriptors;
mod ending;
mod explain;
mod inherited;
mod listening;
mod live;
mod memory;
mod notify;
mod reload;
mod replace;
mod scrape;
mod session_key;
mod signals;
mod streams;
mod watch;

use std::io::Write;
use std::mem::take;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::clock::UnixMs;
use crate::config::{self, Listen, Loaded};
use crate::control::admin::FirstCredentialSource;
use crate::control::config::{Desk, Trigger};
use crate::control::keys::KeyRing;
use crate::control::sessions::renewal::Issuers;
use crate::control::store::{self, Store};
use crate::control::tasks::Tasks;
use crate::control::traces::Exported;
use crate::denylist::{Denylist, Fingerprinter, Writer};
use crate::proxy;
use crate::proxy::accept::Acceptor;
use crate::proxy::core::{CoreHandle, Shared};
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
use replace::{Behind, Held, Outcome, Predecessor, Replaceable};
use signals::Asked;
use watch::Watch;

pub(crate) use compile::{publish, unfetched};

pub use ending::Drained;
pub use live::Source;
pub use replace::ReplaceError;
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
    /// Takes the place of the process that runs with this store.
    pub replace: bool,
}

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    Bind(BindError),
    Store(store::StoreError),
    AdminToken(String),
    SessionKey(String),
    AssertionKeys(String),
    /// Certificates that were to be trusted cannot be.
    Trust(String),
    Thread(std::io::Error),
    Replace(ReplaceError),
}

/// A running gateway.
pub struct Gateway {
    listen: Vec<Listen>,
    urls: Vec<String>,
    cores: Vec<CoreHandle>,
    control: ControlThread,
    reload: Option<ReloadThread>,
    desk: Arc<Desk>,
    notifier: Notifier,
    store: Store,
    ready: Arc<AtomicBool>,
    held: Arc<Mutex<Held>>,
    outcome: Arc<Outcome>,
    behind: Option<Behind>,
    /// The program's file, where another version may lie by now.
    program: std::io::Result<PathBuf>,
    log: Option<(AccessLogWriter, JoinHandle<()>)>,
}

impl Gateway {
    /// Starts everything. When this returns, the sockets are bound, the denylist is loaded and
    /// requests are served.
    #[expect(clippy::too_many_lines, reason = "the order in which all begins, top to bottom")]
    pub fn start(mut loaded: Loaded, options: Options) -> Result<Self, StartError> {
        let program = std::env::current_exe();
        let watch = Watch::of(loaded.notes.named.clone());
        descriptors::raise();
        memory::without_huge_pages();
        session_key::complete(&mut loaded.config).map_err(StartError::SessionKey)?;
        assertion_keys::complete(&mut loaded.config).map_err(StartError::AssertionKeys)?;
        let config = &loaded.config;
        let mut predecessor = match options.replace {
            true => Some(Predecessor::meet(&config.store.path).map_err(StartError::Replace)?),
            false => None,
        };
        let (mut inherited, inherited_here) = match &mut predecessor {
            Some(one) => (take(&mut one.public), (take(&mut one.admin), take(&mut one.metrics))),
            None => (Inherited::from_environment(), Default::default()),
        };
        let sockets = Sockets::default()
            .after(&config.listeners, &mut inherited)
            .map_err(StartError::Bind)?;
        inherited.close();
        let fingerprinter = predecessor
            .as_ref()
            .map_or_else(Fingerprinter::random, |one| one.fingerprinter.clone());
        let (denylist, writer) = Denylist::new(fingerprinter);
        let opening = Opening { config: config.store.clone(), writer, denylist };
        let denylist = Arc::clone(&opening.denylist);
        // The store makes its directory, which others need; that of a predecessor is there.
        let early = match predecessor {
            None => Ok(opening.open(None)?),
            Some(_) => Err(opening),
        };
        let store_path = loaded.config.store.path.clone();
        let settled = live::remember_lifetimes(&store_path, &mut loaded.config)
            .map_err(|why| StartError::Store(store::StoreError::Open(why)))?;
        let config = &loaded.config;
        let keys = KeyRing::new(&config.store.path, denylist.fingerprinter().clone());
        let renewed = Arc::new(Issuers::default());
        renewed.commit(renewed.prepare(&config.issuers).map_err(StartError::Trust)?);
        let mut kept = proxy::Kept::default();
        let published = compile::publish_first(config, &denylist, &keys, &mut kept);
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
            seats: Arc::default(),
            memory: Arc::new(proxy::Memory::new(config.server.limits.memory_max)),
            desk,
        };
        memory::watch(Arc::downgrade(&shared.memory)).map_err(StartError::Thread)?;
        let cores = start_cores(config.server.threads, &shared).map_err(StartError::Thread)?;
        let store = match early {
            Ok(store) => store,
            Err(opening) => opening.open(predecessor.as_ref())?,
        };
        settled
            .hold(|issuer| store.hold(issuer))
            .map_err(|why| StartError::Store(store::StoreError::Open(why)))?;
        let ready = Arc::clone(&kept.ready);
        ready.store(true, Ordering::Release);
        let fixed = Fixed::of(config);
        let (desk, reloads) = Desk::shared(live::standing(&loaded, &fixed, UnixMs::now()));
        let calls = Arc::default();
        let told = scrape::Told { config, shared: &shared, calls: &calls, exported: &exported };
        let metrics = told.metrics(&store, &denylist, &desk, (&keys, &renewed));
        let fingerprinter = denylist.fingerprinter().clone();
        let mut control = ControlThread::start(Parts {
            config,
            admin_token: options.admin_token.as_ref().map(|token| token.as_str()),
            store: store.clone(),
            streams: (streams::of(&denylist, &keys, &cores), shared.counters.clone()),
            denylist,
            published: Arc::clone(&published),
            observations: (observations, streams::observed(&cores)),
            asks,
            ready: Arc::clone(&ready),
            keys: Arc::clone(&keys),
            renewed: Arc::clone(&renewed),
            desk: Arc::clone(&desk),
            metrics,
            calls,
            spans,
            exported,
            inherited: inherited_here,
        })?;
        let entrances = published.load().entrances.clone();
        let targets = cores.iter().map(CoreHandle::target).collect();
        let connections_max = config.server.limits.connections_max;
        let counting = shared.counters.core_counters();
        let acceptor = {
            let memory = Arc::clone(&shared.memory);
            Acceptor::spawn(Vec::new(), targets, connections_max, memory, counting)
                .map_err(StartError::Thread)?
        };
        keys.run(control.runtime().clone());
        let mut tasks = Tasks::new(control.runtime().clone());
        tasks.settle(background::wanted(config, &published.load_full()));
        let at_store = store_path.clone();
        let (listen, urls) = (sockets.addresses(), sockets.urls(&entrances));
        let notifier = Notifier::from_environment();
        let retired = predecessor.map(Predecessor::retire).transpose();
        let behind = retired.map_err(StartError::Replace)?;
        acceptor.listen(sockets.listening(&entrances));
        let (admin, metrics) = control.handles();
        let held = Held { public: sockets, admin, metrics, closed: false };
        let held = Arc::new(Mutex::new(held));
        let live = Live {
            source: options.source,
            config: loaded.config,
            store_path,
            fixed,
            published,
            kept,
            keys,
            renewed,
            cores: cores.iter().map(|core| core.commands.downgrade()).collect(),
            held: Arc::clone(&held),
            acceptor,
            memory: Arc::clone(&shared.memory),
            tasks,
            api: Arc::clone(control.api()),
            desk: Arc::clone(&desk),
            notifier: notifier.clone(),
            admin_token: options.admin_token,
        };
        let beats = cores.iter().map(|core| Arc::clone(&core.beat)).collect();
        notifier.watchdog(beats).map_err(StartError::Thread)?;
        let reload = ReloadThread::start(live, reloads, watch).map_err(StartError::Thread)?;
        let outcome = Arc::new(Outcome::default());
        let replaceable = Replaceable {
            held: Arc::clone(&held),
            store: store.clone(),
            store_path: at_store,
            fingerprinter,
            notifier: notifier.clone(),
            outcome: Arc::clone(&outcome),
        };
        replaceable.wait().map_err(StartError::Thread)?;
        Ok(Self {
            listen,
            urls,
            cores,
            control,
            reload: Some(reload),
            desk,
            notifier,
            store,
            ready,
            held,
            outcome,
            behind,
            program,
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
        let replaced = loop {
            match signals.wait(&self.outcome.replaced) {
                Asked::Reload => self.desk.ask(Trigger::Signal),
                Asked::Replace => replace::start_successor(&self.program),
                Asked::Stop => break false,
                Asked::Retire => break true,
            }
        };
        signals.end_at_the_second()?;
        if replaced {
            tracing::info!("another process has taken the place of this one");
            return Ok(self.retire());
        }
        tracing::info!("draining");
        Ok(self.drain())
    }

    /// Where the first admin credential came from; `None` where the config names credentials.
    pub fn first_credential(&self) -> Option<&FirstCredentialSource> {
        self.control.credential()
    }
}

/// What the store is opened with.
struct Opening {
    config: config::Store,
    writer: Writer,
    denylist: Arc<Denylist>,
}

impl Opening {
    /// A predecessor closes it first, and hears of every change from then on.
    fn open(self, predecessor: Option<&Predecessor>) -> Result<Store, StartError> {
        let Self { config, writer, denylist } = self;
        let follower = match predecessor {
            None => None,
            Some(predecessor) => {
                predecessor.release_store().map_err(StartError::Replace)?;
                Some(predecessor.follower())
            }
        };
        let audit =
            store::Retention { keep: config.audit_keep, entries_max: config.audit_entries_max };
        let options = store::Options { limit: config.limit, audit };
        Store::open_followed(&config.path, &options, (writer, follower), denylist)
            .map_err(StartError::Store)
    }
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
            Self::AssertionKeys(text) => {
                write!(out, "the keys of assertions cannot be used: {text}")
            }
            Self::Thread(error) => write!(out, "a thread cannot be started: {error}"),
            Self::Replace(error) => write!(out, "{error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(error) => Some(error),
            Self::Thread(error) => Some(error),
            Self::Replace(error) => Some(error),
            Self::Store(_)
            | Self::AdminToken(_)
            | Self::SessionKey(_)
            | Self::AssertionKeys(_)
            | Self::Trust(_) => None,
        }
    }
}
