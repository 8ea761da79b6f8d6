//! The rotation of an identity provider that nobody here wrote: `oidc-provider` from npm issues the
//! tokens, publishes the document and the keys, and rotates them under a running gateway.

use serde_json::{Value, json};

use crate::support::{Connection, Gateway, Setup, Upstream, peers};

struct Provider {
    _peer: peers::Peer,
    address: String,
}

impl Provider {
    fn start() -> Self {
        let (peer, port) = peers::Peer::start(&mut peers::node("oidc_provider.mjs"));
        Self { _peer: peer, address: format!("127.0.0.1:{}", port.trim()) }
    }

    fn call(&self, method: &str, target: &str, body: &str) -> Vec<u8> {
        let mut connection = Connection::open(&self.address);
        connection.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        ));
        let answer = connection.answer_to(method).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    /// Publishes these keys; the first signs.
    fn publish(&self, keys: &str) {
        self.call("POST", &format!("/drill/{keys}"), "");
    }

    /// A fresh access token, by the client's credentials.
    fn token(&self) -> String {
        let body = "grant_type=client_credentials&client_id=drill&\
                    client_secret=a+secret+of+the+drill&scope=read";
        let answer: Value = serde_json::from_slice(&self.call("POST", "/token", body)).unwrap();
        answer["access_token"].as_str().expect("an access token").to_owned()
    }
}

fn gateway(provider: &Provider, upstream: &Upstream) -> Gateway {
    Setup::new()
        .tables(&format!(
            "[[issuer]]\nname = \"main\"\nissuer = \"http://{}\"\n\
             audiences = [\"https://api.example.com\"]\nkeys = {{ discovery = true, wait = \"10s\" }}\n\
             types = [\"at+jwt\"]\n",
            provider.address
        ))
        .upstream("app", upstream, "")
        .start()
}

fn refresh(gateway: &Gateway) -> Value {
    gateway.admin().post("/v1/keys/refresh", &json!({}))["items"][0].clone()
}

#[test]
fn a_provider_rotates_its_keys_and_nobody_notices_until_the_old_one_is_gone() {
    let provider = Provider::start();
    let upstream = Upstream::new();
    let gateway = gateway(&provider, &upstream);
    let first = provider.token();
    assert_eq!(gateway.status(&first), 200);
    // Both are published, the new one signs: its first token is served at once.
    provider.publish("two+one");
    let second = provider.token();
    assert_eq!(gateway.status(&second), 200);
    assert_eq!(gateway.status(&first), 200);
    // The old one is gone, and so are its tokens, also the one whose signature is remembered.
    provider.publish("two");
    let source = refresh(&gateway);
    assert_eq!(source["keys"].as_array().map(Vec::len), Some(1), "{source}");
    assert_eq!(source["keys"][0]["kid"], "two");
    assert_eq!(gateway.status(&first), 401);
    assert_eq!(gateway.status(&second), 200);
    assert_eq!(gateway.status(&provider.token()), 200);
}

#[test]
fn a_leaked_key_is_denied_before_the_provider_drops_it() {
    let provider = Provider::start();
    let upstream = Upstream::new();
    let gateway = gateway(&provider, &upstream);
    provider.publish("one+two");
    let leaked = provider.token();
    assert_eq!(gateway.status(&leaked), 200);
    gateway.admin().block(json!({"key": "one"}));
    assert_eq!(gateway.status(&leaked), 401);
    // What a thief signs now does not pass either.
    assert_eq!(gateway.status(&provider.token()), 401);
    provider.publish("two+one");
    assert_eq!(gateway.status(&provider.token()), 200);
    assert_eq!(gateway.status(&leaked), 401);
}

#[test]
fn a_secret_is_changed_by_giving_both_and_a_client_speaks_only_for_itself() {
    let upstream = Upstream::new();
    let mut app_a = crate::support::Issuer::new("HS256");
    app_a.kid = Some("a".into());
    let mut app_b = app_a.clone();
    app_b.key = app_a.key.other();
    app_b.kid = Some("b".into());
    let secret = |issuer: &crate::support::Issuer| match &issuer.key {
        crate::support::Key::Secret(secret) => String::from_utf8(secret.to_vec()).unwrap(),
        crate::support::Key::Rsa(_)
        | crate::support::Key::P256(_)
        | crate::support::Key::P384(_)
        | crate::support::Key::Ed25519(_) => unreachable!(),
    };
    let gateway = Setup::new()
        .file("a.secret", &secret(&app_a))
        .file("b.secret", &secret(&app_b))
        .issuer_with_keys(
            &app_a,
            "{ secrets = { a = { file = \"a.secret\", client = \"app-a\" }, \
             b = { file = \"b.secret\" } } }",
            "",
        )
        .upstream("app", &upstream, "")
        .start();
    let of = |issuer: &crate::support::Issuer, client: &str| {
        issuer.token("svc").claim("client_id", client).mint()
    };
    assert_eq!(gateway.status(&of(&app_a, "app-a")), 200);
    assert_eq!(gateway.status(&of(&app_a, "app-b")), 401);
    assert_eq!(gateway.status(&app_a.mint("svc")), 401, "a token that names no client");
    assert_eq!(gateway.status(&of(&app_b, "app-b")), 200);
    assert_eq!(gateway.status(&of(&app_b, "app-a")), 200, "this one is bound to none");
    let crossed = app_b.token("svc").header("kid", "a").claim("client_id", "app-a").mint();
    assert_eq!(gateway.status(&crossed), 401);
    // The directory of secrets: a kid for each file.
    let directory = Setup::new()
        .file("clients/a.secret", &secret(&app_a))
        .file("clients/b", &secret(&app_b))
        .issuer_with_keys(&app_a, "{ secrets_dir = \"clients\" }", "")
        .upstream("app", &upstream, "")
        .start();
    assert_eq!(directory.status(&app_a.mint("svc")), 200);
    assert_eq!(directory.status(&app_b.mint("svc")), 200);
    assert_eq!(directory.status(&app_b.token("svc").header("kid", "a").mint()), 401);
}
