//! When keys are fetched and what a server may say about it; where it may lead; whom it must be.

use serde_json::Value;

use crate::support::{Gateway, Issuer, KeyServer, Mood, Setup, Upstream, eventually, jwk, now};

fn issuer() -> Issuer {
    Issuer { kid: Some("one".into()), ..Issuer::new("ES256") }
}

fn next(issuer: &Issuer) -> Issuer {
    Issuer { key: issuer.key.other(), kid: Some("two".into()), ..issuer.clone() }
}

fn published(issuer: &Issuer) -> Value {
    jwk(issuer, issuer.kid.as_deref().unwrap(), &issuer.key)
}

/// A gateway whose issuer has its keys at this server; `more` of the `keys` table.
fn gateway(issuer: &Issuer, server: &KeyServer, more: &str) -> Gateway {
    setup(issuer, server, more).start()
}

fn setup(issuer: &Issuer, server: &KeyServer, more: &str) -> Setup {
    let keys = format!("{{ jwks_url = \"{}/keys\", ca = \"ca.pem\"{more} }}", server.base());
    let setup =
        Setup::new().issuer_with_keys(issuer, &keys, "").upstream("app", &Upstream::new(), "");
    server.write_ca(setup.dir());
    setup
}

fn source(gateway: &Gateway) -> Value {
    gateway.admin().get("/v1/keys")["items"][0].clone()
}

fn refresh(gateway: &Gateway) -> Value {
    gateway.admin().post("/v1/keys/refresh", &serde_json::json!({}))["items"][0].clone()
}

/// Seconds until the next fetch.
fn next_fetch(source: &Value) -> i64 {
    let at: jiff::Timestamp = source["next_fetch"].as_str().expect("a time").parse().unwrap();
    at.as_second() - now()
}

fn failure(source: &Value) -> String {
    source["last_failure"]["detail"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_rotation_is_found_on_schedule_though_nobody_names_the_new_key() {
    let issuer = issuer();
    let server = KeyServer::new(vec![published(&issuer)]);
    let gateway = gateway(&issuer, &server, ", refresh_min = \"1s\", refresh_max = \"1s\"");
    let token = issuer.mint("alice");
    assert_eq!(gateway.status(&token), 200);
    let next = next(&issuer);
    server.keys(vec![published(&next)]);
    eventually("the old key to be gone", || (gateway.status(&token) == 401).then_some(()));
    assert_eq!(gateway.status(&next.mint("alice")), 200);
}

#[test]
fn what_the_server_says_of_freshness_decides_within_the_bounds() {
    let issuer = issuer();
    let says = |headers: &'static str| Mood::Keys(vec![published(&issuer)], headers);
    let server = KeyServer::new(Vec::new());
    server.set(says(""));
    let gateway = gateway(&issuer, &server, ", refresh_min = \"100s\", refresh_max = \"1000s\"");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    for (headers, least, most) in [
        ("Cache-Control: max-age=600\r\n", 440, 580),
        ("Cache-Control: public, max-age=600\r\nAge: 300\r\n", 215, 290),
        ("Cache-Control: max-age=5\r\n", 70, 100),
        ("Cache-Control: no-store\r\n", 70, 100),
        ("Cache-Control: max-age=999999\r\n", 740, 960),
        ("Expires: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 70, 100),
        (
            "Date: Sun, 06 Nov 1994 08:00:00 GMT\r\nExpires: Sun, 06 Nov 1994 08:10:00 GMT\r\n",
            440,
            580,
        ),
    ] {
        server.set(says(headers));
        let source = refresh(&gateway);
        assert_eq!(source["state"], "fresh", "{headers}: {source}");
        let next = next_fetch(&source);
        assert!((least..=most).contains(&next), "{headers}: {next}");
    }
    // It was told each time with 304, which is as good as the set.
    assert!(server.not_modified() >= 7, "{}", server.not_modified());
}

#[test]
fn a_server_that_wants_to_be_left_alone_is_left_alone() {
    let issuer = issuer();
    let server = KeyServer::new(vec![published(&issuer)]);
    let gateway = gateway(&issuer, &server, ", cooldown = \"1s\"");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    for (status, least, most) in [
        ("429 Too Many Requests\r\nRetry-After: 120", 110, 121),
        ("503 Service Unavailable\r\nRetry-After: 100000", 290, 301),
    ] {
        server.set(Mood::Says(status, Vec::new()));
        let source = refresh(&gateway);
        assert_eq!(source["state"], "failing", "{source}");
        let next = next_fetch(&source);
        assert!((least..=most).contains(&next), "{status}: {next}");
    }
    let asked = server.asked();
    let unknown = issuer.token("m").header("kid", "invented").mint();
    let answer = gateway.get_with("/", &unknown);
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert_eq!(server.asked(), asked, "nor does an unknown key id ask it");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    // An administrator may.
    server.keys(vec![published(&issuer)]);
    assert_eq!(refresh(&gateway)["state"], "fresh");
}

#[test]
fn a_server_must_be_the_one_of_its_url_and_its_certificate_of_today() {
    use rcgen::CertificateParams;
    let named =
        |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap().subject_alt_names;
    let issuer = issuer();
    let of = |year: i32, name: &str, why: &str| {
        let server = KeyServer::certified(vec![published(&issuer)], |leaf| {
            leaf.subject_alt_names = named(name);
            leaf.not_after = rcgen::date_time_ymd(year, 1, 1);
        });
        let gateway = gateway(&issuer, &server, "");
        let status = gateway.status(&issuer.mint("alice"));
        if why.is_empty() {
            assert_eq!((status, server.asked()), (200, 1), "{:?}", source(&gateway));
            return;
        }
        assert_eq!((status, server.asked()), (503, 0));
        let said = failure(&source(&gateway));
        assert!(said.contains(why), "{said}");
    };
    of(2500, "localhost", "");
    of(2500, "localhost.example.com", "not valid for");
    of(2020, "localhost", "expired");
}

#[test]
fn another_host_may_have_the_keys_where_that_is_allowed_and_never_without_tls() {
    let issuer = issuer();
    let elsewhere = KeyServer::new(vec![published(&issuer)]);
    let server = KeyServer::new(Vec::new());
    let to = |to: String, allowed: bool| {
        server.set(Mood::Redirects(to));
        let setup = setup(&issuer, &server, if allowed { ", allow_redirects = true" } else { "" });
        server.write_cas(&elsewhere, setup.dir());
        let gateway = setup.start();
        (gateway.status(&issuer.mint("alice")), failure(&source(&gateway)))
    };
    assert_eq!(to(format!("{}/keys", elsewhere.base()), true), (200, String::new()));
    assert_eq!(elsewhere.asked(), 1);
    let (status, why) = to(format!("{}/keys", elsewhere.base()), false);
    assert!(status == 503 && why.contains("not followed"), "{status} {why}");
    let plain = format!("http://localhost:{}/keys", elsewhere.port);
    let (status, why) = to(plain, true);
    assert!(status == 503 && why.contains("redirected to http://localhost"), "{status} {why}");
    let (status, why) = to(format!("https://x@localhost:{}/keys", elsewhere.port), true);
    assert!(status == 503 && why.contains("redirected to"), "{status} {why}");
    assert_eq!(elsewhere.asked(), 1);
}

#[test]
fn a_compressed_answer_is_none() {
    let issuer = issuer();
    let server = KeyServer::new(vec![published(&issuer)]);
    let gateway = gateway(&issuer, &server, "");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let next = next(&issuer);
    server.set(Mood::Keys(vec![published(&next)], "Content-Encoding: gzip\r\n"));
    let source = refresh(&gateway);
    assert!(failure(&source).contains("compressed"), "{source}");
    assert_eq!(source["keys"][0]["kid"], "one");
    server.set(Mood::Keys(vec![published(&next)], "Content-Encoding: identity\r\n"));
    assert_eq!(refresh(&gateway)["keys"][0]["kid"], "two");
}

#[test]
fn a_hostile_discovery_document_leads_nowhere() {
    let mut issuer = issuer();
    let server = KeyServer::new(vec![published(&issuer)]);
    issuer.iss = server.base();
    let upstream = Upstream::new();
    let setup = Setup::new()
        .issuer_with_keys(&issuer, "{ discovery = true, ca = \"ca.pem\" }", "")
        .upstream("app", &upstream, "");
    server.write_ca(setup.dir());
    let gateway = setup.start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let (base, port) = (server.base(), server.port);
    let leads = |to: &str| format!(r#"{{"issuer":"{base}","jwks_uri":"{to}"}}"#);
    let ok = "200 OK";
    let hostile = [
        (ok, leads(&format!("http://localhost:{port}/keys"))),
        (ok, leads("file:///etc/passwd")),
        (ok, leads(&format!("https://user@localhost:{port}/keys"))),
        (ok, leads("/keys")),
        (ok, leads("")),
        (ok, leads("https://")),
        (ok, format!(r#"{{"issuer":"{base}","jwks_uri":["{base}/keys"]}}"#)),
        (ok, format!(r#"{{"issuer":"{base}"}}"#)),
        (ok, format!(r#"{{"issuer":"{base}","issuer":"{base}","jwks_uri":"{base}/keys"}}"#)),
        (ok, format!(r#"{{"issuer":"{base}/","jwks_uri":"{base}/keys"}}"#)),
        (ok, format!(r#"{{"jwks_uri":"{base}/keys"}}"#)),
        (ok, "<html>".to_owned()),
        (ok, format!("{}{}", " ".repeat(1 << 20), leads(&format!("{base}/keys")))),
        ("500 Oops", leads(&format!("{base}/keys"))),
        ("302 Found\r\nLocation: https://127.0.0.2/", String::new()),
    ];
    // The document is read again after a failure.
    server.set(Mood::Dies);
    refresh(&gateway);
    server.keys(vec![published(&issuer)]);
    let asked = server.asked();
    for (status, document) in hostile {
        server.document(status, &document);
        let source = refresh(&gateway);
        let shown: String = document.chars().take(120).collect();
        assert_eq!(source["state"], "failing", "{status} {shown}: {source}");
        assert_eq!(source["keys"][0]["kid"], "one", "{shown}");
    }
    assert_eq!(server.asked(), asked);
    server.document(ok, &leads(&format!("{base}/keys")));
    assert_eq!(refresh(&gateway)["state"], "fresh");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
}

#[test]
fn another_url_is_asked_before_a_reload_takes_effect() {
    let issuer = issuer();
    let (one, two) = (KeyServer::new(vec![published(&issuer)]), KeyServer::new(Vec::new()));
    let next = next(&issuer);
    two.keys(vec![published(&issuer), published(&next)]);
    let setup = setup(&issuer, &one, "");
    one.write_cas(&two, setup.dir());
    let gateway = setup.start();
    let token = issuer.mint("alice");
    assert_eq!(gateway.status(&token), 200);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace(&one.base(), &two.base())).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut connection = gateway.connect();
            let bearer = format!("Bearer {token}");
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                let status = connection.get("/", &[("Authorization", &bearer)]).status;
                assert_eq!(status, 200, "no request finds the issuer without keys");
            }
        });
        let output = gateway.command(&["reload"], "");
        assert!(output.status.success(), "{output:?}");
        done.store(true, std::sync::atomic::Ordering::Release);
        asking.join().unwrap();
    });
    assert_eq!(gateway.status(&token), 200);
    assert_eq!(gateway.status(&next.mint("bob")), 200);
    assert_eq!((one.asked(), two.asked()), (1, 1));
}
