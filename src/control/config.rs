//! The configuration that is in force, and the way to ask for another reading of the file. Here is
//! where the admin API and whoever else wants a reload meet the thread that does it.

use std::sync::Arc;
use std::sync::mpsc;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::config::Diagnostics;

/// Who asked for a reload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    Signal,
    File,
    Api,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// A reload that took effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reloaded {
    pub at: UnixMs,
    /// Keys whose new value waits for the next start.
    pub needs_restart: Vec<&'static str>,
    /// Warnings and notes.
    pub notes: Diagnostics,
}

/// Why a reload changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReloadFault {
    /// The file cannot be used.
    Config(Diagnostics),
    /// The file is good, and something of it cannot be had here and now.
    NotPossible(String),
    /// The gateway ends.
    Ended,
}

impl std::fmt::Display for ReloadFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(found) => {
                let errors = found.count(crate::config::Severity::Error);
                let plural = if errors == 1 { "" } else { "s" };
                write!(out, "{errors} error{plural} in {}", found.file)?;
                found.items.first().map_or(Ok(()), |first| write!(out, ": {}", first.message))
            }
            Self::NotPossible(why) => out.write_str(why),
            Self::Ended => out.write_str("the gateway ends"),
        }
    }
}

pub type Outcome = Result<Reloaded, ReloadFault>;

/// What reading the file would come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Of a good file: keys whose new value would wait for the next start, and warnings and notes;
    /// of another its mistakes.
    pub outcome: Result<(Vec<&'static str>, Diagnostics), Diagnostics>,
}

/// Somebody asks, and may wait for the outcome.
pub enum Ask {
    Reload {
        trigger: Trigger,
        reply: Option<oneshot::Sender<Outcome>>,
    },
    /// Read the file and change nothing.
    Check(oneshot::Sender<Checked>),
}

/// What is known of the configuration.
#[derive(Clone, Debug)]
pub struct Standing {
    /// When the configuration in force was read.
    pub loaded_at: UnixMs,
    /// It, with every secret masked.
    pub effective: Value,
    /// Keys whose value in the file waits for the next start.
    pub needs_restart: Vec<&'static str>,
    /// `None`: nobody asked since the start.
    pub last: Option<Last>,
}

/// The last reload.
#[derive(Clone, Debug)]
pub struct Last {
    pub at: UnixMs,
    pub trigger: Trigger,
    /// Why it changed nothing.
    pub fault: Option<ReloadFault>,
}

/// See the module.
pub struct Desk {
    standing: RwLock<Standing>,
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
}

impl Desk {
    /// The desk, and the end at which asks arrive.
    pub fn new(standing: Standing) -> (Self, mpsc::Receiver<Ask>) {
        let (asks, inbox) = mpsc::channel();
        (Self { standing: RwLock::new(standing), asks: Mutex::new(Some(asks)) }, inbox)
    }

    /// As [`Self::new`], for both planes.
    pub fn shared(standing: Standing) -> (Arc<Self>, mpsc::Receiver<Ask>) {
        let (desk, inbox) = Self::new(standing);
        (Arc::new(desk), inbox)
    }

    pub fn standing(&self) -> Standing {
        self.standing.read().clone()
    }

    /// Whether the last reload succeeded, and when what is in force was read.
    pub fn outcome(&self) -> (bool, UnixMs) {
        let standing = self.standing.read();
        (standing.last.as_ref().is_none_or(|last| last.fault.is_none()), standing.loaded_at)
    }

    pub fn set(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.write());
    }

    /// Asks and does not wait.
    pub fn ask(&self, trigger: Trigger) {
        self.send(Ask::Reload { trigger, reply: None }).ok();
    }

    pub async fn reload(&self, trigger: Trigger) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.send(Ask::Reload { trigger, reply: Some(reply) })?;
        outcome.await.unwrap_or(Err(ReloadFault::Ended))
    }

    /// What a reload would say of the file. `None`: the gateway ends.
    pub async fn check(&self) -> Option<Checked> {
        let (reply, outcome) = oneshot::channel();
        self.send(Ask::Check(reply)).ok()?;
        outcome.await.ok()
    }

    /// No further reload; the thread that does them ends.
    pub fn close(&self) {
        self.asks.lock().take();
    }

    fn send(&self, ask: Ask) -> Result<(), ReloadFault> {
        let asks = self.asks.lock();
        asks.as_ref().and_then(|asks| asks.send(ask).ok()).ok_or(ReloadFault::Ended)
    }
}
