//! What is open when its session is renewed lives on; what is opened by a token that has ended begins
//! with the next one.

use serde_json::json;

use crate::support::session_scene::{again, echoes};
use crate::support::{SessionScene, eventually, now};

#[test]
fn a_websocket_lives_on_when_its_session_is_renewed_and_no_other_does() {
    for named in [true, false] {
        let scene = SessionScene::new();
        let token = |subject: &str, ends: i64| {
            let token = scene.issuer.token(subject).times(0, ends);
            if named { token.claim("sid", "s-1") } else { token }
        };
        // Half of it is some seconds: nobody renews yet.
        let ends = now() + 10;
        let mut jar = scene.log_in(&token("alice", 10));
        let mut kept = scene.socket(&jar);
        let mut left = scene.socket(&scene.log_in(&token("bob", 10)));
        eventually("both in the list", || {
            (scene.gateway.admin().get("/v1/streams")["open"] == json!(2)).then_some(())
        });
        let next = token("alice", 3600);
        scene.endpoint.mint(move || again(&next).mint());
        eventually("it is time to renew", || {
            let answer = scene.get("/", &jar);
            jar.take(&answer);
            (scene.count("renewed") == 1).then_some(())
        });
        assert_eq!(left.rest().unwrap(), b"\x88\x09\x03\xf0expired", "{named}");
        eventually("the first token's end", || (now() > ends).then_some(()));
        echoes(&mut kept);
        // And it ends with the session.
        eventually("the new cookies", || {
            jar.take(&scene.get("/", &jar));
            (scene.post("/.auth/logout", &jar).status == 200).then_some(())
        });
        assert_eq!(kept.rest().unwrap(), b"\x88\x09\x03\xf0revoked", "{named}");
    }
}

#[test]
fn a_handshake_by_the_refresh_cookie_alone_renews_and_sets_the_cookies() {
    let scene = SessionScene::new();
    let jar = scene.log_in_and_wait(&scene.token());
    let (mut socket, status, head) = scene.handshake(&jar);
    assert_eq!(status, 101, "{head}");
    echoes(&mut socket);
    assert!(head.to_lowercase().contains("set-cookie: __host-portcullis="), "{head}");
    assert_eq!(scene.endpoint.calls(), 1);
    // Requests of the old cookies go on with the same result.
    let answer = scene.get("/", &jar);
    assert_eq!((answer.status, scene.endpoint.calls()), (200, 1));
}
