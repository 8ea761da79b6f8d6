//! What people and programs are shown, to the letter.

use super::*;

#[test]
fn three_mistakes_come_out_in_one_run() {
    let place = Place::new();
    let text = r#"[server]
listen = "127.0.0.1:8080"

[[issuer]]
name = "main"
issuer = "https://id.example.com/"
audience = "https://api.example.com"
keys = { pem_file = "keys/main.pem" }

[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]

[[route]]
path = "/"
access = "required"
upstream = "ap"
"#;
    let found = place.bad(text);
    let directory = place.directory.path().display();
    let expected = format!(
        r#"error[C012]: unknown key `audience` in [[issuer]]
  --> {directory}/gateway.toml:7:1
  |
7 | audience = "https://api.example.com"
  | ^^^^^^^^ did you mean `audiences`?
  = help: it is a list: audiences = ["https://api.example.com"]

error[C040]: the key file cannot be read
  --> {directory}/gateway.toml:8:21
  |
8 | keys = {{ pem_file = "keys/main.pem" }}
  |                     ^^^^^^^^^^^^^^^
  = {directory}/keys/main.pem: no such file
  = help: relative paths start at the config file's directory

error[C031]: no upstream is named "ap"
  --> {directory}/gateway.toml:17:12
   |
17 | upstream = "ap"
   |            ^^^^ did you mean "app" (line 11)?

3 errors in {directory}/gateway.toml. Nothing was changed; a running gateway keeps the config it has.
"#
    );
    assert_eq!(found.render(false), expected);
}

#[test]
fn json_has_what_the_text_has() {
    let found = Place::new().bad(&SMALLEST.replacen(LISTEN, "lisetn = \"127.0.0.1:8080\"", 1));
    let json = found.to_json();
    let first = &json[0];
    assert_eq!(first["code"], "C012");
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(3), Some(1)));
    assert_eq!(first["message"], "unknown key `lisetn` in [server]");
    assert_eq!(first["suggestion"], "did you mean `listen`?");
    assert!(first["file"].as_str().unwrap().ends_with("gateway.toml"));
}

#[test]
fn colour_is_only_there_when_asked_for() {
    let found = Place::new().bad("x");
    assert!(found.render(true).contains("\x1b[1;31merror"));
    assert!(!found.render(false).contains('\x1b'));
}

#[test]
fn the_good_screen_shows_listeners_issuers_and_the_route_table() {
    let place = Place::new();
    let text = SMALLEST.replacen(
        "[[route]]",
        "[[route]]\npath = \"/api/\"\nrequire = { scopes = [\"read\"] }\nupstream = \"app\"\n[[route]]\naccess = \"public\"",
        1,
    );
    let loaded = place.good(&text);
    let directory = place.directory.path().display();
    let expected = format!(
        "{directory}/gateway.toml is valid.

  listen    http://127.0.0.1:8080
  admin     http://127.0.0.1:9900  and  unix:{directory}/data/admin.sock
  store     embedded in {directory}/data: one gateway only
  issuer    main  https://id.example.com/  jwks_file keys.json, tokens live at most 24h

  #  host  path   access    needs       upstream
  1  *     /api/  required  scope read  app       http://127.0.0.1:3000
  2  *     /      public    -           app       http://127.0.0.1:3000

  Tried in this order: {ORDER}.
"
    );
    assert_eq!(report(&loaded), expected);
    let json = report_json(&loaded);
    assert_eq!(json["routes"][0]["path"], "/api/");
    assert_eq!(json["issuers"][0]["max_lifetime"], "24h");
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
    let place = Place::new();
    let suggestion = |line: &str| {
        let found = place.bad(&SMALLEST.replacen(LISTEN, line, 1));
        assert_eq!(found.items.len(), 1, "{found}");
        found.items[0].suggestion.clone()
    };
    assert_eq!(suggestion("leeway = \"1s\"").as_deref(), Some("it belongs to [[issuer]]"));
    assert_eq!(
        suggestion("drain_timeuot = \"1s\"").as_deref(),
        Some("did you mean `drain_timeout`?")
    );
    assert_eq!(suggestion("upstream = 7").as_deref(), None);
    assert_eq!(
        suggestion("pem_file = \"a\"").as_deref(),
        Some("it belongs to `keys` of [[issuer]]")
    );
    assert_eq!(
        suggestion("header_timeout = \"1s\"").as_deref(),
        Some("it belongs to [server.limits]")
    );
    assert_eq!(suggestion("colour = \"red\"").as_deref(), None);
}

#[test]
fn another_word_for_where_the_keys_are_gets_ours_and_the_value_says_which() {
    let place = Place::new();
    let said = |keys: &str| {
        let found = place.bad(&SMALLEST.replacen(KEYS, keys, 1));
        let mut said = found.items.iter().filter_map(|item| item.suggestion.clone());
        said.next().unwrap_or_else(|| panic!("{found}"))
    };
    for (keys, suggestion) in [
        ("keys = { jwks = \"https://id.example.com/keys\" }", "did you mean `jwks_url`?"),
        ("keys = { jwks = \"keys.json\" }", "did you mean `jwks_file`?"),
        ("keys = { jwks_uri = \"https://id.example.com/keys\" }", "did you mean `jwks_url`?"),
        ("keys = { url = \"https://id.example.com/keys\" }", "did you mean `jwks_url`?"),
        ("keys = { secret_key = \"x\" }", "did you mean `secret_file`?"),
        ("keys = { secrets_file = \"x\" }", "did you mean `secret_file`?"),
        ("keys = { key_file = \"x\" }", "did you mean `pem_file`?"),
        ("keys = { oidc = true }", "did you mean `discovery`?"),
        ("jwks_url = \"https://id.example.com/keys\"", "it belongs to `keys` of [[issuer]]"),
        ("secret_file = \"x\"", "it belongs to `keys` of [[issuer]]"),
        ("jwks = \"https://id.example.com/keys\"", "did you mean `keys.jwks_url`?"),
        ("jwks = \"keys.json\"", "did you mean `keys.jwks_file`?"),
        ("public_key = \"x\"", "did you mean `keys.pem_file`?"),
    ] {
        assert_eq!(said(keys), suggestion, "{keys}");
    }
    for other in ["iss", "issuer_url", "authority"] {
        let text = SMALLEST.replacen("issuer = \"", &format!("{other} = \""), 1);
        let found = place.bad(&text);
        assert_eq!(found.items.len(), 1, "{found}");
        assert_eq!(found.items[0].suggestion.as_deref(), Some("did you mean `issuer`?"));
    }
    // The right word with the other's value.
    let helps = |keys: &str, help: &str| {
        let found = place.bad(&SMALLEST.replacen(KEYS, keys, 1)).render(false);
        assert!(found.contains(help), "{keys}: {found}");
    };
    helps("keys = { jwks_file = \"https://a.example/\" }", "jwks_url = ");
    helps("keys = { jwks_url = \"keys.json\" }", "jwks_file");
    helps("keys = \"https://a.example/\"", "jwks_url = ");
}
