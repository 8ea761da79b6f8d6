//! What the data plane tells the control plane about requests: first sight of a token, and each
//! refusal. Bounded: when the control plane is behind, observations are dropped and counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::clock::UnixMs;
use crate::denylist::Hit;
use crate::verify::Signed;

/// A token whose signature was verified for the first time, or again after it left the cache.
pub struct Sighting {
    pub at: UnixMs,
    pub token: Arc<Signed>,
    pub address: Option<IpAddr>,
}

/// A request that was refused. `explain --request` is answered from these.
pub struct Refusal {
    pub at: UnixMs,
    pub request_id: String,
    pub method: http::Method,
    pub host: String,
    /// Path without query.
    pub path: String,
    pub route: Option<Arc<str>>,
    pub status: u16,
    /// The stable code, also the log's reason.
    pub code: &'static str,
    /// The precise reason, for operators.
    pub detail: String,
    pub address: Option<IpAddr>,
    /// The token, where its signature held.
    pub token: Option<Arc<Signed>>,
    pub hit: Option<Hit>,
}

pub enum Observation {
    Sighting(Sighting),
    Refusal(Refusal),
}

/// The data plane's end. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    sender: mpsc::Sender<Observation>,
    dropped: Arc<AtomicU64>,
}

impl Observer {
    /// The two ends; `capacity` observations may wait.
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Observation>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { sender, dropped: Arc::default() }, receiver)
    }

    /// Never waits.
    pub fn tell(&self, observation: Observation) {
        if self.sender.try_send(observation).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Observations that nobody saw.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
