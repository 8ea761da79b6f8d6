//! The command line against a running gateway: what it does, what it prints for programs, and the
//! exit codes that scripts rely on.

use std::process::Output;

use serde_json::Value;

use crate::support::{Gateway, Issuer, Setup, Upstream, program, run_to_end};

fn scene() -> (Issuer, Gateway) {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    (issuer, gateway)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn succeeds(gateway: &Gateway, arguments: &[&str], stdin: &str) -> String {
    let output = gateway.command(arguments, stdin);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    stdout(&output)
}

#[test]
fn another_server_that_says_yes_to_everything_is_no_admin_api() {
    let answer = "access = \"public\"\ncredentials = []\nanswer = { body = \"{}\", content_type = \"application/json\" }";
    let routes = ["/v1", "/readyz"].map(|path| format!("[[route]]\npath = \"{path}\"\n{answer}\n"));
    let gateway =
        Setup::simple(&Issuer::new("ES256"), &Upstream::new()).tables(&routes.concat()).start();
    let url = gateway.url();
    for arguments in [
        ["revoke", "--user=alice"].as_slice(),
        &["undo", "--last"],
        &["denials"],
        &["denials", "export", "-"],
        &["status"],
        &["reload"],
        &["health"],
    ] {
        let output = gateway.command(&[&["--admin", &url], arguments].concat(), "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &stdout(&output);
        assert!(said.contains("it is another server"), "{said}");
    }
}

#[test]
fn revoke_block_and_undo_act_on_the_next_request() {
    let (issuer, gateway) = scene();
    let (alice, bob) = (issuer.mint("alice"), issuer.mint("bob"));
    succeeds(&gateway, &["revoke", "--user", "alice", "--reason", "lost laptop"], "");
    assert_eq!((gateway.status(&alice), gateway.status(&bob)), (401, 200));
    succeeds(&gateway, &["undo", "--last"], "");
    assert_eq!((gateway.status(&alice), gateway.status(&bob)), (200, 200));
    succeeds(&gateway, &["block", "--user", "bob", "--reason", "card fraud"], "");
    assert_eq!((gateway.status(&alice), gateway.status(&bob)), (200, 401));
    // A revocation that came after the block is none, and stays.
    succeeds(&gateway, &["revoke", "--user", "alice"], "");
    succeeds(&gateway, &["unblock", "--last"], "");
    assert_eq!((gateway.status(&alice), gateway.status(&bob)), (401, 200));
    assert_eq!(gateway.command(&["unblock", "--last"], "").status.code(), Some(1));
    assert_eq!(gateway.status(&alice), 401);
}

#[test]
fn a_token_is_revoked_from_stdin_or_a_file_and_never_from_an_argument() {
    let (issuer, gateway) = scene();
    let (one, two, three) = (issuer.mint("alice"), issuer.mint("alice"), issuer.mint("alice"));
    succeeds(&gateway, &["revoke", "--token-file", "-", "--reason", "leaked"], &one);
    std::fs::write(gateway.dir().join("leaked.jwt"), format!("{two}\n")).unwrap();
    succeeds(&gateway, &["revoke", "--token-file", "leaked.jwt", "--reason", "leaked"], "");
    let statuses = [&one, &two, &three].map(|token| gateway.status(token));
    assert_eq!(statuses, [401, 401, 200]);
    for arguments in [["explain", &three].as_slice(), &["revoke", "--token-file", &three]] {
        let output = gateway.command(arguments, "");
        assert_ne!(output.status.code(), Some(0), "{}", arguments[0]);
        let text = format!("{}{}", stdout(&output), String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains(&three), "{text}");
    }
    assert_eq!(gateway.status(&three), 200);
}

#[test]
fn json_output_is_one_document_that_names_the_denial() {
    let (_, gateway) = scene();
    let text =
        succeeds(&gateway, &["--json", "block", "--user", "mallory", "--reason", "fraud"], "");
    let denial: Value = serde_json::from_str(text.trim()).unwrap();
    let id = denial["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("dn_"), "{denial}");
    let listed = succeeds(&gateway, &["--json", "denials"], "");
    assert!(listed.contains(&id) && listed.contains("mallory"), "{listed}");
    let unique_prefix = &id[..id.len() - 1];
    succeeds(&gateway, &["undo", unique_prefix], "");
    assert!(!succeeds(&gateway, &["--json", "denials"], "").contains(&id));
}

#[test]
fn explain_exits_0_for_a_token_that_passes_and_1_for_one_that_does_not() {
    let (issuer, gateway) = scene();
    let token = issuer.mint("alice");
    succeeds(&gateway, &["explain"], &token);
    succeeds(&gateway, &["revoke", "--user", "alice", "--reason", "lost laptop"], "");
    let output = gateway.command(&["explain"], &token);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("lost laptop") && text.contains("dn_"), "{text}");
    assert!(text.contains("portcullis undo") || text.contains(" undo dn_"), "{text}");
    let expired = issuer.token("bob").times(-900, -600).mint();
    assert_eq!(gateway.command(&["explain"], &expired).status.code(), Some(1));
}

#[test]
fn health_and_status_say_whether_the_gateway_is_there() {
    let (_, mut gateway) = scene();
    succeeds(&gateway, &["health"], "");
    succeeds(&gateway, &["status"], "");
    gateway.kill9();
    assert_eq!(gateway.command(&["health"], "").status.code(), Some(1));
    for command in [["status"].as_slice(), &["denials"], &["block", "--user", "x", "--reason", "x"]]
    {
        let output = gateway.command(command, "");
        assert_eq!(output.status.code(), Some(69), "{command:?}: {output:?}");
    }
}

#[test]
fn mistakes_in_the_arguments_exit_64_and_change_nothing() {
    let (_, gateway) = scene();
    for arguments in [
        ["revoke"].as_slice(),
        &["revoke", "--user", "a", "--session", "b"],
        &["block", "--user"],
        &["block", "--user", "a", "--for", "forever"],
        &["blok", "--user", "a"],
        &["undo"],
    ] {
        let output = gateway.command(arguments, "");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
    }
    assert_eq!(gateway.admin().get("/v1/denials")["in_force"], 0);
}

#[test]
fn a_minted_token_passes_and_decodes() {
    let (issuer, gateway) = scene();
    std::fs::write(gateway.dir().join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    let made = run_to_end(
        program()
            .args(["token", "mint", "--secret-file"])
            .arg(gateway.dir().join("secret"))
            .args(["--issuer", "https://two.example/", "--audience", "api", "--user", "alice"]),
    );
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let token = stdout(&made).trim().to_owned();
    let decoded = succeeds(&gateway, &["--json", "token", "decode"], &token);
    assert!(decoded.contains("https://two.example/"), "{decoded}");
    let two = Setup::simple(&issuer, &Upstream::new())
        .file("secret", "0123456789abcdef0123456789abcdef")
        .tables("[[issuer]]\nname = \"two\"\nissuer = \"https://two.example/\"\naudiences = [\"api\"]\nkeys = { secret_file = \"secret\" }\n")
        .start();
    assert_eq!(two.status(&token), 200);
    assert_eq!(gateway.status(&token), 401, "another gateway does not know that issuer");
}

#[test]
fn a_config_that_init_wrote_from_a_token_is_valid_once_the_keys_are_there() {
    let (issuer, gateway) = scene();
    let token = issuer.mint("alice");
    let output = gateway.command(&["init"], &token);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains(&issuer.iss) && text.contains(&issuer.audience), "{text}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains(&token) && !told.contains(&token), "the token is not kept");
    let key = issuer.key.jwk().to_string();
    let setup = Setup::new().file("issuer.jwks.json", &format!("{{\"keys\": [{key}]}}"));
    let (dir, path) = setup.write();
    std::fs::write(&path, &text).unwrap();
    let check = || run_to_end(program().arg("check").arg("-c").arg(&path)).status.code();
    assert_eq!(check(), Some(0), "{text}");
    std::fs::remove_file(dir.path().join("issuer.jwks.json")).unwrap();
    assert_eq!(check(), Some(78), "without the keys it is not");
}

#[test]
fn what_stands_in_a_reason_cannot_steer_a_terminal() {
    let (_, gateway) = scene();
    let reason = "\u{1b}[2J\u{1b}]0;owned\u{7}plain";
    gateway.admin().block(serde_json::json!({"user": "\u{202e}ecila", "reason": "plain"}));
    let output = gateway.command(&["block", "--user", "mallory", "--reason", reason], "");
    let listed = succeeds(&gateway, &["denials"], "");
    let text = format!("{}{listed}", stdout(&output));
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    assert!(!text.contains('\u{202e}'), "{text:?}");
}
