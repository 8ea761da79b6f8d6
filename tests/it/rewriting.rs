//! What a route changes on the way: the path, the request's headers, the answer's.

use crate::support::{Gateway, Issuer, Setup, Upstream};

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

fn scene(routes: &[(&str, &str)]) -> Scene {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let setup = Setup::simple(&issuer, &upstream);
    let gateway =
        routes.iter().fold(setup, |setup, (path, lines)| setup.route(path, lines)).start();
    Scene { issuer, upstream, gateway }
}

const PUBLIC: &str = "access = \"public\"\n";

#[test]
fn the_path_is_rewritten_by_whole_segments_and_the_query_stays() {
    let scene = scene(&[
        ("/", PUBLIC),
        ("/api", &format!("{PUBLIC}rewrite = {{ strip_prefix = \"/api\" }}")),
        (
            "/old/",
            &format!("{PUBLIC}rewrite = {{ strip_prefix = \"/old\", add_prefix = \"/v2/new\" }}"),
        ),
        ("/in/", &format!("{PUBLIC}rewrite = {{ add_prefix = \"/base\" }}")),
        ("/one", &format!("{PUBLIC}rewrite = {{ replace = \"/index.html\" }}")),
    ]);
    for (target, expected, prefix) in [
        ("/api", "/", Some("/api")),
        ("/api/", "/", Some("/api")),
        ("/api/x%20y?q=%2F..", "/x%20y?q=%2F..", Some("/api")),
        ("/old/a/b?", "/v2/new/a/b?", Some("/old")),
        ("/in/x", "/base/in/x", None),
        ("/one/two?x=1", "/index.html?x=1", None),
        ("/apix", "/apix", None),
        ("/raw%2Fpath//x;y", "/raw%2Fpath//x;y", None),
    ] {
        assert_eq!(scene.gateway.get(target, &[]).status, 200, "{target}");
        let received = scene.upstream.last();
        assert_eq!(received.target, expected, "{target}");
        assert_eq!(received.header("x-forwarded-prefix"), prefix, "{target}");
    }
    // A stranger's own prefix is no one's.
    scene.gateway.get("/api/x", &[("X-Forwarded-Prefix", "/evil")]);
    assert_eq!(scene.upstream.last().header("x-forwarded-prefix"), Some("/api"));
}

#[test]
fn a_path_that_has_two_readings_is_never_rewritten() {
    let rewritten = format!("{PUBLIC}rewrite = {{ strip_prefix = \"/api\" }}");
    let scene = scene(&[("/plain/", PUBLIC), ("/api/", &rewritten)]);
    for odd in
        ["/api//admin", "/api/%2Fadmin", "/api/a;b/c", "/api/a%3Fb", "/api/a%25b", "/api/%2ex"]
    {
        let plain = odd.replacen("/api", "/plain", 1);
        assert_eq!(scene.gateway.get(&plain, &[]).status, 200, "{plain}");
        assert_eq!(scene.upstream.last().target, plain);
        let before = scene.upstream.begun();
        let refused = scene.gateway.get(odd, &[]);
        assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{odd}");
        assert_eq!(scene.upstream.begun(), before, "{odd}");
    }
    assert_eq!(scene.gateway.get("/api/caf%C3%A9", &[]).status, 200);
    assert_eq!(scene.upstream.last().target, "/caf%C3%A9");
}

#[test]
fn header_rules_go_before_what_the_gateway_says() {
    let scene = scene(&[(
        "/",
        "identity = { X-Auth-Subject = \"sub\" }\n\
         request_headers = { remove = [\"X-Debug\", \"Accept-Encoding\"], set = { X-Env = \"prod\" }, add = { Via = \"1.1 gw\" } }\n\
         response_headers = { remove = [\"Server\"], set = { X-Frame-Options = \"DENY\" }, add = { Vary = \"Cookie\" } }",
    )]);
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let answer = scene.gateway.get(
        "/",
        &[
            ("Authorization", &bearer),
            ("X-Debug", "1"),
            ("X-DEBUG", "2"),
            ("Accept-Encoding", "br"),
            ("X-Env", "dev"),
            ("X-Env", "test"),
            ("X_Env", "root"),
            ("X.Debug", "3"),
            ("Via", "1.1 other"),
            ("X-Auth-Subject", "root"),
            ("Connection", "X-Env"),
        ],
    );
    assert_eq!(answer.status, 200);
    let received = scene.upstream.last();
    assert_eq!((received.header("x-debug"), received.header("accept-encoding")), (None, None));
    assert_eq!(received.header("x-env"), Some("prod"), "named in Connection or not");
    // Many backends read these as the headers that the rules speak of.
    assert_eq!((received.header("x_env"), received.header("x.debug")), (None, None));
    let via = received.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("via"));
    assert_eq!(via.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["1.1 other", "1.1 gw"]);
    assert_eq!(received.header("x-auth-subject"), Some("alice"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("vary"), Some("Cookie"));
    // Our own refusals are ours.
    let refused = scene.gateway.get("/", &[]);
    assert_eq!((refused.status, refused.header("x-frame-options")), (401, None));
}

#[test]
fn header_rules_change_the_upstreams_answer_and_a_fixed_one() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::answering(|exchange| {
        exchange.answer(
            "200 OK",
            "Server: secret/1.0\r\nX-Frame-Options: ALLOW\r\nX-Keep: 1\r\n",
            "x",
        );
    });
    let rules =
        "response_headers = { remove = [\"Server\"], set = { X-Frame-Options = \"DENY\" } }";
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/", &format!("{PUBLIC}{rules}"))
        .tables(&format!(
            "[[route]]\npath = \"/fixed\"\n{PUBLIC}{rules}\nanswer = {{ body = \"x\" }}\n"
        ))
        .start();
    for path in ["/", "/fixed"] {
        let answer = gateway.get(path, &[]);
        assert_eq!(
            (answer.header("server"), answer.header("x-frame-options")),
            (None, Some("DENY"))
        );
        assert_eq!(answer.text(), "x");
    }
    assert_eq!(gateway.get("/", &[]).header("x-keep"), Some("1"));
}
