//! The rotation of a second provider that nobody here wrote: Authlib on Flask, RS256, over HTTPS with
//! an authority of its own. It rotates, drops a key, is killed in the middle of a rotation and comes
//! back, and the gateway starts while it is gone.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Authority, Gateway, Setup, Upstream, eventually, nobody, peers};

struct Provider {
    authority: Authority,
    /// Its keys, and which of them it publishes.
    dir: TempDir,
    port: u16,
    running: Option<peers::Peer>,
}

impl Provider {
    fn start() -> Self {
        let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
        authority.issue(&["localhost"]).write(dir.path(), "tls");
        // Its port is its own also while it is down.
        let port = nobody().port();
        let mut provider = Self { authority, dir, port, running: None };
        provider.publish("one");
        provider.come_up();
        provider
    }

    /// Where it was before, with the keys of before.
    fn come_up(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(peers::python());
        command.arg(peers::script("authlib_provider.py")).args([path("tls.pem"), path("tls.key")]);
        command.arg(self.port.to_string()).arg(self.dir.path());
        let (peer, port) = peers::Peer::start(&mut command);
        assert_eq!(port.trim(), self.port.to_string());
        self.running = Some(peer);
    }

    /// Killed.
    fn die(&mut self) {
        self.running = None;
    }

    /// Publishes these keys; the first signs.
    fn publish(&self, keys: &str) {
        std::fs::write(self.dir.path().join("published"), keys).unwrap();
    }

    /// A fresh access token, by the client's credentials.
    fn token(&self) -> String {
        let body = "grant_type=client_credentials&client_id=drill&\
                    client_secret=a+secret+of+the+drill&scope=read";
        let secured = self.authority.client().connect_to(self.port, "localhost").unwrap();
        let mut connection = secured.connection;
        connection.send(format!(
            "POST /token HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        ));
        let answer = connection.answer_to("POST").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().expect("an access token").to_owned()
    }

    fn gateway(&self) -> Gateway {
        let setup = Setup::new()
            .tables(&format!(
                "[[issuer]]\nname = \"main\"\nissuer = \"https://localhost:{}\"\n\
                 audiences = [\"https://api.example.com\"]\ntypes = [\"at+jwt\"]\n\
                 keys = {{ discovery = true, ca = \"ca.pem\", cooldown = \"1s\", wait = \"10s\" }}\n",
                self.port
            ))
            .upstream("app", &Upstream::new(), "");
        std::fs::write(setup.dir().join("ca.pem"), &self.authority.pem).unwrap();
        setup.start()
    }
}

fn refresh(gateway: &Gateway) -> Value {
    gateway.admin().post("/v1/keys/refresh", &json!({}))["items"][0].clone()
}

/// Never 401: a key that may be on its way logs nobody out.
fn passes_in_the_end(gateway: &Gateway, token: &str) {
    eventually("the new key to pass, without a 401 before", || match gateway.status(token) {
        200 => Some(()),
        status => {
            assert_eq!(status, 503);
            None
        }
    });
}

#[test]
fn a_second_provider_rotates_with_an_overlap_and_drops_the_old_key() {
    let provider = Provider::start();
    let gateway = provider.gateway();
    let first = provider.token();
    assert_eq!(gateway.status(&first), 200);
    provider.publish("two one");
    let second = provider.token();
    passes_in_the_end(&gateway, &second);
    assert_eq!(gateway.status(&first), 200, "both while they overlap");
    provider.publish("two");
    let source = refresh(&gateway);
    assert_eq!(source["keys"].as_array().map(Vec::len), Some(1), "{source}");
    assert_eq!(gateway.status(&first), 401, "gone is gone, although its signature is remembered");
    assert_eq!(gateway.status(&second), 200);
    assert_eq!(gateway.status(&provider.token()), 200);
}

#[test]
fn a_provider_that_dies_in_the_middle_of_a_rotation_logs_nobody_out() {
    let mut provider = Provider::start();
    let mut gateway = provider.gateway();
    let first = provider.token();
    assert_eq!(gateway.status(&first), 200);
    // It signs with the new key, and is killed before the gateway has seen it.
    provider.publish("two one");
    let second = provider.token();
    provider.die();
    assert_eq!(gateway.status(&second), 503);
    assert_eq!(gateway.status(&first), 200);
    assert_eq!(refresh(&gateway)["state"], "failing");
    // The gateway starts anew meanwhile: with the keys that were kept.
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let gateway = gateway.start_again();
    assert_eq!(gateway.status(&first), 200);
    assert_eq!(gateway.status(&second), 503);
    provider.come_up();
    passes_in_the_end(&gateway, &second);
    assert_eq!(gateway.status(&first), 200);
    provider.publish("two");
    refresh(&gateway);
    assert_eq!((gateway.status(&first), gateway.status(&second)), (401, 200));
}
