//! What a log-out takes along, and what becomes of sessions when the keys and attributes of their
//! cookies change.

use serde_json::json;

use crate::support::{Jar, LoginScene, speak};

fn plain() -> LoginScene {
    LoginScene::start("", "", |setup| setup)
}

/// Two sessions of alice: with names of their own, and without.
fn two(scene: &LoginScene, named: bool) -> [Jar; 2] {
    ["s-1", "s-2"].map(|session| {
        let token = scene.issuer.token("alice");
        let token = if named { token.claim("sid", session) } else { token };
        scene.log_in(&token.mint(), &Jar::default()).1
    })
}

#[test]
fn a_log_out_closes_what_the_session_has_open_and_nothing_else() {
    for named in [true, false] {
        let scene = plain();
        let [mine, others] = two(&scene, named);
        let (mut socket, mut spared) = (scene.socket(&mine), scene.socket(&others));
        assert_eq!(scene.log_out(&mine).status, 200);
        assert_eq!(socket.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
        speak(&mut spared);
    }
}

#[test]
fn a_log_out_elsewhere_closes_the_others_and_spares_this_one() {
    for named in [true, false] {
        let scene = plain();
        let [mine, others] = two(&scene, named);
        let (mut socket, mut ended) = (scene.socket(&mine), scene.socket(&others));
        let answer = scene.post("/.auth/logout-all?others=true", &[("Cookie", &mine.header())]);
        assert_eq!(answer.json(), json!({"ended": "other sessions"}));
        assert_eq!(ended.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
        speak(&mut socket);
        assert_eq!((scene.status(&mine), scene.status(&others)), (200, 401));
        // And then everywhere.
        assert_eq!(scene.post("/.auth/logout-all", &[("Cookie", &mine.header())]).status, 200);
        assert_eq!(socket.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    }
}

#[test]
fn a_new_key_seals_and_the_old_one_opens_until_it_is_gone() {
    let key = |name: &str| format!("{name}-0123456789012345678901234567890123456789");
    let scene = LoginScene::start("", "seal = true\nkey_files = [\"old.key\"]", |setup| {
        setup.server("watch = false").file("old.key", &key("old")).file("new.key", &key("new"))
    });
    let reload = |from: &str, to: &str| {
        let path = scene.gateway.config();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
        let answer = scene.gateway.admin().post("/v1/config/reload", &json!({}));
        assert_eq!(answer["reloaded"], true, "{answer}");
    };
    let (_, old) = scene.log_in(&scene.alice("s-1").mint(), &Jar::default());
    assert_eq!(scene.status(&old), 200);
    reload("[\"old.key\"]", "[\"new.key\", \"old.key\"]");
    assert_eq!(scene.status(&old), 200);
    let (_, new) = scene.log_in(&scene.alice("s-2").mint(), &Jar::default());
    reload("[\"new.key\", \"old.key\"]", "[\"new.key\"]");
    assert_eq!(scene.status(&new), 200);
    let refused = scene.get("/", &old);
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_invalid"));
    let mut left = old.clone();
    left.take(&refused);
    assert_eq!(left.0.len(), 0, "cleared, so that the browser asks no more");
}

#[test]
fn a_cookie_says_which_sites_may_bring_it_and_only_listed_ones_may_use_it() {
    for (value, attribute) in [("strict", "Strict"), ("none", "None"), ("lax", "Lax")] {
        let scene = LoginScene::start("", &format!("same_site = \"{value}\""), |setup| {
            setup.server("external_origins = [\"https://other.example\"]")
        });
        let (answer, jar) = scene.log_in(&scene.alice("s-1").mint(), &Jar::default());
        let set = answer.header("set-cookie").unwrap();
        assert!(set.ends_with(&format!("; Secure; SameSite={attribute}")), "{set}");
        for (origin, status) in [("https://other.example", 200), ("https://evil.example", 403)] {
            let headers = [
                ("Cookie", jar.header()),
                ("Origin", origin.to_owned()),
                ("Sec-Fetch-Site", "cross-site".to_owned()),
            ];
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let answer = scene.gateway.connect().request("POST", "/x", &headers, b"");
            assert_eq!(answer.status, status, "{value} {origin}");
        }
        // With the attributes that it was set with, or browsers keep it.
        let ended = scene.log_out(&jar);
        let cleared = ended.all("set-cookie");
        let ours = cleared.iter().find(|line| line.starts_with("__Host-portcullis=;")).unwrap();
        assert!(ours.ends_with(&format!("; Secure; SameSite={attribute}")), "{ours}");
    }
}
