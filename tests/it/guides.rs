//! The guides, followed by copy and paste: their shell lines are run, their configurations start.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::peers::{Peer, installed};
use crate::support::{
    Admin, Gateway, Issuer, Jar, Key, Setup, Upstream, eventually, program, run_to_end,
};

pub fn guide(name: &str) -> String {
    std::fs::read_to_string(docs().join(name)).unwrap()
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The blocks of a language below a heading.
pub fn blocks(text: &str, heading: &str, language: &str) -> Vec<String> {
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    let found = section.split(&fence).skip(1);
    found.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Runs shell lines in the gateway's directory, with `portcullis` and other programs by name.
#[track_caller]
fn follow(gateway: &Gateway, lines: &str, programs: &[(&str, String)]) -> String {
    let bin = gateway.dir().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let portcullis = program().get_program().to_str().unwrap().to_owned();
    let ours = format!("{portcullis} \"$@\"");
    for (name, command) in programs.iter().chain(&[("portcullis", ours)]) {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexec {command}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = run_to_end(
        Command::new("sh")
            .args(["-euc", lines])
            .current_dir(gateway.dir())
            .env("PATH", path)
            .env("PORTCULLIS_CONFIG", gateway.config())
            .env("PORTCULLIS_ADMIN", gateway.admin_url()),
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines}\n{said}\n{errors}");
    said
}

#[test]
fn a_blacklist_in_redis_is_carried_over_as_the_guide_says() {
    let Some(redis) = installed("redis-server") else { return };
    let Some(client) = installed("redis-cli") else { return };
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let socket = gateway.dir().join("redis.sock");
    let mut command = Command::new(redis);
    command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket);
    command.current_dir(gateway.dir()).stdin(Stdio::null()).stdout(Stdio::null());
    let _redis = Peer::of(command.spawn().unwrap());
    eventually("redis listens", || std::os::unix::net::UnixStream::connect(&socket).ok().map(drop));
    let token = |jti: &str| issuer.token("alice").claim("jti", jti).mint();
    for jti in ["6f1c-1", "6f1c-2"] {
        let key = format!("bl:{jti}");
        let set = ["set", &key, "1", "ex", "600"];
        let done = run_to_end(Command::new(&client).arg("-s").arg(&socket).args(set));
        assert!(done.status.success(), "{done:?}");
    }
    let statuses = || ["6f1c-1", "6f1c-2", "6f1c-3"].map(|jti| gateway.status(&token(jti)));
    assert_eq!(statuses(), [200, 200, 200]);
    let lines = blocks(&guide("migrate.md"), "From a blacklist in Redis", "sh").remove(0);
    let redis_cli = format!("{} -s {} \"$@\"", client.display(), socket.display());
    for standing in ["2 denied, 0 stood already", "0 denied, 2 stood already"] {
        let said = follow(&gateway, &lines, &[("redis-cli", redis_cli.clone())]);
        assert!(said.contains(standing), "{said}");
    }
    assert_eq!(statuses(), [401, 401, 200]);
}

#[test]
fn a_list_of_krakends_elements_is_carried_over_as_the_guide_says() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    std::fs::write(gateway.dir().join("elements.txt"), "jti-77\nsub-mallory\n").unwrap();
    let lines = blocks(&guide("migrate.md"), "From KrakenD's revoker", "sh").remove(0);
    follow(&gateway, &lines, &[]);
    let status =
        |subject: &str, jti: &str| gateway.status(&issuer.token(subject).claim("jti", jti).mint());
    assert_eq!(
        (status("alice", "77"), status("mallory", "1"), status("alice", "78")),
        (401, 401, 200)
    );
}

/// The first block of a language, wherever it is.
fn first_block(text: &str, language: &str) -> String {
    let (_, behind) = text.split_once(&format!("\n```{language}\n")).expect(language);
    behind.split_once("```").unwrap().0.to_owned()
}

/// A gateway with the configuration of a guide: only addresses and the issuer's keys are put in.
fn configured(setup: Setup, block: &str, issuer: &Issuer, upstream: &Upstream) -> Gateway {
    let set = json!({"keys": [issuer.key.jwk()]}).to_string();
    let text = block
        .replace("example/issuer.jwks.json", "issuer.jwks.json")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:4180", "127.0.0.1:0")
        .replace("127.0.0.1:3000", &upstream.address().to_string());
    let admin = "\n[admin]\nlisten = [\"127.0.0.1:0\"]\n";
    setup.file("issuer.jwks.json", &set).start_with(&(text + admin))
}

fn section(name: &str, heading: &str, language: &str) -> String {
    blocks(&guide(name), heading, language).remove(0)
}

#[test]
fn log_outs_changed_passwords_and_bans_go_as_the_guide_says() {
    let issuer = Issuer::new("ES256");
    let (name, text) = ("log-out.md", guide("log-out.md"));
    let setup = Setup::simple(&issuer, &Upstream::new());
    let credential = blocks(&text, "A credential for the backend", "sh");
    let made =
        run_to_end(Command::new("sh").args(["-euc", &credential[0]]).current_dir(setup.dir()));
    assert!(made.status.success(), "{made:?}");
    let gateway = setup.tables(&section(name, "A credential for the backend", "toml")).start();
    let run = |lines: &str| {
        let lines = format!("{}\n{lines}", credential[1])
            .replace("127.0.0.1:9900", &gateway.admin_address)
            .replace("127.0.0.1:8080", &gateway.address);
        follow(&gateway, &lines, &[])
    };
    let of = |subject: &str, session: &str| issuer.token(subject).claim("sid", session).mint();
    let (in_hand, other) = (of("alice", "s-81f3"), of("alice", "s-2"));
    let (mallory, bob, zoe) = (of("mallory", "s-3"), of("bob", "s-4"), of("zoe", "s-5"));
    std::fs::write(gateway.dir().join("token.jwt"), &in_hand).unwrap();
    let statuses =
        |tokens: &[&str]| tokens.iter().map(|one| gateway.status(one)).collect::<Vec<_>>();
    let changed = blocks(&text, "Password changed", "sh");
    run(&changed[1]);
    assert_eq!(statuses(&[&in_hand, &other, &zoe]), [200, 401, 200], "but for the session in hand");
    run(&section(name, "A log-out button: end this session", "sh"));
    assert_eq!(statuses(&[&in_hand, &zoe]), [401, 200]);
    let third = of("alice", "s-6");
    let said = run(&changed[0]);
    assert!(said.contains("tokens_pass_from"), "{said}");
    let later = issuer.token("alice").claim("sid", "s-7").times(3, 3600).mint();
    assert_eq!(statuses(&[&third, &later]), [401, 200], "what is issued from then on passes");
    run(&section(name, "Ban a user", "sh"));
    let later = issuer.token("mallory").times(3, 3600).mint();
    assert_eq!(statuses(&[&mallory, &later, &bob, &zoe]), [401, 401, 401, 200]);
    let said = run(&section(name, "Does it work?", "sh"));
    assert!(said.contains("token_revoked") && said.contains("denylist"), "{said}");
    let operator = gateway.dir().join("secrets/operator.token");
    let operator = std::fs::read_to_string(operator).unwrap();
    let denials = Admin::new(&gateway.admin_address, &operator).get("/v1/denials");
    assert_eq!(denials["items"][0]["created_by"]["name"], "shop-backend", "{denials}");
}

#[test]
fn a_token_moves_from_local_storage_into_a_cookie_as_the_guide_says() {
    let issuer = Issuer::new("ES256");
    let token = issuer.token("alice").claim("sid", "s-1").mint();
    let said = format!("{{\"access_token\":\"{token}\",\"user\":\"alice\"}}");
    let upstream = Upstream::answering(move |exchange| match exchange.received.target.as_str() {
        "/api/login" => exchange.answer("200 OK", "Content-Type: application/json\r\n", &said),
        _ => exchange.answer("200 OK", "", "here"),
    });
    let text = guide("browser-sessions.md");
    let gateway = configured(Setup::new(), &first_block(&text, "toml"), &issuer, &upstream);
    let ours = ("Sec-Fetch-Site", "same-origin");
    let mut jar = Jar::default();
    let login = gateway.connect().request("POST", "/api/login", &[ours], b"{}");
    assert_eq!((login.status, login.json()), (200, json!({"user": "alice"})));
    jar.take(&login);
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(gateway.get("/api/orders", &[]).status, 401);
    let cookie = jar.header();
    assert_eq!(gateway.get("/api/orders", &[("Cookie", &cookie), ours]).status, 200);
    assert_eq!(upstream.last().header("authorization"), Some(&*format!("Bearer {token}")));
    assert_eq!(upstream.last().header("cookie"), None);
    assert_eq!(gateway.get_with("/api/orders", &token).status, 200, "apps go on as before");
    let evil = [("Cookie", cookie.as_str()), ("Origin", "https://evil.example")];
    assert_eq!(gateway.get("/api/orders", &evil).code(), "cross_site");
    let out = gateway.connect().request("POST", "/.auth/logout", &[("Cookie", &cookie), ours], b"");
    assert_eq!(out.status, 200);
    jar.take(&out);
    assert_eq!(
        (jar.header(), gateway.get_with("/api/orders", &token).status),
        (String::new(), 401)
    );
}

#[test]
fn a_server_asks_to_be_vouched_for_as_the_guide_says() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let secret = "0123456789abcdef0123456789abcdef";
    let setup = Setup::new().environment("ORDERS_SECRET", secret);
    let text = guide("vouching.md");
    let gateway = configured(setup, &first_block(&text, "toml"), &issuer, &upstream);
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let assertion = upstream.last().header("x-portcullis-assertion").unwrap().to_owned();
    let lines = section("vouching.md", "From one server to the next", "sh");
    let lines = format!("ORDERS_SECRET={secret}\nASSERTION={assertion}\n{lines}");
    let said = follow(&gateway, &lines.replace("127.0.0.1:8080", &gateway.address), &[]);
    let said: serde_json::Value = serde_json::from_str(&said).expect(&said);
    let shown = section("vouching.md", "From one server to the next", "json");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    for (name, value) in shown.as_object().unwrap() {
        assert!(name == "access_token" || said[name] == *value, "{name}: {said}");
    }
    let (_, claims) = crate::assertions::opened(said["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["aud"], &claims["act"]["sub"]),
        (&json!("https://stock.internal"), &json!("orders"))
    );
}

#[test]
fn what_a_middleware_with_redis_did_the_config_of_the_guide_does() {
    let issuer = Issuer::new("HS256");
    let Key::Secret(secret) = &issuer.key else { panic!("a secret") };
    let upstream = Upstream::new();
    let setup = Setup::new().environment("JWT_SECRET", std::str::from_utf8(secret).unwrap());
    let block = section("migrate.md", "From a blacklist in Redis", "toml");
    let gateway = configured(setup, &block, &issuer, &upstream);
    let home_made =
        |jti: &str| issuer.token("7").claim("jti", jti).without("iss").without("aud").mint();
    let (one, two) = (home_made("a"), home_made("b"));
    assert_eq!(gateway.status(&one), 200);
    assert_eq!(upstream.last().header("x-user"), Some("7"));
    let bearer = format!("Bearer {one}");
    let out = gateway.connect().request(
        "POST",
        "/.auth/logout",
        &[("Authorization", &bearer), ("Sec-Fetch-Site", "same-origin")],
        b"",
    );
    assert_eq!((out.status, gateway.status(&one), gateway.status(&two)), (200, 401, 200));
}

#[test]
fn what_oauth2_proxy_checked_the_config_of_the_guide_checks() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let block = section("migrate.md", "From oauth2-proxy", "toml");
    let gateway = configured(Setup::new(), &block, &issuer, &upstream);
    let token = issuer.token("alice").claim("email", "alice@example.com").mint();
    let bearer = format!("Bearer {token}");
    let forged = [("Authorization", bearer.as_str()), ("X-Auth-Request-User", "root")];
    assert_eq!(gateway.get("/api/x", &forged).status, 200);
    let seen = upstream.last();
    let names = ["x-auth-request-user", "x-auth-request-email", "authorization"];
    let found = names.map(|name| seen.header(name).unwrap_or_default().to_owned());
    assert_eq!(found, ["alice", "alice@example.com", &bearer]);
    assert_eq!((gateway.get("/health", &[]).status, gateway.get("/api/x", &[]).status), (200, 401));
    let other = issuer.token("alice").claim("aud", "https://other.example.com").mint();
    assert_eq!(gateway.status(&other), 401);
}

#[test]
fn what_krakend_validated_the_config_of_the_guide_validates() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let block = section("migrate.md", "From KrakenD's revoker", "toml");
    let gateway = configured(Setup::new(), &block, &issuer, &upstream);
    let of = |roles: serde_json::Value| issuer.token("alice").claim("roles", roles).mint();
    let editor = of(json!(["reader", "editor"]));
    assert_eq!(gateway.get_with("/orders", &editor).status, 200);
    assert_eq!(upstream.last().header("x-user"), Some("alice"));
    assert_eq!(gateway.get_with("/orders", &of(json!(["reader"]))).status, 403);
    assert_eq!(gateway.get_with("/other", &editor).status, 404);
    gateway.admin().revoke(json!({"user": "alice"}));
    assert_eq!(gateway.get_with("/orders", &editor).status, 401);
}

#[test]
fn every_configuration_of_a_guide_is_valid() {
    let mut found = 0;
    for entry in std::fs::read_dir(docs()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // A whole file; the others show a part.
            if !(block.contains("[[route]]") && block.contains("[[issuer]]")) {
                continue;
            }
            found += 1;
            let dir = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(docs().join("example"), dir.path().join("example")).unwrap();
            let config = dir.path().join("gateway.toml");
            std::fs::write(&config, block).unwrap();
            let mut check = program();
            for variable in ["CLIENT_SECRET", "GLANCES_SECRET", "ORDERS_SECRET", "JWT_SECRET"] {
                check.env(variable, "0123456789abcdef0123456789abcdef");
            }
            let checked = run_to_end(check.arg("check").arg("-c").arg(&config));
            let errors = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "{}:\n{block}\n{errors}", path.display());
        }
    }
    // As many as there are: one that is no longer seen is no longer checked.
    assert!(found >= 11, "{found}");
}
