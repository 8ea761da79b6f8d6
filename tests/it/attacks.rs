//! Ways around a rule that somebody tried: each beside the honest request that must still pass.

use std::time::{Duration, Instant};

use crate::support::{Answer, Gateway, Issuer, Setup, Upstream};

const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

/// Behind a proxy on this machine; ten bad tokens a minute and address.
fn limited(issuer: &Issuer, upstream: &Upstream) -> Gateway {
    Setup::simple(issuer, upstream)
        .server("trusted_proxies = [\"127.0.0.1\"]\nlimits.failed_credentials_per_minute = 10")
        .route("/", "credentials = [\"bearer\", \"cookie:session\"]")
        .start()
}

fn ask(gateway: &Gateway, method: &str, target: &str, address: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", address), OURS];
    gateway.connect().request(method, target, &headers, b"")
}

#[test]
fn garbage_buys_no_signature_checks_from_the_auth_endpoints_either() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let gateway = limited(&issuer, &upstream);
    let known = issuer.mint("alice");
    assert_eq!(ask(&gateway, "GET", "/", "192.0.2.1", &known).status, 200);
    let forged = || issuer.token("m").signed_by(&issuer.key.other(), "ES256").mint();
    for number in 0..10 {
        let (method, target) = match number % 3 {
            0 => ("GET", "/.auth/me"),
            1 => ("POST", "/.auth/logout"),
            _ => ("POST", "/.auth/logout-all"),
        };
        let answer = ask(&gateway, method, target, "192.0.2.1", &forged());
        assert!(matches!(answer.status, 200 | 401), "{}", answer.status);
    }
    for (method, target) in [
        ("GET", "/.auth/me"),
        ("POST", "/.auth/logout"),
        ("POST", "/.auth/logout-all"),
        ("GET", "/"),
    ] {
        let answer = ask(&gateway, method, target, "192.0.2.1", &forged());
        assert_eq!(answer.status, 429, "{target}");
        // Nobody is told that he is logged out who is not.
        assert_eq!(answer.header("set-cookie"), None, "{target}");
    }
    assert_eq!(ask(&gateway, "GET", "/.auth/me", "192.0.2.1", &known).status, 200);
    assert_eq!(ask(&gateway, "GET", "/.auth/me", "192.0.2.2", &issuer.mint("bob")).status, 200);
}

#[test]
fn bytes_that_no_text_holds_hide_no_address_from_the_count_of_failures() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let gateway = limited(&issuer, &upstream);
    let send = |chain: &[u8], token: &str| {
        let mut connection = gateway.connect();
        let head = b"GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Forwarded-For: ";
        let bearer = format!("\r\nAuthorization: Bearer {token}\r\n\r\n");
        connection.send([head, chain, bearer.as_bytes()].concat());
        connection.answer().status
    };
    for _ in 0..10 {
        assert_eq!(send(b"\xff\x80, 192.0.2.1", "garbage"), 401);
    }
    assert_eq!(send(b"\xff\x80, 192.0.2.1", "garbage"), 429);
    assert_eq!(send(b"192.0.2.1", "garbage"), 429);
    // Nor is the address blamed that somebody writes in front.
    for _ in 0..12 {
        send(b"192.0.2.7\r\nX-Forwarded-For: \xff", "garbage");
    }
    assert_eq!(send(b"192.0.2.7", &issuer.mint("alice")), 200);
}

#[test]
fn no_credential_rides_on_a_preflight_to_the_backend() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "credentials = [\"bearer\", \"cookie:session\"]\ncors = \"pass\"")
        .start();
    let revoked = issuer.mint("mallory");
    gateway.admin().block(serde_json::json!({"user": "mallory"}));
    assert_eq!(gateway.get_with("/", &revoked).status, 401);
    let bearer = format!("Bearer {revoked}");
    let hidden = format!("Basic x, Bearer {revoked}");
    let cookie = format!("session={revoked}");
    let origin = ("Origin", "https://app.example.com");
    let asked = ("Access-Control-Request-Method", "GET");
    let honest = gateway.connect().request("OPTIONS", "/", &[origin, asked], b"");
    assert_eq!((honest.status, upstream.begun()), (200, 1), "it is the backend's");
    for carriers in [
        &[("Authorization", bearer.as_str())][..],
        &[("Authorization", "Basic x"), ("Authorization", &bearer)],
        &[("Authorization", &hidden)],
        &[("Cookie", &cookie)],
    ] {
        let headers = [&[origin, asked], carriers].concat();
        gateway.connect().request("OPTIONS", "/", &headers, b"");
        let told = upstream.last().head_text();
        assert!(!told.contains(&revoked), "{told}");
    }
}

#[test]
fn a_method_that_a_header_names_beside_the_real_one_chooses_the_same_route_or_nothing() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "name = \"read\"\naccess = \"public\"\nmethods = [\"GET\", \"POST\"]")
        .route("/", "name = \"write\"\nmethods = [\"PUT\", \"DELETE\"]")
        .route("/free", "access = \"public\"")
        .start();
    let send = |method: &str, path: &str, headers: &[(&str, &str)]| {
        gateway.connect().request(method, path, headers, b"").status
    };
    assert_eq!(send("DELETE", "/x", &[]), 401);
    let names =
        ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_Http_Method.Override"];
    for name in names {
        for method in ["GET", "POST"] {
            for wanted in ["DELETE", "delete", "PUT"] {
                assert_eq!(send(method, "/x", &[(name, wanted)]), 400, "{method} {name}: {wanted}");
            }
        }
    }
    assert_eq!(send("POST", "/x", &[("X-HTTP-Method", "GET"), ("X-HTTP-Method", "PUT")]), 400);
    assert_eq!(upstream.begun(), 0);
    assert_eq!(send("POST", "/x", &[("X-HTTP-Method-Override", "GET")]), 200, "the same route");
    assert_eq!(send("POST", "/free", &[("X-HTTP-Method-Override", "DELETE")]), 200);
    let token = format!("Bearer {}", issuer.mint("alice"));
    let honest = [("Authorization", token.as_str()), ("X-HTTP-Method-Override", "PUT")];
    assert_eq!(send("DELETE", "/x", &honest), 200);
}

#[test]
fn a_long_path_of_escapes_does_not_keep_a_core_busy() {
    let upstream = Upstream::new();
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream).start();
    // The quickest of many: what else the machine does only adds to a time.
    let time = |path: &str| -> Duration {
        let mut connection = gateway.connect();
        let one = |_| {
            let started = Instant::now();
            assert!(matches!(connection.get(path, &[]).status, 400 | 401 | 414));
            started.elapsed()
        };
        (0..20).map(one).min().unwrap()
    };
    let plain = time(&format!("/{}", "a".repeat(60_000)));
    let odd = time(&format!("/{}", "%2561/;a//".repeat(6_000)));
    eprintln!("plain {plain:?} odd {odd:?}");
    assert!(odd < plain + Duration::from_millis(50), "{odd:?} against {plain:?}");
    let status = |path: String| gateway.get(&path, &[]).status;
    for many in ["%61/", ";a/", "//", "/a//b/c"] {
        assert_eq!(status(format!("/{}", many.repeat(20_000 / many.len()))), 400, "{many}");
    }
    // What people write is shorter, or has one reading, and passes.
    for usual in ["%E4%BD%A0".repeat(800), "/".repeat(8_000), "a/b".repeat(20_000)] {
        assert_eq!(status(format!("/{usual}")), 401);
    }
}
