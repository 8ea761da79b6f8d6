//! What the metrics tell of connections on both sides, of issuers' clocks, of denials and of the admin
//! API: each figure moves with what it is of, and with nothing else.

use std::sync::{Mutex, mpsc};

use serde_json::json;

use crate::support::{Connection, Gateway, Issuer, Setup, Upstream, eventually};

#[track_caller]
fn comes_to(gateway: &Gateway, series: &str, value: f64) {
    eventually(series, || (gateway.metric(series) == value).then_some(()));
}

#[test]
fn connections_to_servers_are_idle_or_active_and_are_opened_once_and_used_again() {
    let (go, going) = mpsc::channel::<()>();
    let going = Mutex::new(going);
    let upstream = Upstream::answering(move |exchange| {
        match exchange.received.target.as_str() {
            "/held" => going.lock().unwrap().recv().unwrap(),
            "/last" => exchange.close(),
            _ => {}
        }
        exchange.answer("200 OK", "", "ok");
    });
    let gateway = Setup::new()
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .server("threads = 1")
        .metrics()
        .start();
    let open = |state: &str, count: f64| {
        let series =
            format!("portcullis_upstream_connections{{upstream=\"app\",state=\"{state}\"}}");
        comes_to(&gateway, &series, count);
    };
    let counted = |what: &str| {
        let family = format!("portcullis_upstream_connections_{what}_total");
        gateway.metric(&format!("{family}{{upstream=\"app\"}}"))
    };
    for reused in 0..3 {
        assert_eq!(gateway.get("/", &[]).status, 200);
        open("idle", 1.0);
        assert_eq!((counted("opened"), counted("reused")), (1.0, f64::from(reused)));
    }
    let mut held = gateway.connect();
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    open("active", 1.0);
    open("idle", 0.0);
    assert_eq!(gateway.get("/", &[]).status, 200);
    open("idle", 1.0);
    go.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
    open("active", 0.0);
    open("idle", 2.0);
    assert_eq!((counted("opened"), counted("reused")), (2.0, 3.0));
    assert_eq!(gateway.get("/last", &[]).status, 200);
    open("idle", 1.0);
}

#[test]
fn clients_are_counted_by_listener_also_those_of_one_that_has_left_the_config() {
    let gateway = Setup::new()
        .upstream("app", &Upstream::new(), "")
        .route("/", "access = \"public\"")
        .server("watch = false")
        .tables("[[listener]]\nlisten = \"unix:extra.sock\"\n")
        .metrics()
        .start();
    let open = |listener: &str, count: f64| {
        comes_to(&gateway, &format!("portcullis_connections{{listener=\"{listener}\"}}"), count);
    };
    let mut first = gateway.connect();
    assert_eq!(first.get("/", &[]).status, 200);
    let mut extra: Vec<Connection> =
        (0..2).map(|_| Connection::open_unix(&gateway.dir().join("extra.sock"))).collect();
    for connection in &mut extra {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    open("server", 1.0);
    open("listener-1", 2.0);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let without = text.replace("[[listener]]\nlisten = \"unix:extra.sock\"", "");
    assert_ne!(text, without);
    std::fs::write(gateway.config(), without).unwrap();
    gateway.admin().post("/v1/config/reload", &json!({}));
    open("server", 1.0);
    open("listener-1", 2.0);
    let mut second = gateway.connect();
    assert_eq!(second.get("/", &[]).status, 200);
    open("server", 2.0);
    drop(extra);
    open("listener-1", 0.0);
    drop(first);
    open("server", 1.0);
}

#[test]
fn an_issuer_whose_clock_is_ahead_shows_and_one_whose_is_not_does_not() {
    let ahead = Issuer::new("HS256");
    let good = Issuer::named("good", "https://good.example.com/", "ES256");
    let gateway = Setup::new()
        .issuer(&ahead, "")
        .issuer(&good, "")
        .upstream("app", &Upstream::new(), "")
        .metrics()
        .start();
    let skew = |issuer: &Issuer| {
        gateway.metric(&format!("portcullis_clock_skew_seconds{{issuer=\"{}\"}}", issuer.name))
    };
    assert_eq!(gateway.status(&good.token("alice").times(-5, 600).mint()), 200);
    assert_eq!(gateway.status(&ahead.token("alice").times(20, 600).mint()), 200);
    assert!((10.0..=20.0).contains(&skew(&ahead)), "{}", skew(&ahead));
    // Farther than its leeway: refused, and seen all the same; a forgery says nothing.
    assert_eq!(gateway.status(&ahead.token("alice").times(50, 600).mint()), 401);
    let forged = ahead.token("alice").times(500, 600).signed_by(&ahead.key.other(), "HS256");
    assert_eq!(gateway.status(&forged.mint()), 401);
    assert!((40.0..=50.0).contains(&skew(&ahead)), "{}", skew(&ahead));
    assert_eq!(skew(&good), 0.0);
}

#[test]
fn each_denial_has_the_time_until_it_was_in_force_and_each_call_its_path_without_what_is_in_it() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).metrics().start();
    let admin = gateway.admin();
    let id = admin.block(json!({"user": "alice"}));
    admin.revoke(json!({"user": "bob"}));
    for _ in 0..2 {
        assert_eq!(admin.call("DELETE", &format!("/v1/denials/{id}"), None).status, 200);
    }
    assert_eq!(admin.call("GET", "/v1/denials/dn_0000000000", None).status, 404);
    assert_eq!(admin.call("GET", "/v1/a-secret-path", None).status, 404);
    let calls = |path: &str, code: &str| {
        let labels = format!("{{path=\"{path}\",code=\"{code}\"}}");
        gateway.metric(&format!("portcullis_admin_requests_total{labels}"))
    };
    assert_eq!((calls("/v1/block", "2xx"), calls("/v1/revoke", "2xx")), (1.0, 1.0));
    let of_one = ["2xx", "4xx"].map(|code| calls("/v1/denials/{id}", code));
    assert_eq!((of_one, calls("", "4xx")), ([2.0, 1.0], 1.0));
    let took =
        |of: &str| gateway.metric(&format!("portcullis_denial_apply_duration_seconds_{of}{{}}"));
    assert_eq!(took("count"), 2.0, "a lift is none");
    assert!(took("sum") > 0.0 && took("sum") < 20.0, "{}", took("sum"));
    let revision = option_env!("PORTCULLIS_REVISION").unwrap_or("unknown");
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("{{version=\"{version}\",revision=\"{revision}\"}}");
    assert_eq!(gateway.metric(&format!("portcullis_build_info{build}")), 1.0);
    let text = Connection::open(gateway.metrics_address()).get("/metrics", &[]).text();
    assert!(!text.contains(&id) && !text.contains("a-secret-path"), "{text}");
}
