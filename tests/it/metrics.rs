//! Metrics as Prometheus reads them: its own parser, its own query language.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::peers::{python, script};
use crate::support::{Connection, Gateway, Issuer, KeyServer, Setup, Upstream, jwk};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/prometheus/portcullis.rules.yml");

/// What a scrape gives.
struct Scraped(Value);

impl Scraped {
    #[track_caller]
    fn of(gateway: &Gateway) -> Self {
        let answer = Connection::open(gateway.metrics_address()).get("/metrics", &[]);
        assert_eq!(answer.status, 200);
        let kind = answer.header("content-type").expect("a content type");
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        Self::read(&answer.text())
    }

    #[track_caller]
    fn read(text: &str) -> Self {
        let mut reader = Command::new(python())
            .arg(script("metrics_reader.py"))
            .arg(RULES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = reader.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{text}");
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The value with exactly these labels.
    fn value(&self, family: &str, name: &str, labels: Value) -> Option<f64> {
        let samples = self.0["families"][family]["samples"].as_array()?;
        let found = samples.iter().find(|sample| sample[0] == name && sample[1] == labels)?;
        found[2].as_f64()
    }
}

#[test]
fn a_scrape_counts_each_request_once_with_route_verdict_and_reason() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .route("/", "name = \"all\"")
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .start();
    let token = issuer.mint("alice");
    for _ in 0..3 {
        assert_eq!(gateway.get_with("/", &token).status, 200);
    }
    assert_eq!(gateway.get("/", &[]).status, 401);
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(gateway.get_with("/", &token).status, 401);
    assert_eq!(gateway.get("/../", &[]).status, 400);
    let found = Scraped::of(&gateway);
    let requests = |code: &str, verdict: &str| {
        let labels = json!({"route": "all", "code": code, "verdict": verdict});
        found.value("portcullis_requests", "portcullis_requests_total", labels)
    };
    assert_eq!((requests("2xx", "forwarded"), requests("4xx", "refused")), (Some(3.0), Some(2.0)));
    let reason = |route: &str, reason: &str| {
        let labels = json!({"route": route, "reason": reason});
        found.value("portcullis_rejections", "portcullis_rejections_total", labels)
    };
    assert_eq!(reason("all", "token_revoked"), Some(1.0));
    assert_eq!(reason("all", "token_missing"), Some(1.0));
    // Nothing of the kind has happened, and it is there for `rate()`.
    assert_eq!(reason("all", "upstream_timeout"), Some(0.0));
    assert_eq!(reason("", "bad_request"), Some(1.0));
    let of = |family: &str, name: &str, labels: Value| found.value(family, name, labels).unwrap();
    let accepted = json!({"issuer": issuer.name, "result": "accepted"});
    assert_eq!(of("portcullis_tokens", "portcullis_tokens_total", accepted), 4.0);
    let hits = json!({"issuer": issuer.name, "selector": "subject"});
    assert_eq!(of("portcullis_denial_hits", "portcullis_denial_hits_total", hits), 1.0);
    for (selector, denials) in [("subject", 1.0), ("token", 0.0)] {
        let labels = json!({"issuer": issuer.name, "selector": selector});
        assert_eq!(of("portcullis_denials", "portcullis_denials", labels), denials);
    }
    let took = "portcullis_request_duration_seconds";
    assert_eq!(of(took, &format!("{took}_count"), json!({"route": "all"})), 5.0);
    let added = "portcullis_added_duration_seconds";
    assert_eq!(of(added, &format!("{added}_count"), json!({"route": "all"})), 3.0);
    let upstream = "portcullis_upstream_duration_seconds";
    assert_eq!(of(upstream, &format!("{upstream}_count"), json!({"upstream": "app"})), 3.0);
    assert!(of("process_resident_memory_bytes", "process_resident_memory_bytes", json!({})) > 1e6);
}

#[test]
fn streams_are_counted_while_they_are_open_and_by_what_cut_them_with_the_time_it_took() {
    let (issuer, upstream) = (Issuer::new("HS256"), crate::stream_rules::backend());
    let gateway = Setup::new()
        .issuer(&issuer, "leeway = \"0s\"")
        .upstream("app", &upstream, "")
        .route("/", "name = \"all\"")
        .route("/ws", "name = \"slow\"\nstreams = { on_revoked = \"grace:4s\" }")
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .start();
    let open = |path: &str, token: &str| crate::stream_rules::open(&gateway, path, token);
    let alice = issuer.mint("alice");
    let mut all = [
        open("/events", &alice),
        open("/ws", &alice),
        open("/events", &issuer.token("bob").times(-10, 6).mint()),
        open("/events", &issuer.mint("carol")),
    ];
    let admin = gateway.admin();
    crate::stream_rules::are_listed(&admin, 4);
    let open_now = || {
        let found = Scraped::of(&gateway);
        [("all", "sse"), ("slow", "websocket")].map(|(route, kind)| {
            let labels = json!({"route": route, "kind": kind});
            found.value("portcullis_streams", "portcullis_streams", labels)
        })
    };
    assert_eq!(open_now(), [Some(3.0), Some(1.0)]);
    admin.revoke(json!({"user": "alice"}));
    let carols = admin.get("/v1/streams?user=carol")["items"][0]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/v1/streams/{carols}/cut"), &json!({}));
    all.iter_mut().for_each(|connection| drop(connection.rest()));
    crate::stream_rules::are_listed(&admin, 0);
    let found = Scraped::of(&gateway);
    let cut = |route: &str, cause: &str| {
        let labels = json!({"route": route, "cause": cause});
        found.value("portcullis_streams_cut", "portcullis_streams_cut_total", labels)
    };
    for (route, cause, count) in [
        ("all", "denied", 1.0),
        ("all", "expired", 1.0),
        ("all", "operator", 1.0),
        ("all", "route_changed", 0.0),
        ("slow", "denied", 1.0),
    ] {
        assert_eq!(cut(route, cause), Some(count), "{route} {cause}");
    }
    assert_eq!(open_now(), [Some(0.0), Some(0.0)]);
    let took = "portcullis_stream_cut_duration_seconds";
    let of = |name: &str| found.value(took, &format!("{took}_{name}"), json!({})).unwrap();
    // Both that were denied, and of the one with a grace only what came after it.
    assert_eq!(of("count"), 2.0);
    assert!(of("sum") > 0.0 && of("sum") < 3.9, "{}", of("sum"));
}

#[test]
fn a_refused_token_counts_for_its_issuer_and_a_strangers_issuer_makes_no_label() {
    let mut issuer = Issuer::new("ES256");
    issuer.kid = Some("one".into());
    let server = KeyServer::new(vec![jwk(&issuer, "one", &issuer.key)]);
    let keys =
        format!("{{ jwks_url = \"{}/keys\", ca = \"ca.pem\", wait = \"10s\" }}", server.base());
    let setup = Setup::new()
        .issuer_with_keys(&issuer, &keys, "")
        .upstream("app", &Upstream::new(), "")
        .server("limits.failed_credentials_per_minute = 3")
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"");
    server.write_ca(setup.dir());
    let gateway = setup.start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let expired = issuer.token("alice").times(-7200, -3600).mint();
    // Genuine: refused, and no failed credential.
    assert_eq!(gateway.status(&expired), 401);
    let other = issuer.key.other();
    let mut stranger = Issuer::new("ES256");
    stranger.iss = "https://stranger.example/".into();
    assert_eq!(gateway.status(&issuer.token("eve").signed_by(&other, "ES256").mint()), 401);
    issuer.kid = Some("two".into());
    assert_eq!(gateway.status(&issuer.mint("alice")), 401);
    assert_eq!(gateway.status(&stranger.mint("eve")), 401);
    assert_eq!(gateway.status(&stranger.mint("eve")), 429);
    let found = Scraped::of(&gateway);
    let of = |family: &str, labels: Value| found.value(family, &format!("{family}_total"), labels);
    let name = &issuer.name;
    let tokens = |result: &str| of("portcullis_tokens", json!({"issuer": name, "result": result}));
    assert_eq!((tokens("accepted"), tokens("refused")), (Some(1.0), Some(3.0)));
    assert_eq!(of("portcullis_unknown_key", json!({"issuer": name})), Some(1.0));
    let shed = |limit: &str| of("portcullis_shed", json!({"limit": limit}));
    assert_eq!((shed("failed_credentials"), shed("requests")), (Some(1.0), Some(0.0)));
    let fetches =
        |result: &str| of("portcullis_key_fetches", json!({"issuer": name, "result": result}));
    assert_eq!((fetches("success"), fetches("failure")), (Some(2.0), Some(0.0)));
    let read = "portcullis_keys_last_success_timestamp_seconds";
    assert!(found.value(read, read, json!({"issuer": name})).is_some_and(|at| at > 1e9));
    let text = Connection::open(gateway.metrics_address()).get("/metrics", &[]).text();
    assert!(!text.contains("stranger"), "{text}");
}

#[test]
fn no_label_names_a_user_a_token_an_address_or_a_path() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .start();
    let token = issuer.mint("alice-in-person");
    gateway.get_with("/a-secret-path?key=secret", &token);
    gateway
        .get("/another-secret-path", &[("Host", "secret-host"), ("Authorization", "Bearer x.y.z")]);
    let answer = Connection::open(gateway.metrics_address()).get("/metrics", &[]);
    let text = answer.text();
    assert!(text.contains("portcullis_requests_total"), "{text}");
    for word in ["alice-in-person", "secret", "127.0.0.1", &token[token.len() - 12..]] {
        assert!(!text.contains(word), "{word} in\n{text}");
    }
}

#[test]
fn every_alert_asks_for_metrics_that_exist_and_has_its_page() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .start();
    let found = Scraped::of(&gateway);
    let families = found.0["families"].as_object().unwrap();
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let alerts = found.0["alerts"].as_object().unwrap();
    assert_eq!(alerts.len(), 6);
    for (alert, metrics) in alerts {
        assert!(guide.contains(&format!("### {alert}")), "{alert} has no page");
        for metric in metrics.as_array().unwrap() {
            let name = metric.as_str().unwrap();
            let family = name.strip_suffix("_total").unwrap_or(name);
            assert!(families.contains_key(family), "{alert} asks for {name}, which is not there");
        }
    }
    for family in families.keys() {
        let documented = family.starts_with("process_") || guide.contains(&format!("`{family}"));
        assert!(documented, "{family} is not in docs/metrics.md");
    }
}

#[test]
fn the_servers_of_an_upstream_are_counted_by_state_and_requests_that_were_sent_again() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let servers = [format!("\"{}\"", upstream.url()), "\"http://127.0.0.1:1\"".to_owned()];
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .upstream_of(
            "app",
            &servers,
            "balance = \"round_robin\"\nejection = { failures = 2, time = \"1h\", time_max = \"1h\" }",
        )
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .route("/", "access = \"public\"")
        .start();
    let figures = || {
        let found = Scraped::of(&gateway);
        let servers = |state: &str| {
            let labels = json!({"upstream": "app", "state": state});
            let family = "portcullis_upstream_servers";
            found.value(family, family, labels).unwrap()
        };
        let family = "portcullis_upstream_retries";
        let labels = json!({"upstream": "app"});
        let retries = found.value(family, &format!("{family}_total"), labels).unwrap();
        (servers("unchecked"), servers("ejected"), servers("down"), retries)
    };
    assert_eq!(figures(), (2.0, 0.0, 0.0, 0.0));
    for _ in 0..4 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    assert_eq!(figures(), (1.0, 1.0, 0.0, 2.0));
}

#[test]
fn the_metrics_listener_answers_nothing_but_metrics() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .start();
    let mut connection = Connection::open(gateway.metrics_address());
    assert_eq!(connection.get("/v1/status", &[]).status, 404);
    assert_eq!(connection.get("/metrics", &[]).status, 200);
    let put = connection.request("PUT", "/metrics", &[], b"");
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD")));
    // And the public listener has no metrics.
    assert_eq!(gateway.get("/metrics", &[]).status, 401);
}
