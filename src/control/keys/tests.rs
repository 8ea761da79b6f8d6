//! What the tests of this directory share, and the ring across configurations.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{KeyRing, Source};
use crate::config::{KeyLocation, RemoteKeys};
use crate::denylist::Fingerprinter;
use crate::keys::{Algorithm, SigningKey};
use crate::verify::KeyCell;

pub fn remote() -> RemoteKeys {
    RemoteKeys {
        location: KeyLocation::Jwks("https://id.example.com/keys".parse().unwrap()),
        allow_http: false,
        allow_redirects: false,
        ca: None,
        refresh_min: Duration::from_secs(60),
        refresh_max: Duration::from_secs(900),
        cooldown: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        wait: Duration::from_secs(2),
        max_stale: Duration::from_secs(86_400),
    }
}

const TEXT: &str = r#"
[[issuer]]
name = "main"
issuer = "https://id.example.com/"
audiences = ["a"]
keys = { secret = "${ONE}" }
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]
[[route]]
path = "/"
upstream = "app"
"#;

fn config(text: &str) -> crate::config::Config {
    let environment = |name: &str| Some(name.repeat(20));
    crate::config::parse(text, std::path::Path::new("gateway.toml"), &environment).unwrap().config
}

#[tokio::test]
async fn an_issuer_that_stays_keeps_its_cell_and_one_that_goes_loses_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let ring = super::KeyRing::new(directory.path(), crate::denylist::Fingerprinter::random());
    let told = Arc::new(parking_lot::Mutex::new(0));
    let count = Arc::clone(&told);
    ring.listen(Box::new(move |marks| *count.lock() += marks.len()));
    let first = ring.prepare(&config(TEXT).issuers);
    let cell = Arc::clone(&first[0].cell);
    assert!(cell.load().is_empty(), "nothing is in force before it is committed");
    ring.commit(first);
    let before = cell.load().keys()[0].thumbprint().to_string();
    // The secret is another one.
    let changed = ring.prepare(&config(&TEXT.replace("ONE", "TWO")).issuers);
    assert!(Arc::ptr_eq(&changed[0].cell, &cell));
    assert_eq!(cell.load().keys()[0].thumbprint().to_string(), before);
    ring.commit(changed);
    assert_ne!(cell.load().keys()[0].thumbprint().to_string(), before);
    assert_eq!(*told.lock(), 1);
    ring.commit(ring.prepare(&[]));
    assert!(cell.load().is_empty());
    assert_eq!(*told.lock(), 2);
    assert!(ring.report().is_empty());
}

/// A server of one key set, which says 304 to whoever has it already.
struct Provider {
    url: String,
    asked: Arc<AtomicUsize>,
    up: Arc<AtomicBool>,
}

impl Provider {
    /// On the runtime.
    fn start(runtime: &tokio::runtime::Runtime) -> Self {
        let jwk = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().unwrap();
        let body = serde_json::json!({ "keys": [jwk] }).to_string();
        let (asked, up) = (Arc::<AtomicUsize>::default(), Arc::new(AtomicBool::new(true)));
        let (count, is_up) = (Arc::clone(&asked), Arc::clone(&up));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
                count.fetch_add(1, Ordering::AcqRel);
                let answer = if !is_up.load(Ordering::Acquire) {
                    "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned()
                } else if head.contains("if-none-match") {
                    "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_owned()
                } else {
                    let length = body.len();
                    format!(
                        "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nConnection: close\r\n\
                         Content-Length: {length}\r\n\r\n{body}"
                    )
                };
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        Self { url, asked, up }
    }

    fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }
}

fn ring(directory: &tempfile::TempDir) -> Arc<KeyRing> {
    KeyRing::new(directory.path(), Fingerprinter::random())
}

/// A config whose issuer has its keys there.
fn fetched_from(url: &str, change: impl Fn(&mut RemoteKeys)) -> crate::config::Config {
    let keys = format!("keys = {{ jwks_url = \"{url}\" }}");
    let mut config = config(&TEXT.replace("keys = { secret = \"${ONE}\" }", &keys));
    change(config.issuers[0].remote.as_mut().unwrap());
    config
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_outage_beyond_max_stale_heals_although_the_set_is_the_same_as_before() {
    let (runtime, directory) = (runtime(), tempfile::tempdir().unwrap());
    let provider = Provider::start(&runtime);
    let ring = ring(&directory);
    let config = fetched_from(&provider.url, |remote| {
        remote.max_stale = Duration::from_secs(1);
        remote.refresh_min = Duration::from_millis(100);
        remote.refresh_max = Duration::from_millis(100);
    });
    let prepared = ring.prepare(&config.issuers);
    let cell: KeyCell = Arc::clone(&prepared[0].cell);
    ring.commit(prepared);
    ring.run(runtime.handle().clone());
    eventually("the first set", || !cell.load().is_empty());
    eventually("a 304", || provider.asked.load(Ordering::Acquire) > 2);
    assert!(!cell.load().is_empty());
    provider.set_up(false);
    eventually("its end", || cell.load().is_empty());
    provider.set_up(true);
    eventually("the same set again", || !cell.load().is_empty());
}

#[test]
fn what_an_ended_source_still_learns_does_not_come_after_its_successor() {
    let directory = tempfile::tempdir().unwrap();
    let ring = ring(&directory);
    let first = fetched_from("http://127.0.0.1:1/keys", |_| {});
    ring.commit(ring.prepare(&first.issuers));
    let old: Arc<Source> = Arc::clone(&ring.sources.lock().values().next().unwrap().source);
    let set = || {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        Arc::new(key.key_set(&Algorithm::ALL).unwrap())
    };
    ring.learn(&old, set());
    assert_eq!(old.cell.load().keys().len(), 1);
    let second = fetched_from("http://127.0.0.1:1/others", |_| {});
    ring.commit(ring.prepare(&second.issuers));
    assert!(old.cell.load().is_empty(), "another URL begins with nothing of the old one's");
    ring.learn(&old, set());
    assert!(old.cell.load().is_empty());
    let new: Arc<Source> = Arc::clone(&ring.sources.lock().values().next().unwrap().source);
    assert!(Arc::ptr_eq(&new.cell, &old.cell));
    ring.learn(&new, set());
    assert_eq!(new.cell.load().keys().len(), 1);
    ring.commit(Vec::new());
    ring.learn(&new, set());
    assert!(new.cell.load().is_empty(), "nor of an issuer that is gone");
}

#[test]
fn whoever_waits_for_a_source_that_ends_waits_no_more() {
    let (runtime, directory) = (runtime(), tempfile::tempdir().unwrap());
    let ring = ring(&directory);
    let config = fetched_from("http://127.0.0.1:1/keys", |_| {});
    ring.commit(ring.prepare(&config.issuers));
    let source = ring.fetched(None).remove(0);
    let (told, end) = mpsc::channel();
    runtime.spawn(async move {
        source.refresh_now().await;
        told.send(()).unwrap();
    });
    ring.commit(Vec::new());
    end.recv_timeout(Duration::from_secs(30)).unwrap();
}

#[test]
fn an_order_that_comes_before_the_first_fetch_ends_with_it() {
    let (runtime, directory) = (runtime(), tempfile::tempdir().unwrap());
    let provider = Provider::start(&runtime);
    let ring = ring(&directory);
    ring.commit(ring.prepare(&fetched_from(&provider.url, |_| {}).issuers));
    let source = ring.fetched(None).remove(0);
    let mut order = pin!(source.refresh_now());
    let waits = poll_fn(|context| Poll::Ready(order.as_mut().poll(context).is_pending()));
    assert!(runtime.block_on(waits));
    ring.run(runtime.handle().clone());
    let ended = async { tokio::time::timeout(Duration::from_secs(30), order).await };
    runtime.block_on(ended).unwrap();
    assert!(!source.set().is_empty());
}

#[test]
fn another_url_is_fetched_before_it_is_in_force_and_only_for_so_long() {
    let (runtime, directory) = (runtime(), tempfile::tempdir().unwrap());
    let (one, two) = (Provider::start(&runtime), Provider::start(&runtime));
    let ring = ring(&directory);
    let first = fetched_from(&one.url, |_| {});
    let prepared = ring.prepare(&first.issuers);
    let cell: KeyCell = Arc::clone(&prepared[0].cell);
    ring.commit(prepared);
    ring.run(runtime.handle().clone());
    eventually("the first set", || !cell.load().is_empty());
    let before = cell.load_full();
    let change = |url: &str, bound: Duration| {
        let patient = fetched_from(url, |remote| remote.timeout = Duration::from_secs(60));
        let mut prepared = ring.prepare(&patient.issuers);
        ring.fetch_first(&mut prepared, bound);
        prepared
    };
    let prepared = change(&two.url, Duration::from_secs(30));
    assert!(cell.load().is_same(&before), "not in force yet");
    ring.commit(prepared);
    assert!(!cell.load().is_empty() && !cell.load().is_same(&before));
    assert_eq!(two.asked.load(Ordering::Acquire), 1, "its task goes on, it does not begin again");
    // One that says nothing holds nothing up.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", silent.local_addr().unwrap());
    let started = Instant::now();
    let prepared = change(&url, Duration::from_millis(100));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(!cell.load().is_empty());
    ring.commit(prepared);
    assert!(cell.load().is_empty());
}

#[test]
fn a_source_without_trust_fails_like_any_other_and_is_tried_again() {
    let (runtime, directory) = (runtime(), tempfile::tempdir().unwrap());
    let ring = ring(&directory);
    let config = fetched_from("http://127.0.0.1:1/keys", |remote| {
        remote.ca = Some(b"no certificate".to_vec());
    });
    ring.commit(ring.prepare(&config.issuers));
    ring.run(runtime.handle().clone());
    let source = ring.fetched(None).remove(0);
    let fetches = || source.state.lock().fetches;
    eventually("a second try", || fetches() >= 2);
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), source.refresh_now()).await.unwrap();
    });
    let (_, why) = source.state.lock().failure.clone().unwrap();
    assert!(why.contains("`ca`"), "{why}");
}

#[test]
fn a_thousand_sources_fetch_a_few_at_a_time_and_whoever_is_asked_for_does_not_queue() {
    let (runtime, directory) = (runtime(), tempfile::tempdir().unwrap());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ring = ring(&directory);
    let address = silent.local_addr().unwrap();
    let (_, rest) = TEXT.split_once("[[upstream]]").unwrap();
    let tables = (0..1000).map(|number| {
        format!(
            "[[issuer]]\nname = \"i{number}\"\nissuer = \"https://id.example.com/{number}\"\n\
             audiences = [\"a\"]\nkeys = {{ jwks_url = \"http://{address}/{number}\" }}\n"
        )
    });
    let issuers = config(&format!("{}[[upstream]]{rest}", tables.collect::<String>())).issuers;
    let prepared = ring.prepare(&issuers);
    let lines: Vec<_> = prepared.iter().map(|prepared| prepared.line.clone().unwrap()).collect();
    ring.commit(prepared);
    ring.run(runtime.handle().clone());
    let fetching = || {
        let is = |line: &&super::Line| line.refresh.borrow().phase == crate::keys::Phase::Fetching;
        lines.iter().filter(is).count()
    };
    // A source that has not come that far yet counts as fetching: requests may wait for it.
    eventually("the others to queue", || fetching() == super::FETCHES_MAX);
    let waiting =
        lines.iter().find(|line| line.refresh.borrow().phase != crate::keys::Phase::Fetching);
    waiting.unwrap().asked.notify_one();
    eventually("the one that was asked for", || fetching() == super::FETCHES_MAX + 1);
}
