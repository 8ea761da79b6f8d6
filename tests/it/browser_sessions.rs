//! Sessions that begin with a captured login: registered where tokens must be, ended whole whatever
//! proves them, and no way to buy checks of signatures.

use serde_json::{Value, json};

use crate::support::{Issuer, Jar, LoginScene, OURS, Setup, Token, Upstream};

fn scene(issuer: &str, server: &str, session: &str) -> LoginScene {
    LoginScene::start(issuer, session, |setup| setup.server(server))
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
fn people_see_their_own_sessions_and_end_one_of_them_and_nobody_elses() {
    let scene = scene("", "", "");
    let log_in = |token: &Token, agent: &str| {
        token.mint().clone_into(&mut scene.token.lock().unwrap());
        let answer = scene.post("/login", &[("User-Agent", agent)]);
        let mut jar = Jar::default();
        jar.take(&answer);
        jar
    };
    let laptop = log_in(&scene.alice("s-1"), &format!("Firefox {}", "x".repeat(200)));
    let phone = log_in(&scene.alice("s-2"), "Safari");
    let unnamed = log_in(&scene.issuer.token("alice"), "Kiosk");
    let bob = log_in(&scene.issuer.token("bob").claim("sid", "b-1"), "Opera");
    let list = |scene: &LoginScene, jar: &Jar| {
        let answer = scene.gateway.get("/.auth/sessions", &[("Cookie", &jar.header()), OURS]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["sessions"].as_array().unwrap().clone()
    };
    let named = |sessions: &[Value], agent: &str| {
        let found = sessions.iter().find(|one| one["user_agent"].as_str().unwrap().contains(agent));
        found.unwrap_or_else(|| panic!("{agent} in {sessions:?}")).clone()
    };
    let all = list(&scene, &laptop);
    assert_eq!(all.len(), 3, "{all:?}");
    let agent = named(&all, "Firefox")["user_agent"].as_str().unwrap().len();
    assert_eq!((agent, &named(&all, "Firefox")["address"]), (128, &json!("127.0.0.1")));
    for (jar, agent) in [(&laptop, "Firefox"), (&phone, "Safari"), (&unnamed, "Kiosk")] {
        let all = list(&scene, jar);
        assert_eq!(all.iter().filter(|one| one["current"] == true).count(), 1, "{all:?}");
        assert_eq!(named(&all, agent)["current"], true, "{all:?}");
    }
    // The operator sees the same.
    let admin = scene.gateway.admin();
    let seen = admin.get("/v1/sessions?user=alice");
    assert_eq!(seen["items"].as_array().unwrap().len(), 3, "{seen}");
    let out = scene.gateway.command(&["sessions", "--user", "bob"], "");
    assert!(String::from_utf8_lossy(&out.stdout).contains("Opera"), "{out:?}");
    assert_eq!(admin.call("GET", "/v1/sessions", None).status, 422);
    // They outlive the process.
    let scene = LoginScene { gateway: scene.gateway.restart(), ..scene };
    let all = list(&scene, &laptop);
    assert_eq!(all.len(), 3, "{all:?}");
    let id = |agent: &str| named(&all, agent)["id"].as_str().unwrap().to_owned();
    let end = |method: &str, target: &str, headers: &[(&str, &str)]| {
        scene.gateway.connect().request(method, target, headers, b"")
    };
    let phones = format!("/.auth/sessions/{}/end", id("Safari"));
    let kiosks = format!("/.auth/sessions/{}", id("Kiosk"));
    // Not by somebody else, nor by another site, nor without a token.
    let (bobs, alices) = (bob.header(), laptop.header());
    let strangers = end("POST", &phones, &[("Cookie", &bobs), OURS]);
    assert_eq!((strangers.status, list(&scene, &laptop).len()), (404, 3));
    let evil = [("Cookie", alices.as_str()), ("Origin", "https://evil.example")];
    assert_eq!(end("POST", &phones, &evil).code(), "cross_site");
    assert_eq!(end("DELETE", &kiosks, &evil).code(), "cross_site");
    assert_eq!(end("POST", &phones, &[OURS]).code(), "token_missing");
    assert_eq!(end("GET", &phones, &[("Cookie", &alices), OURS]).status, 405);
    let mine = [("Cookie", alices.as_str()), OURS];
    let ended = end("POST", &phones, &mine);
    assert_eq!((ended.status, ended.all("set-cookie").len()), (200, 0), "{}", ended.text());
    assert_eq!((scene.status(&phone), scene.status(&unnamed)), (401, 200));
    // Its tokens name no session: the token goes with the name.
    assert_eq!(end("DELETE", &kiosks, &mine).status, 200);
    assert_eq!((scene.status(&unnamed), scene.status(&laptop)), (401, 200));
    assert_eq!(end("DELETE", &kiosks, &mine).status, 404, "it is gone");
    assert_eq!(list(&scene, &laptop).len(), 1);
    // The one that asks: a log-out.
    let current = format!("/.auth/sessions/{}/end", id("Firefox"));
    let answer = end("POST", &current, &mine);
    assert!(answer.all("set-cookie").iter().any(|line| line.contains("Max-Age=0")));
    assert_eq!((scene.status(&laptop), scene.status(&bob)), (401, 200));
    // What an operator ends is listed no more.
    scene.gateway.admin().revoke(json!({"user": "bob"}));
    let seen = scene.gateway.admin().get("/v1/sessions?user=bob");
    assert_eq!(seen["items"], json!([]));
}

#[test]
fn what_else_holds_a_token_leaves_the_answer_of_a_login() {
    let issuer = Issuer::new("ES256");
    let token = issuer.token("alice").claim("sid", "s-1").mint();
    let given = token.clone();
    let upstream = Upstream::answering(move |exchange| {
        let fields = format!(
            "Content-Type: application/json\r\nX-Token: {given}\r\n\
             Set-Cookie: jwt={given}; Path=/\r\nSet-Cookie: theme=dark\r\n"
        );
        match exchange.received.target.as_str() {
            "/login" => {
                let user = json!({"token": given, "name": "A", "all": [{"token": given}, given]});
                let body = json!({"id_token": given, "user": user});
                exchange.answer("200 OK", &fields, body.to_string());
            }
            "/wrong" => exchange.answer("401 Unauthorized", &fields, "{}"),
            _ => exchange.echo(),
        }
    });
    let capture = "access = \"public\"\ncapture = { token = \"cookie:jwt\", \
                   remove = [\"/id_token\", \"/user/token\", \"/user/all/0/token\", \"/user/all/1\", \
                   \"/not/there\", \"header:x-token\"] }";
    let gateway = Setup::simple(&issuer, &upstream)
        .route("/login", capture)
        .route("/wrong", capture)
        .route("/", "credentials = [\"session\"]")
        .start();
    let post = |target: &str| gateway.connect().request("POST", target, &[OURS], b"");
    let answer = post("/login");
    assert_eq!(answer.json(), json!({"user": {"name": "A", "all": [{}, null]}}));
    let (cookies, mut jar) = (answer.all("set-cookie"), Jar::default());
    assert_eq!((cookies.len(), cookies[0]), (2, "theme=dark"));
    jar.take(&answer);
    assert_eq!(gateway.get("/", &[("Cookie", &jar.header()), OURS]).status, 200);
    assert!(answer.header("x-token").is_none() && !jar.0.contains_key("jwt"));
    let wrong = post("/wrong");
    assert_eq!((wrong.status, wrong.all("set-cookie")), (401, vec!["theme=dark"]));
    assert!(!wrong.head.contains(&token), "not with any other status either");
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
