//! Another config while it runs: all or nothing, and no connection dropped.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Gateway, Issuer, Setup, Upstream, eventually};

/// Replaces text in the config file, which must be there.
fn edit(gateway: &Gateway, from: &str, to: &str) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    assert!(text.contains(from), "{from} is not in\n{text}");
    put(gateway.config(), &text.replace(from, to));
}

/// Moved into place, as a careful editor does.
fn put(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, path).unwrap();
}

fn reload(gateway: &Gateway) -> Value {
    gateway.admin().post("/v1/config/reload", &json!({}))
}

fn public(upstream: &Upstream) -> Gateway {
    Setup::new()
        .upstream("app", upstream, "")
        .route("/", "access = \"public\"")
        .server("watch = false")
        .start()
}

#[test]
fn a_reload_takes_effect_on_the_next_request_of_the_same_connection() {
    let upstream = Upstream::new();
    let gateway = public(&upstream);
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/", &[]).status, 200);
    edit(&gateway, "path = \"/\"", "path = \"/api/\"");
    assert_eq!(connection.get("/", &[]).status, 200, "nothing happens before it is asked for");
    let answer = reload(&gateway);
    assert_eq!(answer["reloaded"], true);
    assert_eq!(answer["needs_restart"], json!([]));
    assert_eq!(connection.get("/", &[]).status, 404);
    assert_eq!(connection.get("/api/x", &[]).status, 200);
    assert_eq!(upstream.connections(), 1, "the pool of a server that stays is kept");
}

#[test]
fn a_bad_config_changes_nothing_and_every_mistake_is_said() {
    let upstream = Upstream::new();
    let gateway = public(&upstream);
    let good = std::fs::read_to_string(gateway.config()).unwrap();
    edit(&gateway, "path = \"/\"", "path = \"/api/\"\nupstraem = 1\nforward = \"strop\"");
    let admin = gateway.admin();
    let refused = admin.call("POST", "/v1/config/reload", Some(&json!({})));
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_config"));
    let found = refused.json()["diagnostics"].clone();
    let codes: Vec<&str> =
        found.as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["C012", "C025"], "{found}");
    assert!(found[0]["line"].as_u64().unwrap() > 1);
    assert_eq!(gateway.get("/", &[]).status, 200, "what is in force stays");
    let status = admin.get("/v1/status");
    assert_eq!(status["config"]["last_reload_ok"], false);
    assert_eq!(status["verdict"], "degraded");
    assert_eq!(admin.call("GET", "/readyz", None).status, 200, "and readiness with it");
    let config = admin.get("/v1/config");
    assert_eq!(config["last_reload"]["ok"], false);
    assert_eq!(config["last_reload"]["diagnostics"], found);
    for word in ["upstraem", "strop"] {
        gateway.stderr.find(|line| line.contains(word).then_some(())).unwrap();
    }
    let said = gateway.command(&["reload"], "");
    assert_eq!(said.status.code(), Some(78));
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(text.contains("error[C012]: unknown key `upstraem`"), "{text}");
    put(gateway.config(), &good);
    let said = gateway.command(&["reload"], "");
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    assert_eq!(admin.get("/v1/status")["config"]["last_reload_ok"], true);
    assert_eq!(admin.get("/v1/status")["verdict"], "ok");
}

#[test]
fn a_hang_up_reloads_and_never_ends_the_process() {
    let upstream = Upstream::new();
    let gateway = public(&upstream);
    edit(&gateway, "path = \"/\"", "path = \"/api/\"");
    gateway.signal(Signal::HUP);
    eventually("the signal is obeyed", || (gateway.get("/", &[]).status == 404).then_some(()));
    edit(&gateway, "path = \"/api/\"", "path = ");
    gateway.signal(Signal::HUP);
    gateway.stderr.find(|line| line.contains("was not reloaded").then_some(())).unwrap();
    assert_eq!(gateway.get("/api/", &[]).status, 200);
}

#[test]
fn a_changed_file_is_read_by_itself_and_so_is_one_that_the_config_names() {
    let (upstream, issuer) = (Upstream::new(), Issuer::new("HS256"));
    let gateway = Setup::simple(&issuer, &upstream).start();
    let token = issuer.mint("alice");
    assert_eq!(gateway.status(&token), 200);
    let mut connection = gateway.connect();
    let bearer = format!("Bearer {token}");
    assert_eq!(connection.get("/", &[("Authorization", &bearer)]).status, 200);
    let secret = gateway.dir().join(format!("{}.secret", issuer.name));
    put(&secret, &"another secret, long enough ".repeat(3));
    eventually("the removed key refuses", || {
        (connection.get("/", &[("Authorization", &bearer)]).status == 401).then_some(())
    });
    edit(&gateway, "path = \"/\"", "path = \"/\"\naccess = \"public\"");
    eventually("the config is read", || (gateway.get("/", &[]).status == 200).then_some(()));
}

#[test]
fn what_needs_a_restart_is_named_and_everything_else_applied() {
    let upstream = Upstream::new();
    let gateway = public(&upstream);
    edit(&gateway, "watch = false", "watch = false\nthreads = 7");
    edit(&gateway, "path = \"data\"", "path = \"data\"\nlimit = 5000");
    edit(&gateway, "path = \"/\"", "path = \"/api/\"");
    let answer = reload(&gateway);
    assert_eq!(answer["needs_restart"], json!(["server.threads", "store.limit"]));
    assert_eq!(gateway.get("/", &[]).status, 404);
    let standing = &gateway.admin().get("/v1/config")["needs_restart"];
    assert_eq!(*standing, json!(["server.threads", "store.limit"]), "until the restart");
    let said = gateway.command(&["reload"], "");
    assert_eq!(said.status.code(), Some(2));
    assert!(String::from_utf8(said.stdout).unwrap().contains("server.threads, store.limit"));
}

#[test]
fn until_the_restart_that_moves_the_store_its_credential_and_keys_are_the_old_ones() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream)
        .server("watch = false")
        .tables("[assertion]\nissuer = \"https://gateway.test\"\n")
        .start();
    let keys = || gateway.get("/.auth/jwks", &[]).json();
    let before = keys();
    edit(&gateway, "path = \"data\"", "path = \"moved\"");
    assert_eq!(reload(&gateway)["needs_restart"], json!(["store.path"]));
    assert_eq!(gateway.admin().call("GET", "/v1/status", None).status, 200);
    assert_eq!(keys(), before);
    assert!(!gateway.dir().join("moved").exists(), "nothing is made there");
}

#[test]
fn a_removed_admin_token_is_refused_from_the_next_call_on_and_an_added_one_taken() {
    let upstream = Upstream::new();
    let table = |name: &str, file: &str| {
        format!("[[admin.token]]\nname = \"{name}\"\nrole = \"admin\"\nfile = \"{file}\"\n")
    };
    let (old, new) = ("old-0123456789abcdef-0123456789", "new-0123456789abcdef-0123456789");
    let gateway = Setup::new()
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .server("watch = false")
        .file("old.token", old)
        .file("new.token", new)
        .tables(&table("old", "old.token"))
        .start();
    let (old, new) = (
        crate::support::Admin::new(&gateway.admin_address, old),
        crate::support::Admin::new(&gateway.admin_address, new),
    );
    assert_eq!(new.call("GET", "/v1/status", None).status, 401);
    edit(&gateway, &table("old", "old.token"), &table("new", "new.token"));
    old.post("/v1/config/reload", &json!({}));
    assert_eq!(old.call("GET", "/v1/status", None).status, 401);
    assert_eq!(new.call("GET", "/v1/status", None).status, 200);
    let shown = new.get("/v1/config").to_string();
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn only_an_admin_reloads_and_no_body_tells_it_what() {
    let upstream = Upstream::new();
    let token = |role: &str| {
        format!("[[admin.token]]\nname = \"{role}\"\nrole = \"{role}\"\nfile = \"{role}.token\"\n")
    };
    let secret = |role: &str| format!("{role}-0123456789abcdef-0123456789abcdef");
    let gateway = Setup::new()
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .file("admin.token", &secret("admin"))
        .file("operator.token", &secret("operator"))
        .tables(&(token("admin") + &token("operator")))
        .start();
    let caller = |role: &str| crate::support::Admin::new(&gateway.admin_address, &secret(role));
    let call =
        |role: &str, body| caller(role).call("POST", "/v1/config/reload", Some(&body)).status;
    assert_eq!(call("operator", json!({})), 403);
    assert_eq!(call("admin", json!({"file": "/etc/passwd"})), 422);
    assert_eq!(call("admin", json!({})), 200);
}

#[test]
fn a_longer_lifetime_holds_for_tokens_issued_after_it_only_and_across_a_restart() {
    let (upstream, issuer) = (Upstream::new(), Issuer::new("HS256"));
    let gateway = Setup::new()
        .issuer(&issuer, "max_lifetime = \"1h\"")
        .upstream("app", &upstream, "")
        .server("watch = false")
        .start();
    let two_hours = issuer.token("alice").times(-5, 7200).mint();
    let half_an_hour = issuer.token("alice").times(-5, 1800).mint();
    assert_eq!((gateway.status(&two_hours), gateway.status(&half_an_hour)), (401, 200));
    edit(&gateway, "max_lifetime = \"1h\"", "max_lifetime = \"12h\"");
    reload(&gateway);
    assert_eq!(gateway.status(&two_hours), 401, "what denies it may be forgotten already");
    assert_eq!(gateway.status(&half_an_hour), 200);
    // Issued as far in the future as the leeway lets it be, which is after the change.
    let issued_after = issuer.token("alice").times(10, 7200).mint();
    assert_eq!(gateway.status(&issued_after), 200);
    let gateway = gateway.restart();
    assert_eq!((gateway.status(&two_hours), gateway.status(&issued_after)), (401, 200));
}

#[test]
fn listeners_come_and_go_and_a_client_of_one_that_goes_keeps_its_connection() {
    let upstream = Upstream::new();
    let gateway = Setup::new()
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .server("watch = false")
        .tables("[[listener]]\nlisten = \"unix:extra.sock\"\nmode = \"0660\"\n")
        .start();
    let socket = gateway.dir().join("extra.sock");
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&socket), 0o660);
    let mut connection = crate::support::Connection::open_unix(&socket);
    assert_eq!(connection.get("/", &[]).status, 200);
    edit(&gateway, "0660", "0666");
    reload(&gateway);
    assert_eq!(mode(&socket), 0o666, "the same socket with other rights");
    assert_eq!(connection.get("/", &[]).status, 200);
    edit(&gateway, "extra.sock", "other.sock");
    reload(&gateway);
    eventually("the old one goes", || (!socket.exists()).then_some(()));
    assert_eq!(connection.get("/", &[]).status, 200, "whoever is there stays");
    let other = gateway.dir().join("other.sock");
    assert_eq!(crate::support::Connection::open_unix(&other).get("/", &[]).status, 200);
    // One that cannot be had: nothing of that config takes effect.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    edit(
        &gateway,
        "listen = \"unix:other.sock\"\nmode = \"0666\"",
        &format!("listen = \"{address}\""),
    );
    edit(&gateway, "path = \"/\"", "path = \"/nowhere/\"");
    let refused = gateway.admin().call("POST", "/v1/config/reload", Some(&json!({})));
    assert_eq!((refused.status, refused.code().as_str()), (409, "reload_not_possible"));
    assert!(refused.text().contains(&address), "{}", refused.text());
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(crate::support::Connection::open_unix(&other).get("/", &[]).status, 200);
}

#[test]
fn a_reload_forgives_nobody_and_counts_requests_that_are_under_way() {
    let (issuer, upstream) = (Issuer::new("HS256"), held());
    let gateway = Setup::simple(&issuer, &upstream.0)
        .server("watch = false\nlimits.failed_credentials_per_minute = 10")
        .route("/", "")
        .route("/held", "access = \"public\"\nrequests_max = 1")
        .start();
    for _ in 0..10 {
        assert_eq!(gateway.status("made-up"), 401);
    }
    assert_eq!(gateway.status("made-up"), 429);
    let mut under_way = gateway.connect();
    under_way.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is under way", || (upstream.0.begun() == 1).then_some(()));
    edit(&gateway, "path = \"/\"", "path = \"/\"\nname = \"all\"");
    assert_eq!(reload(&gateway)["reloaded"], true);
    assert_eq!(gateway.status("made-up"), 429, "the reload is no pardon");
    assert_eq!(gateway.get("/held", &[]).status, 503, "one is under way");
    upstream.1.send(()).unwrap();
    assert_eq!(under_way.answer().status, 200);
    // Another limit counts from its beginning, and a route's holds for what is under way.
    edit(&gateway, "per_minute = 10", "per_minute = 20");
    assert_eq!(reload(&gateway)["reloaded"], true);
    assert_eq!(gateway.status("made-up"), 401);
}

/// A backend that answers when it is told to.
fn held() -> (Upstream, std::sync::mpsc::Sender<()>) {
    let (go, going) = std::sync::mpsc::channel();
    let going = std::sync::Mutex::new(going);
    let upstream = Upstream::answering(move |exchange| {
        going.lock().unwrap().recv().unwrap();
        exchange.echo();
    });
    (upstream, go)
}
