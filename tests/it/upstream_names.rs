//! Servers by name: their addresses are looked up again on a schedule, come and go while requests
//! are under way, and are kept where nobody knows the name any more. The system's own look-up reads
//! a file of the test's in the place of DNS (nss_wrapper).

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::{Gateway, Issuer, Setup, Upstream, eventually};

/// Servers on one port of these addresses. What each is asked for at `/slow` takes it seconds.
fn servers<const N: usize>(addresses: [&str; N]) -> [Upstream; N] {
    let first = TcpListener::bind((addresses[0], 0)).unwrap();
    let port = first.local_addr().unwrap().port();
    let mut first = Some(first);
    addresses.map(|address| {
        let bound = first.take().unwrap_or_else(|| TcpListener::bind((address, port)).unwrap());
        Upstream::bound(bound, move |exchange| {
            if exchange.received.target == "/slow" {
                std::thread::sleep(Duration::from_secs(4));
            }
            exchange.echo();
        })
    })
}

/// Writes who has the name from now on.
fn says(directory: &Path, addresses: &[&str]) {
    static TIMES: AtomicU64 = AtomicU64::new(1);
    let line = |address: &&str| format!("{address} backend.test\n");
    let text: String = ["127.0.0.9 other.test\n".to_owned()]
        .into_iter()
        .chain(addresses.iter().map(line))
        .collect();
    let new = directory.join("hosts.new");
    std::fs::write(&new, text).unwrap();
    // It is read again when its time differs, and that in seconds.
    let later = Duration::from_secs(2 * TIMES.fetch_add(1, Ordering::SeqCst));
    let file = std::fs::File::options().write(true).open(&new).unwrap();
    file.set_modified(SystemTime::now() + later).unwrap();
    std::fs::rename(new, directory.join("hosts")).unwrap();
}

/// `None`: the library is not installed.
fn start(port: u16, addresses: &[&str]) -> Option<Gateway> {
    let setup = Setup::new()
        .server("threads = 1")
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at("app", &format!("http://backend.test:{port}"), "resolve_every = \"1s\"")
        .route("/", "access = \"public\"")
        .preload("libnss_wrapper.so")?;
    let hosts = setup.dir().join("hosts");
    says(setup.dir(), addresses);
    Some(setup.environment("NSS_WRAPPER_HOSTS", hosts.to_str().unwrap()).start())
}

#[test]
fn addresses_come_and_go_and_not_one_request_fails() {
    let [one, two, three] = servers(["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let port = one.address().port();
    let Some(gateway) = start(port, &["127.0.0.1", "127.0.0.2"]) else { return };
    let served = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut connection = gateway.connect();
            while served.load(Ordering::Relaxed) {
                assert_eq!(connection.get("/", &[]).status, 200);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let reached = |server: &Upstream| (server.begun() > 0).then_some(());
        eventually("both have requests", || reached(&one).and(reached(&two)));
        // Some are under way at the server whose address goes.
        let slow: Vec<_> =
            (0..6).map(|_| scope.spawn(|| gateway.get("/slow", &[]).status)).collect();
        let under_way = || {
            let begun = one.begun() + two.begun();
            let ended = one.received().len() + two.received().len();
            (begun >= ended + 6).then_some(())
        };
        eventually("they have arrived", under_way);
        says(gateway.dir(), &["127.0.0.2", "127.0.0.3"]);
        eventually("the new one has requests", || reached(&three));
        let listed = gateway.admin().get("/v1/upstreams").to_string();
        assert!(listed.contains("127.0.0.3") && !listed.contains("127.0.0.1"), "{listed}");
        slow.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), 200));
        let slow = |one: &crate::support::Received| one.target == "/slow";
        assert!(one.received().iter().any(slow), "they were spread");
        let gone = one.begun();
        let before = three.begun();
        eventually("and more of them", || (three.begun() > before + 20).then_some(()));
        assert_eq!(one.begun(), gone, "nothing goes where the name no longer leads");
        served.store(false, Ordering::Relaxed);
        load.join().unwrap();
    });
}

#[test]
fn a_name_that_nobody_knows_any_more_keeps_its_addresses_and_follows_when_it_is_back() {
    let [one, two] = servers(["127.0.0.1", "127.0.0.2"]);
    let port = one.address().port();
    let Some(gateway) = start(port, &["127.0.0.1"]) else { return };
    assert_eq!(gateway.get("/", &[]).status, 200);
    says(gateway.dir(), &[]);
    let told =
        gateway.stderr.find(|line| line.contains("does not resolve").then(|| line.to_owned()));
    assert!(told.unwrap().contains("backend.test"));
    for _ in 0..20 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert_eq!((one.begun(), two.begun()), (21, 0));
    says(gateway.dir(), &["127.0.0.2"]);
    eventually("it follows", || {
        assert_eq!(gateway.get("/", &[]).status, 200);
        (two.begun() > 0).then_some(())
    });
    let before = one.begun();
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(one.begun(), before);
}

#[test]
fn a_gateway_starts_before_its_servers_name_is_known_and_serves_soon_after() {
    let [one] = servers(["127.0.0.1"]);
    let Some(gateway) = start(one.address().port(), &[]) else { return };
    let answer = gateway.get("/", &[]);
    assert!(matches!(answer.status, 502 | 503), "{}", answer.head);
    says(gateway.dir(), &["127.0.0.1"]);
    eventually("it serves", || (gateway.get("/", &[]).status == 200).then_some(()));
}
