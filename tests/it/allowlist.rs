//! An issuer in allowlist mode: only what is registered passes, and what is ended passes never
//! again.

use serde_json::json;

use crate::support::{Admin, Connection, Gateway, Issuer, Setup, Token, Upstream};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
    admin: Admin,
    _upstream: Upstream,
}

fn scene() -> Scene {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target == "/ws" {
            exchange.send(SWITCHED);
            while let Ok(bytes) = exchange.connection.exactly(1) {
                exchange.send(bytes);
            }
        } else {
            exchange.answer("200 OK", "", "ok");
        }
    });
    let gateway =
        Setup::new().issuer(&issuer, "mode = \"allowlist\"").upstream("app", &upstream, "").start();
    let admin = gateway.admin();
    Scene { issuer, gateway, admin, _upstream: upstream }
}

impl Scene {
    fn token(&self, session: &str) -> Token {
        self.issuer.token("alice").claim("sid", session)
    }

    #[track_caller]
    fn refused(&self, token: &str, code: &str) {
        let answer = self.gateway.get_with("/", token);
        assert_eq!((answer.status, answer.code().as_str()), (401, code), "{}", answer.text());
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }

    fn register(&self, body: serde_json::Value) -> String {
        let made = self.admin.post("/v1/registrations", &body);
        assert_eq!(made["warnings"], json!([]), "{made}");
        made["id"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn only_a_registered_session_passes_and_its_removal_ends_it_for_good() {
    let scene = scene();
    let (mine, other) = (scene.token("s-1").mint(), scene.token("s-2").mint());
    scene.refused(&mine, "token_not_registered");
    let id = scene.register(json!({"session": "s-1", "reason": "login"}));
    assert_eq!(scene.gateway.status(&mine), 200);
    assert_eq!(scene.gateway.status(&scene.token("s-1").mint()), 200, "a later token of it");
    scene.refused(&other, "token_not_registered");
    scene.refused(&scene.issuer.token("alice").mint(), "token_not_registered");

    let path = format!("/v1/registrations/{id}/remove");
    let removed = scene.admin.post(&path, &json!({"reason": "logout"}));
    assert_eq!(removed["state"], "removed", "{removed}");
    scene.refused(&mine, "token_revoked");
    let again = scene.admin.post(&path, &json!({}));
    assert_eq!(again["removed_at"], removed["removed_at"], "removing twice is removing once");

    // A login that was under way registers the session once more: it stays denied, and says so.
    let late = scene.admin.post("/v1/registrations", &json!({"session": "s-1"}));
    assert_eq!(late["warnings"][0]["code"], "still_denied", "{late}");
    scene.refused(&mine, "token_revoked");
    // Without the denial, what counts is the registration.
    scene.admin.undo(removed["denial"].as_str().expect("the denial's id"));
    assert_eq!(scene.gateway.status(&mine), 200);
}

#[test]
fn a_registration_that_lasts_as_long_stands_for_a_later_one() {
    let scene = scene();
    let register = |span: &str| {
        let made = scene.admin.post("/v1/registrations", &json!({"session": "s-1", "for": span}));
        (made["id"].as_str().expect("an id").to_owned(), made["already"] == true)
    };
    let (first, _) = register("12h");
    assert_eq!(register("6h"), (first.clone(), true));
    let (longer, already) = register("13h");
    assert!(!already && longer != first);
    assert_eq!(register("12h"), (longer, true));
}

#[test]
fn one_token_can_be_registered_by_itself_and_survives_kill_9() {
    let scene = scene();
    let (mine, sibling) = (scene.token("s-1").mint(), scene.token("s-1").mint());
    let nameless = scene.issuer.token("bob").without("jti");
    let (nameless, other) = (nameless.mint(), nameless.claim("n", 1).mint());
    scene.register(json!({"token": mine}));
    scene.register(json!({"token": nameless}));
    scene.register(json!({"jti": "by-its-id"}));
    let by_id = scene.issuer.token("carol").claim("jti", "by-its-id").mint();
    let Scene { gateway, issuer, .. } = scene;
    let gateway = gateway.kill9_and_restart();
    for token in [&mine, &nameless, &by_id] {
        assert_eq!(gateway.status(token), 200);
    }
    for token in [&sibling, &other, &issuer.mint("carol")] {
        assert_eq!(gateway.status(token), 401);
    }
    let listed = gateway.admin().get("/v1/registrations");
    assert_eq!(
        (listed["in_force"].as_u64(), listed["items"].as_array().unwrap().len()),
        (Some(3), 3)
    );
    let denials = gateway.admin().get("/v1/denials");
    assert_eq!((denials["in_force"].as_u64(), &denials["items"]), (Some(0), &json!([])));
}

#[test]
fn a_registration_ends_by_itself_and_cuts_the_socket_that_it_let_open() {
    let scene = scene();
    let registered = json!({"session": "s-1", "for": "5s"});
    scene.register(registered);
    let mut socket = socket(&scene, &scene.token("s-1").mint());
    // 1008, and then a clean end: without a registration nothing that it let open stays.
    assert_eq!(socket.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    scene.refused(&scene.token("s-1").mint(), "token_not_registered");
}

#[test]
fn a_removal_cuts_the_sessions_socket_and_no_other() {
    let scene = scene();
    let id = scene.register(json!({"session": "s-1"}));
    scene.register(json!({"session": "s-2"}));
    let mut first = socket(&scene, &scene.token("s-1").mint());
    let mut second = socket(&scene, &scene.token("s-2").mint());
    let removed = scene.admin.call("DELETE", &format!("/v1/registrations/{id}"), None);
    assert_eq!(removed.status, 200, "{}", removed.text());
    assert_eq!(first.rest().unwrap(), b"\x88\x09\x03\xf0revoked");
    second.send(b"\x81\x82\0\0\0\0ok");
    assert_eq!(second.exactly(8).unwrap(), b"\x81\x82\0\0\0\0ok");
}

fn socket(scene: &Scene, token: &str) -> Connection {
    let mut connection = scene.gateway.connect();
    connection.send(format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ));
    assert_eq!(connection.head().unwrap().0, 101);
    connection.send(b"\x81\x82\0\0\0\0hi");
    assert_eq!(connection.exactly(8).unwrap(), b"\x81\x82\0\0\0\0hi");
    connection
}

#[test]
fn explain_and_audit_know_registrations() {
    let scene = scene();
    let token = scene.token("s-1").mint();
    let explain = || scene.admin.post("/v1/explain", &json!({"token": token}));
    let refused = explain();
    assert_eq!(
        (refused["pass"].as_bool(), refused["code"].as_str()),
        (Some(false), Some("token_not_registered"))
    );
    assert_eq!(
        refused["would_pass_with"],
        "a token that is registered, by itself or by its session"
    );
    let id = scene.register(json!({"session": "s-1"}));
    let passed = explain();
    assert_eq!(passed["pass"], true, "{passed}");
    let checks = passed["checks"].as_array().unwrap();
    let line = checks.iter().find(|check| check["check"] == "registration").expect("the check");
    assert!(line["detail"].as_str().unwrap().contains(&id), "{line}");
    scene.admin.post(&format!("/v1/registrations/{id}/remove"), &json!({}));
    let acts = scene.admin.get("/v1/audit");
    let acts: Vec<&str> = acts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| act["action"].as_str().unwrap())
        .collect();
    assert_eq!(acts, ["removed", "denied", "registered"]);
}

#[test]
fn registering_asks_for_an_operator_removing_for_a_revoker_and_undo_does_not_do_it() {
    let issuer = Issuer::new("HS256");
    let mut setup = Setup::new().issuer(&issuer, "mode = \"allowlist\"");
    for role in ["viewer", "revoker", "operator"] {
        let credential = format!("{role}-credential-of-enough-length-0123456789");
        setup = setup.file(&format!("{role}.token"), &credential).tables(&format!(
            "[[admin.token]]\nname = \"{role}\"\nrole = \"{role}\"\nfile = \"{role}.token\"\n"
        ));
    }
    let upstream = Upstream::new();
    let gateway = setup.upstream("app", &upstream, "").start();
    let by = |role: &str| {
        let credential = format!("{role}-credential-of-enough-length-0123456789");
        Admin::new(&gateway.admin_address, &credential)
    };
    let body = json!({"session": "s-1"});
    let refused = by("revoker").call("POST", "/v1/registrations", Some(&body));
    assert_eq!((refused.status, refused.code().as_str()), (403, "role_too_small"));
    let made = by("operator").post("/v1/registrations", &body);
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/registrations/{id}");
    let undo = by("operator").call("POST", &format!("/v1/denials/{id}/undo"), Some(&json!({})));
    assert_eq!((undo.status, undo.code().as_str()), (404, "no_such_denial"));
    let refused = by("viewer").call("DELETE", &path, None);
    assert_eq!((refused.status, refused.code().as_str()), (403, "role_too_small"));
    assert_eq!(by("viewer").get(&path)["state"], "in_force");
    assert_eq!(by("revoker").call("DELETE", &path, None).status, 200);
    assert_eq!(by("viewer").get(&path)["state"], "removed");
}

#[test]
fn the_command_line_registers_lists_and_removes() {
    let scene = scene();
    let token = scene.token("s-9").mint();
    let run = |arguments: &[&str], stdin: &str| {
        let output = scene.gateway.command(arguments, stdin);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run(&["registrations", "add", "--token-file", "-", "--for", "1h"], &token);
    assert!(said.contains("is registered, until"), "{said}");
    assert_eq!(scene.gateway.status(&token), 200);
    let listed = run(&["registrations"], "");
    let id = listed.split('\t').next().unwrap();
    assert!(id.starts_with("dn_"), "{listed}");
    let said = run(&["registrations", "remove", id, "--reason", "device lost"], "");
    assert!(said.contains("passes no longer. Denied by dn_"), "{said}");
    assert_eq!(scene.gateway.status(&token), 401);
    let nothing = scene.gateway.command(&["registrations", "add"], "");
    assert_eq!(nothing.status.code(), Some(64), "{nothing:?}");
}

#[test]
fn an_export_carries_registrations_and_an_old_one_brings_no_ended_session_back() {
    let scene = scene();
    let id = scene.register(json!({"session": "s-1"}));
    let export = scene.gateway.command(&["denials", "export", "-"], "");
    let export = String::from_utf8(export.stdout).unwrap();
    assert!(export.contains("\"registered\":{\"session\":\"s-1\"}"), "{export}");
    scene.admin.post(&format!("/v1/registrations/{id}/remove"), &json!({}));
    let token = scene.token("s-1").mint();
    let import = scene.gateway.command(&["denials", "import", "-"], &export);
    assert_eq!(import.status.code(), Some(0), "{import:?}");
    scene.refused(&token, "token_revoked");

    let fresh = scene_with_import(&export);
    assert_eq!(fresh.gateway.status(&fresh.token("s-1").mint()), 200, "elsewhere it lets pass");
}

fn scene_with_import(export: &str) -> Scene {
    let scene = scene();
    let import = scene.gateway.command(&["denials", "import", "-"], export);
    assert_eq!(import.status.code(), Some(0), "{import:?}");
    scene
}
