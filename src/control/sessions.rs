//! The control plane's side of the desk: what people ask for about their own sessions, and the
//! sessions that logins begin.

mod beginning;
mod ending;
mod operating;
mod own;
mod records;
pub mod renewal;
mod unregistering;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::desk::{Ask, Asks, DeskFault};
use crate::verify::Verifier;

use super::people::People;
use super::store::{Store, StoreError};
use super::streams::OpenStreams;

use renewal::Renewals;

pub use operating::{Ended, RefreshToken};
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
    pub renewals: Renewals,
}

/// See the module.
pub struct Sessions {
    store: Store,
    verifier: CurrentVerifier,
    streams: Arc<OpenStreams>,
    records: Arc<Records>,
    people: Arc<People>,
    renewals: Renewals,
}

impl Sessions {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, verifier, streams, records, people, renewals } = parts;
        Arc::new(Self { store, verifier, streams, records, people, renewals })
    }

    /// Answers until the data plane is gone. No ask waits for the one before it, as long as not too
    /// many are under way. Those that wait for an issuer are bounded by themselves, so that none who
    /// hangs keeps anybody from logging out.
    pub async fn serve(self: Arc<Self>, mut asks: Asks) {
        let places = Arc::new(Semaphore::new(ASKS_AT_ONCE));
        while let Some(ask) = asks.recv().await {
            let place = match ask {
                Ask::Renew(..) | Ask::Revoke(_) => None,
                // Nobody closes it.
                Ask::End(..)
                | Ask::List(..)
                | Ask::EndOne(..)
                | Ask::Begin(..)
                | Ask::Rebase(..) => Arc::clone(&places).acquire_owned().await.ok(),
            };
            let sessions = Arc::clone(&self);
            tokio::spawn(async move {
                sessions.answer(ask).await;
                drop(place);
            });
        }
    }

    /// Whoever asked may have gone meanwhile; what was done stays done.
    async fn answer(self: &Arc<Self>, ask: Ask) {
        match ask {
            Ask::End(ends, reply) => {
                let ended = self.end(&ends).await;
                reply.send(ended.map(drop).map_err(|fault| told(&fault))).ok();
            }
            Ask::List(own, reply) => drop(reply.send(self.list(&own))),
            Ask::EndOne(own, one, reply) => drop(reply.send(self.end_one(&own, &one).await)),
            Ask::Begin(begin, reply) => drop(reply.send(self.begin(*begin).await)),
            Ask::Rebase(token, reply) => {
                reply.send(self.streams.rebase(&token, None).await.ok_or(DeskFault::Busy)).ok();
            }
            Ask::Renew(kept, address, reply) => {
                drop(reply.send(Ok(self.renew(*kept, address).await)));
            }
            Ask::Revoke(kept) => self.revoke_all(&kept),
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
