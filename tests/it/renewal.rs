//! A session gets its next token without anybody noticing: once, however many ask, for nobody who is
//! denied, and never for a cookie that has had its successor.

use serde_json::json;

use crate::support::session_scene::{
    ACCESS, NAVIGATION, REFRESH, again, assert_cleared, forget_access,
};
use crate::support::{Grants, SessionScene, eventually, now};

#[test]
fn fifty_requests_at_once_are_one_renewal_and_all_go_on_with_the_new_token() {
    let scene = SessionScene::new();
    let mut jar = scene.log_in(&scene.token());
    let old = jar.0[ACCESS].clone();
    forget_access(&mut jar);
    scene.endpoint.set(Grants::Waiting);
    let answers = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..50).map(|_| scope.spawn(|| scene.get("/", &jar))).collect();
        eventually("the one call", || (scene.endpoint.calls() == 1).then_some(()));
        scene.endpoint.set(Grants::Rotating);
        asking.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let mut after = jar.clone();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        after = jar.clone();
        after.take(answer);
    }
    let new = scene.forwarded();
    assert_ne!(new, old);
    assert_eq!((after.0[ACCESS].as_str(), scene.endpoint.calls()), (new.as_str(), 1));
    assert_ne!(after.0[REFRESH], jar.0[REFRESH]);
    assert_eq!((scene.get("/", &after).status, scene.endpoint.calls()), (200, 1));
    assert_eq!(scene.count("renewed"), 1);
    // What was sent: the form of RFC 6749, the client's secret in the header.
    let call = scene.endpoint.last_call();
    assert_eq!(call.body, b"grant_type=refresh_token&refresh_token=refresh%2B1%2F%3D");
    let basic = "Basic dGhlJTIwZ2F0ZXdheTpzJTNBZSUyNWM=";
    assert_eq!(call.header("authorization"), Some(basic));
}

#[test]
fn an_answer_that_was_lost_is_given_again_and_the_next_renewal_goes_on_from_it() {
    let scene = SessionScene::new();
    let jar = scene.log_in_and_wait(&scene.token());
    let (lost, found) = (scene.get("/", &jar), scene.get("/", &jar));
    assert_eq!((lost.status, found.status, scene.endpoint.calls()), (200, 200, 1));
    let mut after = jar.clone();
    after.take(&found);
    // Requests that were on their way when the successor was used are no theft.
    assert_eq!((scene.get("/", &after).status, scene.get("/", &jar).status), (200, 200));
    forget_access(&mut after);
    assert_eq!((scene.get("/", &after).status, scene.endpoint.calls()), (200, 2));
    assert_eq!(scene.count("used_twice"), 0);
}

#[test]
fn a_refresh_cookie_that_is_used_after_its_successor_ends_the_session_and_its_tokens() {
    let scene = SessionScene::new();
    let old = scene.token().times(-200, 3600);
    let (next, minted) = (again(&old), again(&old));
    scene.endpoint.mint(move || minted.mint());
    let stolen = scene.log_in_and_wait(&old);
    let mut jar = stolen.clone();
    jar.take(&scene.get("/", &stolen));
    // The session's generation is on disk: a new process knows the old cookie for one too.
    let scene = scene.restart();
    assert_eq!(scene.get("/", &jar).status, 200);
    let answer = scene.get("/", &stolen);
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"));
    assert_cleared(&answer);
    assert_eq!(scene.get("/", &jar).code(), "token_revoked");
    assert_eq!(scene.gateway.get_with("/", &next.mint()).code(), "token_revoked");
    forget_access(&mut jar);
    assert_eq!(scene.get("/", &jar).code(), "session_ended");
    assert_eq!((scene.endpoint.calls(), scene.count("used_twice")), (1, 1));
    let denials = scene.gateway.admin().get("/v1/denials");
    assert_eq!(denials["items"][0]["reason"], "refresh token used twice", "{denials}");
    // Nobody asked for that: it is the gateway's act, about whoever brought the cookie.
    let by =
        json!({"name": "gateway", "role": "gateway", "via": "gateway", "address": "127.0.0.1"});
    assert_eq!(denials["items"][0]["created_by"], by);
    let acts = scene.gateway.admin().get("/v1/audit?by=gateway");
    assert_eq!((&acts["items"][0]["action"], &acts["items"][0]["by"]), (&json!("denied"), &by));
    // A neighbour goes on.
    let bob = scene.issuer.token("bob").claim("sid", "s-2");
    let other = scene.log_in_and_wait(&bob);
    let minted = again(&bob);
    scene.endpoint.mint(move || minted.mint());
    assert_eq!(scene.get("/", &other).status, 200);
}

#[test]
fn a_restart_loses_no_session_and_what_it_took_along_is_no_theft_for_a_moment() {
    let scene = SessionScene::new();
    let jar = scene.log_in_and_wait(&scene.token());
    let mut after = jar.clone();
    after.take(&scene.get("/", &jar));
    let scene = scene.restart();
    let answer = scene.get("/", &jar);
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_renewed"));
    assert!(answer.all("set-cookie").is_empty() && answer.header("retry-after").is_some());
    assert_eq!(scene.get("/", &after).status, 200);
    forget_access(&mut after);
    assert_eq!((scene.get("/", &after).status, scene.endpoint.calls()), (200, 2));
}

#[test]
fn a_token_that_is_about_to_end_is_renewed_and_nobody_waits() {
    let scene = SessionScene::new();
    let jar = scene.log_in(&scene.token().times(-60, 50));
    scene.endpoint.set(Grants::Waiting);
    let answer = scene.get("/", &jar);
    assert_eq!((answer.status, scene.forwarded()), (200, jar.0[ACCESS].clone()));
    assert!(answer.all("set-cookie").is_empty());
    eventually("the call", || (scene.endpoint.calls() == 1).then_some(()));
    scene.endpoint.set(Grants::Rotating);
    let mut after = jar.clone();
    eventually("the new cookies with a later answer", || {
        let answer = scene.get("/", &jar);
        assert_eq!(answer.status, 200);
        after.take(&answer);
        (after.0[ACCESS] != jar.0[ACCESS]).then_some(())
    });
    assert_eq!((scene.get("/", &after).status, scene.forwarded()), (200, after.0[ACCESS].clone()));
    assert_eq!(scene.endpoint.calls(), 1);
    // One that lasts is left alone.
    let fresh = scene.log_in(&scene.token().times(-1, 3600));
    assert!(scene.get("/", &fresh).all("set-cookie").is_empty());
    assert_eq!(scene.endpoint.calls(), 1);
}

#[test]
fn nothing_that_is_denied_is_renewed_and_nobody_is_asked() {
    for denial in [json!({"user": "alice"}), json!({"session": "s-1"}), json!({"client": "shop"})] {
        let scene = SessionScene::new();
        let token = scene.token().claim("client_id", "shop");
        let jar = scene.log_in_and_wait(&token);
        let minted = again(&token);
        scene.endpoint.mint(move || minted.mint());
        match denial.get("user").is_some() {
            true => scene.gateway.admin().block(denial.clone()),
            false => scene.gateway.admin().revoke(denial.clone()),
        };
        let answer = scene.get("/", &jar);
        assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"), "{denial}");
        assert_cleared(&answer);
        assert_eq!((scene.endpoint.calls(), scene.count("denied")), (0, 1), "{denial}");
    }
}

#[test]
fn a_cutoff_that_is_made_during_the_call_is_laundered_by_no_fresh_token() {
    let scene = SessionScene::of_issuer("leeway = \"30s\"");
    let jar = scene.log_in_and_wait(&scene.token());
    // By its own iat the new token passes the cutoff.
    let minted = scene.token().times(3, 3600);
    scene.endpoint.mint(move || minted.mint());
    scene.endpoint.set(Grants::Waiting);
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| scene.get("/", &jar));
        eventually("the call", || (scene.endpoint.calls() == 1).then_some(()));
        scene.gateway.admin().revoke(json!({"user": "alice"}));
        scene.endpoint.set(Grants::Rotating);
        asking.join().unwrap()
    });
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"));
    assert_cleared(&answer);
    // Whoever logs in after it is renewed.
    eventually("the cutoff's second is over", || {
        let login = again(&scene.token()).times(0, 3600);
        (scene.try_to_log_in(&login).status == 200).then_some(())
    });
    let jar = scene.log_in_and_wait(&again(&scene.token()).times(0, 3600));
    assert_eq!((scene.get("/", &jar).status, scene.endpoint.calls()), (200, 2));
}

#[test]
fn another_site_spends_no_refresh_token_and_a_bearer_token_brings_none() {
    let scene = SessionScene::new();
    let jar = scene.log_in_and_wait(&scene.token());
    for headers in [
        [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "null"), ("Accept", "*/*")],
    ] {
        for target in ["/", "/open"] {
            assert_eq!(scene.get_with(target, &jar, &headers).code(), "cross_site", "{headers:?}");
        }
    }
    let bearer = format!("Bearer {}", scene.token().times(-100, 5).mint());
    let answer = scene.get_with("/", &jar, &[("Authorization", &bearer)]);
    assert_eq!((answer.status, scene.endpoint.calls()), (200, 0));
    // A person who follows a link is no other site.
    let link = [NAVIGATION[0], NAVIGATION[1], ("Sec-Fetch-Site", "cross-site")];
    assert_eq!((scene.get_with("/", &jar, &link).status, scene.endpoint.calls()), (200, 1));
}

#[test]
fn me_and_refresh_renew_and_say_until_when() {
    let scene = SessionScene::new();
    let mut jar = scene.log_in_and_wait(&scene.token());
    let me = scene.get("/.auth/me", &jar);
    assert_eq!((me.status, me.json()["subject"].as_str()), (200, Some("alice")));
    jar.take(&me);
    assert_eq!(scene.endpoint.calls(), 1);
    let minted = scene.token().times(0, 1800);
    scene.endpoint.mint(move || again(&minted).mint());
    let answer = scene.post("/.auth/refresh", &jar);
    assert_eq!((answer.status, scene.endpoint.calls()), (200, 2));
    let body = answer.json();
    assert_eq!(body["renewed"], true);
    assert!((1780..=1800).contains(&body["expires_in_s"].as_u64().unwrap()), "{body}");
    jar.take(&answer);
    // Seconds later there is nothing to renew, and without a cookie nobody to renew it for.
    let once_more = scene.post("/.auth/refresh", &jar);
    assert_eq!((once_more.json()["renewed"].as_bool(), scene.endpoint.calls()), (Some(false), 2));
    assert_eq!(scene.post("/.auth/refresh", &Default::default()).code(), "token_missing");
    let cookie = jar.header();
    let evil = [("Cookie", cookie.as_str()), ("Origin", "https://evil.example")];
    let answer = scene.gateway.connect().request("POST", "/.auth/refresh", &evil, b"");
    assert_eq!(answer.code(), "cross_site");
    assert_eq!(scene.get("/.auth/refresh", &jar).status, 405);
}

#[test]
fn a_session_that_no_token_names_is_renewed_and_ended_all_the_same() {
    let scene = SessionScene::new();
    let issuer = scene.issuer.clone();
    scene.endpoint.mint(move || issuer.token("alice").times(0, 3600).mint());
    let jar = scene.log_in_and_wait(&scene.issuer.token("alice"));
    let mut after = jar.clone();
    after.take(&scene.get("/", &jar));
    assert_eq!(scene.get("/", &after).status, 200);
    // The other devices are logged out, and this session goes on, through renewals too.
    let answer = scene.post("/.auth/logout-all?others=true", &after);
    let at = now();
    assert_eq!(answer.json(), json!({"ended": "other sessions"}));
    after.take(&answer);
    assert_eq!(scene.get("/", &after).status, 200);
    eventually("the cutoff's second is over", || (now() > at).then_some(()));
    forget_access(&mut after);
    let renewed = scene.get("/", &after);
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    after.take(&renewed);
    assert_eq!(scene.get("/", &after).status, 200);
    assert_eq!(scene.endpoint.calls(), 2);
    // By its refresh cookie alone it ends, with the token that this does not show.
    let stolen = after.clone();
    forget_access(&mut after);
    assert_eq!(scene.post("/.auth/logout", &after).json(), json!({"ended": "session"}));
    assert_eq!(scene.get("/", &stolen).code(), "token_revoked");
    assert_eq!(scene.get("/", &after).code(), "session_ended");
    assert_eq!(scene.endpoint.calls(), 2);
}

#[test]
fn a_log_out_by_the_refresh_cookie_alone_tells_the_issuer_too() {
    for path in ["/.auth/logout", "/.auth/logout-all"] {
        let scene = SessionScene::new();
        let token = scene.token();
        let jar = scene.log_in_and_wait(&token);
        let answer = scene.post(path, &jar);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_cleared(&answer);
        assert_eq!(scene.gateway.get_with("/", &token.mint()).code(), "token_revoked", "{path}");
        assert_eq!(scene.get("/", &jar).code(), "session_ended", "{path}");
        eventually("the revocation at the issuer", || {
            (scene.endpoint.revoked() == ["refresh+1/="]).then_some(())
        });
        assert_eq!(scene.endpoint.calls(), 0);
        // Somebody whose session is denied ends nobody else's.
        assert_eq!(scene.post("/.auth/logout-all", &jar).status, 401, "{path}");
    }
}

#[test]
fn a_session_ends_when_it_is_as_old_as_it_may_be() {
    let scene =
        SessionScene::with("leeway = \"0s\"\nsession_lifetime_max = \"8s\"", "", |endpoint| {
            format!("{{ token_url = \"{}\", client_id = \"gateway\" }}", endpoint.url("/token"))
        });
    let jar = scene.log_in_and_wait(&scene.token().times(0, 3600));
    let ends = now() + 8;
    let answer = scene.get("/", &jar);
    assert_eq!(answer.status, 200);
    let call = scene.endpoint.last_call();
    assert_eq!(call.header("authorization"), None);
    assert!(call.body.ends_with(b"&client_id=gateway"), "a public client");
    let mut after = jar.clone();
    after.take(&answer);
    forget_access(&mut after);
    eventually("the session's end", || (now() > ends).then_some(()));
    assert_eq!(scene.get("/", &after).code(), "session_ended");
    assert_eq!(scene.endpoint.calls(), 1);
}

#[test]
fn long_and_sealed_tokens_are_renewed_in_parts() {
    let scene = SessionScene::with("", "seal = true", |endpoint| {
        format!("{{ token_url = \"{}\", client_id = \"gateway\" }}", endpoint.url("/token"))
    });
    let jar = scene.log_in_and_wait(&scene.token());
    let long = scene.token().claim("fill", "x".repeat(7_000));
    scene.endpoint.mint(move || again(&long).mint());
    let answer = scene.get("/", &jar);
    assert_eq!(answer.status, 200);
    assert!(answer.all("set-cookie").iter().all(|line| line.len() < 4096));
    let mut after = jar.clone();
    after.take(&answer);
    assert!(after.0.len() > 3, "{:?}", after.0.keys());
    assert_eq!(scene.get("/", &after).status, 200);
    // A shorter one clears the parts that it does not need.
    let short = scene.token();
    scene.endpoint.mint(move || again(&short).mint());
    after.take(&scene.post("/.auth/refresh", &after));
    assert_eq!(scene.get("/", &after).status, 200);
}
