//! What is in force and how another configuration takes its place. All or nothing: everything that
//! can fail comes first (the file, its keys, new sockets); then one atomic swap, after which the
//! rest follows and cannot fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::mpsc::WeakUnboundedSender;
use zeroize::Zeroizing;

use crate::clock::UnixMs;
use crate::config::{self, Config, Diagnostics, Loaded};
use crate::control::admin::{Api, Settings};
use crate::control::config::{Checked, Desk, ReloadFault, Reloaded, Standing};
use crate::control::keys::KeyRing;
use crate::control::lifetimes::{self, Settled};
use crate::control::sessions::renewal::Issuers;
use crate::control::tasks::Tasks;
use crate::proxy::accept::Acceptor;
use crate::proxy::core::Command;
use crate::proxy::{Kept, Memory, Published};

use super::control_thread::credentials;
use super::inherited::Inherited;
use super::notify::Notifier;
use super::replace::Held;
use super::{assertion_keys, background, compile, session_key};

/// Reads the configuration from where it came from.
pub type Source = Box<dyn Fn() -> Result<Loaded, Diagnostics> + Send>;

/// See the module.
pub struct Live {
    pub source: Source,
    pub config: Config,
    /// Where the store is, whatever a later configuration says.
    pub store_path: PathBuf,
    /// What only a start can change, as it was at the start.
    pub fixed: Fixed,
    pub published: Arc<ArcSwap<Published>>,
    pub kept: Kept,
    pub keys: Arc<KeyRing>,
    pub renewed: Arc<Issuers>,
    pub cores: Vec<WeakUnboundedSender<Command>>,
    pub held: Arc<Mutex<Held>>,
    pub acceptor: Acceptor,
    pub memory: Arc<Memory>,
    pub tasks: Tasks,
    pub api: Arc<Api>,
    pub desk: Arc<Desk>,
    pub notifier: Notifier,
    pub admin_token: Option<Zeroizing<String>>,
}

impl Live {
    /// Reads the file anew and puts it in force.
    pub fn reload(&mut self) -> (Result<Reloaded, ReloadFault>, Vec<PathBuf>) {
        match (self.source)() {
            Ok(loaded) => {
                let named = loaded.notes.named.clone();
                (self.apply(loaded), named)
            }
            Err(found) => {
                let named = found.named.clone();
                (Err(ReloadFault::Config(found)), named)
            }
        }
    }

    /// Reads the file and changes nothing. What only trying can say, such as whether an address is
    /// free, it does not.
    pub fn check(&self) -> Checked {
        let outcome = (self.source)()
            .map(|loaded| (self.fixed.changed_in(&loaded.config), loaded.notes.clone()));
        Checked { outcome }
    }

    fn apply(&mut self, mut loaded: Loaded) -> Result<Reloaded, ReloadFault> {
        let not_possible = |why: String| ReloadFault::NotPossible(why);
        keep_beside_store(&mut loaded.config, &self.store_path);
        session_key::complete(&mut loaded.config).map_err(not_possible)?;
        assertion_keys::complete(&mut loaded.config).map_err(not_possible)?;
        let config = &loaded.config;
        let (tokens, _) =
            credentials(config, self.admin_token.as_ref().map(|token| token.as_str()))
                .map_err(|fault| not_possible(fault.to_string()))?;
        let renewed = self.renewed.prepare(&config.issuers).map_err(not_possible)?;
        // A process that takes the place of this one gets the sockets before or after this.
        let mut held = self.held.lock();
        let sockets = held
            .public
            .after(&config.listeners, &mut Inherited::default())
            .map_err(|fault| not_possible(fault.to_string()))?;
        let settled =
            remember_lifetimes(&self.store_path, &mut loaded.config).map_err(not_possible)?;
        settled.hold(|issuer| self.api.hold(issuer)).map_err(not_possible)?;
        let config = &loaded.config;
        let before = self.published.load_full();
        let mut keys = self.keys.prepare(&config.issuers);
        self.keys.fetch_first(&mut keys, compile::KEYS_WAIT);
        let next =
            Arc::new(compile::publish_after(config, &self.config, &before, &keys, &mut self.kept));
        compile::resolve_names(&next);
        // Nothing below this line can fail. Keys come first: no token of a new key is refused, and
        // none of a removed one passes, once the new configuration is there.
        self.keys.commit(keys);
        self.renewed.commit(renewed);
        self.published.store(Arc::clone(&next));
        let limits = &config.server.limits;
        self.api.reconfigure(Settings::new(tokens, &config.admin.hosts, config.log.subject));
        self.acceptor.limit(limits.connections_max);
        self.memory.max_bytes.store(limits.memory_max, Ordering::Relaxed);
        self.acceptor.listen(sockets.listening(&next.entrances));
        held.public = sockets;
        drop(held);
        for core in self.cores.iter().filter_map(WeakUnboundedSender::upgrade) {
            // A core that has ended has nothing open.
            core.send(Command::Republished).ok();
        }
        self.tasks.settle(background::wanted(config, &next));
        let reloaded = Reloaded {
            at: UnixMs::now(),
            needs_restart: self.fixed.changed_in(config),
            notes: loaded.notes.clone(),
        };
        let standing = standing(&loaded, &self.fixed, reloaded.at);
        self.desk.set(|now| *now = Standing { last: now.last.take(), ..standing });
        self.config = loaded.config;
        Ok(reloaded)
    }
}

/// The first credential and the keys that are made here stay where the store is: both move at a restart,
/// or nobody could call the admin API, and sessions would end.
fn keep_beside_store(config: &mut Config, store: &Path) {
    let assertion = config.assertion.as_mut().and_then(|assertion| assertion.key_file.as_mut());
    let made = [&mut config.admin.first_token, &mut config.session.cookies.key_file];
    for file in made.into_iter().chain(assertion) {
        if let Some(name) = file.file_name() {
            *file = store.join(name);
        }
    }
}

/// Gives each issuer the marks of longer lifetimes that began later than its tokens.
pub fn remember_lifetimes(store_path: &Path, config: &mut Config) -> Result<Settled, String> {
    let policies = config.issuers.iter_mut().map(|issuer| &mut issuer.policy);
    lifetimes::settle(store_path, policies, UnixMs::now())
}

/// What is known of a configuration that is in force since `at`.
pub fn standing(loaded: &Loaded, fixed: &Fixed, at: UnixMs) -> Standing {
    Standing {
        loaded_at: at,
        effective: config::effective(loaded),
        needs_restart: fixed.changed_in(&loaded.config),
        last: None,
    }
}

/// What only a start can change: names of keys and their values, as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    pub fn of(config: &Config) -> Self {
        let Config { server, admin, store, log, metrics, tracing, .. } = config;
        Self(vec![
            ("server.threads", server.threads.to_string()),
            ("admin.listen", format!("{:?}", admin.listen)),
            ("admin.people", admin.people.to_string()),
            ("tracing", format!("{tracing:?}")),
            ("store.path", format!("{:?}", store.path)),
            ("store.limit", store.limit.to_string()),
            ("store.audit_keep", format!("{:?}", store.audit_keep)),
            ("store.audit_entries_max", store.audit_entries_max.to_string()),
            ("metrics.listen", format!("{:?}", metrics.listen)),
            ("log.access_file", format!("{:?}", log.access_file)),
            ("log.access_format", format!("{:?}", log.access_format)),
            ("log.level", log.level.to_string()),
            ("log.format", format!("{:?}", log.format)),
        ])
    }

    fn changed_in(&self, config: &Config) -> Vec<&'static str> {
        let wanted = Self::of(config);
        let pairs = self.0.iter().zip(wanted.0);
        pairs.filter(|(is, wanted)| **is != *wanted).map(|(is, _)| is.0).collect()
    }
}
