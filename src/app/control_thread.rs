//! The control plane's own thread and runtime: the admin API, and what the data plane observed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Listen};
use crate::control::store::Store;
use crate::denylist::Denylist;
use crate::proxy::Published;
use crate::secret::Secret;
use crate::telemetry::Observation;

use super::StartError;

/// What the control plane is started with.
pub struct Parts<'c> {
    pub config: &'c Config,
    pub admin_token: Option<Secret>,
    pub store: Store,
    pub denylist: Arc<Denylist>,
    pub published: Arc<ArcSwap<Published>>,
    pub observations: mpsc::Receiver<Observation>,
    pub ready: Arc<AtomicBool>,
}

/// The running control plane.
pub struct ControlThread {
    admin: Vec<Listen>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl ControlThread {
    pub fn start(parts: Parts<'_>) -> Result<Self, StartError> {
        let (stop, mut stopped) = watch::channel(false);
        let mut observations = parts.observations;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = async { while observations.recv().await.is_some() {} } => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                });
            })
            .map_err(StartError::Thread)?;
        Ok(Self { admin: Vec::new(), stop, thread })
    }

    pub fn admin(&self) -> &[Listen] {
        &self.admin
    }

    pub fn stop(self) {
        self.stop.send_replace(true);
        self.thread.join().ok();
    }
}
