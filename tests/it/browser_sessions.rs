//! Sessions that begin with a captured login: registered where tokens must be, ended whole whatever
//! proves them, and no way to buy checks of signatures.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::{Answer, Gateway, Issuer, Jar, Setup, Token, Upstream};

const OURS: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
    /// What the backend's login answers with.
    token: Arc<Mutex<String>>,
    upstream: Upstream,
}

fn scene(issuer_lines: &str, server: &str, session: &str) -> Scene {
    let issuer = Issuer::new("ES256");
    let token: Arc<Mutex<String>> = Arc::default();
    let given = Arc::clone(&token);
    let upstream = Upstream::answering(move |exchange| match exchange.received.target.as_str() {
        "/login" => {
            let body = json!({"access": *given.lock().unwrap(), "refresh": "r-1"}).to_string();
            exchange.answer("200 OK", "Content-Type: application/json\r\n", body);
        }
        _ => exchange.echo(),
    });
    let gateway = Setup::new()
        .issuer(&issuer, issuer_lines)
        .upstream("app", &upstream, "")
        .server(server)
        .tables(&format!("[session]\n{session}"))
        .route(
            "/login",
            "access = \"public\"\ncapture = { token = \"/access\", refresh = \"/refresh\" }",
        )
        .route("/", "credentials = [\"bearer\", \"session\", \"cookie:session\"]")
        .start();
    Scene { issuer, gateway, token, upstream }
}

impl Scene {
    fn post(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.connect().request("POST", target, &[&[OURS], headers].concat(), b"")
    }

    fn log_in(&self, token: &str, before: &Jar) -> (Answer, Jar) {
        token.clone_into(&mut self.token.lock().unwrap());
        let answer = self.post("/login", &[("Cookie", &before.header())]);
        let mut jar = before.clone();
        jar.take(&answer);
        (answer, jar)
    }

    fn status(&self, jar: &Jar) -> u16 {
        self.gateway.get("/", &[("Cookie", &jar.header()), OURS]).status
    }

    fn log_out(&self, jar: &Jar) -> Answer {
        self.post("/.auth/logout", &[("Cookie", &jar.header())])
    }

    fn alice(&self, session: &str) -> Token {
        self.issuer.token("alice").claim("sid", session)
    }
}

#[test]
fn a_login_registers_its_session_and_a_log_out_ends_it_for_good() {
    let scene = scene("mode = \"allowlist\"", "", "");
    let first = scene.alice("s-1").mint();
    assert_eq!(scene.gateway.get_with("/", &first).code(), "token_not_registered");
    let (answer, jar) = scene.log_in(&first, &Jar::default());
    assert_eq!((answer.status, scene.status(&jar)), (200, 200), "{}", answer.text());
    let registered = scene.gateway.admin().get("/v1/registrations");
    assert_eq!(registered["items"][0]["session"], "s-1", "{registered}");
    assert_eq!(scene.gateway.status(&scene.alice("s-1").mint()), 200, "a later token of it");
    assert_eq!(
        scene.gateway.get_with("/", &scene.alice("s-2").mint()).code(),
        "token_not_registered"
    );
    assert_eq!(scene.log_out(&jar).json(), json!({"ended": "session"}));
    assert_eq!(scene.gateway.admin().get("/v1/registrations")["items"], json!([]));
    // Not a cutoff: what is issued later is of an ended session too, and no login brings it back.
    let later = scene.alice("s-1").times(5, 3600).mint();
    for token in [&first, &later] {
        assert_eq!(scene.gateway.get_with("/", token).code(), "token_revoked");
    }
    let (answer, none) = scene.log_in(&later, &Jar::default());
    assert_eq!((answer.code().as_str(), none.0.len()), ("token_revoked", 0));
}

#[test]
fn a_token_without_a_session_is_registered_for_itself_and_ended_for_itself() {
    for mode in ["mode = \"allowlist\"", ""] {
        let scene = scene(mode, "", "");
        let (token, other) = (scene.issuer.mint("alice"), scene.issuer.mint("alice"));
        let (answer, jar) = scene.log_in(&token, &Jar::default());
        assert_eq!((answer.status, scene.status(&jar)), (200, 200), "{}", answer.text());
        let others = if mode.is_empty() { 200 } else { 401 };
        assert_eq!(scene.gateway.status(&other), others);
        assert_eq!(scene.log_out(&jar).json(), json!({"ended": "token"}));
        assert_eq!(scene.gateway.get_with("/", &token).code(), "token_revoked", "{mode}");
        assert_eq!(scene.gateway.status(&other), others);
    }
}

#[test]
fn a_cookie_that_was_left_behind_keeps_nobody_from_logging_out() {
    let scene = scene("", "", "");
    let (_, mut jar) = scene.log_in(&scene.alice("s-1").mint(), &Jar::default());
    let left = scene.alice("s-0").mint();
    jar.0.insert("session".to_owned(), left.clone());
    assert_eq!(scene.status(&jar), 400, "which of them counts is not for a route to guess");
    let me = scene.gateway.get("/.auth/me", &[("Cookie", &jar.header()), OURS]);
    assert_eq!(me.json()["session"], "s-1", "the session's cookie comes before a route's");
    let bearer = format!("Bearer {}", scene.alice("s-2").mint());
    let headers = [("Cookie", jar.header()), ("Authorization", bearer)];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let me = scene.gateway.get("/.auth/me", &[headers.as_slice(), &[OURS]].concat());
    assert_eq!(me.json()["session"], "s-2", "and `Authorization` before both");
    // The same name twice, as from a sibling host below one domain; one of them nobody made.
    let twice = format!("{}; session={}; session=x.y.z", jar.header(), scene.alice("s-3").mint());
    let answer = scene.post("/.auth/logout", &[("Cookie", &twice)]);
    assert_eq!((answer.status, answer.json()), (200, json!({"ended": "session"})));
    for session in ["s-0", "s-1", "s-3"] {
        assert_eq!(scene.gateway.status(&scene.alice(session).mint()), 401, "{session}");
    }
    assert_eq!(scene.gateway.status(&scene.alice("s-2").mint()), 200);
    jar.take(&answer);
    assert_eq!(jar.0.len(), 0, "{:?}", jar.0.keys());
}

#[test]
fn a_login_route_sells_no_checks_of_signatures() {
    let scene = scene("", "limits.failed_credentials_per_minute = 3", "");
    let forged = |n: usize| {
        let stranger = Issuer::new("ES256").token("alice").claim("n", n.to_string()).mint();
        format!("__Host-portcullis={stranger}")
    };
    let ask = |cookie: &str, site: &str| {
        let headers = [("Cookie", cookie), ("Sec-Fetch-Site", site)];
        scene.gateway.connect().request("POST", "/login", &headers, b"")
    };
    scene.alice("s-1").mint().clone_into(&mut scene.token.lock().unwrap());
    // Of a request that another site made nothing is looked at.
    for n in 0..5 {
        assert_eq!(ask(&forged(n), "cross-site").code(), "cross_site");
    }
    for n in 5..8 {
        assert_eq!(ask(&forged(n), "same-origin").status, 200);
    }
    let begun = scene.upstream.begun();
    let refused = ask(&forged(8), "same-origin");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_failures"));
    assert_eq!(scene.upstream.begun(), begun);
    // Whoever brings nothing that must be checked logs in.
    assert_eq!(ask("a=b", "same-origin").status, 200);
}

#[test]
fn a_cookie_whose_seal_is_broken_is_no_failed_guess() {
    let scene = scene("", "limits.failed_credentials_per_minute = 3", "seal = true");
    for n in 0..8 {
        let cookie = format!("__Host-portcullis=broken{n}");
        let answer = scene.gateway.get("/", &[("Cookie", &cookie), OURS]);
        assert_eq!(answer.code(), "token_invalid");
    }
    assert_eq!(scene.gateway.status(&scene.issuer.mint("alice")), 200);
}
