//! Floods of bad tokens: what they may cost, and that neither a good token nor a real rotation
//! suffers from them.

use std::time::{Duration, Instant};

use crate::support::{Gateway, Issuer, KeyServer, Mood, Setup, Upstream, eventually, jwk};

/// A gateway with fetched keys and a cooldown of a second; `limits` of the server.
fn fetched(limits: &str, more: &str) -> (Issuer, KeyServer, Gateway, Upstream) {
    let mut issuer = Issuer::new("ES256");
    issuer.kid = Some("one".into());
    let server = KeyServer::new(vec![jwk(&issuer, "one", &issuer.key)]);
    let upstream = Upstream::new();
    let cooldown = if more.contains("cooldown") { "" } else { ", cooldown = \"1s\"" };
    let wait = if more.contains("wait") { "" } else { ", wait = \"10s\"" };
    let keys = format!(
        "{{ jwks_url = \"{}/keys\", ca = \"ca.pem\"{cooldown}{wait}{more} }}",
        server.base()
    );
    let setup = Setup::new()
        .server(limits)
        .issuer_with_keys(&issuer, &keys, "")
        .upstream("app", &upstream, "");
    server.write_ca(setup.dir());
    let gateway = setup.start();
    // Until its answer comes a fetch may be under way that began before the test.
    gateway.admin().post("/v1/keys/refresh", &serde_json::json!({"issuer": "main"}));
    (issuer, server, gateway, upstream)
}

/// The issuer with another key, of another name.
fn rotated(issuer: &Issuer) -> Issuer {
    Issuer { key: issuer.key.other(), kid: Some("two".into()), ..issuer.clone() }
}

const NO_LIMIT: &str = "limits.failed_credentials_per_minute = 0";

#[test]
fn invented_key_ids_cost_one_fetch_in_a_cooldown_and_evict_nothing() {
    let (issuer, server, gateway, upstream) = fetched(NO_LIMIT, "");
    let good = issuer.mint("alice");
    assert_eq!(gateway.status(&good), 200);
    let before = server.asked();
    let started = Instant::now();
    let flood = |from: usize| {
        let mut connection = gateway.connect();
        for number in 0..100 {
            let kid = format!("invented-{from}-{number}");
            let token = issuer.token("mallory").header("kid", kid).mint();
            let answer = connection.get("/", &[("Authorization", &format!("Bearer {token}"))]);
            // Not this key, or not yet: never served.
            assert!(matches!(answer.status, 401 | 503), "{}", answer.status);
        }
    };
    std::thread::scope(|scope| {
        let floods: Vec<_> = (0..4).map(|from| scope.spawn(move || flood(from))).collect();
        // Meanwhile good tokens pass, also ones that were never seen before.
        for number in 0..20 {
            assert_eq!(gateway.status(&issuer.mint(&format!("user-{number}"))), 200);
        }
        floods.into_iter().for_each(|one| one.join().unwrap());
    });
    let cooldowns = usize::try_from(started.elapsed().as_secs()).unwrap() + 2;
    let fetches = server.asked() - before;
    assert!(fetches <= cooldowns, "{fetches} fetches in {cooldowns} cooldowns for 400 key ids");
    assert_eq!(gateway.status(&good), 200);
    assert_eq!(upstream.begun(), 22);
}

#[test]
fn a_flood_does_not_keep_a_real_rotation_from_being_seen() {
    let (issuer, server, gateway, _upstream) = fetched(NO_LIMIT, "");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let next = rotated(&issuer);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = gateway.connect();
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                number += 1;
                let token = issuer.token("m").header("kid", format!("invented-{number}")).mint();
                connection.get("/", &[("Authorization", &format!("Bearer {token}"))]);
            }
        });
        server.keys(vec![jwk(&issuer, "one", &issuer.key), jwk(&next, "two", &next.key)]);
        eventually("the new key to pass", || {
            (gateway.status(&next.mint("bob")) == 200).then_some(())
        });
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
}

#[test]
fn a_rotation_within_a_cooldown_logs_nobody_out() {
    let (issuer, server, gateway, _upstream) = fetched(NO_LIMIT, "");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    // Somebody invents a name: the set is fetched and has no such key, which is the last word.
    let invented = issuer.token("m").header("kid", "invented").mint();
    assert_eq!(gateway.status(&invented), 401);
    // Then the issuer rotates, before anybody may ask for its keys again.
    let next = rotated(&issuer);
    server.keys(vec![jwk(&issuer, "one", &issuer.key), jwk(&next, "two", &next.key)]);
    let token = next.mint("bob");
    let answer = gateway.get_with("/", &token);
    if answer.status != 200 {
        assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
        assert!(answer.header("retry-after").is_some());
        assert!(answer.header("www-authenticate").is_none());
        let line = gateway.access_line(answer.header("x-request-id").unwrap());
        assert!(line["detail"].as_str().unwrap().contains("yet"), "{line}");
    }
    eventually("the new key to pass, without a 401 before", || match gateway.status(&token) {
        200 => Some(()),
        status => {
            assert_eq!(status, 503);
            None
        }
    });
    // A token from long before the last fetch is of a key that is gone, cooldown or not.
    let old = issuer.token("m").header("kid", "invented").times(-300, 300).mint();
    assert_eq!(gateway.status(&old), 401);
    assert_eq!(gateway.status(&old), 401);
}

#[test]
fn who_invents_key_ids_gets_429_in_the_end_and_a_rotation_does_not() {
    let limits = "trusted_proxies = [\"127.0.0.1\"]\nlimits.failed_credentials_per_minute = 10";
    let (issuer, server, gateway, _upstream) = fetched(limits, ", cooldown = \"1h\"");
    assert_eq!(from(&gateway, "192.0.2.1", &issuer.mint("alice")).status, 200);
    let invented = |number: usize| issuer.token("m").header("kid", format!("x{number}")).mint();
    assert_eq!(from(&gateway, "192.0.2.1", &invented(0)).status, 401, "the cooldown begins");
    let mut undecided = 0;
    let refused = (1..100).find(|number| {
        let status = from(&gateway, "192.0.2.1", &invented(*number)).status;
        undecided += usize::from(status == 503);
        status == 429
    });
    assert!(refused.is_some() && undecided >= 30, "{undecided} and then {refused:?}");
    // An office behind one address, at a rotation in the cooldown: four times as many as failures.
    let next = rotated(&issuer);
    server.keys(vec![jwk(&issuer, "one", &issuer.key), jwk(&next, "two", &next.key)]);
    let office: Vec<String> = (0..30).map(|number| next.mint(&format!("user-{number}"))).collect();
    for token in &office {
        assert_eq!(from(&gateway, "192.0.2.9", token).status, 503);
    }
    let order = serde_json::json!({"issuer": "main"});
    gateway.admin().post("/v1/keys/refresh", &order);
    for token in &office {
        assert_eq!(from(&gateway, "192.0.2.9", token).status, 200);
    }
}

#[test]
fn a_token_that_is_tried_with_four_keys_counts_four_times() {
    let issuer = Issuer::new("ES256");
    let keys = (0..4).map(|number| {
        let key = if number == 3 { issuer.key.clone() } else { issuer.key.other() };
        jwk(&issuer, &format!("key-{number}"), &key)
    });
    let jwks = serde_json::json!({"keys": keys.collect::<Vec<_>>()}).to_string();
    let upstream = Upstream::new();
    let gateway = Setup::new()
        .file("keys.json", &jwks)
        .server("limits.failed_credentials_per_minute = 12")
        .issuer_with_keys(&issuer, "{ jwks_file = \"keys.json\" }", "")
        .upstream("app", &upstream, "")
        .start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200, "the last of the four");
    let forged = issuer.token("m").signed_by(&issuer.key.other(), "ES256");
    assert_eq!(gateway.status(&forged.mint()), 401);
    assert_eq!(gateway.status(&forged.clone().header("kid", "key-0").mint()), 401);
    assert_eq!(gateway.status(&forged.mint()), 401);
    assert_eq!(gateway.status(&forged.mint()), 401);
    assert_eq!(gateway.status(&forged.mint()), 429, "13 signatures were checked in vain");
}

#[test]
fn a_storm_of_new_tokens_delays_neither_known_ones_nor_cuts() {
    let issuer = Issuer::new("ES384");
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target == "/events" {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
            let _ = exchange.connection.rest();
        } else {
            exchange.answer("200 OK", "", "ok");
        }
    });
    let gateway = Setup::new()
        .server(&format!("threads = 1\n{NO_LIMIT}"))
        .issuer(&issuer, "")
        .upstream("app", &upstream, "")
        .start();
    let forged = issuer.token("m").signed_by(&issuer.key.other(), "ES384");
    let mint = |number: usize| format!("Bearer {}", forged.clone().claim("n", number).mint());
    let storm: Vec<Vec<String>> =
        (0..32).map(|from| (0..60).map(|number| mint(from * 100 + number)).collect()).collect();
    let known = format!("Bearer {}", issuer.mint("alice"));
    let mut stream = gateway.connect();
    let bob = issuer.mint("bob");
    stream.send(format!("GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bob}\r\n\r\n"));
    stream.through(b"1\r\nx\r\n").unwrap();
    std::thread::scope(|scope| {
        for tokens in &storm {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut connection = gateway.connect();
                for token in tokens {
                    assert_eq!(connection.get("/", &[("Authorization", token)]).status, 401);
                }
            });
        }
        let mut connection = gateway.connect();
        let mut times: Vec<Duration> = (0..30)
            .map(|_| {
                let started = Instant::now();
                assert_eq!(connection.get("/", &[("Authorization", &known)]).status, 200);
                started.elapsed()
            })
            .collect();
        gateway.admin().block(serde_json::json!({"user": "bob"}));
        let started = Instant::now();
        let _ = stream.rest();
        let cut = started.elapsed();
        times.sort_unstable();
        println!("known: median {:?}, longest {:?}; cut after {cut:?}", times[15], times[29]);
        // The whole storm takes half a second of the core: nobody waits for it to end.
        assert!(times[15] < Duration::from_secs(1), "{times:?}");
        assert!(cut < Duration::from_secs(2), "{cut:?}");
    });
}

#[test]
fn a_key_server_that_hangs_holds_up_only_those_who_name_an_unknown_key_and_not_for_long() {
    let (issuer, server, gateway, _upstream) =
        fetched(NO_LIMIT, ", wait = \"400ms\", timeout = \"30s\"");
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    server.set(Mood::Hangs);
    let unknown = || issuer.token("bob").header("kid", "two").mint();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    let started = Instant::now();
                    // It may be a new one, so nobody is logged out.
                    assert_eq!(gateway.status(&unknown()), 503);
                    started.elapsed()
                })
            })
            .collect();
        let started = Instant::now();
        assert_eq!(gateway.status(&issuer.mint("carol")), 200);
        let good = started.elapsed();
        let longest = waiting.into_iter().map(|one| one.join().unwrap()).max().unwrap();
        // Nobody waits for the server to be given up.
        assert!(longest < Duration::from_secs(20), "{longest:?}");
        assert!(good < Duration::from_secs(20), "{good:?}");
    });
}

/// A gateway behind a proxy on this machine, that takes ten bad tokens a minute.
fn limited(issuer: &Issuer) -> (Gateway, Upstream) {
    let upstream = Upstream::new();
    let gateway = Setup::new()
        .server("trusted_proxies = [\"127.0.0.1\"]\nlimits.failed_credentials_per_minute = 10")
        .issuer(issuer, "leeway = \"0s\"")
        .upstream("app", &upstream, "")
        .start();
    (gateway, upstream)
}

fn from(gateway: &Gateway, address: &str, token: &str) -> crate::support::Answer {
    let bearer = format!("Bearer {token}");
    gateway.get("/", &[("Authorization", &bearer), ("X-Forwarded-For", address)])
}

#[test]
fn an_address_that_sends_garbage_gets_429_and_nobody_else_does() {
    let issuer = Issuer::new("ES256");
    let (gateway, upstream) = limited(&issuer);
    let known = issuer.mint("alice");
    assert_eq!(from(&gateway, "192.0.2.1", &known).status, 200);
    for _ in 0..10 {
        let forged = issuer.token("m").signed_by(&issuer.key.other(), "ES256").mint();
        assert_eq!(from(&gateway, "192.0.2.1", &forged).status, 401);
    }
    let answer = from(&gateway, "192.0.2.1", "garbage");
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_failures"));
    let wait: u32 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Whose signature is known passes; a new one of that address waits like all of it.
    assert_eq!(from(&gateway, "192.0.2.1", &known).status, 200);
    assert_eq!(from(&gateway, "192.0.2.1", &issuer.mint("bob")).status, 429);
    // What a client writes before the proxy's own entry is no other address.
    assert_eq!(from(&gateway, "198.51.100.9, 192.0.2.1", "garbage").status, 429);
    assert_eq!(from(&gateway, "192.0.2.2", &issuer.mint("carol")).status, 200);
    assert_eq!(upstream.begun(), 3);
    let line = gateway.access_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["reason"], "too_many_failures", "{line}");
    assert!(gateway.stderr.find(|line| line.contains("too many failed").then_some(())).is_some());
}

#[test]
fn genuine_tokens_that_are_expired_or_denied_are_no_garbage() {
    let issuer = Issuer::new("ES256");
    let (gateway, _upstream) = limited(&issuer);
    let revoked = issuer.mint("mallory");
    gateway.admin().block(serde_json::json!({"user": "mallory"}));
    for number in 0..15 {
        let expired = issuer.token(&format!("user-{number}")).times(-100, -50).mint();
        assert_eq!(from(&gateway, "192.0.2.1", &expired).code(), "token_expired");
        assert_eq!(from(&gateway, "192.0.2.1", &revoked).code(), "token_revoked");
    }
    assert_eq!(from(&gateway, "192.0.2.1", &issuer.mint("alice")).status, 200);
}
