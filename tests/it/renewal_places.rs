//! Renewal where something else is different: in allowlist mode, over HTTP/2, by an issuer whose clock is
//! ahead.

use serde_json::json;

use crate::support::http2::{Http2, request, whole};
use crate::support::session_scene::{ACCESS, REFRESH, again, assert_cleared, forget_access};
use crate::support::{Grants, Jar, SessionScene, eventually};

#[test]
fn in_allowlist_mode_a_renewal_registers_what_its_login_did_and_an_ended_session_gets_nothing() {
    for named in [true, false] {
        let scene = SessionScene::of_issuer("leeway = \"0s\"\nmode = \"allowlist\"");
        let token = |session: &str| {
            let token = scene.issuer.token("alice");
            if named { token.claim("sid", session) } else { token }
        };
        let next = token("s-1").times(0, 3600);
        scene.endpoint.mint(move || again(&next).mint());
        let jar = scene.log_in_and_wait(&token("s-1"));
        let answer = scene.get("/", &jar);
        assert_eq!((answer.status, scene.endpoint.calls()), (200, 1), "{}", answer.text());
        let mut after = jar.clone();
        after.take(&answer);
        assert_eq!(scene.get("/", &after).status, 200, "{named}");
        // What nobody logged in with passes no more than before.
        let stranger = scene.gateway.get_with("/", &token("s-2").mint());
        assert_eq!(stranger.code(), "token_not_registered", "{named}");

        let stolen = after.clone();
        assert_eq!(scene.post("/.auth/logout", &after).status, 200);
        assert_eq!(scene.get("/", &stolen).code(), "token_revoked", "{named}");
        forget_access(&mut after);
        assert_eq!(scene.get("/", &after).code(), "session_ended", "{named}");

        // An operator takes the registration away: the session is not renewed, nor asked for.
        let login = token("s-3");
        let next = login.clone().times(0, 3600);
        scene.endpoint.mint(move || again(&next).mint());
        let mut jar = scene.log_in(&login);
        assert_eq!(scene.get("/", &jar).status, 200);
        let admin = scene.gateway.admin();
        let standing = admin.get("/v1/registrations")["items"].clone();
        let registration = standing[0]["id"].as_str().expect("a registration").to_owned();
        admin.post(&format!("/v1/registrations/{registration}/remove"), &json!({}));
        forget_access(&mut jar);
        let answer = scene.get("/", &jar);
        assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"), "{named}");
        assert_cleared(&answer);
        assert_eq!(scene.endpoint.calls(), 1, "{named}");
    }
}

#[test]
fn streams_of_one_http2_connection_are_one_renewal_too() {
    let scene = SessionScene::new();
    let jar = scene.log_in_and_wait(&scene.token());
    scene.endpoint.set(Grants::Waiting);
    let mut client = Http2::open(&scene.gateway.address);
    // As browsers do on HTTP/2, each cookie in a field of its own.
    let headers = [("cookie", "theme=dark"), ("cookie", &jar.header()), ("cookie", "a=b")];
    let asked: Vec<_> =
        (0..20).map(|_| client.send(request("GET", "/", &headers), true).0).collect();
    eventually("the one call", || (scene.endpoint.calls() == 1).then_some(()));
    scene.endpoint.set(Grants::Rotating);
    for answer in asked {
        let answer = client.wait(whole(answer)).unwrap();
        assert_eq!(answer.status, 200);
        let set = answer.headers.get_all("set-cookie").iter();
        let set: Vec<_> = set.map(|line| line.to_str().unwrap()).collect();
        assert!(set.iter().any(|line| line.starts_with(&format!("{ACCESS}=ey"))), "{set:?}");
        assert!(set.iter().any(|line| line.starts_with(&format!("{REFRESH}="))), "{set:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!((scene.endpoint.calls(), scene.count("renewed")), (1, 1));
    assert_eq!(scene.upstream.last().header("cookie"), Some("theme=dark; a=b"));
}

#[test]
fn a_log_out_ends_a_session_whose_issuers_clock_is_ahead() {
    let scene = SessionScene::of_issuer("leeway = \"60s\"");
    let token = scene.token().times(20, 3600);
    for (path, everything) in
        [("/.auth/logout", true), ("/.auth/logout", false), ("/.auth/logout-all", true)]
    {
        let login = again(&token).claim("sid", format!("{path} {everything}"));
        let next = login.clone();
        scene.endpoint.mint(move || again(&next).mint());
        let stolen = scene.log_in(&login);
        let mut jar = stolen.clone();
        if !everything {
            // Its refresh cookie alone says when it began.
            forget_access(&mut jar);
        }
        assert_eq!(scene.get("/", &stolen).status, 200);
        assert_eq!(scene.post(path, &jar).status, 200);
        assert_eq!(scene.get("/", &stolen).code(), "token_revoked", "{path} {everything}");
        let mut copy: Jar = stolen;
        forget_access(&mut copy);
        assert_eq!(scene.get("/", &copy).code(), "session_ended", "{path} {everything}");
    }
    assert_eq!(scene.endpoint.calls(), 0);
}
