//! What the backend is told about client and user, and what no client can make it believe.

use serde_json::json;

use crate::support::{Gateway, Issuer, Setup, Upstream};

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

const IDENTITY: &str = "identity = { \"X-Auth-Subject\" = \"sub\", \"X-Auth-Email\" = \"email\" }";

fn scene() -> Scene {
    scene_with("", IDENTITY)
}

fn scene_with(server: &str, route: &str) -> Scene {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream).server(server).route("/", route).start();
    Scene { issuer, upstream, gateway }
}

impl Scene {
    /// Sends these field lines, byte for byte, with a good token of alice.
    #[track_caller]
    fn status(&self, fields: impl AsRef<[u8]>) -> u16 {
        let mut connection = self.gateway.connect();
        let bearer = format!("Authorization: Bearer {}\r\n", self.issuer.mint("alice"));
        connection.send(
            [
                b"GET / HTTP/1.1\r\nHost: app.example.com\r\n",
                bearer.as_bytes(),
                fields.as_ref(),
                b"\r\n",
            ]
            .concat(),
        );
        connection.answer().status
    }
}

#[test]
fn identity_comes_from_the_token_alone() {
    let scene = scene();
    let token = scene.issuer.token("alice").claim("email", "alice@example.com").mint();
    assert_eq!(scene.gateway.get_with("/", &token).status, 200);
    let received = scene.upstream.last();
    assert_eq!(received.header("x-auth-subject"), Some("alice"));
    assert_eq!(received.header("x-auth-email"), Some("alice@example.com"));
    // A claim that is not there leaves no field, and no field of the client's either.
    assert_eq!(scene.status("X-Auth-Email: root@example.com\r\n"), 200);
    assert_eq!(scene.upstream.last().header("x-auth-email"), None);
}

#[test]
fn every_look_alike_of_an_identity_header_is_removed() {
    let scene = scene();
    let spellings = [
        "X-Auth-Subject: root",
        "x-auth-subject: root",
        "X_Auth_Subject: root",
        "X_AUTH-SUBJECT: root",
        "X.Auth.Subject: root",
        "x-auth.subject: root",
        "X-Auth-Subject: root\r\nX-Auth-Subject: root",
        "X-Auth-Subject:",
        "X-Auth-Subject: r\u{f6}\u{f6}t",
        "Connection: X-Auth-Subject",
    ];
    for spelling in spellings {
        let status = scene.status(format!("{spelling}\r\nX-Other: kept\r\n"));
        assert_eq!(status, 200, "{spelling}");
        let received = scene.upstream.last();
        let alike: Vec<_> = received
            .headers
            .iter()
            .filter(|(name, _)| {
                name.to_ascii_lowercase().replace(['_', '.'], "-") == "x-auth-subject"
            })
            .collect();
        assert_eq!(alike.len(), 1, "{spelling}: {alike:?}");
        assert_eq!(alike[0].1, "alice", "{spelling}");
        assert_eq!(received.header("x-other"), Some("kept"), "{spelling}");
    }
}

#[test]
fn identity_headers_are_removed_on_every_route_even_where_no_one_sets_them() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "access = \"public\"")
        .route("/app/", IDENTITY)
        .start();
    assert_eq!(gateway.get("/", &[("X-Auth-Subject", "root"), ("X_Auth_Email", "r")]).status, 200);
    let received = upstream.last();
    assert!(
        !received.head_text().to_ascii_lowercase().contains("auth"),
        "{}",
        received.head_text()
    );
}

#[test]
fn an_identity_header_in_a_trailer_is_removed() {
    let scene = scene();
    let token = scene.issuer.mint("alice");
    for trailer in
        ["X-Auth-Subject", "x_auth_subject", "Authorization", "X-Forwarded-For", "Cookie"]
    {
        let mut connection = scene.gateway.connect();
        connection.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\nTrailer: {trailer}, X-Sum\r\n\r\n1\r\na\r\n0\r\n{trailer}: root\r\nX-Sum: 1\r\n\r\n"
        ));
        let status = connection.answer().status;
        assert!(matches!(status, 200 | 400), "{status}");
        if status == 200 {
            let names: Vec<String> = scene
                .upstream
                .last()
                .trailers
                .into_iter()
                .map(|(name, _)| name.to_ascii_lowercase())
                .collect();
            assert!(!names.contains(&trailer.to_ascii_lowercase()), "{names:?}");
        }
    }
}

#[test]
fn fields_that_connection_names_go_before_ours_are_set() {
    let scene = scene();
    let fields = "Connection: close, X-Auth-Subject, X-Forwarded-For, X-Forwarded-Host, Authorization, Host, X-Custom\r\nX-Custom: 1\r\nX-Kept: 2\r\n";
    assert_eq!(scene.status(fields), 200);
    let received = scene.upstream.last();
    assert_eq!(received.header("x-auth-subject"), Some("alice"));
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.header("x-forwarded-host"), Some("app.example.com"));
    assert_eq!(received.header("host"), Some("app.example.com"));
    assert_eq!(received.header("x-custom"), None);
    assert_eq!(received.header("x-kept"), Some("2"));
}

#[test]
fn hop_by_hop_fields_of_the_request_stay_behind() {
    let scene = scene();
    let fields = "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: gzip\r\nUpgrade: h2c\r\nX-Kept: 1\r\n";
    assert_eq!(scene.status(fields), 200);
    let received = scene.upstream.last();
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "upgrade"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_ne!(received.header("te"), Some("gzip"));
    assert_eq!(received.header("x-kept"), Some("1"));
}

#[test]
fn what_looks_like_framing_or_like_a_proxys_word_on_the_client_stays_behind() {
    let scene = scene();
    let fields = "Transfer_Encoding: chunked\r\nTransfer.Encoding: chunked\r\nContent_Length: 99\r\n\
                  Client-Cert: :AAAA:\r\nClient_Cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\n\
                  Front-End-Https: on\r\nX-Url-Scheme: https\r\nX-Kept: 1\r\n";
    assert_eq!(scene.status(fields), 200);
    let received = scene.upstream.last();
    let text = received.head_text().to_ascii_lowercase();
    for name in ["transfer", "content", "client", "front-end", "url-scheme"] {
        assert!(!text.contains(&format!("\n{name}")), "{text}");
    }
    assert_eq!(received.header("x-kept"), Some("1"));
}

#[test]
fn forwarded_fields_of_a_stranger_are_replaced() {
    let scene = scene();
    let fields = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=1.2.3.4;host=evil.example\r\nX_Forwarded_For: 1.2.3.4\r\n";
    assert_eq!(scene.status(fields), 200);
    let received = scene.upstream.last();
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("x-forwarded-host"), Some("app.example.com"));
    let text = received.head_text();
    assert!(!text.contains("1.2.3.4") && !text.contains("evil.example"), "{text}");
}

#[test]
fn a_listed_proxy_is_believed_and_extended() {
    let scene = scene_with("trusted_proxies = [\"127.0.0.0/8\"]", IDENTITY);
    let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.com\r\n";
    assert_eq!(scene.status(fields), 200);
    let received = scene.upstream.last();
    assert_eq!(received.header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
    assert_eq!(received.header("x-forwarded-host"), Some("www.example.com"));
    // A stranger in the same config is not believed: the list holds another network.
    let scene = scene_with("trusted_proxies = [\"10.0.0.0/8\"]", IDENTITY);
    assert_eq!(scene.status(fields), 200);
    assert_eq!(scene.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn what_a_listed_proxy_adds_below_its_clients_own_lines_is_not_lost() {
    let scene = scene_with("trusted_proxies = [\"127.0.0.0/8\"]", IDENTITY);
    let fields = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 7.7.7.7\r\nX.Real.IP: 7.7.7.7\r\nX-Forwarded-For: 203.0.113.7\r\n";
    assert_eq!(scene.status(fields), 200);
    let received = scene.upstream.last();
    assert_eq!(received.header("x-forwarded-for"), Some("6.6.6.6, 203.0.113.7, 127.0.0.1"));
    assert_eq!(received.header("x_forwarded_for"), None);
    assert_eq!(received.header("x.real.ip"), None);
}

#[test]
fn the_backend_and_the_log_have_the_same_request_id() {
    let scene = scene_with("trusted_proxies = [\"127.0.0.0/8\"]", IDENTITY);
    assert_eq!(scene.status("X-Request-Id: good-1\r\n"), 200);
    assert_eq!(scene.upstream.last().header("x-request-id"), Some("good-1"));
    for unfit in ["X-Request-Id: a b\r\n", "X-Request-Id: good-1\r\nX-Request-Id: other\r\n"] {
        assert_eq!(scene.status(unfit), 200);
        let received = scene.upstream.last();
        let id = received.header("x-request-id").unwrap();
        assert!(!id.contains(' ') && id != "other", "{id}");
    }
}

#[test]
fn no_header_of_the_client_changes_the_decision() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", "")
        .route("/pub/", "access = \"public\"")
        .start();
    assert_eq!(gateway.get("/pub/", &[]).status, 200);
    for header in [
        ("X-Original-URL", "/pub/"),
        ("X-Rewrite-URL", "/pub/"),
        ("X-Forwarded-Uri", "/pub/"),
        ("X-Forwarded-Prefix", "/pub"),
        ("X-Envoy-Original-Path", "/pub/"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("User-Agent", "kube-probe/1.0"),
        ("Upgrade", "websocket"),
        ("Accept", "text/html"),
        ("Origin", "http://app.example.com"),
    ] {
        assert_eq!(gateway.get("/", &[header]).status, 401, "{header:?}");
    }
    let mut connection = gateway.connect();
    for method in ["OPTIONS", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"]
    {
        let status = connection.request(method, "/", &[], b"").status;
        assert!(matches!(status, 400 | 401 | 405 | 501), "{status} for {method}");
    }
    assert_eq!(upstream.begun(), 1, "only the public request");
}

#[test]
fn claim_values_that_are_no_field_value_never_reach_the_backend_raw() {
    let scene = scene();
    let wicked = [
        json!("alice\r\nX-Admin: 1"),
        json!("alice\nX-Admin: 1"),
        json!("alice\u{0}"),
        json!("al\u{7f}ice"),
        json!("alice\u{e9}"),
        json!("\u{4f60}\u{597d}"),
        json!("x".repeat(20_000)),
        json!(["a", "b"]),
        json!({"a": 1}),
    ];
    for email in wicked {
        let token = scene.issuer.token("alice").claim("email", email.clone());
        let mut shown = email.to_string();
        shown.truncate(40);
        let before = scene.upstream.begun();
        let status = scene.gateway.get_with("/", &token.mint()).status;
        if status != 200 {
            assert!(matches!(status, 400 | 401 | 403 | 431), "{status} for {shown}");
            assert_eq!(scene.upstream.begun(), before, "{shown}");
            continue;
        }
        let received = scene.upstream.last();
        assert_eq!(received.header("x-admin"), None, "{shown}");
        let value = received.header("x-auth-email").unwrap_or_default();
        assert!(value.is_ascii() && value.len() <= 16 * 1024, "{shown}: {value:?}");
        assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{shown}: {value:?}");
    }
    // What can stand in a field stands there as it is; a blank at either end would be lost, and a
    // comma would make two values of one.
    for (email, value) in [
        ("a,b@example.com", "a%2Cb@example.com"),
        ("a@b@example.com", "a@b@example.com"),
        ("\"quoted\"@example.com", "\"quoted\"@example.com"),
        (" spaced ", "%20spaced%20"),
    ] {
        let token = scene.issuer.token("alice").claim("email", email).mint();
        assert_eq!(scene.gateway.get_with("/", &token).status, 200, "{email}");
        assert_eq!(scene.upstream.last().header("x-auth-email"), Some(value));
    }
}

#[test]
fn the_upstream_sees_the_clients_host_or_its_own_as_configured() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    for (lines, host) in
        [("", "app.example.com".to_owned()), ("host = \"server\"", upstream.address().to_string())]
    {
        let gateway = Setup::new()
            .issuer(&issuer, "")
            .upstream("app", &upstream, lines)
            .route("/", "access = \"public\"")
            .start();
        assert_eq!(gateway.get("/", &[]).status, 200);
        assert_eq!(upstream.last().header("host"), Some(host.as_str()));
        assert_eq!(upstream.last().header("x-forwarded-host"), Some("app.example.com"));
    }
}

#[test]
fn too_many_or_too_large_headers_are_refused_and_the_gateway_goes_on() {
    let scene = scene();
    assert_eq!(scene.status("X-A: 1\r\n".repeat(50)), 200);
    let before = scene.upstream.begun();
    for fields in [
        "X-A: 1\r\n".repeat(2000),
        format!("X-A: {}\r\n", "a".repeat(1024 * 1024)),
        "Cookie: a=b\r\n".repeat(10_000),
    ] {
        let mut connection = scene.gateway.connect();
        // The gateway may close before it has read all.
        let _ = connection.try_send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        if let Ok(answer) = connection.answer_to("GET") {
            assert!(matches!(answer.status, 400 | 431), "{}", answer.status);
        }
    }
    assert_eq!(scene.upstream.begun(), before);
    assert_eq!(scene.status(""), 200);
}
