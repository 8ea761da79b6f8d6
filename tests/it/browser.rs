//! Browser sessions in a real browser, a headless Chromium: an app of ours that is as small as can be,
//! and one that nobody here wrote.

use std::process::{Command, Stdio};

use crate::guides::{blocks, guide};
use crate::support::peers::{Client, Peer, installed, node, python, script};
use crate::support::{Gateway, Issuer, Key, Setup, eventually};

/// `host:port` of the gateway, without the host.
fn port(gateway: &Gateway) -> &str {
    gateway.address.rsplit_once(':').unwrap().1
}

/// Runs a script with the gateway's port, the backend's, and the browser.
fn in_chromium(name: &str, gateway: &Gateway, backend: &str, chromium: &std::path::Path) {
    runs(&mut node(name), gateway, backend, chromium);
}

fn runs(command: &mut Command, gateway: &Gateway, backend: &str, chromium: &std::path::Path) {
    command.arg(port(gateway)).arg(backend).arg(chromium);
    let mut client = Client::start(command);
    let code = client.ends_within(4);
    assert_eq!(code, Some(0), "{}", client.errors());
}

#[test]
fn an_app_in_a_browser_is_logged_in_and_out_and_no_other_page_acts_for_it() {
    let Some(chromium) = installed("chromium") else { return };
    let issuer = Issuer::new("HS256");
    let Key::Secret(secret) = &issuer.key else { panic!("a secret") };
    let (_backend, backend) =
        Peer::start(node("spa_backend.mjs").env("SECRET", std::str::from_utf8(secret).unwrap()));
    let held = "credentials = [\"session\", \"bearer\"]\nforward = \"bearer\"";
    let gateway = Setup::new()
        .issuer(&issuer, "")
        .upstream_at("app", &format!("http://127.0.0.1:{backend}"), "")
        .route("/", "access = \"public\"")
        .route("/api/", held)
        .route("/ws", held)
        .tables(
            "[[route]]\npath_exact = \"/api/login\"\nmethods = [\"POST\"]\naccess = \"public\"\n\
             capture = { token = \"/access_token\" }\nupstream = \"app\"",
        )
        .start();
    in_chromium("spa.mjs", &gateway, &backend, &chromium);
}

#[test]
fn an_app_in_a_browser_is_renewed_and_neither_its_page_nor_its_socket_notices() {
    let Some(chromium) = installed("chromium") else { return };
    let issuer = Issuer::new("HS256");
    let Key::Secret(secret) = &issuer.key else { panic!("a secret") };
    let mut node_backend = node("spa_backend.mjs");
    node_backend.env("SECRET", std::str::from_utf8(secret).unwrap()).env("LIFE", "8");
    let (_backend, backend) = Peer::start(&mut node_backend);
    let held = "credentials = [\"session\", \"bearer\"]\nforward = \"bearer\"";
    let gateway = Setup::new()
        .issuer(
            &issuer,
            &format!(
                "leeway = \"5s\"\nrenewal = {{ endpoint = {{ \
                 url = \"http://127.0.0.1:{backend}/api/refresh\", send = \"/refresh_token\", \
                 token = \"/access_token\", refresh = \"/refresh_token\" }} }}"
            ),
        )
        .upstream_at("app", &format!("http://127.0.0.1:{backend}"), "")
        .route("/", "access = \"public\"")
        .route("/api/", held)
        .route("/ws", held)
        .tables(
            "[[route]]\npath_exact = \"/api/login\"\nmethods = [\"POST\"]\naccess = \"public\"\n\
             capture = { token = \"/access_token\", refresh = \"/refresh_token\" }\n\
             upstream = \"app\"",
        )
        .start();
    runs(node("spa_renewal.mjs").env("LEEWAY", "5"), &gateway, &backend, &chromium);
}

#[test]
fn glances_as_it_comes_is_behind_the_gateway_by_the_config_of_the_guide_alone() {
    let Some(chromium) = installed("chromium") else { return };
    let setup = Setup::new();
    let secret = "glances-signs-with-this-secret-of-48-bytes-or-so";
    let (_glances, glances) = Peer::start(
        Command::new(python())
            .arg(script("glances_app.py"))
            .arg(setup.dir())
            .env("SECRET", secret)
            .stderr(Stdio::null()),
    );
    eventually("Glances listens", || {
        std::net::TcpStream::connect(format!("127.0.0.1:{glances}")).ok().map(drop)
    });
    let text = blocks(&guide("browser-sessions.md"), "An app as it is", "toml").remove(0);
    let text = text
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:61208", &format!("127.0.0.1:{glances}"));
    let gateway = setup
        .environment("GLANCES_SECRET", secret)
        .start_with(&format!("{text}\n[admin]\nlisten = [\"127.0.0.1:0\"]\n"));
    in_chromium("glances.mjs", &gateway, &glances, &chromium);
}
