//! Renewal and revocation at an OpenID provider that nobody here wrote: `oidc-provider` from npm, whose
//! refresh tokens are rotated and whose access tokens name no session. The login goes through its own
//! pages; what the gateway does later is seen in what the provider still takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::session_scene::{ACCESS, OURS, REFRESH, assert_cleared, forget_access};
use crate::support::{Answer, Connection, Gateway, Jar, Setup, eventually, peers};

const SECRET: &str = "a secret: of the gateway%";

struct Scene {
    _peer: peers::Peer,
    provider: String,
    app: String,
    gateway: Gateway,
}

impl Scene {
    fn start() -> Self {
        let mut node = peers::node("oidc_login.mjs");
        let (peer, ports) = peers::Peer::start(node.env("CLIENT_SECRET", SECRET));
        let (provider, app) = ports.trim().split_once(' ').expect("two ports");
        let (provider, app) = (format!("127.0.0.1:{provider}"), format!("127.0.0.1:{app}"));
        let gateway = Setup::new()
            .environment("CLIENT_SECRET", SECRET)
            .tables(&format!(
                "[[issuer]]\nname = \"main\"\nissuer = \"http://{provider}\"\n\
                 audiences = [\"https://api.example.com\"]\nkeys = {{ discovery = true }}\n\
                 types = [\"at+jwt\"]\n\
                 [issuer.renewal]\ntoken_url = \"http://{provider}/token\"\n\
                 revoke_url = \"http://{provider}/token/revocation\"\n\
                 client_id = \"the gateway\"\nclient_secret_env = \"CLIENT_SECRET\"\n"
            ))
            .upstream_at("app", &format!("http://{app}"), "")
            .route(
                "/login",
                "access = \"public\"\n\
                 capture = { token = \"/access_token\", refresh = \"/refresh_token\" }",
            )
            .route("/", "credentials = [\"session\"]\nforward = \"bearer\"")
            .start();
        let scene = Self { _peer: peer, provider, app, gateway };
        eventually("the provider's keys", || {
            let keys = scene.gateway.admin().get("/v1/keys");
            (keys["items"][0]["keys"].as_array()?.len() == 1).then_some(())
        });
        scene
    }

    /// A browser that logs in, with what it has already; and the refresh token that it never sees.
    #[track_caller]
    fn log_in(&self, before: &Jar) -> (Jar, String) {
        let answer = self.post("/login", before);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = answer.json();
        assert_eq!((&told["access_token"], &told["refresh_token"]), (&Value::Null, &Value::Null));
        let mut jar = before.clone();
        jar.take(&answer);
        assert!(jar.0.contains_key(ACCESS) && jar.0.contains_key(REFRESH), "{:?}", jar.0.keys());
        let tokens = Connection::open(&self.app).get("/login/tokens", &[]).json();
        (jar, tokens["refresh_token"].as_str().expect("a refresh token").to_owned())
    }

    fn get(&self, jar: &Jar) -> Answer {
        self.gateway.get("/", &[("Cookie", &jar.header()), OURS])
    }

    fn post(&self, target: &str, jar: &Jar) -> Answer {
        let cookie = jar.header();
        let headers = [("Cookie", cookie.as_str()), OURS];
        let cookies = if jar.0.is_empty() { &headers[1..] } else { &headers[..] };
        self.gateway.connect().request("POST", target, cookies, b"")
    }

    fn count(&self, what: &str) -> u64 {
        Connection::open(&self.app).get("/counts", &[]).json()[what].as_u64().expect("a count")
    }

    /// What the provider says to whoever hands in this refresh token: its status.
    #[track_caller]
    fn takes(&self, refresh: &str) -> u16 {
        let basic = STANDARD.encode("the%20gateway:a%20secret%3A%20of%20the%20gateway%25");
        let authorization = format!("Basic {basic}");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let body = format!("grant_type=refresh_token&refresh_token={refresh}");
        let mut connection = Connection::open(&self.provider);
        connection.request("POST", "/token", &headers, body.as_bytes()).status
    }
}

#[test]
fn fifty_requests_at_once_spend_one_refresh_token_and_a_copy_of_it_ends_the_session() {
    let scene = Scene::start();
    let (mut jar, _) = scene.log_in(&Jar::default());
    let first = jar.0[ACCESS].clone();
    assert_eq!(scene.get(&jar).json()["authorization"], json!(format!("Bearer {first}")));
    forget_access(&mut jar);
    let answers = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..50).map(|_| scope.spawn(|| scene.get(&jar))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let mut after = jar.clone();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        after.take(answer);
        let authorization = format!("Bearer {}", after.0[ACCESS]);
        assert_eq!(answer.json()["authorization"], json!(authorization), "all have the same one");
    }
    assert_ne!(after.0[ACCESS], first);
    assert_eq!(scene.count("refresh_token"), 1);
    // And the one after that, with the refresh token that the provider gave instead.
    let stolen = after.clone();
    forget_access(&mut after);
    after.take(&scene.get(&after));
    assert_eq!((scene.get(&after).status, scene.count("refresh_token")), (200, 2));

    // The successor was used, and no process remembers how it came to be: the older one is a copy.
    let scene = Scene { gateway: scene.gateway.restart(), ..scene };
    eventually("the provider's keys", || (scene.get(&after).status == 200).then_some(()));
    let mut copy = stolen;
    forget_access(&mut copy);
    let answer = scene.get(&copy);
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"));
    assert_cleared(&answer);
    forget_access(&mut after);
    let answer = scene.get(&after);
    assert_eq!((answer.status, answer.code().as_str()), (401, "session_ended"));
    eventually("the grant is revoked at the provider", || {
        (scene.count("revoked") >= 1).then_some(())
    });
    assert_eq!(scene.count("refresh_token"), 2);
    let denials = scene.gateway.admin().get("/v1/denials");
    let by = &denials["items"][0]["created_by"];
    assert_eq!((&by["name"], &by["role"]), (&json!("gateway"), &json!("gateway")), "{denials}");
}

#[test]
fn a_log_out_revokes_the_refresh_token_at_the_provider() {
    let scene = Scene::start();
    let (mine, refresh) = scene.log_in(&Jar::default());
    let (_, of_another) = scene.log_in(&Jar::default());
    let answer = scene.post("/.auth/logout", &mine);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_cleared(&answer);
    eventually("the revocation", || (scene.count("revoked") == 1).then_some(()));
    assert_eq!(scene.takes(&refresh), 400);
    assert_eq!(scene.takes(&of_another), 200, "that of another session is as good as before");
    assert_eq!(scene.get(&mine).code(), "token_revoked");
}

#[test]
fn a_new_login_ends_the_session_that_the_browser_had_and_its_refresh_token() {
    let scene = Scene::start();
    let (before, old) = scene.log_in(&Jar::default());
    let (after, new) = scene.log_in(&before);
    eventually("the revocation", || (scene.count("revoked") == 1).then_some(()));
    assert_eq!(
        (scene.get(&before).code(), scene.get(&after).status),
        ("token_revoked".into(), 200)
    );
    assert_eq!((scene.takes(&old), scene.takes(&new)), (400, 200));
}
