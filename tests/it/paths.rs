//! One path, one reading: a path is forwarded byte for byte or refused with 400, and where it can
//! be read in two ways both must select the same route.

use crate::support::{Connection, Gateway, Issuer, Setup, Upstream};

struct Scene {
    upstream: Upstream,
    gateway: Gateway,
}

/// Everything below `/` is public, but `/admin` and `/api/admin` ask for a token.
fn scene() -> Scene {
    let upstream = Upstream::new();
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .route("/", "access = \"public\"")
        .route("/admin", "access = \"required\"")
        .route("/api/admin/", "access = \"required\"")
        .start();
    Scene { upstream, gateway }
}

impl Scene {
    /// The status for a target, sent as it is.
    #[track_caller]
    fn status(&self, target: &[u8]) -> u16 {
        let mut connection = self.gateway.connect();
        connection.send([b"GET ", target, b" HTTP/1.1\r\nHost: app.example.com\r\n\r\n"].concat());
        let answer = connection.answer_to("GET");
        answer.unwrap_or_else(|error| panic!("{error:?} for {}", target.escape_ascii())).status
    }

    #[track_caller]
    fn forwards_byte_for_byte(&self, target: &str) {
        assert_eq!(self.status(target.as_bytes()), 200, "{target}");
        assert_eq!(self.upstream.last().target, target);
    }

    #[track_caller]
    fn refuses(&self, target: &[u8], statuses: &[u16]) {
        let before = self.upstream.begun();
        let status = self.status(target);
        let text = String::from_utf8_lossy(target);
        assert!(statuses.contains(&status), "{status} for {text}");
        assert_eq!(self.upstream.begun(), before, "{text} reached the backend");
    }
}

#[test]
fn ordinary_and_odd_but_unambiguous_paths_arrive_byte_for_byte() {
    let scene = scene();
    for target in [
        "/",
        "/a",
        "/a/",
        "/a?x=1&y=/../z;%2F#",
        "/a?next=%2e%2e%2f%5c%00",
        "/caf%C3%A9/%e4%BD%a0",
        "/with%20space/and+plus",
        "/.hidden/..dots/...",
        "/@scope%2Fpackage",
        "/group%2Fproject/-/raw/main",
        "/a//b",
        "/matrix;v=1/rest",
        "/~user/:colon/!$&'()*,=",
        "/%7Euser/%41",
        "/100%25",
        "/a?",
    ] {
        scene.forwards_byte_for_byte(target.split('#').next().unwrap());
    }
}

#[test]
fn dot_segments_in_any_spelling_are_refused() {
    let scene = scene();
    assert_eq!(scene.status(b"/pub/x"), 200);
    for target in [
        "/pub/../admin",
        "/pub/..",
        "/pub/.",
        "/./admin",
        "/pub/./x",
        "/..",
        "/../admin",
        "/pub/%2e%2e/admin",
        "/pub/%2E%2E/admin",
        "/pub/.%2e/admin",
        "/pub/%2e./admin",
        "/pub/%2e/admin",
        "/%2e%2e%2fadmin",
        "/pub/..%2fadmin",
        "/pub%2f..%2fadmin",
        "/pub/..;/admin",
        "/pub/..;a=b/admin",
        "/pub/.;/admin",
        "/pub/%252e%252e/admin",
        "/pub/%252e%252e%252fadmin",
        "/pub/..%252fadmin",
    ] {
        scene.refuses(target.as_bytes(), &[400]);
    }
}

#[test]
fn bytes_that_two_servers_read_differently_are_refused() {
    let scene = scene();
    for target in [
        b"/pub\\..\\admin".as_slice(),
        b"/pub%5cadmin",
        b"/pub%5C..%5Cadmin",
        b"/pub%00/x",
        b"/pub%0d%0aX:%20y",
        b"/pub%0a",
        b"/pub%09",
        b"/pub%1f",
        b"/pub%7f",
        b"/pub/%c0%ae%c0%ae/admin",
        b"/pub/%c0%af",
        b"/pub/%e0%80%af",
        b"/pub/%f0%80%80%af",
        b"/pub/\xc3\xa9",
        b"/pub/\xc0\xae",
        b"/pub/%",
        b"/pub/%2",
        b"/pub/%zz",
        b"/pub/%u002e",
        b"/pub/\x01",
        b"/pub/\x7f",
    ] {
        scene.refuses(target, &[400]);
    }
}

#[test]
fn a_path_whose_readings_select_different_routes_is_refused() {
    let scene = scene();
    // The neighbour without the second reading passes, or asks for a token, as its route says.
    assert_eq!(scene.status(b"/admins"), 200);
    assert_eq!(scene.status(b"/admin"), 401);
    assert_eq!(scene.status(b"/admin/x"), 401);
    assert_eq!(scene.status(b"/api/admin/x"), 401);
    for target in [
        "/admin;x=y",
        "/admin;/x",
        "/;/admin",
        "//admin",
        "//admin/x",
        "/api//admin/x",
        "/api/admin%2Fx",
        "/api%2Fadmin/x",
        "/api%2fadmin%2fx",
        "/api/;a=b/admin/x",
        "/api;a/admin/x",
        "/%2Fadmin",
        "/api%252Fadmin/x",
        "/%2561dmin",
        "/admin%3bx",
        "/admin%253bx",
    ] {
        // A reading that lands on the protected route: never forwarded without a token.
        scene.refuses(target.as_bytes(), &[400, 401]);
    }
    for target in ["/pub%2Fx", "/pub;a/x", "/pub//x", "/pub%2525"] {
        scene.forwards_byte_for_byte(target);
    }
}

#[test]
fn an_escaped_letter_does_not_lead_around_a_route() {
    let scene = scene();
    // %61 is `a`: the backend will read /admin, so the route must too.
    for target in ["/%61dmin", "/adm%69n/x", "/api/%61dmin/x"] {
        scene.refuses(target.as_bytes(), &[400, 401]);
    }
    // No case folding: these are other paths.
    for target in ["/Admin", "/ADMIN/x", "/admin.", "/admin%20"] {
        scene.forwards_byte_for_byte(target);
    }
}

#[test]
fn the_query_has_no_part_in_choosing_the_route() {
    let scene = scene();
    for target in ["/admin?/pub/", "/admin?x=/pub/../", "/admin/x?%2e%2e"] {
        scene.refuses(target.as_bytes(), &[401]);
    }
    scene.forwards_byte_for_byte("/pub?/admin");
}

#[test]
fn targets_that_are_no_path_are_refused() {
    let scene = scene();
    for request in [
        "OPTIONS * HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "CONNECT app.example.com:443 HTTP/1.1\r\nHost: app.example.com:443\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET app.example.com HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET pub HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET ?x HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET http://other.example/pub HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET http://user@app.example.com/pub HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET file:///pub HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET ftp://app.example.com/pub HTTP/1.1\r\nHost: app.example.com\r\n\r\n",
        "GET /pub HTTP/1.1\r\nHost: app.example.com:65536\r\n\r\n",
    ] {
        let before = scene.upstream.begun();
        let mut connection = scene.gateway.connect();
        connection.send(request);
        let status = connection.answer().status;
        assert!((400..500).contains(&status), "{status} for {request}");
        assert_eq!(scene.upstream.begun(), before, "{request} reached the backend");
    }
}

#[test]
fn a_fragment_has_no_part_in_choosing_the_route_and_does_not_reach_the_backend() {
    let scene = scene();
    scene.refuses(b"/admin#/../pub", &[400, 401]);
    let status = scene.status(b"/pub#/../admin");
    assert!(matches!(status, 200 | 400), "{status}");
    assert!(scene.upstream.received().iter().all(|received| received.target == "/pub"));
}

#[test]
fn an_absolute_target_for_the_same_host_is_the_same_path() {
    let scene = scene();
    let mut connection = scene.gateway.connect();
    let request = |path: &str| {
        format!("GET http://app.example.com{path} HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
    };
    connection.send(request("/admin"));
    assert_eq!(connection.answer().status, 401);
    connection.send(request("/pub?q"));
    let status = connection.answer().status;
    // Refusing the form altogether is sound too; forwarding it means forwarding the path.
    assert!(matches!(status, 200 | 400), "{status}");
    if status == 200 {
        assert_eq!(scene.upstream.last().target, "/pub?q");
    }
}

#[test]
fn a_host_is_one_host() {
    let upstream = Upstream::new();
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .route("/", "host = \"pub.example.com\"\naccess = \"public\"")
        .route("/", "host = \"app.example.com\"")
        .start();
    let status = |fields: &str| {
        let mut connection = Connection::open(&gateway.address);
        connection.send(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        connection.answer().status
    };
    assert_eq!(status("Host: pub.example.com\r\n"), 200);
    assert_eq!(status("Host: PUB.example.com:8080\r\n"), 200);
    assert_eq!(status("Host: app.example.com\r\n"), 401);
    assert_eq!(status("Host: other.example.com\r\n"), 404);
    let before = upstream.begun();
    for fields in [
        "",
        "Host: \r\n",
        "Host: pub.example.com\r\nHost: app.example.com\r\n",
        "Host: pub.example.com, app.example.com\r\n",
        "Host: pub.example.com/\r\n",
        "Host: pub.example.com app.example.com\r\n",
        "Host: user@pub.example.com\r\n",
        "Host: pub.example.com:port\r\n",
        "Host: pub.example.com;x\r\n",
        "Host: p\u{fc}b.example.com\r\n",
    ] {
        let status = status(fields);
        assert!(matches!(status, 400 | 404), "{status} for {fields:?}");
    }
    assert_eq!(upstream.begun(), before);
}

#[test]
fn an_escape_of_escapes_as_long_as_a_head_allows_ends_nobody_but_itself() {
    let scene = scene();
    scene.refuses(format!("/pub/%{}", "25".repeat(30_000)).as_bytes(), &[400]);
    scene.forwards_byte_for_byte("/pub/%2525");
}

#[test]
fn an_escaped_question_mark_does_not_lead_around_a_route() {
    let scene = scene();
    for target in ["/admin%3fx", "/admin%23", "/admin%253fx", "/%61dmin%3f", "/pub/..%3f/x"] {
        scene.refuses(target.as_bytes(), &[400]);
    }
    scene.forwards_byte_for_byte("/what%3F");
    scene.forwards_byte_for_byte("/pub/admin%3fx");
}
