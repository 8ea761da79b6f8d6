//! A cookie that will never pass again is told to go, wherever it is brought and whatever the answer;
//! one that may pass again stays. And the way of a page to its login, through another proxy too.

use serde_json::json;

use crate::support::{Answer, Issuer, Jar, LoginScene, OURS};

const NAVIGATION: [(&str, &str); 3] =
    [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "none")];

fn clears(answer: &Answer) -> bool {
    answer.all("set-cookie").iter().any(|line| line.starts_with("__Host-portcullis=; Max-Age=0"))
}

#[test]
fn a_dead_cookie_goes_and_a_live_one_stays_whatever_the_route() {
    let scene = LoginScene::start("", "", |setup| setup);
    let log_in = |session: &str| scene.log_in(&scene.alice(session).mint(), &Jar::default()).1;
    let (dead, live) = (log_in("s-1"), log_in("s-2"));
    scene.gateway.admin().revoke(json!({"session": "s-1"}));
    // Nobody there, and nothing refused: the cookie goes with the answer.
    let open = scene.get("/open", &dead);
    assert_eq!((open.status, clears(&open)), (200, true));
    let mut forged = Jar::default();
    forged.0.insert("__Host-portcullis".into(), Issuer::new("ES256").mint("alice"));
    let open = scene.get("/open", &forged);
    assert_eq!((open.status, clears(&open)), (200, true));
    for target in ["/.auth/me", "/.auth/sessions"] {
        let refused = scene.get(target, &dead);
        assert_eq!((refused.status, clears(&refused)), (401, true), "{target}");
        let answered = scene.get(target, &live);
        assert_eq!((answered.status, clears(&answered)), (200, false), "{target}");
    }
    let refused = scene.post("/.auth/logout-all", &[("Cookie", &dead.header())]);
    assert_eq!((refused.status, clears(&refused)), (401, true));
    assert!(!clears(&scene.get("/open", &live)));
    // A bearer token that is dead says nothing of the cookie beside it.
    let bearer = format!("Bearer {}", scene.alice("s-1").mint());
    let headers = [("Authorization", bearer.as_str()), ("Cookie", &live.header()), OURS];
    let refused = scene.gateway.get("/.auth/me", &headers);
    assert_eq!((refused.status, clears(&refused)), (401, false));
    assert_eq!(scene.status(&live), 200);
}

#[test]
fn a_login_beside_a_dead_cookie_sets_the_new_one_and_nothing_takes_it_away() {
    let scene = LoginScene::start("", "", |setup| {
        setup.route(
            "/login/again",
            "access = \"public\"\ncredentials = [\"session\"]\n\
             capture = { token = \"/access\", optional = true }",
        )
    });
    let (_, dead) = scene.log_in(&scene.alice("s-1").mint(), &Jar::default());
    scene.gateway.admin().revoke(json!({"session": "s-1"}));
    scene.alice("s-2").mint().clone_into(&mut scene.token.lock().unwrap());
    let answer = scene.post("/login/again", &[("Cookie", &dead.header())]);
    let mut jar = dead.clone();
    jar.take(&answer);
    assert_eq!((answer.status, scene.status(&jar)), (200, 200), "{}", answer.text());
}

#[test]
fn behind_another_proxy_a_page_goes_to_the_login_and_a_script_never_does() {
    let scene = LoginScene::start("", "", |setup| {
        setup
            .server("trusted_proxies = [\"127.0.0.1/32\"]")
            .route("/page", "credentials = [\"session\"]\nlogin_url = \"/login\"")
            .route(
                "/away",
                "credentials = [\"session\"]\nlogin_url = \"https://id.example.com/in?a=b\"",
            )
    });
    let ask = |target: &str, uri: &str, more: &[(&str, &str)]| {
        let told = [
            ("X-Forwarded-Uri", uri),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Host", "App.example.com"),
            ("X-Forwarded-Proto", "https"),
        ];
        scene.gateway.get(target, &[told.as_slice(), more].concat())
    };
    let (plain, nginx) = ("/.auth/verify", "/.auth/verify?dialect=nginx");
    let back = "/login?return_to=/page/a%3Fb%3Dc";
    let answer = ask(plain, "/page/a?b=c", &NAVIGATION);
    assert_eq!((answer.status, answer.header("location")), (303, Some(back)));
    let answer = ask(nginx, "/page/a?b=c", &NAVIGATION);
    assert_eq!((answer.status, answer.header("location")), (401, None));
    assert_eq!(answer.header("x-portcullis-location"), Some(back));
    assert_eq!(answer.header("x-portcullis-status"), Some("401"));
    for target in [plain, nginx] {
        let script = ask(target, "/page", &[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")]);
        assert_eq!((script.status, script.header("x-portcullis-location")), (401, None));
    }
    // A login page elsewhere is told the whole address.
    let away = "https://id.example.com/in?a=b&return_to=https%3A//app.example.com/away";
    let answer = ask(plain, "/away", &NAVIGATION);
    assert_eq!((answer.status, answer.header("location")), (303, Some(away)));
    let direct = scene.gateway.get("/away", &NAVIGATION);
    let direct = direct.header("location").unwrap();
    assert!(direct.ends_with("&return_to=http%3A//app.example.com/away"), "{direct}");
    // A dead cookie goes here too.
    let (_, dead) = scene.log_in(&scene.alice("s-1").mint(), &Jar::default());
    scene.gateway.admin().revoke(json!({"session": "s-1"}));
    let dead = dead.header();
    for (target, status) in [(plain, 303), (nginx, 401)] {
        let cookie = [("Cookie", dead.as_str())];
        let answer = ask(target, "/page", &[NAVIGATION.as_slice(), &cookie].concat());
        assert_eq!((answer.status, clears(&answer)), (status, true), "{target}");
    }
}
