//! Several servers behind one name: who gets a request, and who gets it when one of them fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::support::{self, Gateway, Issuer, PATIENCE, Setup, Upstream, eventually};

/// A gateway before these servers, on a public route.
pub fn before(servers: &[String], lines: &str) -> Gateway {
    Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream_of("app", servers, lines)
        .route("/", "access = \"public\"")
        .start()
}

pub fn quoted(upstream: &Upstream) -> String {
    format!("\"{}\"", upstream.url())
}

/// A server that is not there.
pub fn nobody() -> String {
    format!("\"http://{}\"", support::nobody())
}

#[test]
fn round_robin_is_by_weight() {
    let (one, two) = (Upstream::new(), Upstream::new());
    let heavy = format!("{{ url = \"{}\", weight = 3 }}", one.url());
    let gateway = before(&[heavy, quoted(&two)], "balance = \"round_robin\"");
    let mut connection = gateway.connect();
    for _ in 0..40 {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    assert_eq!((one.begun(), two.begun()), (30, 10));
}

/// Answers at once, but for `/hang`: that when what is given with it is dropped.
fn hanging() -> (Upstream, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |exchange| {
        if exchange.received.target == "/hang" {
            let _ = wait.lock().unwrap().recv();
        }
        exchange.answer("200 OK", "", "ok");
    });
    (upstream, go)
}

#[test]
fn the_default_is_least_request_and_leaves_a_busy_server_alone() {
    let ((slow, hold), (quick, go)) = (hanging(), hanging());
    let gateway = before(&[quoted(&slow), quoted(&quick)], "");
    let (mut busy, mut soon_over) = (Vec::new(), Vec::new());
    while busy.len() < 2 {
        let begun = (slow.begun(), quick.begun());
        let mut connection = gateway.connect();
        connection.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it arrives somewhere", || {
            ((slow.begun(), quick.begun()) != begun).then_some(())
        });
        if slow.begun() > begun.0 { &mut busy } else { &mut soon_over }.push(connection);
    }
    drop(go);
    for mut connection in soon_over {
        assert_eq!(connection.answer().status, 200);
    }
    let mut connection = gateway.connect();
    for _ in 0..50 {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    assert_eq!(slow.begun(), 2, "two in flight there, none at the other");
    drop(hold);
}

#[test]
fn a_hashed_claim_keeps_a_user_on_one_server() {
    let servers = [Upstream::new(), Upstream::new(), Upstream::new()];
    let issuer = Issuer::new("HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .upstream_of(
            "app",
            &servers.each_ref().map(quoted),
            "balance = \"hash\"\nhash = \"claim:sub\"",
        )
        .start();
    let mut used = 0;
    for user in 0..12 {
        let token = issuer.mint(&format!("user-{user}"));
        let before = servers.each_ref().map(Upstream::begun);
        for _ in 0..4 {
            assert_eq!(gateway.status(&token), 200);
        }
        let after = servers.each_ref().map(Upstream::begun);
        let grown: Vec<usize> = (0..3).filter(|&at| after[at] > before[at]).collect();
        assert_eq!(grown.len(), 1, "user {user}: {before:?} {after:?}");
        used |= 1 << grown[0];
    }
    assert!(used != 1 && used != 2 && used != 4, "they are not all on one");
}

#[test]
fn a_hashed_header_or_address_places_requests_and_one_without_it_is_served_too() {
    let servers = [Upstream::new(), Upstream::new()];
    let lines = "balance = \"hash\"\nhash = \"header:X-Tenant\"";
    let gateway = before(&servers.each_ref().map(quoted), lines);
    for tenant in ["acme", "globex", "initech", "umbrella"] {
        let before = servers.each_ref().map(Upstream::begun);
        for _ in 0..3 {
            assert_eq!(gateway.get("/", &[("X-Tenant", tenant)]).status, 200);
        }
        let after = servers.each_ref().map(Upstream::begun);
        assert!(before[0] == after[0] || before[1] == after[1], "{before:?} {after:?}");
    }
    assert_eq!(gateway.get("/", &[]).status, 200);
    let servers = [Upstream::new(), Upstream::new()];
    let gateway = before(&servers.each_ref().map(quoted), "balance = \"hash\"\nhash = \"address\"");
    for _ in 0..6 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert!(servers.iter().any(|server| server.begun() == 0), "one client, one server");
}

#[test]
fn a_backup_is_used_only_while_the_others_cannot_be() {
    let (regular, backup) = (Upstream::new(), Upstream::new());
    let spare = format!("{{ url = \"{}\", backup = true }}", backup.url());
    let gateway = before(&[quoted(&regular), spare.clone()], "");
    for _ in 0..10 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert_eq!((regular.begun(), backup.begun()), (10, 0));
    let gateway = before(&[nobody(), spare], "");
    for _ in 0..10 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert_eq!(backup.begun(), 10);
}

#[test]
fn a_unix_socket_is_a_server_like_any_other() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix");
        }
    });
    let tcp = Upstream::answering(|exchange| exchange.answer("200 OK", "", "tcp!"));
    let unix = format!("\"unix:{}\"", path.display());
    let gateway = before(&[unix, quoted(&tcp)], "balance = \"round_robin\"");
    let mut bodies: Vec<String> = (0..4).map(|_| gateway.get("/", &[]).text()).collect();
    bodies.sort();
    assert_eq!(bodies, ["tcp!", "tcp!", "unix", "unix"]);
}

#[test]
fn a_server_whose_requests_fail_is_ejected_and_comes_back() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let shaky = Upstream::answering(move |exchange| {
        let status =
            if is_broken.load(Ordering::SeqCst) { "503 Service Unavailable" } else { "200 OK" };
        exchange.answer(status, "", "");
    });
    let good = Upstream::new();
    let lines = "balance = \"round_robin\"\nejection = { failures = 3, time = \"5s\" }";
    let gateway = before(&[quoted(&shaky), quoted(&good)], lines);
    let mut connection = gateway.connect();
    let failures = (0..40).filter(|_| connection.get("/", &[]).status == 503).count();
    assert_eq!(failures, 3, "then it got no more");
    broken.store(false, Ordering::SeqCst);
    gateway.stderr.find(|line| line.contains("a server is ejected").then_some(()));
    let at_most = shaky.begun();
    eventually("it is asked again", || {
        assert_eq!(connection.get("/", &[]).status, 200);
        (shaky.begun() > at_most).then_some(())
    });
    gateway.stderr.find(|line| line.contains("a server is back").then_some(()));
}

#[test]
fn the_last_server_is_never_ejected() {
    let shaky =
        Upstream::answering(|exchange| exchange.answer("503 Service Unavailable", "", "mine"));
    let lines = "ejection = { failures = 1, time = \"1h\", time_max = \"1h\", percent_max = 100 }";
    let gateway = before(&[quoted(&shaky), nobody()], lines);
    let mut connection = gateway.connect();
    for _ in 0..20 {
        let answer = connection.get("/", &[]);
        assert_eq!((answer.status, answer.text().as_str()), (503, "mine"));
    }
}

#[test]
fn requests_beyond_the_limit_wait_in_a_bounded_queue_and_the_rest_are_shed() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |exchange| {
        let _ = wait.lock().unwrap().recv();
        exchange.answer("200 OK", "", "done");
    });
    let lines = "max_connections = 1\nqueue = { size = 1, wait = \"10m\" }";
    let gateway = before(&[quoted(&upstream)], lines);
    let mut first = gateway.connect();
    first.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the first is under way", || (upstream.begun() == 1).then_some(()));
    let (tell, told) = mpsc::channel();
    for target in ["/2", "/3"] {
        let (mut connection, tell) = (gateway.connect(), tell.clone());
        std::thread::spawn(move || tell.send(connection.get(target, &[])).is_ok());
    }
    // One of them waits, the other is shed at once.
    let shed = told.recv_timeout(PATIENCE).expect("shed before the wait in the queue is over");
    assert_eq!((shed.status, shed.code().as_str()), (503, "overloaded"));
    assert!(shed.header("retry-after").is_some());
    assert_eq!(upstream.begun(), 1, "the limit holds");
    go.send(()).unwrap();
    assert_eq!(first.answer().text(), "done");
    go.send(()).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().text(), "done");
    assert_eq!(upstream.begun(), 2);
}

#[test]
fn a_wait_in_the_queue_is_bounded_and_a_client_that_leaves_frees_its_place() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |exchange| {
        if exchange.received.target == "/hangs" {
            let _ = wait.lock().unwrap().recv();
        }
        exchange.answer("200 OK", "", "done");
    });
    let lines = "max_connections = 1\nqueue = { size = 5, wait = \"300ms\" }";
    let gateway = before(&[quoted(&upstream)], lines);
    let mut first = gateway.connect();
    first.send("GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the first is under way", || (upstream.begun() == 1).then_some(()));
    let answer = gateway.get("/2", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    drop(first);
    eventually("the place is free", || (gateway.get("/3", &[]).status == 200).then_some(()));
    drop(go);
}

#[test]
fn a_request_that_waited_in_the_queue_asks_the_denylist_again() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |exchange| {
        if exchange.received.target == "/first" {
            let _ = wait.lock().unwrap().recv();
        }
        exchange.answer("200 OK", "", "done");
    });
    let issuer = Issuer::new("HS256");
    let lines = "max_connections = 1\nqueue = { size = 5, wait = \"10m\" }";
    let gateway = Setup::new().issuer(&issuer, "").upstream("app", &upstream, lines).start();
    let (alice, bob) = (issuer.mint("alice"), issuer.mint("bob"));
    let get = |target: &str, token: &str| {
        let mut connection = gateway.connect();
        connection.send(format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
        ));
        connection
    };
    let mut first = get("/first", &bob);
    eventually("the first is under way", || (upstream.begun() == 1).then_some(()));
    let (mut denied, mut passes) = (get("/denied", &alice), get("/passes", &bob));
    gateway.admin().block(serde_json::json!({"subject": "alice"}));
    go.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
    assert_eq!(passes.answer().status, 200);
    assert_eq!(denied.answer().status, 401);
    assert!(upstream.received().iter().all(|received| received.target != "/denied"));
}

#[test]
fn an_answer_that_stalls_is_broken_off_and_a_steady_one_is_not() {
    let (stop, stopped) = mpsc::channel::<()>();
    let stopped = std::sync::Mutex::new(stopped);
    let upstream = Upstream::answering(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
        for byte in b"12345678" {
            if exchange.received.target == "/stalls" && *byte == b'5' {
                let _ = stopped.lock().unwrap().recv();
            }
            // The pace is the test's input: longer in all than the longest pause.
            std::thread::sleep(Duration::from_millis(500));
            exchange.send([*byte]);
        }
    });
    let gateway = before(&[quoted(&upstream)], "body_timeout = \"3s\"");
    assert_eq!(gateway.get("/steady", &[]).text(), "12345678");
    let mut connection = gateway.connect();
    connection.send("GET /stalls HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(connection.answer_to("GET").is_err(), "it must not look whole");
    drop(stop);
}
