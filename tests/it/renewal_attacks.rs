//! What whoever holds a session, or is a neighbour of the gateway, may try with refresh cookies; and what
//! becomes of the one that a new login leaves behind.

use serde_json::json;

use crate::support::session_scene::{REFRESH, again, assert_cleared, forget_access};
use crate::support::{Answer, Grants, Jar, SessionScene, eventually, now};

#[test]
fn whoever_ends_the_others_again_and_again_launders_no_cutoff() {
    let scene = SessionScene::new();
    let issuer = scene.issuer.clone();
    scene.endpoint.mint(move || issuer.token("alice").times(0, 3600).mint());
    // Somebody with a copy of the session, whose tokens do not name it.
    let mut stolen = scene.log_in(&scene.issuer.token("alice"));
    let at = eventually("a revocation within the second of such a log-out", || {
        let at = now();
        let answer = scene.post("/.auth/logout-all?others=true", &stolen);
        assert_eq!(answer.status, 200, "{}", answer.text());
        stolen.take(&answer);
        if now() != at {
            return None;
        }
        scene.gateway.admin().revoke(json!({"user": "alice"}));
        Some(at)
    });
    eventually("the cutoff's second is over", || (now() > at + 1).then_some(()));
    forget_access(&mut stolen);
    let answer = scene.get("/", &stolen);
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"));
    assert_eq!(scene.post("/.auth/logout-all", &stolen).code(), "token_revoked");
    assert_eq!(scene.endpoint.calls(), 0);
}

#[test]
fn a_refresh_cookie_beside_somebody_elses_token_moves_nobody_into_another_session() {
    let scene = SessionScene::new();
    let soon =
        |user: &str, session: &str| scene.issuer.token(user).claim("sid", session).times(-60, 40);
    let own = scene.log_in(&soon("alice", "s-1"));
    for other in
        [soon("mallory", "s-2"), soon("alice", "s-3"), scene.issuer.token("alice").times(-60, 40)]
    {
        let mut mixed = own.clone();
        let theirs = scene.log_in(&other);
        mixed.0.insert(REFRESH.to_owned(), theirs.0[REFRESH].clone());
        for target in ["/", "/.auth/me"] {
            let answer = scene.get(target, &mixed);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.all("set-cookie").is_empty(), "{}", answer.head);
        }
        assert_eq!(scene.post("/.auth/refresh", &mixed).json()["renewed"], false);
    }
    assert_eq!(scene.endpoint.calls(), 0);
    assert_eq!(scene.get("/", &own).status, 200);
    eventually("its own is renewed", || (scene.endpoint.calls() == 1).then_some(()));
}

#[test]
fn a_new_login_revokes_the_refresh_token_of_the_session_that_it_ends() {
    let scene = SessionScene::new();
    let log_in = |token: &str, jar: &Jar| {
        let mut after = jar.clone();
        let answer = scene.try_to_log_in_with(token, jar);
        assert_eq!(answer.status, 200, "{}", answer.text());
        after.take(&answer);
        after
    };
    let first = log_in(&scene.token().mint(), &Jar::default());
    // The same session goes on at its issuer: what is revoked there could be all of it.
    let second = log_in(&again(&scene.token()).mint(), &first);
    assert_eq!(scene.get("/", &second).status, 200);
    let third = log_in(&scene.token().claim("sid", "s-2").mint(), &second);
    eventually("the issuer is told", || (!scene.endpoint.revoked().is_empty()).then_some(()));
    assert_eq!(scene.endpoint.revoked(), ["refresh+2/="]);
    let mut old = second;
    forget_access(&mut old);
    assert_eq!(scene.get("/", &old).code(), "session_ended");
    assert_eq!((scene.get("/", &third).status, scene.endpoint.calls()), (200, 0));
    // Where the refresh cookie is all that is left of the old session, too.
    let mut left = third;
    forget_access(&mut left);
    log_in(&scene.issuer.token("alice").mint(), &left);
    eventually("the issuer is told", || (scene.endpoint.revoked().len() == 2).then_some(()));
    assert_eq!(scene.endpoint.revoked(), ["refresh+2/=", "refresh+3/="]);
}

#[test]
fn a_log_out_during_a_renewal_ends_what_it_brings_here_and_at_the_issuer() {
    for named in [true, false] {
        let scene = SessionScene::new();
        let token = scene.issuer.token("alice").times(-1, 3600);
        let token = if named { token.claim("sid", "s-1") } else { token };
        let next = again(&token).mint();
        let minted = next.clone();
        scene.endpoint.mint(move || minted.clone());
        let jar = scene.log_in_and_wait(&token);
        scene.endpoint.set(Grants::Waiting);
        let answer = std::thread::scope(|scope| {
            let asking = scope.spawn(|| scene.get("/", &jar));
            eventually("the call", || (scene.endpoint.calls() == 1).then_some(()));
            assert_eq!(scene.post("/.auth/logout", &jar).status, 200);
            scene.endpoint.set(Grants::Rotating);
            asking.join().unwrap()
        });
        assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"), "{named}");
        assert_cleared(&answer);
        // That token was handed to nobody; and neither refresh token is left at the issuer.
        let told = ["refresh+1/=", "refresh+2/="];
        eventually("both are revoked", || {
            let revoked = scene.endpoint.revoked();
            told.iter().all(|token| revoked.contains(&(*token).to_owned())).then_some(())
        });
        if named {
            assert_eq!(scene.gateway.get_with("/", &next).code(), "token_revoked");
        }
        assert_eq!(
            (scene.get("/", &jar).code().as_str(), scene.endpoint.calls()),
            ("session_ended", 1)
        );
    }
}

/// Renews until the session's pace is used up; how often it was renewed.
#[track_caller]
fn use_up_the_pace(scene: &SessionScene, jar: &mut Jar) -> (Answer, usize) {
    for renewed in 0..100 {
        let answer = scene.get("/", jar);
        if answer.status != 200 {
            return (answer, renewed);
        }
        jar.take(&answer);
        forget_access(jar);
    }
    panic!("it is renewed with every request");
}

#[test]
fn a_thief_who_renews_all_the_time_does_not_hide_that_there_are_two() {
    let scene = SessionScene::new();
    let owners = scene.log_in_and_wait(&scene.token());
    let mut thiefs = owners.clone();
    for _ in 0..2 {
        thiefs.take(&scene.get("/", &thiefs));
        forget_access(&mut thiefs);
    }
    // What is remembered of each cookie is gone, as after a minute.
    let scene = scene.restart();
    let (refused, _) = use_up_the_pace(&scene, &mut thiefs);
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_renewed"));
    let answer = scene.get("/", &owners);
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"));
    assert_eq!(scene.count("used_twice"), 1);
    let answer = scene.get("/", &thiefs);
    assert_ne!(answer.status, 200, "{}", answer.text());
    let denials = scene.gateway.admin().get("/v1/denials");
    assert_eq!(denials["items"][0]["reason"], "refresh token used twice", "{denials}");
}

#[test]
fn whoever_leaves_the_access_token_out_each_time_sends_no_storm_to_the_issuer() {
    let scene = SessionScene::new();
    let mut jar = scene.log_in_and_wait(&scene.token());
    let (refused, renewed) = use_up_the_pace(&scene, &mut jar);
    // The session is not lost by it; others have their own pace.
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_renewed"));
    assert!(refused.all("set-cookie").is_empty());
    assert_eq!(scene.endpoint.calls(), renewed);
    let bob = scene.issuer.token("bob").claim("sid", "s-2");
    let other = scene.log_in_and_wait(&bob);
    let next = again(&bob);
    scene.endpoint.mint(move || next.mint());
    assert_eq!(scene.get("/", &other).status, 200);
}
