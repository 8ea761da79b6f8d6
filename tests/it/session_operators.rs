//! An operator ends one session of somebody, by its id in the list: everything of it, at once, and
//! nothing of anybody else.

use serde_json::{Value, json};

use crate::support::session_scene::{again, echoes, forget_access};
use crate::support::{SessionScene, Token, eventually, once_told_in_time};

/// The only session of a user.
#[track_caller]
fn only(scene: &SessionScene, user: &str) -> Value {
    let listed = scene.gateway.admin().get(&format!("/v1/sessions?user={user}"));
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    listed["items"][0].clone()
}

fn codes(warnings: &Value) -> Vec<&str> {
    let all = warnings.as_array().expect("warnings").iter();
    all.map(|warning| warning["code"].as_str().expect("a code")).collect()
}

fn token(scene: &SessionScene, user: &str, session: &str, named: bool) -> Token {
    let token = scene.issuer.token(user);
    if named { token.claim("sid", session) } else { token }
}

#[test]
fn an_operator_ends_one_session_with_all_that_it_has_and_spares_the_others() {
    for named in [true, false] {
        once_told_in_time(|| {
            let scene = SessionScene::new();
            let mine = scene.log_in(&token(&scene, "alice", "s-1", named));
            let session = only(&scene, "alice");
            let other = scene.log_in(&token(&scene, "alice", "s-2", named));
            let bob = scene.log_in(&token(&scene, "bob", "s-3", named));
            let mut socket = scene.socket(&mine);
            let mut spared = [scene.socket(&other), scene.socket(&bob)];

            let admin = scene.gateway.admin();
            eventually("all in the list", || {
                (admin.get("/v1/streams")["open"] == json!(3)).then_some(())
            });
            let path = format!("/v1/sessions/{}/end", session["id"].as_str().unwrap());
            let ended = admin.post(&path, &json!({"reason": "lost laptop"}));
            assert_eq!(
                (&ended["id"], &ended["subject"]),
                (&session["id"], &json!("alice")),
                "{ended}"
            );
            if ended["streams_cut"].is_null() {
                return None;
            }
            assert_eq!((&ended["named_here"], &ended["streams_cut"]), (&json!(!named), &json!(1)));
            assert_eq!(codes(&ended["warnings"]), ["refresh_token_lives"], "{ended}");
            assert_eq!(socket.rest().unwrap(), b"\x88\x09\x03\xf0revoked", "{named}");
            spared.iter_mut().for_each(echoes);
            assert_eq!(scene.get("/", &mine).code(), "token_revoked", "{named}");
            assert_eq!((scene.get("/", &other).status, scene.get("/", &bob).status), (200, 200));
            // The list has the other one only, and what denies this one says who did it and why.
            assert_ne!(only(&scene, "alice")["id"], session["id"]);
            for id in ended["denials"].as_array().expect("denials") {
                let denial = admin.get(&format!("/v1/denials/{}", id.as_str().unwrap()));
                assert_eq!(denial["reason"], "lost laptop", "{denial}");
                assert_eq!(denial["created_by"]["role"], "admin", "{denial}");
            }
            assert_eq!(ended["denials"].as_array().map(Vec::len), Some(if named { 1 } else { 2 }));

            // Its refresh cookie is of no use, and the issuer hears of it when it comes.
            let mut refresh = mine;
            forget_access(&mut refresh);
            assert_eq!(scene.endpoint.revoked(), Vec::<String>::new());
            assert_eq!(scene.get("/", &refresh).code(), "session_ended", "{named}");
            eventually("the issuer is told", || {
                (scene.endpoint.revoked() == ["refresh+1/="]).then_some(())
            });
            assert_eq!(scene.endpoint.calls(), 0);
            // Once is enough: it is not there any more.
            let gone = admin.call("POST", &path, Some(&json!({})));
            assert_eq!((gone.status, gone.code().as_str()), (404, "no_such_session"));
            // And its user logs in again.
            eventually("the cutoff's second is over", || {
                let login = again(&token(&scene, "alice", "s-1", named)).times(0, 3600);
                (scene.try_to_log_in(&login).status == 200).then_some(())
            });
            Some(())
        });
    }
}

#[test]
fn a_session_that_was_just_renewed_is_revoked_at_its_issuer_at_once() {
    let scene = SessionScene::new();
    let jar = scene.log_in_and_wait(&scene.token());
    let mut after = jar.clone();
    after.take(&scene.get("/", &jar));
    let id = only(&scene, "alice")["id"].as_str().unwrap().to_owned();
    let ended = scene.gateway.admin().post(&format!("/v1/sessions/{id}/end"), &json!({}));
    assert_eq!(ended["warnings"], json!([]), "{ended}");
    eventually("the issuer is told", || {
        (scene.endpoint.revoked() == ["refresh+2/="]).then_some(())
    });
    assert_eq!(scene.get("/", &after).code(), "token_revoked");
    assert_eq!(scene.get("/", &jar).code(), "session_ended");
}

#[test]
fn only_whoever_may_revoke_ends_sessions_and_a_made_up_id_is_none() {
    let scene = SessionScene::new();
    let jar = scene.log_in(&scene.token());
    let shared = scene.log_in(&scene.issuer.token("bob").claim("sid", "s-1"));
    let id = only(&scene, "alice")["id"].as_str().unwrap().to_owned();
    let admin = scene.gateway.admin();
    let last = if id.ends_with('A') { "Q" } else { "A" };
    for made_up in ["x", "se_", &id[3..], &format!("{}{last}", &id[..id.len() - 1])] {
        let answer = admin.call("POST", &format!("/v1/sessions/{made_up}/end"), Some(&json!({})));
        assert_eq!((answer.status, answer.code().as_str()), (404, "no_such_session"), "{made_up}");
    }
    let path = format!("/v1/sessions/{id}/end");
    let unknown = admin.call("POST", &path, Some(&json!({"why": "x"})));
    assert_eq!((unknown.status, unknown.code().as_str()), (422, "invalid_body"));
    let stranger = admin.with_token("nobody").call("POST", &path, Some(&json!({})));
    assert_eq!(stranger.status, 401);
    assert_eq!((scene.get("/", &jar).status, scene.get("/", &shared).status), (200, 200));
    // By the command line, with what a device's name says of others.
    let run = |arguments: &[&str]| {
        let output = scene.gateway.command(arguments, "");
        let (out, err) = (output.stdout, output.stderr);
        (output.status.code(), [out, err].map(|text| String::from_utf8(text).unwrap()))
    };
    let (code, [out, _]) = run(&["sessions", "--user", "alice"]);
    assert_eq!((code, out.contains(&id)), (Some(0), true), "{out}");
    let (code, [out, err]) = run(&["sessions", "end", &id, "--reason", "lost laptop"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with(&format!("Ended session {id} of alice. Denied by dn_")), "{out}");
    assert!(err.contains("Sessions of other users that end too"), "{err}");
    assert_eq!(scene.get("/", &jar).code(), "token_revoked");
    assert_eq!(run(&["sessions", "end", &id]).0, Some(1));
    assert_eq!(run(&["sessions"]).0, Some(64));
}

#[test]
fn a_check_of_the_store_counts_the_sessions() {
    let scene = SessionScene::new();
    scene.log_in(&scene.token());
    scene.log_in(&scene.issuer.token("bob").claim("sid", "s-2"));
    let mut gateway = scene.gateway;
    gateway.kill9();
    let checked = gateway.command(&["store", "check"], "");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let text = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(
        text,
        "The store is whole: 0 records, 0 in force, 0 tombstones, 2 browser sessions.\n"
    );
}
