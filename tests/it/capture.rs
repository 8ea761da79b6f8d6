//! A login whose tokens become cookies that no script can read, and the session that they are: taken
//! by routes, sealed, in parts, ended by a log-out. The backend knows nothing of it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Answer, Gateway, Issuer, Jar, Setup, Upstream, eventually, now};

const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

/// What the backend's login answers: status, further fields, body.
type Login = Arc<Mutex<(String, String, Vec<u8>)>>;

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
    login: Login,
}

fn scene(session: &str, capture: &str) -> Scene {
    let issuer = Issuer::new("ES256");
    let login: Login = Arc::default();
    let answers = Arc::clone(&login);
    let upstream = Upstream::answering(move |exchange| {
        if exchange.received.target != "/login" {
            return exchange.echo();
        }
        let (status, fields, body) = answers.lock().unwrap().clone();
        exchange.answer(&status, &fields, body);
    });
    let gateway = Setup::simple(&issuer, &upstream)
        .tables(&format!("[session]\n{session}"))
        .route("/login", &format!("access = \"public\"\ncapture = {capture}"))
        .route("/", "credentials = [\"bearer\", \"session\"]\nforward = \"bearer\"")
        .route("/stripped", "credentials = [\"session\"]")
        .route("/open", "credentials = [\"session\"]\naccess = \"optional\"")
        .route("/page", "credentials = [\"session\"]\nlogin_url = \"/login\"")
        .start();
    Scene { issuer, upstream, gateway, login }
}

const CAPTURE: &str = "{ token = \"/data/access\", refresh = \"/data/refresh\" }";

impl Scene {
    fn backend_answers(&self, status: &str, fields: &str, body: impl Into<Vec<u8>>) {
        *self.login.lock().unwrap() = (status.to_owned(), fields.to_owned(), body.into());
    }

    fn backend_gives(&self, token: &str) {
        let body =
            json!({"data": {"access": token, "refresh": "r-1", "kept": [1, "é"]}, "ok": true});
        self.backend_answers(
            "200 OK",
            "Content-Type: application/json; charset=utf-8\r\nETag: \"1\"\r\n",
            body.to_string(),
        );
    }

    fn log_in(&self, headers: &[(&str, &str)]) -> Answer {
        self.gateway.connect().request("POST", "/login", &[&[OURS], headers].concat(), b"{}")
    }

    fn get(&self, target: &str, jar: &Jar) -> Answer {
        self.gateway.get(target, &[("Cookie", &jar.header()), OURS])
    }
}

#[test]
fn the_tokens_leave_the_answer_and_become_cookies() {
    let scene = scene("", CAPTURE);
    let token = scene.issuer.token("alice").claim("sid", "s-1").mint();
    scene.backend_gives(&token);
    let answer = scene.log_in(&[("Accept-Encoding", "gzip, br")]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(scene.upstream.last().header("accept-encoding"), Some("identity"));
    assert_eq!(answer.json(), json!({"data": {"kept": [1, "é"]}, "ok": true}));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("etag"), None);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("__Host-portcullis={token}; Max-Age=3")), "{cookie}");
    for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let mut jar = Jar::default();
    jar.take(&answer);
    jar.0.insert("theme".into(), "\"dark; ".trim_end_matches("; ").into());
    assert_eq!(scene.get("/", &jar).status, 200);
    let received = scene.upstream.last();
    assert_eq!(received.header("authorization"), Some(format!("Bearer {token}").as_str()));
    assert_eq!(received.header("cookie"), Some("theme=\"dark"));
    assert_eq!(scene.get("/stripped", &jar).status, 200);
    assert!(!scene.upstream.last().head_text().contains(&token));
    assert_eq!(scene.get("/.auth/me", &jar).json()["subject"], "alice");
}

#[test]
fn what_cannot_be_taken_apart_does_not_reach_the_browser() {
    let scene = scene("", CAPTURE);
    let json_type = "Content-Type: application/json\r\n";
    let token = scene.issuer.mint("alice");
    let good = json!({"data": {"access": token}}).to_string();
    let stranger = Issuer::new("ES256").mint("alice");
    let expired = scene.issuer.token("alice").times(-7200, -3600).mint();
    let with = |token: &str| json!({"data": {"access": token}}).to_string();
    let long = json!({"data": {"access": token}, "fill": "x".repeat(70_000)}).to_string();
    let cases: [(&str, String, String); 10] = [
        ("text", "Content-Type: text/html\r\n".into(), good.clone()),
        ("encoded", format!("{json_type}Content-Encoding: gzip\r\n"), good.clone()),
        ("no JSON", json_type.into(), format!("{good}x")),
        ("two members", json_type.into(), format!("{{\"data\":{{}},{}", &good[1..])),
        ("no object", json_type.into(), format!("[{good}]")),
        ("absent", json_type.into(), json!({"access": token}).to_string()),
        ("a number", json_type.into(), json!({"data": {"access": 7}}).to_string()),
        ("a stranger's", json_type.into(), with(&stranger)),
        ("expired", json_type.into(), with(&expired)),
        ("too long", json_type.into(), long),
    ];
    for (what, fields, body) in cases {
        scene.backend_answers("200 OK", &fields, body);
        let answer = scene.log_in(&[]);
        assert_eq!((answer.status, answer.code().as_str()), (502, "login_unusable"), "{what}");
        assert!(answer.all("set-cookie").is_empty(), "{what}");
        for secret in [&token, &stranger, &expired] {
            assert!(!answer.text().contains(secret.as_str()), "{what}");
        }
    }
    // A wrong password is the backend's to say.
    scene.backend_answers("401 Unauthorized", json_type, "{\"error\":\"wrong\"}");
    let answer = scene.log_in(&[]);
    assert_eq!((answer.status, answer.text().as_str()), (401, "{\"error\":\"wrong\"}"));
    // Whoever is blocked does not get in by a login.
    scene.gateway.admin().block(json!({"user": "alice"}));
    scene.backend_gives(&scene.issuer.mint("alice"));
    let answer = scene.log_in(&[]);
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
    assert!(answer.all("set-cookie").is_empty());
}

#[test]
fn a_login_that_takes_its_time_brings_a_token_of_later_than_it_was_asked_for() {
    let issuer = Issuer::new("ES256");
    let minting = issuer.clone();
    let upstream = Upstream::answering(move |exchange| {
        let asked = now();
        eventually("another second", || (now() > asked).then_some(()));
        let body = json!({"access": minting.token("alice").times(0, 3600).mint()});
        exchange.answer("200 OK", "Content-Type: application/json\r\n", body.to_string());
    });
    let gateway = Setup::new()
        .issuer(&issuer, "leeway = \"0s\"")
        .upstream("app", &upstream, "")
        .route("/login", "access = \"public\"\ncapture = { token = \"/access\" }")
        .start();
    let answer = gateway.connect().request("POST", "/login", &[OURS], b"{}");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_token_in_a_header_is_taken_too_and_a_step_without_one_may_pass() {
    let scene = scene("", "{ token = \"header:X-Token\", optional = true }");
    let token = scene.issuer.mint("alice");
    scene.backend_answers("303 See Other", &format!("Location: /home\r\nX-Token: {token}\r\n"), "");
    let answer = scene.log_in(&[]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/home")));
    assert_eq!(answer.header("x-token"), None);
    let mut jar = Jar::default();
    jar.take(&answer);
    assert_eq!(scene.get("/", &jar).status, 200);
    scene.backend_answers("200 OK", "", "one more step");
    let answer = scene.log_in(&[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "one more step"));
    assert!(answer.all("set-cookie").is_empty());
}

#[test]
fn another_site_logs_nobody_in() {
    let scene = scene("", CAPTURE);
    scene.backend_gives(&scene.issuer.mint("mallory"));
    for headers in [
        [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "null"), ("Accept", "*/*")],
        [("Accept", "*/*"), ("X-Nothing", "said")],
    ] {
        let answer = scene.gateway.connect().request("POST", "/login", &headers, b"{}");
        assert_eq!(answer.code(), "cross_site", "{headers:?}");
    }
    assert_eq!(scene.upstream.begun(), 0);
}

#[test]
fn a_new_login_ends_the_session_that_the_browser_had() {
    let scene = scene("", CAPTURE);
    let token = |session: &str| scene.issuer.token("alice").claim("sid", session).mint();
    let mut jar = Jar::default();
    scene.backend_gives(&token("s-1"));
    jar.take(&scene.log_in(&[]));
    let old = jar.clone();
    scene.backend_gives(&token("s-2"));
    jar.take(&scene.log_in(&[("Cookie", &old.header())]));
    assert_eq!((scene.get("/", &old).status, scene.get("/", &jar).status), (401, 200));
}

#[test]
fn a_stolen_copy_is_of_no_use_after_the_log_out_and_the_cookies_are_gone() {
    for session in ["", "seal = true", "secure = false", "domain = \"example.com\""] {
        let scene = scene(session, CAPTURE);
        scene.backend_gives(&scene.issuer.token("alice").claim("sid", "s-1").mint());
        let login = scene.log_in(&[]);
        let mut jar = Jar::default();
        jar.take(&login);
        let stolen = jar.clone();
        assert_eq!(scene.get("/", &jar).status, 200, "{session}");
        let headers = [("Cookie", jar.header()), ("Sec-Fetch-Site", "same-origin".into())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let answer = scene.gateway.connect().request("POST", "/.auth/logout", &headers, b"");
        assert_eq!(answer.json(), json!({"ended": "session"}), "{session}");
        jar.take(&answer);
        assert_eq!(jar.0.len(), 0, "{session}");
        // C26: with the attributes that they were set with, or browsers keep them.
        let attributes = |line: &str| {
            let mut all: Vec<String> = line.split("; ").skip(1).map(str::to_owned).collect();
            all.retain(|attribute| !attribute.starts_with("Max-Age"));
            all
        };
        let set = attributes(login.all("set-cookie")[0]);
        for cleared in answer.all("set-cookie") {
            assert_eq!(attributes(cleared), set, "{session}");
        }
        let answer = scene.get("/", &stolen);
        assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"), "{session}");
        // The dead cookie is cleared, so that the browser asks no more.
        assert!(answer.all("set-cookie").iter().any(|line| line.contains("Max-Age=0")));
    }
}

#[test]
fn a_sealed_cookie_is_read_by_nobody_and_made_by_nobody() {
    let scene = scene("seal = true", CAPTURE);
    let token = scene.issuer.mint("alice");
    scene.backend_gives(&token);
    let answer = scene.log_in(&[]);
    assert!(!answer.head.contains(&token));
    let mut jar = Jar::default();
    jar.take(&answer);
    assert_eq!(scene.get("/", &jar).status, 200);
    let name = "__Host-portcullis";
    let sealed = jar.0[name].clone();
    for value in [token.clone(), sealed[1..].to_owned(), format!("{sealed}A"), "x".into()] {
        let mut forged = Jar::default();
        forged.0.insert(name.into(), value);
        assert_eq!(scene.get("/", &forged).code(), "token_invalid");
        assert_eq!(scene.get("/open", &forged).status, 200, "anonymous");
        assert_eq!(scene.upstream.last().header("cookie"), None);
    }
    // The key outlives the process.
    let scene = Scene { gateway: scene.gateway.restart(), ..scene };
    assert_eq!(scene.get("/", &jar).status, 200);
}

#[test]
fn a_long_token_is_kept_in_parts_that_belong_together() {
    let scene = scene("seal = true", CAPTURE);
    let long = scene.issuer.token("alice").claim("fill", "x".repeat(7_000)).mint();
    scene.backend_gives(&long);
    let answer = scene.log_in(&[]);
    let mut jar = Jar::default();
    jar.take(&answer);
    assert!(jar.0.len() > 2, "{:?}", jar.0.keys());
    assert!(answer.all("set-cookie").iter().all(|line| line.len() < 4096));
    assert_eq!(scene.get("/", &jar).status, 200);
    assert_eq!(scene.upstream.last().header("cookie"), None);
    let mut part_missing = jar.clone();
    part_missing.0.remove("__Host-portcullis-1");
    assert_eq!(scene.get("/", &part_missing).code(), "token_invalid");
    let mut whole_too = jar.clone();
    whole_too.0.insert("__Host-portcullis".into(), "x".into());
    assert_eq!(scene.get("/", &whole_too).code(), "token_invalid");
    // A shorter token clears the parts that it does not need.
    scene.backend_gives(&scene.issuer.mint("alice"));
    jar.take(&scene.log_in(&[("Cookie", &jar.header())]));
    assert_eq!(jar.0.keys().collect::<Vec<_>>(), ["__Host-portcullis"]);
    assert_eq!(scene.get("/", &jar).status, 200);
}

#[test]
fn a_page_goes_to_the_login_and_a_script_never_does() {
    let scene = scene("", CAPTURE);
    let ask = |target: &str, headers: &[(&str, &str)]| scene.gateway.get(target, headers);
    let navigation = [
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Site", "none"),
    ];
    let answer = ask("/page/a?b=c&d=//evil", &navigation);
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), Some("/login?return_to=/page/a%3Fb%3Dc%26d%3D//evil"));
    assert_eq!(ask("/page", &[("Accept", "text/html,*/*")]).status, 303, "an old browser");
    let not: [&[(&str, &str)]; 5] = [
        &[("Accept", "application/json")],
        &[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")],
        &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")],
        &[("Accept", "text/html"), ("X-Requested-With", "XMLHttpRequest")],
        &[],
    ];
    for headers in not {
        assert_eq!(ask("/page", headers).status, 401, "{headers:?}");
    }
    let post = scene.gateway.connect().request("POST", "/page", &navigation, b"");
    assert_eq!(post.status, 401);
    // A revoked session's page goes to the login, its cookies cleared.
    let token = scene.issuer.token("alice").claim("sid", "s-1").mint();
    scene.gateway.admin().revoke(json!({"session": "s-1"}));
    let cookie = format!("__Host-portcullis={token}");
    let answer = ask("/page", &[navigation.as_slice(), &[("Cookie", cookie.as_str())]].concat());
    assert_eq!(answer.status, 303);
    assert!(answer.all("set-cookie").iter().any(|line| line.starts_with("__Host-portcullis=;")));
    let page: Value = scene.gateway.access_line(answer.header("x-request-id").unwrap());
    assert_eq!(page["status"], 303, "{page}");
}
