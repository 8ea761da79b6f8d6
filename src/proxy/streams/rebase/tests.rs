//! A new token reaches the streams of its session, however young they are.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

use crate::config::{self, StreamRules};
use crate::denylist::{Denylist, Fingerprinter, SelectorKind, Writer};
use crate::keys::{Algorithm, SigningKey};
use crate::proxy::client_address::Client;
use crate::proxy::connection::{Connection, Peer};
use crate::proxy::io::Activity;
use crate::proxy::nudge::Nudges;
use crate::proxy::published::compile;
use crate::telemetry::counters::Counters;
use crate::telemetry::streams::StreamKind;
use crate::token::Credential;
use crate::verify::{Issuer, Policy, SignatureCache, Verifier};

use super::super::turns::Turn;
use super::super::{Cause, Origin, State, StreamPolicy};
use super::*;

/// One core with its streams, and the issuer of their tokens.
struct Scene {
    key: SigningKey,
    published: Published,
    writer: Writer,
    streams: Streams,
    counters: CoreCounters,
    connection: Rc<Connection>,
    now: UnixMs,
}

fn scene() -> Scene {
    let text = "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:1\"]\n\
                [[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"app\"\n";
    let config = config::parse(text, Path::new("gateway.toml"), &|_| None).unwrap().config;
    let key = SigningKey::generate(Algorithm::HS256).unwrap();
    let keys = Arc::new(key.key_set(&[Algorithm::HS256]).unwrap());
    let policy = Policy::new("main", "https://id.example.com/", &["app"], &[Algorithm::HS256]);
    let known = vec![Arc::new(Issuer::new(policy, keys))];
    let fingerprinter = Fingerprinter::random();
    let cache = Arc::new(SignatureCache::new(1 << 20));
    let verifier = Arc::new(Verifier::new(known, fingerprinter.clone(), cache));
    let (denylist, writer) = Denylist::new(fingerprinter);
    let mut kept = crate::proxy::Kept::default();
    let published = compile(&config, verifier, denylist, Nudges::default(), &mut kept);
    let connection = Rc::new(Connection::new(Peer::Unix, Arc::new(Activity::default()), None));
    let (streams, counters) = (Streams::new(0), Counters::default().core_counters());
    Scene { key, published, writer, streams, counters, connection, now: UnixMs::now() }
}

impl Scene {
    fn token(&self, session: &str, lives_s: i64) -> Arc<Signed> {
        let at = self.now.secs();
        let claims = json!({
            "iss": "https://id.example.com/", "aud": "app", "sub": "alice", "sid": session,
            "iat": at, "exp": at + lives_s,
        });
        let token = Credential::new(&self.key.sign(&claims).unwrap());
        Arc::clone(self.published.verifier.verify(&token, self.now).unwrap().signed())
    }

    /// A WebSocket that was opened this very moment.
    fn open(&self, token: &Arc<Signed>) -> Rc<Stream> {
        let stream = self.ask(token);
        self.switched(&stream);
        stream
    }

    /// A request that waits for its answer.
    fn ask(&self, token: &Arc<Signed>) -> Rc<Stream> {
        let policy = StreamPolicy::new("/".into(), &Arc::from([]), &StreamRules::default());
        let of = (&self.connection, Client::peer(Peer::Unix));
        let began = (UnixMs::now(), self.streams.generation());
        self.streams.open(Some(Arc::clone(token)), &Arc::new(policy), of, began)
    }

    fn switched(&self, stream: &Rc<Stream>) {
        stream.came_from(|| Origin {
            method: Method::GET,
            host: Some(HeaderValue::from_static("a")),
            target: Some(PathAndQuery::from_static("/")),
            headers: HeaderMap::new(),
        });
        self.streams.became(stream, StreamKind::WebSocket, &self.counters);
    }

    fn turns(&self) {
        while self.streams.turn(&self.published, &self.counters) == Turn::More {}
    }

    fn rebased(&self, token: &Arc<Signed>) -> u64 {
        let (answer, mut answered) = oneshot::channel();
        self.streams.rebase(Arc::clone(token), None, answer);
        self.turns();
        answered.try_recv().expect("an answer").iter().sum()
    }
}

#[test]
fn a_stream_that_is_too_young_for_the_index_stands_on_the_next_token_too() {
    let scene = scene();
    let (old, other) = (scene.token("s-1", 60), scene.token("s-2", 60));
    let (stream, neighbour) = (scene.open(&old), scene.open(&other));
    assert_eq!(scene.rebased(&scene.token("s-1", 120)), 1);
    let ends_at = |stream: &Stream| stream.held.expires_at().unwrap();
    assert_eq!(ends_at(&stream).since(ends_at(&neighbour)), Duration::from_secs(60));
    // What the token does not speak of waits for its time, and what it does is entered only once.
    assert_eq!((stream.state.get(), neighbour.state.get()), (State::Indexed, State::Young));
    let later = scene.now.plus(Duration::from_secs(1));
    scene.streams.enter_lasting(&scene.published, &scene.counters, later);
    assert_eq!(neighbour.state.get(), State::Indexed);
    assert!(!scene.streams.has_young());
    assert_eq!(scene.rebased(&scene.token("s-1", 180)), 1, "and once more when it is old");
}

#[test]
fn a_young_stream_is_found_behind_more_than_one_turn_looks_at() {
    let scene = scene();
    let (old, other) = (scene.token("s-1", 60), scene.token("s-2", 60));
    let first = scene.open(&old);
    let between: Vec<_> = (0..2_000).map(|_| scene.open(&other)).collect();
    let ended = scene.open(&old);
    scene.streams.end(&ended, &scene.counters);
    let last = scene.open(&old);
    assert_eq!(scene.rebased(&scene.token("s-1", 120)), 2);
    assert!([&first, &last].iter().all(|stream| stream.state.get() == State::Indexed));
    assert!(between.iter().all(|stream| stream.state.get() == State::Young));
}

#[test]
fn a_young_stream_whose_token_is_denied_is_cut_by_the_next_one_and_does_not_follow_it() {
    let mut scene = scene();
    let old = scene.token("s-1", 60);
    let stream = scene.open(&old);
    let fold = crate::denylist::Fold { always: true, ..Default::default() };
    scene.writer.set_of_kind(SelectorKind::Token, old.marks().token, &fold);
    assert_eq!(scene.rebased(&scene.token("s-1", 120)), 0);
    assert!(matches!(stream.cause(), Some(Cause::Denied(_))));
}

#[test]
fn a_handshake_that_was_under_way_when_its_session_was_renewed_becomes_a_stream_of_the_new_token() {
    let mut scene = scene();
    let (old, new) = (scene.token("s-1", 60), scene.token("s-1", 120));
    let (lasting, short, denied) = (scene.ask(&old), scene.ask(&old), scene.ask(&old));
    assert_eq!(scene.rebased(&new), 0, "what they are is not known yet");
    let stands_on = |stream: &Stream, token| Arc::ptr_eq(&stream.held.current().unwrap(), token);
    scene.switched(&lasting);
    scene.streams.became(&short, StreamKind::Response, &scene.counters);
    scene.turns();
    assert!(stands_on(&lasting, &new) && stands_on(&short, &old));
    assert_eq!(scene.rebased(&new), 0, "it stands on it already");
    // The new token is denied before the stream comes to stand on it.
    let fold = crate::denylist::Fold { always: true, ..Default::default() };
    scene.writer.set_of_kind(SelectorKind::Token, new.marks().token, &fold);
    scene.switched(&denied);
    scene.turns();
    assert!(matches!(denied.cause(), Some(Cause::Denied(_))));
    assert_eq!(short.cause(), None);
}
