//! The registry of open streams without sockets, for `benches/streams.rs`, and vouching without
//! requests, for `benches/verify.rs`. Not an interface: it may change at any time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixMs;
use crate::config::{RouteAssertion, StreamRules};
use crate::denylist::Fingerprint;
use crate::keys::{OwnKey, OwnKeys, SigningKey};
use crate::telemetry::counters::{CoreCounters, Counters};
use crate::verify::Signed;

use super::assertion::{Memo, Vouching};
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

/// The gateway as one who vouches to one backend.
pub struct Vouched {
    vouching: Vouching,
    rule: Arc<RouteAssertion>,
    memo: Memo,
}

impl Vouched {
    /// `None`: nothing can be signed by this key.
    pub fn new(key: SigningKey) -> Option<Self> {
        let key = OwnKey { key: Arc::new(key), signs_from: Some(UnixMs::default()) };
        let rule = RouteAssertion {
            audience: "https://orders.example.com".to_owned(),
            header: http::HeaderName::from_static("x-portcullis-assertion"),
            claims: Vec::new(),
            lifetime: Duration::from_secs(60),
        };
        let vouching = Vouching::new("https://gateway.example.com", OwnKeys::new(vec![key]).ok()?);
        Some(Self { vouching, rule: Arc::new(rule), memo: Memo::default() })
    }

    /// For whom nobody was vouched for before.
    pub fn first(&self, token: &Arc<Signed>, now: UnixMs) -> bool {
        self.vouching.header(token, &self.rule, &Memo::default(), now).is_ok()
    }

    /// As for the requests of the next half minute.
    pub fn again(&self, token: &Arc<Signed>, now: UnixMs) -> bool {
        self.vouching.header(token, &self.rule, &self.memo, now).is_ok()
    }
}
