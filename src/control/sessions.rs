//! The control plane's side of the desk: what people ask for about their own sessions, and the
//! sessions that logins begin.

mod beginning;
mod ending;
mod own;
mod records;
mod unregistering;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::desk::{Ask, Asks, DeskFault};
use crate::verify::Verifier;

use super::people::People;
use super::store::{Store, StoreError};
use super::streams::OpenStreams;

pub use records::{Advance, Advanced, Record, Records, SessionId};

/// The verifier of this moment.
pub type CurrentVerifier = Arc<dyn Fn() -> Arc<Verifier> + Send + Sync>;

/// Asks that are worked on at once; the others wait at the desk, which is bounded too.
const ASKS_AT_ONCE: usize = 256;

/// What they need.
pub struct Parts {
    pub store: Store,
    pub verifier: CurrentVerifier,
    /// A renewed session takes its open streams along.
    pub streams: Arc<OpenStreams>,
    pub records: Arc<Records>,
    pub people: Arc<People>,
}

/// See the module.
pub struct Sessions {
    store: Store,
    verifier: CurrentVerifier,
    streams: Arc<OpenStreams>,
    records: Arc<Records>,
    people: Arc<People>,
}

impl Sessions {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, verifier, streams, records, people } = parts;
        Arc::new(Self { store, verifier, streams, records, people })
    }

    /// Answers until the data plane is gone. No ask waits for the one before it, as long as not too
    /// many are under way.
    pub async fn serve(self: Arc<Self>, mut asks: Asks) {
        let places = Arc::new(Semaphore::new(ASKS_AT_ONCE));
        while let Some(ask) = asks.recv().await {
            // Nobody closes it.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let sessions = Arc::clone(&self);
            tokio::spawn(async move {
                sessions.answer(ask).await;
                drop(place);
            });
        }
    }

    /// Whoever asked may have gone meanwhile; what was done stays done.
    async fn answer(&self, ask: Ask) {
        match ask {
            Ask::End(ends, reply) => drop(reply.send(self.end(&ends).await)),
            Ask::List(own, reply) => drop(reply.send(self.list(&own))),
            Ask::EndOne(own, one, reply) => drop(reply.send(self.end_one(&own, &one).await)),
            Ask::Begin(begin, reply) => drop(reply.send(self.begin(*begin).await)),
            Ask::Rebase(token, reply) => {
                reply.send(self.streams.rebase(&token).await.ok_or(DeskFault::Busy)).ok();
            }
        }
    }
}

fn told(fault: &StoreError) -> DeskFault {
    match fault {
        StoreError::Full { .. } => DeskFault::Full,
        StoreError::Closed => DeskFault::Closed,
        StoreError::NoSpace(why) | StoreError::Disk(why) | StoreError::Open(why) => {
            tracing::error!(target: "portcullis::session", why, "the store failed");
            DeskFault::Store
        }
    }
}
