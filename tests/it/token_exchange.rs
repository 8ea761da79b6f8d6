//! A server vouched for to the next server: who may ask, for whom, about whom, and until when.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::assertions::opened;
use crate::support::{
    Answer, Gateway, Issuer, Key, KeyServer, Kind, Setup, Token, Upstream, jwk, now,
};

const GATEWAY: &str = "https://gateway.example.com";
const ORDERS: &str = "https://orders.internal";
const STOCK: &str = "https://stock.internal";
const MAIL: &str = "https://mail.internal";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SECRETS: [(&str, &str); 2] =
    [("orders", "0123456789abcdef+123456789%2Fdef"), ("stock", "fedcba9876543210fedcba9876543210")];

struct Scene {
    issuer: Issuer,
    /// By which the gateway signs.
    key: Key,
    upstream: Upstream,
    gateway: Gateway,
}

fn scene_with(server: &str) -> Scene {
    let (issuer, key) = (Issuer::new("ES256"), Key::new(Kind::P256));
    let setup = Setup::new().server(server).issuer(&issuer, "claims = { indexed = [\"tenant\"] }");
    scene_of(setup, issuer, key)
}

/// A gateway that signs with this key, for tokens of this issuer.
fn scene_of(setup: Setup, issuer: Issuer, key: Key) -> Scene {
    let upstream = Upstream::new();
    let variable = |name: &str| format!("{}_SECRET", name.to_uppercase());
    let client = |name: &str, audience: &str, may_call: &str| {
        format!(
            "[[assertion.client]]\nname = \"{name}\"\nsecret_env = \"{}\"\naudience = \"{audience}\"\n\
             may_call = [\"{may_call}\"]\nclaims = [\"email\"]\n",
            variable(name)
        )
    };
    let [orders, stock] = SECRETS;
    let gateway = setup
        .upstream("app", &upstream, "")
        .file("own.pem", &key.private_pem())
        .environment(&variable(orders.0), orders.1)
        .environment(&variable(stock.0), stock.1)
        .tables(&format!("[assertion]\nissuer = \"{GATEWAY}\"\nkey_files = [\"own.pem\"]\n"))
        .tables(&client(orders.0, ORDERS, STOCK))
        .tables(&client(stock.0, STOCK, MAIL))
        .route(
            "/",
            &format!("assertion = {{ audience = \"{ORDERS}\", claims = [\"email\", \"phone\"] }}"),
        )
        .route("/mail/", &format!("assertion = {{ audience = \"{MAIL}\" }}"))
        .start();
    Scene { issuer, key, upstream, gateway }
}

fn scene() -> Scene {
    scene_with("")
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Who asks, by the secret in the header.
fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

type Parameters<'p> = Vec<(&'p str, &'p str)>;

/// What a right request has.
fn right<'p>(token: &'p str, kind: &'p str, audience: &'p str) -> Parameters<'p> {
    vec![
        ("grant_type", GRANT),
        ("subject_token", token),
        ("subject_token_type", kind),
        ("audience", audience),
    ]
}

impl Scene {
    fn session(&self, subject: &str) -> Token {
        let token = self.issuer.token(subject).claim("sid", format!("s-{subject}"));
        token.claim("email", format!("{subject}@example.com")).claim("phone", "1")
    }

    /// The assertion that a backend is sent.
    #[track_caller]
    fn sent(&self, target: &str, token: &str) -> String {
        let answer = self.gateway.get_with(target, token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.upstream.last().header("x-portcullis-assertion").unwrap().to_owned()
    }

    fn post(&self, headers: &[(&str, &str)], parameters: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let headers = [&[form], headers].concat();
        self.gateway.connect().request("POST", "/.auth/token", &headers, pairs.join("&").as_bytes())
    }

    /// By one of the two clients.
    fn ask(&self, (name, secret): (&str, &str), parameters: &[(&str, &str)]) -> Answer {
        self.post(&[("Authorization", &basic(name, secret))], parameters)
    }

    #[track_caller]
    fn exchanged(&self, by: (&str, &str), token: &str, kind: &str, audience: &str) -> String {
        let answer = self.ask(by, &right(token, kind, audience));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The same claims but for these, signed with the gateway's own key.
    fn resigned(&self, assertion: &str, changes: &[(&str, Value)]) -> String {
        resigned(assertion, &self.key, changes)
    }
}

fn resigned(assertion: &str, key: &Key, changes: &[(&str, Value)]) -> String {
    let (Value::Object(header), Value::Object(mut claims)) = opened(assertion) else {
        panic!("two objects")
    };
    for (name, value) in changes {
        claims.insert((*name).to_owned(), value.clone());
    }
    Token { header, claims, key: key.clone(), algorithm: "ES256".into() }.mint()
}

#[track_caller]
fn is_refused(answer: &Answer, error: &str, what: &str) {
    let expected = if error == "invalid_client" { 401 } else { 400 };
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (expected, &json!(error)),
        "{what}: {}",
        answer.text()
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

#[test]
fn a_server_is_vouched_for_to_the_next_one_in_the_persons_name() {
    let scene = scene();
    let token = scene.session("alice").claim("client_id", "app");
    let assertion = scene.sent("/", &token.mint());
    let [orders, stock] = SECRETS;
    let answer = scene.ask(orders, &right(&assertion, JWT, STOCK));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!((&body["issued_token_type"], &body["token_type"]), (&json!(JWT), &json!("Bearer")));
    let next = body["access_token"].as_str().unwrap();
    let ((header, claims), (_, before)) = (opened(next), opened(&assertion));
    assert_eq!(header["typ"], "portcullis-assertion+jwt");
    for (name, value) in [
        ("iss", json!(GATEWAY)),
        ("aud", json!(STOCK)),
        ("sub", json!("alice")),
        ("sid", json!("s-alice")),
        ("client_id", json!("app")),
        ("email", json!("alice@example.com")),
        ("phone", Value::Null),
        ("act", json!({"sub": "orders"})),
        ("origin", before["origin"].clone()),
    ] {
        assert_eq!(claims[name], value, "{name}: {claims}");
    }
    assert_ne!(claims["jti"], before["jti"]);
    // And from there to a third: who acts is told in order.
    let third = opened(&scene.exchanged(stock, next, JWT, MAIL)).1;
    assert_eq!(third["act"], json!({"sub": "stock", "act": {"sub": "orders"}}));
    assert_eq!((&third["sub"], &third["origin"]), (&json!("alice"), &before["origin"]));
    // The person's own token, where a backend is sent that; the secret in the form.
    let token = token.mint();
    let mut parameters = right(&token, ACCESS_TOKEN, STOCK);
    parameters.extend([("client_id", orders.0), ("client_secret", orders.1)]);
    let answer = scene.post(&[], &parameters);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let claims = opened(answer.json()["access_token"].as_str().unwrap()).1;
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!("alice"), &json!("orders")));
    // A token appears nowhere in the log.
    let lines = scene.gateway.stdout.all().join("\n");
    assert!(!lines.contains(next) && !lines.contains(orders.1), "{lines}");
}

#[test]
fn only_assertions_for_this_server_are_exchanged_and_only_for_those_it_may_call() {
    let scene = scene();
    let [orders, stock] = SECRETS;
    let alice = scene.session("alice").mint();
    let for_orders = scene.sent("/", &alice);
    let for_mail = scene.sent("/mail/x", &alice);
    let good = right(&for_orders, JWT, STOCK);
    assert_eq!(scene.ask(orders, &good).status, 200);
    is_refused(&scene.ask(stock, &right(&for_orders, JWT, MAIL)), "invalid_request", "another's");
    is_refused(&scene.ask(orders, &right(&for_mail, JWT, STOCK)), "invalid_request", "nobody's");
    for target in [MAIL, ORDERS, "https://stock.internal/", "x"] {
        is_refused(&scene.ask(orders, &right(&for_orders, JWT, target)), "invalid_target", target);
    }
    let stranger = Issuer::new("ES256");
    let forged = resigned(&for_orders, &Key::new(Kind::P256), &[]);
    let of_issuer = scene.issuer.token("alice").claim("iss", GATEWAY).claim("aud", ORDERS);
    let long =
        scene.resigned(&for_orders, &[("iat", json!(now() - 10)), ("exp", json!(now() + 3600))]);
    let (head, _) = for_orders.rsplit_once('.').unwrap();
    for (what, token, kind) in [
        ("forged", forged, JWT),
        ("without a signature", format!("{head}."), JWT),
        ("of the issuer's key", of_issuer.header("typ", "portcullis-assertion+jwt").mint(), JWT),
        ("an access token", alice.clone(), JWT),
        ("an access token of nobody", stranger.mint("alice"), ACCESS_TOKEN),
        ("an assertion as an access token", for_orders.clone(), ACCESS_TOKEN),
        ("one that lives too long", long, JWT),
        ("garbage", "x.y.z".to_owned(), JWT),
    ] {
        is_refused(&scene.ask(orders, &right(&token, kind, STOCK)), "invalid_request", what);
    }
    // Re-signed as it was it passes: the details above are what was refused.
    let again = scene.resigned(&for_orders, &[]);
    assert_eq!(scene.ask(orders, &right(&again, JWT, STOCK)).status, 200);
}

#[test]
fn nothing_that_is_exchanged_outlives_the_token_with_which_it_began() {
    let scene = scene();
    let [orders, stock] = SECRETS;
    let soon = scene.session("alice").times(-100, 30);
    let end = soon.claims["exp"].clone();
    let assertion = scene.sent("/", &soon.mint());
    let next = scene.exchanged(orders, &assertion, JWT, STOCK);
    let third = scene.exchanged(stock, &next, JWT, MAIL);
    let direct = scene.exchanged(orders, &soon.mint(), ACCESS_TOKEN, STOCK);
    for token in [&assertion, &next, &third, &direct] {
        assert_eq!(opened(token).1["exp"], end);
    }
    let long = scene.sent("/", &scene.session("alice").mint());
    let expired = scene.resigned(&long, &[("iat", json!(now() - 60)), ("exp", json!(now() - 1))]);
    is_refused(&scene.ask(orders, &right(&expired, JWT, STOCK)), "invalid_request", "expired");
    let mut origin = opened(&long).1["origin"].clone();
    origin["exp"] = json!(now() - 1);
    let over = scene.resigned(&long, &[("origin", origin)]);
    is_refused(
        &scene.ask(orders, &right(&over, JWT, STOCK)),
        "invalid_request",
        "its token is over",
    );
    assert_eq!(scene.ask(orders, &right(&long, JWT, STOCK)).status, 200);
}

#[test]
fn a_denial_of_the_token_reaches_whatever_was_made_of_it() {
    let scene = scene();
    let [orders, stock] = SECRETS;
    let admin = scene.gateway.admin();
    let told = |name: &str| {
        let token = scene.session(name).claim("jti", format!("j-{name}"));
        let token =
            token.claim("client_id", format!("c-{name}")).claim("tenant", format!("t-{name}"));
        let assertion = scene.sent("/", &token.mint());
        let next = scene.exchanged(orders, &assertion, JWT, STOCK);
        (assertion, next)
    };
    let passes = |(assertion, next): &(String, String)| {
        let first = scene.ask(orders, &right(assertion, JWT, STOCK));
        let second = scene.ask(stock, &right(next, JWT, MAIL));
        assert_eq!(first.status, second.status, "{} {}", first.text(), second.text());
        if first.status == 400 {
            assert!(first.text().contains("revoked"), "{}", first.text());
        }
        first.status == 200
    };
    let bystander = told("zoe");
    for (name, denial) in [
        ("a", json!({"subject": "a", "issued_before": "now"})),
        ("b", json!({"subject": "b", "always": true})),
        ("c", json!({"session": "s-c", "always": true})),
        ("d", json!({"jti": "j-d"})),
        ("e", json!({"client": "c-e", "always": true})),
        ("f", json!({"claim": {"name": "tenant", "value": "t-f"}, "always": true})),
    ] {
        let both = told(name);
        assert!(passes(&both), "{name} before");
        admin.deny(denial.clone());
        assert!(!passes(&both), "{denial}");
        assert!(passes(&bystander), "{denial} hits nobody else");
    }
    let id = admin.deny(json!({"key": scene.issuer.key.thumbprint(), "always": true}));
    assert!(!passes(&bystander), "the key");
    admin.undo(&id);
    assert!(passes(&bystander));
    admin.deny(json!({"everyone": true, "issued_before": "now"}));
    assert!(!passes(&bystander), "the issuer");
}

#[test]
fn a_key_that_another_gateway_has_already_is_fetched_for_an_assertion_too() {
    let named = |issuer: &Issuer, kid: &str| Issuer { kid: Some(kid.into()), ..issuer.clone() };
    let issuer = named(&Issuer::new("ES256"), "one");
    let next = named(&Issuer { key: issuer.key.other(), ..issuer.clone() }, "two");
    let set = |issuers: &[&Issuer]| {
        let public = |issuer: &&Issuer| jwk(issuer, issuer.kid.as_deref().unwrap(), &issuer.key);
        issuers.iter().map(public).collect::<Vec<_>>()
    };
    let server = KeyServer::new(set(&[&issuer]));
    let key = Key::new(Kind::P256);
    let gateway = || {
        let setup = Setup::new();
        server.write_ca(setup.dir());
        let keys =
            format!("{{ jwks_url = \"{}/keys\", ca = \"ca.pem\", wait = \"10s\" }}", server.base());
        scene_of(setup.issuer_with_keys(&issuer, &keys, ""), next.clone(), key.clone())
    };
    let (one, other) = (gateway(), gateway());
    let orders = SECRETS[0];
    for gateway in [&one, &other] {
        assert_eq!(gateway.gateway.status(&issuer.mint("zoe")), 200, "the first set is here");
    }
    let old = one.sent("/", &issuer.mint("alice"));
    server.keys(set(&[&next, &issuer]));
    let assertion = one.sent("/", &one.session("alice").mint());
    assert_eq!(other.ask(orders, &right(&assertion, JWT, STOCK)).status, 200);
    // A key that nobody has published cannot be judged while it may be on its way.
    let mut origin = opened(&assertion).1["origin"].clone();
    origin["kid"] = json!("three");
    origin["key"] = json!(issuer.key.other().thumbprint());
    let invented = other.resigned(&assertion, &[("origin", origin)]);
    let answer = other.ask(orders, &right(&invented, JWT, STOCK));
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    // One that was taken away is gone.
    server.keys(set(&[&next]));
    other.gateway.admin().post("/v1/keys/refresh", &json!({}));
    is_refused(&other.ask(orders, &right(&old, JWT, STOCK)), "invalid_request", "a former key");
    assert_eq!(other.ask(orders, &right(&assertion, JWT, STOCK)).status, 200);
}

#[test]
fn a_token_without_jti_is_known_by_its_digest() {
    let scene = scene();
    let orders = SECRETS[0];
    let token = scene.session("alice").without("jti").mint();
    let other = scene.sent("/", &scene.session("alice").without("jti").claim("n", 1).mint());
    let assertion = scene.sent("/", &token);
    scene.gateway.admin().deny(json!({"token": token}));
    is_refused(&scene.ask(orders, &right(&assertion, JWT, STOCK)), "invalid_request", "denied");
    assert_eq!(scene.ask(orders, &right(&other, JWT, STOCK)).status, 200);
}

#[test]
fn a_request_that_is_not_quite_one_is_refused_by_the_words_of_oauth() {
    let scene = scene();
    let orders = SECRETS[0];
    let assertion = scene.sent("/", &scene.session("alice").mint());
    let good = right(&assertion, JWT, STOCK);
    let without = |name: &str| -> Parameters<'_> {
        good.iter().copied().filter(|(other, _)| *other != name).collect()
    };
    let with = |name: &'static str, value: &'static str| -> Parameters<'_> {
        let mut parameters = without(name);
        parameters.push((name, value));
        parameters
    };
    assert_eq!(scene.ask(orders, &good).status, 200);
    assert_eq!(scene.ask(orders, &with("requested_token_type", JWT)).status, 200);
    let twice = [good.clone(), vec![("audience", STOCK)]].concat();
    for (parameters, error) in [
        (without("grant_type"), "unsupported_grant_type"),
        (with("grant_type", "client_credentials"), "unsupported_grant_type"),
        (without("subject_token"), "invalid_request"),
        (with("subject_token", ""), "invalid_request"),
        (without("subject_token_type"), "invalid_request"),
        (with("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"),
        (without("audience"), "invalid_request"),
        (with("resource", "https://stock.internal"), "invalid_request"),
        (with("actor_token", "x"), "invalid_request"),
        (with("requested_token_type", "urn:x"), "invalid_request"),
        (with("scope", "all"), "invalid_scope"),
        (twice, "invalid_request"),
    ] {
        is_refused(&scene.ask(orders, &parameters), error, &format!("{parameters:?}"));
    }
    let bearer = basic(orders.0, orders.1);
    let json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let answer = scene.gateway.connect().request("POST", "/.auth/token", &json, b"{}");
    is_refused(&answer, "invalid_request", "JSON");
    let long = "x".repeat(33 * 1024);
    assert_eq!(scene.ask(orders, &right(&long, JWT, STOCK)).status, 413);
    let get = scene.gateway.get("/.auth/token", &[("Authorization", &bearer)]);
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    // A page of another site has nothing to ask here, whatever it knows.
    for evil in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        let headers = [("Authorization", bearer.as_str()), evil];
        assert_eq!(scene.post(&headers, &good).code(), "cross_site");
    }
}

#[test]
fn a_wrong_secret_is_nobodys_and_counts_as_a_failed_credential() {
    let scene = scene_with("limits = { failed_credentials_per_minute = 7 }");
    let [orders, stock] = SECRETS;
    let assertion = scene.sent("/", &scene.session("alice").mint());
    let good = right(&assertion, JWT, STOCK);
    is_refused(&scene.post(&[], &good), "invalid_client", "no secret");
    let both = [good.clone(), vec![("client_id", orders.0), ("client_secret", orders.1)]].concat();
    is_refused(&scene.ask(orders, &both), "invalid_request", "two secrets");
    assert_eq!(scene.ask(orders, &good).status, 200, "as curl -u sends it");
    let encoded = "0123456789abcdef%2B123456789%252Fdef";
    assert_eq!(scene.ask((orders.0, encoded), &good).status, 200, "as RFC 6749 has it");
    let wrong: Vec<(&str, &str)> = vec![
        (orders.0, stock.1),
        (orders.0, ""),
        ("nobody", orders.1),
        ("", ""),
        ("Orders", orders.1),
        (orders.0, &orders.1[1..]),
        (orders.0, "0123456789abcdef+123456789%2FdeF"),
    ];
    for by in &wrong {
        let answer = scene.ask(*by, &good);
        is_refused(&answer, "invalid_client", &format!("{by:?}"));
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic"), "{by:?}");
    }
    let held_up = (0..100).map(|_| scene.ask((orders.0, "guess"), &good));
    let held_up = held_up.into_iter().find(|answer| answer.status == 429).expect("429 at last");
    assert_eq!(held_up.code(), "too_many_failures");
    assert!(held_up.header("retry-after").is_some());
}

#[test]
fn without_clients_there_is_no_exchange_and_without_assertions_no_keys() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let plain = Setup::simple(&issuer, &upstream).start();
    assert_eq!(plain.get("/.auth/jwks", &[]).status, 404);
    assert_eq!(plain.connect().request("POST", "/.auth/token", &[], b"").status, 404);
    let vouching = Setup::simple(&issuer, &upstream)
        .tables(&format!("[assertion]\nissuer = \"{GATEWAY}\""))
        .route("/", &format!("assertion = {{ audience = \"{ORDERS}\" }}"))
        .start();
    assert_eq!(vouching.get("/.auth/jwks", &[]).status, 200);
    assert_eq!(vouching.connect().request("POST", "/.auth/token", &[], b"").status, 404);
    // And the backend is told no more of the token than it needs.
    assert_eq!(vouching.status(&issuer.token("alice").claim("tenant", "t").mint()), 200);
    let assertion = upstream.last().header("x-portcullis-assertion").unwrap().to_owned();
    let origin = opened(&assertion).1["origin"].clone();
    let names: Vec<&String> = origin.as_object().unwrap().keys().collect();
    assert_eq!(names, ["exp", "iat", "iss", "jti"], "{origin}");
}
