//! The control plane's side of the desk: what people ask for about their own sessions.

mod ending;

use std::sync::Arc;

use crate::desk::{Ask, Asks, DeskFault};
use crate::verify::Verifier;

use super::store::Store;
use super::streams::OpenStreams;

/// The verifier of this moment.
pub type CurrentVerifier = Arc<dyn Fn() -> Arc<Verifier> + Send + Sync>;

/// See the module.
pub struct Sessions {
    store: Store,
    verifier: CurrentVerifier,
    /// A renewed session takes its open streams along.
    streams: Arc<OpenStreams>,
}

impl Sessions {
    pub fn new(store: Store, verifier: CurrentVerifier, streams: Arc<OpenStreams>) -> Arc<Self> {
        Arc::new(Self { store, verifier, streams })
    }

    /// Answers until the data plane is gone. No ask waits for the one before it.
    pub async fn serve(self: Arc<Self>, mut asks: Asks) {
        while let Some(ask) = asks.recv().await {
            let sessions = Arc::clone(&self);
            tokio::spawn(async move { sessions.answer(ask).await });
        }
    }

    /// Whoever asked may have gone meanwhile; what was done stays done.
    async fn answer(&self, ask: Ask) {
        match ask {
            Ask::End(ends, reply) => drop(reply.send(self.end(&ends).await)),
            Ask::Rebase(token, reply) => {
                reply.send(self.streams.rebase(&token).await.ok_or(DeskFault::Busy)).ok();
            }
        }
    }
}
