//! Keys that are fetched from a real HTTPS server: what it may do to the gateway, and what it may
//! not. No answer of an identity provider that is broken, slow or gone logs anybody out.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Gateway, Issuer, KeyServer, Mood, Setup, Upstream, eventually, jwk, program};

/// A gateway whose one issuer has its keys at this server.
struct Scene {
    issuer: Issuer,
    server: KeyServer,
    setup: Setup,
    upstream: Upstream,
}

fn scene() -> Scene {
    scene_with("")
}

/// `more`: further entries of the `keys` table.
fn scene_with(more: &str) -> Scene {
    let mut issuer = Issuer::new("ES256");
    issuer.kid = Some("one".into());
    let server = KeyServer::new(vec![jwk(&issuer, "one", &issuer.key)]);
    let upstream = Upstream::new();
    let keys = format!("{{ jwks_url = \"{}/keys\", ca = \"ca.pem\"{more} }}", server.base());
    let setup = Setup::new().issuer_with_keys(&issuer, &keys, "").upstream("app", &upstream, "");
    server.write_ca(setup.dir());
    Scene { issuer, server, setup, upstream }
}

fn source(gateway: &Gateway) -> Value {
    gateway.admin().get("/v1/keys")["items"][0].clone()
}

fn refresh(gateway: &Gateway) -> Value {
    gateway.admin().post("/v1/keys/refresh", &json!({"issuer": "main"}))["items"][0].clone()
}

#[test]
fn keys_come_from_a_url_and_people_see_which() {
    let Scene { issuer, server, setup, .. } = scene();
    let gateway = setup.start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let forged = issuer.token("alice").signed_by(&issuer.key.other(), "ES256").mint();
    assert_eq!(gateway.status(&forged), 401);
    let source = source(&gateway);
    assert_eq!(source["state"], "fresh", "{source}");
    assert_eq!(source["keys"][0]["kid"], "one");
    assert_eq!(source["keys"][0]["thumbprint"], issuer.key.thumbprint());
    assert!(source["next_fetch"].is_string() && source["last_success"].is_string());
    assert_eq!(server.asked(), 1);
    // Nothing changed: the server says so without sending it again.
    assert_eq!(refresh(&gateway)["fetches"], 2);
    assert_eq!((server.asked(), server.not_modified()), (2, 1));
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
}

#[test]
fn discovery_believes_a_document_about_exactly_its_issuer() {
    for (suffix, passes) in [("", true), ("/tenant", true), ("/tenant/", false)] {
        let upstream = Upstream::new();
        let mut issuer = Issuer::new("ES256");
        issuer.kid = Some("one".into());
        let server = KeyServer::new(vec![jwk(&issuer, "one", &issuer.key)]);
        issuer.iss = format!("{}{suffix}", server.base());
        let setup = Setup::new()
            .issuer_with_keys(&issuer, "{ discovery = true, ca = \"ca.pem\" }", "")
            .upstream("app", &upstream, "");
        server.write_ca(setup.dir());
        let gateway = setup.start();
        let status = gateway.status(&issuer.mint("alice"));
        assert_eq!(status, if passes { 200 } else { 503 }, "{suffix}");
        if !passes {
            let failure = source(&gateway)["last_failure"]["detail"].to_string();
            assert!(failure.contains("not exactly"), "{failure}");
            assert_eq!(server.asked(), 0);
        }
    }
}

#[test]
fn a_server_that_nobody_vouches_for_gives_no_keys() {
    let Scene { issuer, server, setup, .. } = scene();
    // Another authority of the same name.
    KeyServer::new(Vec::new()).write_ca(setup.dir());
    let gateway = setup.start();
    let answer = gateway.get_with("/", &issuer.mint("alice"));
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert_eq!(server.asked(), 0);
    let failure = source(&gateway)["last_failure"]["detail"].to_string();
    assert!(failure.contains("certificate"), "{failure}");
}

#[test]
fn a_new_key_is_fetched_when_the_first_token_names_it() {
    let Scene { issuer, server, setup, upstream } = scene_with(", wait = \"10s\"");
    let gateway = setup.start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let mut next = issuer.clone();
    next.key = issuer.key.other();
    next.kid = Some("two".into());
    server.keys(vec![jwk(&issuer, "one", &issuer.key), jwk(&next, "two", &next.key)]);
    // The first request waits for the fetch instead of being refused.
    assert_eq!(gateway.status(&next.mint("alice")), 200);
    assert_eq!(gateway.status(&issuer.mint("alice")), 200, "both while they overlap");
    assert_eq!(server.asked(), 2);
    assert_eq!(upstream.begun(), 3);
}

#[test]
fn a_removed_key_stops_verifying_at_once_and_ends_its_streams() {
    let mut issuer = Issuer::new("ES256");
    issuer.kid = Some("one".into());
    let mut next = issuer.clone();
    next.key = issuer.key.other();
    next.kid = Some("two".into());
    let both = || vec![jwk(&issuer, "one", &issuer.key), jwk(&next, "two", &next.key)];
    let server = KeyServer::new(both());
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target == "/events" {
            exchange.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            );
            let _ = exchange.connection.rest();
        } else {
            exchange.answer("200 OK", "", "ok");
        }
    });
    let keys = format!("{{ jwks_url = \"{}/keys\", ca = \"ca.pem\" }}", server.base());
    let setup = Setup::new().issuer_with_keys(&issuer, &keys, "").upstream("app", &upstream, "");
    server.write_ca(setup.dir());
    let gateway = setup.start();
    let (old, new) = (issuer.mint("alice"), next.mint("bob"));
    let open = |token: &str| {
        let mut connection = gateway.connect();
        connection.send(format!(
            "GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
        ));
        assert_eq!(connection.head().unwrap().0, 200);
        connection.through(b"\n\n\r\n").unwrap();
        connection
    };
    let (mut alice, bob) = (open(&old), open(&new));
    server.keys(vec![jwk(&next, "two", &next.key)]);
    let source = refresh(&gateway);
    assert_eq!(source["keys"].as_array().unwrap().len(), 1);
    // Remembered signatures do not count either.
    assert_eq!(gateway.status(&old), 401);
    assert_eq!(gateway.status(&new), 200);
    match alice.rest() {
        Ok(rest) => assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}"),
        Err(fault) => assert!(format!("{fault:?}").contains("Broken"), "{fault:?}"),
    }
    let line = eventually("the log line of the cut", || {
        gateway.access_log().into_iter().find(|line| line["verdict"] == "cut")
    });
    assert_eq!(line["user"].as_str().or(line["subject"].as_str()), Some("alice"), "{line}");
    server.keys(both());
    refresh(&gateway);
    assert_eq!(gateway.status(&old), 200);
    // Bob's stream saw none of it.
    let cuts = gateway.access_log().into_iter().filter(|line| line["verdict"] == "cut").count();
    assert_eq!(cuts, 1);
    drop(bob);
}

#[test]
fn whatever_the_server_answers_the_last_good_keys_hold() {
    let Scene { issuer, server, setup, .. } = scene_with(", timeout = \"3s\"");
    let gateway = setup.start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let other = KeyServer::new(Vec::new());
    let private = {
        let mut jwk = jwk(&issuer, "leaked", &issuer.key);
        jwk["d"] = "AAAA".into();
        jwk
    };
    let says = |body: &str| Mood::Says("200 OK", body.as_bytes().to_vec());
    let moods = [
        ("500", Mood::Says("500 Internal Server Error", b"{}".to_vec())),
        ("404", Mood::Says("404 Not Found", Vec::new())),
        ("html", says("<html>maintenance</html>")),
        ("empty", says("")),
        ("null", says("null")),
        ("no keys", says("{\"keys\":[]}")),
        ("half", says("{\"keys\":[")),
        ("twice", says("{\"keys\":[],\"keys\":[]}")),
        ("nested", says(&"[".repeat(100_000))),
        ("only unknown keys", Mood::Keys(vec![json!({"kty": "AKP", "alg": "ML-DSA-44"})], "")),
        ("only for encryption", {
            let mut jwk = jwk(&issuer, "one", &issuer.key);
            jwk["use"] = "enc".into();
            Mood::Keys(vec![jwk], "")
        }),
        ("only private", Mood::Keys(vec![private], "")),
        ("closes", Mood::Dies),
        ("hangs", Mood::Hangs),
        ("trickles", Mood::Trickles),
        ("100 MB", Mood::Floods(100 << 20)),
        ("elsewhere", Mood::Redirects(format!("{}/keys", other.base()))),
        ("plain", Mood::Redirects(format!("http://localhost:{}/keys", server.port))),
        ("in circles", Mood::Redirects("/keys".into())),
        ("a file", Mood::Redirects("file:///etc/passwd".into())),
    ];
    let count = moods.len();
    for (what, mood) in moods {
        server.set(mood);
        let started = Instant::now();
        let source = refresh(&gateway);
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        assert_eq!(source["state"], "failing", "{what}: {source}");
        assert_eq!(source["keys"][0]["kid"], "one", "{what}");
        assert_eq!(gateway.status(&issuer.mint("alice")), 200, "{what}");
        let forged = issuer.token("alice").signed_by(&issuer.key.other(), "ES256").mint();
        assert_eq!(gateway.status(&forged), 401, "{what}");
    }
    assert_eq!(other.asked(), 0, "a redirect to another host was followed");
    let failures = source(&gateway)["failures"].as_u64().unwrap();
    assert!(failures >= count as u64, "{failures}");
    server.keys(vec![jwk(&issuer, "one", &issuer.key)]);
    assert_eq!(refresh(&gateway)["state"], "fresh");
}

#[test]
fn one_bad_key_does_not_take_the_others_with_it() {
    let Scene { issuer, server, setup, .. } = scene();
    let good = jwk(&issuer, "one", &issuer.key);
    let usurper = jwk(&issuer, "one", &issuer.key.other());
    let mut encrypts = jwk(&issuer, "enc", &issuer.key.other());
    encrypts["use"] = "enc".into();
    server.keys(vec![
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "broken"}),
        json!({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "oct"}),
        json!("not an object"),
        encrypts,
        good,
        usurper.clone(),
    ]);
    let gateway = setup.start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let source = source(&gateway);
    assert_eq!(source["keys"].as_array().unwrap().len(), 1, "{source}");
    assert_eq!(source["skipped"].as_array().unwrap().len(), 6, "{source}");
    // The second of a name does not count.
    let forged = issuer.token("alice").signed_by(&issuer.key.other(), "ES256").mint();
    assert_eq!(gateway.status(&forged), 401);
}

#[test]
fn without_any_key_nobody_is_logged_out() {
    let Scene { issuer, server, setup, .. } = scene_with(", wait = \"200ms\"");
    server.set(Mood::Dies);
    let gateway = setup.server("ready_path = \"/.ready\"").start();
    let answer = gateway.get_with("/", &issuer.mint("alice"));
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert_eq!(gateway.get("/.ready", &[]).status, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(answer.header("www-authenticate").is_none());
    let admin = gateway.admin();
    assert_eq!(admin.call("GET", "/readyz", None).status, 503);
    let status = admin.get("/v1/status").to_string();
    assert!(status.contains("no_keys"), "{status}");
    assert!(
        gateway
            .stderr
            .find(|line| {
                line.contains("routes that need its tokens answer 503. Trying again in")
                    .then_some(())
            })
            .is_some()
    );
    // It comes back by itself.
    server.keys(vec![jwk(&issuer, "one", &issuer.key)]);
    eventually("the keys to be fetched", || {
        (gateway.status(&issuer.mint("alice")) == 200).then_some(())
    });
    assert_eq!(admin.call("GET", "/readyz", None).status, 200);
    assert_eq!(gateway.get("/.ready", &[]).status, 200);
}

#[test]
fn a_restart_while_the_provider_is_down_serves_with_the_keys_that_were_kept() {
    let Scene { issuer, server, setup, .. } = scene_with(", max_stale = \"1h\", timeout = \"60s\"");
    let mut gateway = setup.start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    server.set(Mood::Hangs);
    gateway.signal(Signal::KILL);
    gateway.wait();
    let mut gateway = gateway.start_again();
    let started = Instant::now();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    assert!(started.elapsed() < Duration::from_secs(20));
    let found = source(&gateway);
    assert_eq!(found["from_disk"], true, "{found}");
    assert_eq!(gateway.admin().call("GET", "/readyz", None).status, 200);
    gateway.signal(Signal::KILL);
    gateway.wait();
    // Two hours old: no longer good, and said so with 503.
    let kept = gateway.dir().join("data/keys");
    let file = std::fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    let mut content: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    content["fetched_at_ms"] = (content["fetched_at_ms"].as_i64().unwrap() - 7_200_000).into();
    std::fs::write(&file, content.to_string()).unwrap();
    server.set(Mood::Dies);
    let gateway = gateway.start_again();
    assert_eq!(gateway.status(&issuer.mint("alice")), 503);
}

#[test]
fn a_url_that_could_be_tampered_with_is_an_error_of_the_config() {
    let Scene { setup, .. } = scene();
    let text = setup.text();
    let (_dir, path) = setup.write();
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let output = program().args(["check", "-c"]).arg(&path).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout),
        )
    };
    let with_route = std::fs::read_to_string(&path).unwrap();
    assert!(check(&with_route).0, "{text}");
    let start = with_route.find("https://localhost").unwrap();
    let end = start + with_route[start..].find('"').unwrap();
    let at = |url: &str| format!("{}{url}{}", &with_route[..start], &with_route[end..]);
    let (passes, said) = check(&at("http://id.example.com/keys"));
    assert!(!passes && said.contains("C110"), "{said}");
    let allowed = at("http://id.example.com/keys").replace("ca = ", "allow_http = true, ca = ");
    assert!(check(&allowed).0);
    assert!(check(&at("http://127.0.0.1:9/keys")).0);
    let (passes, said) = check(&at("ftp://id.example.com/keys"));
    assert!(!passes && said.contains("C024"), "{said}");
}

#[test]
fn the_command_line_shows_each_issuers_keys_and_fetches_them_anew() {
    let Scene { issuer, server, setup, .. } = scene();
    let gateway = setup.start();
    // It waits for the first fetch.
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let keys = |arguments: &[&str]| {
        let output = gateway.command(arguments, "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, shown) = keys(&["keys"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("main") && shown.contains("fresh") && shown.contains("one"), "{shown}");
    assert_eq!(keys(&["keys", "refresh", "--issuer", "main"]).0, Some(0));
    assert_eq!(server.asked(), 2);
    server.set(Mood::Says("503 Service Unavailable", Vec::new()));
    let (code, shown) = keys(&["keys", "refresh"]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("failing") && shown.contains("503"), "{shown}");
    let (code, shown) = keys(&["status"]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("cannot be fetched") && shown.contains("NOT ok"), "{shown}");
    assert_eq!(keys(&["keys", "--issuer", "mian"]).0, Some(64));
    let document: Value = serde_json::from_str(&keys(&["--json", "keys"]).1).unwrap();
    assert_eq!(document["items"][0]["state"], "failing");
}
