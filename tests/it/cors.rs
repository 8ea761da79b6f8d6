//! Pages of other origins: preflights, and who may read an answer.

use crate::support::{Answer, Gateway, Issuer, Setup, Upstream};

const APP: &str = "https://app.example.com";

/// Path, headers, body.
type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c [u8]);

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

fn scene(routes: &[(&str, &str)]) -> Scene {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::answering(|exchange| {
        exchange.read_body();
        exchange.answer(
            "200 OK",
            "Access-Control-Allow-Origin: https://evil.example\r\nAccess-Control-Allow-Credentials: true\r\nVary: Accept\r\n",
            "x",
        );
    });
    let setup = Setup::simple(&issuer, &upstream);
    let gateway =
        routes.iter().fold(setup, |setup, (path, lines)| setup.route(path, lines)).start();
    Scene { issuer, upstream, gateway }
}

impl Scene {
    #[track_caller]
    fn preflight(&self, path: &str, origin: &str, method: &str) -> Answer {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization"),
        ];
        self.gateway.connect().request("OPTIONS", path, &headers, b"")
    }
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[test]
fn a_preflight_is_answered_without_a_token_and_reaches_no_backend() {
    let scene = scene(&[(
        "/",
        "cors = { origins = [\"https://app.example.com\", \"https://b.example:8443\"], expose = [\"X-Total\"], credentials = true, max_age = \"1m\" }",
    )]);
    for origin in [APP, "https://b.example:8443"] {
        let answer = scene.preflight("/x", origin, "DELETE");
        assert_eq!((answer.status, allowed(&answer)), (204, Some(origin)));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("GET, HEAD, POST, PUT, PATCH, DELETE")
        );
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("authorization, content-type")
        );
        assert_eq!(answer.header("access-control-max-age"), Some("60"));
        assert!(answer.header("vary").unwrap().starts_with("Origin"));
    }
    for origin in [
        "null",
        "https://app.example.com.evil.org",
        "https://app.example.com:443",
        "http://app.example.com",
        "https://App.example.com",
        "https://app.example.co",
        "",
    ] {
        let refused = scene.preflight("/x", origin, "GET");
        assert_eq!((refused.status, allowed(&refused)), (403, None), "{origin}");
        assert_eq!(refused.code(), "origin_not_allowed");
    }
    assert_eq!(scene.upstream.begun(), 0);
}

#[test]
fn only_listed_origins_may_read_and_refusals_can_be_read_by_them() {
    let scene = scene(&[
        ("/", "cors = { origins = [\"https://app.example.com\"], expose = [\"X-Total\"] }"),
        ("/any/", "access = \"public\"\ncors = { origins = [\"*\"] }"),
        ("/off/", "access = \"public\""),
    ]);
    let token = format!("Bearer {}", scene.issuer.mint("alice"));
    let get = |path: &str, origin: Option<&str>, token: Option<&str>| {
        let origin = origin.map(|origin| ("Origin", origin));
        let token = token.map(|token| ("Authorization", token));
        let headers: Vec<_> = origin.into_iter().chain(token).collect();
        scene.gateway.get(path, &headers)
    };
    let good = get("/", Some(APP), Some(&token));
    assert_eq!((good.status, allowed(&good)), (200, Some(APP)));
    assert_eq!(good.header("access-control-expose-headers"), Some("x-total"));
    assert_eq!(good.header("access-control-allow-credentials"), None, "not the backend's word");
    assert_eq!(good.all("vary"), ["Accept", "Origin"]);
    for bad in [None, Some("Bearer bad")] {
        let refused = get("/", Some(APP), bad);
        assert_eq!((refused.status, allowed(&refused)), (401, Some(APP)));
        assert_eq!(refused.all("vary"), ["Origin"]);
    }
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let other = get("/", origin, Some(&token));
        assert_eq!((other.status, allowed(&other)), (200, None), "{origin:?}");
        assert_eq!(other.all("vary"), ["Accept", "Origin"]);
    }
    let any = get("/any/", Some("https://evil.example"), None);
    assert_eq!((any.status, allowed(&any)), (200, Some("*")));
    assert_eq!(allowed(&get("/any/", Some("null"), None)), None);
    // Where the route says nothing, the backend does.
    assert_eq!(allowed(&get("/off/", Some(APP), None)), Some("https://evil.example"));
}

#[test]
fn an_options_request_that_is_no_preflight_needs_its_token() {
    let scene = scene(&[
        ("/", "cors = { origins = [\"https://app.example.com\"] }"),
        ("/pass/", "cors = \"pass\""),
        ("/off/", ""),
    ]);
    let method = ("Access-Control-Request-Method", "GET");
    let origin = ("Origin", APP);
    let cases: [Case<'_>; 8] = [
        ("/", &[origin], b""),
        ("/", &[method], b""),
        ("/", &[origin, origin, method], b""),
        ("/", &[origin, method, method], b""),
        ("/", &[origin, method], b"body"),
        ("/pass/", &[origin], b""),
        ("/pass/", &[origin, method], b"body"),
        ("/off/", &[origin, method], b""),
    ];
    for (path, headers, body) in cases {
        let refused = scene.gateway.connect().request("OPTIONS", path, headers, body);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (401, "token_missing"),
            "{path} {headers:?}"
        );
    }
    assert_eq!(scene.upstream.begun(), 0);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let asked = scene.gateway.connect().request("OPTIONS", "/", &[("Authorization", &bearer)], b"");
    assert_eq!(asked.status, 200);
    assert_eq!(scene.upstream.last().method, "OPTIONS");
}

#[test]
fn a_preflight_is_passed_on_without_a_credential_where_the_backend_answers_it() {
    let scene = scene(&[("/", "cors = \"pass\"\nidentity = { X-Who = \"sub\" }")]);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let headers = [
        ("Origin", APP),
        ("Access-Control-Request-Method", "GET"),
        ("Authorization", bearer.as_str()),
        ("X-Who", "root"),
    ];
    let answer = scene.gateway.connect().request("OPTIONS", "/x", &headers, b"");
    assert_eq!((answer.status, allowed(&answer)), (200, Some("https://evil.example")));
    let received = scene.upstream.last();
    assert_eq!((received.method.as_str(), received.header("origin")), ("OPTIONS", Some(APP)));
    assert_eq!((received.header("authorization"), received.header("x-who")), (None, None));
    // The request itself needs its token.
    assert_eq!(scene.gateway.get("/x", &[("Origin", APP)]).status, 401);
}

#[test]
fn a_preflight_gets_the_route_of_the_request_that_it_asks_about() {
    let scene = scene(&[
        ("/", ""),
        ("/api", "methods = [\"POST\"]\ncors = { origins = [\"https://app.example.com\"] }"),
        (
            "/v",
            "headers = { X-V = true }\ncors = { origins = [\"https://v.example\"], headers = [\"X-V\"] }",
        ),
    ]);
    let answer = scene.preflight("/api", APP, "POST");
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, Some("POST")));
    assert_eq!(scene.preflight("/api", APP, "PUT").status, 401, "another route, without cors");
    let with = |names: &str| {
        let headers = [
            ("Origin", "https://v.example"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", names),
        ];
        scene.gateway.connect().request("OPTIONS", "/v", &headers, b"").status
    };
    assert_eq!((with("x-v, authorization"), with("authorization")), (204, 401));
}
