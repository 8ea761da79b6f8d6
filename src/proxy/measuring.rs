//! The registry of open streams without sockets, for `benches/streams.rs`. Not an interface: it may
//! change at any time.

use std::rc::Rc;
use std::sync::Arc;

use crate::clock::UnixMs;
use crate::config::StreamRules;
use crate::denylist::Fingerprint;
use crate::telemetry::counters::{CoreCounters, Counters};
use crate::verify::Signed;

use super::client_address::Client;
use super::connection::{Connection, Peer};
use super::io::Activity;
use super::published::Published;
use super::streams::{Stream, StreamPolicy, Streams, Turn};

/// One core's.
pub struct Registry {
    streams: Streams,
    published: Published,
    counters: CoreCounters,
    policy: Arc<StreamPolicy>,
    connection: Rc<Connection>,
}

/// A stream that nobody reads.
pub struct Open(Rc<Stream>);

impl Registry {
    pub fn new(published: Published) -> Self {
        Self {
            streams: Streams::new(0),
            published,
            counters: Counters::default().core_counters(),
            policy: Arc::new(StreamPolicy::new(
                "/".into(),
                &Arc::from([]),
                &StreamRules::default(),
            )),
            connection: Rc::new(Connection::new(Peer::Unix, Arc::new(Activity::default()), None)),
        }
    }

    pub fn open(&self, token: &Arc<Signed>, now: UnixMs) -> Open {
        let of = (&self.connection, Client::peer(Peer::Unix));
        let began = (now, self.streams.generation());
        Open(self.streams.open(Some(Arc::clone(token)), &self.policy, of, began))
    }

    /// Those that have lasted at `now` are indexed, and the table is asked about them.
    pub fn enter_lasting(&self, now: UnixMs) {
        self.streams.enter_lasting(&self.published, &self.counters, now);
    }

    /// The table has changed for these: all that follows from it.
    pub fn changed(&self, marks: &[Fingerprint]) {
        self.streams.changed(marks, std::time::Instant::now());
        while self.streams.turn(&self.published, &self.counters) == Turn::More {}
    }

    pub fn end(&self, open: &Open) {
        self.streams.end(&open.0, &self.counters);
    }
}

impl Open {
    pub fn is_cut(&self) -> bool {
        self.0.is_cut()
    }
}
