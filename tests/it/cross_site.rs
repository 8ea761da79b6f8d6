//! Requests that another site makes a browser send: a cookie does not count there, a bearer token
//! always does.

use crate::support::{Gateway, Issuer, Setup, Upstream};

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

fn scene(server: &str) -> Scene {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .server(server)
        .route("/", "credentials = [\"bearer\", \"cookie:session\"]")
        .route("/open", "access = \"optional\"\ncredentials = [\"cookie:session\"]")
        .start();
    Scene { issuer, upstream, gateway }
}

impl Scene {
    fn status(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
        self.gateway.connect().request(method, target, headers, b"").status
    }
}

#[test]
fn a_cookie_counts_only_for_our_own_pages_and_a_bearer_token_for_anyone() {
    let scene = scene("external_origins = [\"https://Shop.example.com:443\"]");
    let token = scene.issuer.mint("alice");
    let cookie = format!("session={token}");
    let bearer = format!("Bearer {token}");
    let pass: [&[(&str, &str)]; 5] = [
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "http://app.example.com")],
        &[("Origin", "https://shop.example.com")],
        &[("Origin", "https://shop.example.com"), ("Sec-Fetch-Site", "same-site")],
    ];
    let refused: [&[(&str, &str)]; 6] = [
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Origin", "null")],
        &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
        &[("Origin", "https://app.example.com"), ("Sec-Fetch-Site", "same-site")],
        &[("Origin", "http://app.example.com"), ("Origin", "http://app.example.com")],
    ];
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        for (headers, wanted) in
            pass.iter().map(|h| (*h, 200)).chain(refused.iter().map(|h| (*h, 403)))
        {
            let with_cookie = [headers, &[("Cookie", cookie.as_str())]].concat();
            let with_bearer = [headers, &[("Authorization", bearer.as_str())]].concat();
            let before = scene.upstream.begun();
            assert_eq!(scene.status(method, "/", &with_cookie), wanted, "{method} {headers:?}");
            let arrived = scene.upstream.begun() - before;
            assert_eq!(arrived, usize::from(wanted == 200), "{method} {headers:?}");
            assert_eq!(scene.status(method, "/", &with_bearer), 200, "{method} {headers:?}");
        }
    }
    // Neither header: an old browser's navigation, or a program.
    for (method, wanted) in [("GET", 200), ("HEAD", 200), ("OPTIONS", 200), ("POST", 403)] {
        assert_eq!(scene.status(method, "/", &[("Cookie", &cookie)]), wanted, "{method}");
    }
}

#[test]
fn a_link_from_another_site_opens_the_page_and_a_frame_or_an_image_does_not() {
    let scene = scene("");
    let cookie = format!("session={}", scene.issuer.mint("alice"));
    let ask = |method: &str, mode: &str, dest: &str| {
        scene.status(
            method,
            "/",
            &[
                ("Cookie", &cookie),
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", mode),
                ("Sec-Fetch-Dest", dest),
            ],
        )
    };
    assert_eq!(ask("GET", "navigate", "document"), 200);
    assert_eq!(ask("HEAD", "navigate", "document"), 200);
    assert_eq!(ask("POST", "navigate", "document"), 403);
    assert_eq!(ask("GET", "navigate", "iframe"), 403);
    assert_eq!(ask("GET", "no-cors", "image"), 403);
    assert_eq!(ask("GET", "cors", "empty"), 403);
}

#[test]
fn the_refusal_says_what_it_is_and_the_log_what_to_set() {
    let scene = scene("");
    let cookie = format!("session={}", scene.issuer.mint("alice"));
    let headers = [("Cookie", cookie.as_str()), ("Origin", "https://app.example.com")];
    let answer = scene.gateway.get("/", &headers);
    assert_eq!((answer.status, answer.code().as_str()), (403, "cross_site"));
    let line = scene.gateway.access_line(answer.header("x-request-id").unwrap());
    assert!(line.to_string().contains("external_origins"), "{line}");
    // Without a cookie there is nothing that another site could use.
    let anonymous = [("Origin", "https://evil.example")];
    assert_eq!(scene.status("POST", "/open", &anonymous), 200);
    let evil = [("Cookie", cookie.as_str()), ("Origin", "https://evil.example")];
    assert_eq!(scene.status("POST", "/open", &evil), 403);
}

#[test]
fn the_scheme_of_our_origin_comes_from_a_trusted_proxy_and_from_nobody_else() {
    let stranger = scene("");
    let behind = scene("trusted_proxies = [\"127.0.0.0/8\"]");
    for (scene, wanted) in [(&stranger, 403), (&behind, 200)] {
        let cookie = format!("session={}", scene.issuer.mint("alice"));
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Origin", "https://app.example.com"),
            ("X-Forwarded-Proto", "https"),
        ];
        assert_eq!(scene.status("POST", "/", &headers), wanted);
    }
}

#[test]
fn a_websocket_by_cookie_needs_our_origin() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    let cookie = format!("session={token}");
    let bearer = format!("Bearer {token}");
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let ask = |headers: &[(&str, &str)]| {
        scene.status("GET", "/", &[handshake.as_slice(), headers].concat())
    };
    // The backend does not switch: 200 says that the handshake came to it.
    let cookie = ("Cookie", cookie.as_str());
    assert_eq!(ask(&[cookie, ("Origin", "http://app.example.com")]), 200);
    assert_eq!(ask(&[cookie]), 403);
    assert_eq!(ask(&[cookie, ("Sec-Fetch-Site", "same-origin")]), 403);
    assert_eq!(ask(&[cookie, ("Origin", "http://evil.example")]), 403);
    assert_eq!(ask(&[("Authorization", &bearer), ("Origin", "http://evil.example")]), 200);
}
