//! What the gateway signs for its backends: whom it names, for whom it is, how long it lives, and that
//! nobody else can say it.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::peers::{node, packages, python, script};
use crate::support::{Gateway, Issuer, Setup, Upstream, run_to_end};

const AUDIENCE: &str = "https://orders.internal";
const HEADER: &str = "x-portcullis-assertion";
const ASSERTION: &str = "[assertion]\nissuer = \"https://gateway.example.com\"\n";

struct Scene {
    issuer: Issuer,
    upstream: Upstream,
    gateway: Gateway,
}

/// Routes that vouch: to everything, and below `/short/` and `/open/` otherwise.
fn scene(assertion: &str) -> Scene {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let vouched = format!(
        "assertion = {{ audience = \"{AUDIENCE}\", claims = [\"email\", \"/realm/roles\"] }}"
    );
    let gateway = Setup::simple(&issuer, &upstream)
        .server("trusted_proxies = [\"127.0.0.1/32\"]\n# Each thread signs for itself.\nthreads = 1")
        .tables(&format!("{ASSERTION}{assertion}"))
        .route("/", &vouched)
        .route("/open/", &format!("access = \"optional\"\n{vouched}"))
        .route("/stock/", "assertion = { audience = \"https://stock.internal\", header = \"X-Stock-User\", lifetime = \"5s\" }")
        .start();
    Scene { issuer, upstream, gateway }
}

/// Header and claims, without a look at the signature.
pub fn opened(token: &str) -> (Value, Value) {
    let part = |at: usize| {
        let text = token.split('.').nth(at).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    (part(0), part(1))
}

impl Scene {
    #[track_caller]
    fn sent(&self, target: &str, token: &str) -> String {
        let answer = self.gateway.get_with(target, token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.upstream.last().header(HEADER).expect("an assertion").to_owned()
    }

    fn jwks(&self) -> Value {
        let answer = self.gateway.get("/.auth/jwks", &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        answer.json()
    }
}

#[test]
fn a_backend_learns_with_a_signature_for_whom_a_request_comes() {
    let scene = scene("");
    let token = scene.issuer.token("alice").claim("sid", "s-1").claim("client_id", "app");
    let token =
        token.claim("email", "a@example.com").claim("realm", json!({"roles": ["x"], "y": 1}));
    let text = token.mint();
    let assertion = scene.sent("/", &text);
    let (header, claims) = opened(&assertion);
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("portcullis-assertion+jwt"), &json!("ES256"))
    );
    let set = scene.jwks();
    assert_eq!(set["keys"][0]["kid"], header["kid"]);
    assert!(!set.to_string().contains("\"d\""), "no private key: {set}");
    for (name, value) in [
        ("iss", json!("https://gateway.example.com")),
        ("aud", json!(AUDIENCE)),
        ("sub", json!("alice")),
        ("sid", json!("s-1")),
        ("client_id", json!("app")),
        ("email", json!("a@example.com")),
        ("realm", json!({"roles": ["x"]})),
    ] {
        assert_eq!(claims[name], value, "{name}: {claims}");
    }
    assert_eq!(claims["origin"]["iss"], scene.issuer.iss.as_str());
    assert_eq!(claims["origin"]["jti"], token.claims["jti"]);
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((55..=60).contains(&(expires - issued)), "{claims}");
    // The same for half of its life, since signing costs; another one for another token.
    assert_eq!(scene.sent("/", &text), assertion);
    assert_ne!(scene.sent("/", &scene.issuer.mint("alice")), assertion);
}

#[test]
fn each_backend_has_an_audience_and_a_header_of_its_own() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    scene.gateway.get_with("/stock/x", &token);
    let seen = scene.upstream.last();
    assert_eq!(seen.header(HEADER), None);
    let (_, claims) = opened(seen.header("x-stock-user").unwrap());
    assert_eq!(claims["aud"], "https://stock.internal");
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 5);
}

#[test]
fn nobody_but_the_gateway_can_send_one() {
    let scene = scene("");
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let forged = scene.issuer.mint("mallory");
    for name in ["X-Portcullis-Assertion", "x_portcullis_assertion", "X-Portcullis.Assertion"] {
        let ours = scene.gateway.get("/", &[("Authorization", &bearer), (name, &forged)]);
        assert_eq!(ours.status, 200);
        let seen = scene.upstream.last();
        let (_, claims) = opened(seen.header(HEADER).unwrap());
        assert_eq!(claims["sub"], "alice");
        assert!(!seen.head_text().contains(&forged), "{name}");
        // A stranger on an open route is vouched for by nobody.
        assert_eq!(scene.gateway.get("/open/", &[(name, &forged)]).status, 200);
        assert!(!scene.upstream.last().head_text().contains(&forged), "{name}");
        assert_eq!(scene.upstream.last().header(HEADER), None);
    }
    let nominated = [("Authorization", bearer.as_str()), ("Connection", HEADER)];
    scene.gateway.get("/", &nominated);
    assert!(scene.upstream.last().header(HEADER).is_some());
}

#[test]
fn it_never_outlives_the_token_and_is_not_made_for_one_that_is_over() {
    let scene = scene("");
    let soon = scene.issuer.token("alice").times(-100, 20);
    let (_, claims) = opened(&scene.sent("/", &soon.mint()));
    assert_eq!(claims["exp"], soon.claims["exp"]);
    // Within the leeway the token still passes; an assertion would be born dead.
    let over = scene.issuer.token("alice").times(-100, -5).mint();
    let count = scene.upstream.begun();
    assert_eq!(scene.gateway.get_with("/", &over).code(), "token_expired");
    assert_eq!(scene.upstream.begun(), count);
}

#[test]
fn the_gateway_takes_none_of_its_own_unless_it_is_told_to() {
    let scene = scene("");
    let assertion = scene.sent("/", &scene.issuer.mint("alice"));
    assert_eq!(scene.gateway.get_with("/", &assertion).code(), "token_invalid");
    // A second gateway, in front of the backend, that is told whom to believe.
    let set = scene.jwks().to_string();
    let upstream = Upstream::new();
    let issuer = |types: &str| {
        format!(
            "[[issuer]]\nname = \"front\"\nissuer = \"https://gateway.example.com\"\n\
             audiences = [\"{AUDIENCE}\"]\nkeys = {{ jwks_file = \"front.json\" }}\n{types}"
        )
    };
    for (types, status) in [("", 401), ("types = [\"portcullis-assertion+jwt\"]\n", 200)] {
        let second = Setup::new()
            .file("front.json", &set)
            .tables(&issuer(types))
            .upstream("app", &upstream, "")
            .start();
        assert_eq!(second.status(&assertion), status, "{types}");
    }
}

#[test]
fn forward_auth_hands_the_assertion_to_the_proxy_in_front() {
    let scene = scene("");
    let bearer = format!("Bearer {}", scene.issuer.mint("alice"));
    let told = [("X-Forwarded-Uri", "/orders"), ("X-Forwarded-Host", "app.example.com")];
    let verify =
        |headers: &[(&str, &str)]| scene.gateway.get("/.auth/verify", &[&told, headers].concat());
    let granted = verify(&[("Authorization", &bearer)]);
    let (_, claims) = opened(granted.header(HEADER).unwrap());
    assert_eq!((claims["sub"].as_str(), claims["aud"].as_str()), (Some("alice"), Some(AUDIENCE)));
    let anonymous = scene.gateway.get(
        "/.auth/verify",
        &[("X-Forwarded-Uri", "/open/x"), ("X-Forwarded-Host", "app.example.com")],
    );
    assert_eq!((anonymous.status, anonymous.header(HEADER)), (200, Some("")));
}

#[test]
fn own_keys_survive_a_restart_and_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = scene("algorithm = \"EdDSA\"\n");
    let token = scene.issuer.mint("alice");
    let (header, _) = opened(&scene.sent("/", &token));
    assert_eq!(header["alg"], "EdDSA");
    let file = scene.gateway.dir().join("data/assertion-keys.json");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = scene.jwks();
    let scene = Scene { gateway: scene.gateway.restart(), ..scene };
    assert_eq!(scene.jwks(), before);
    assert_eq!(opened(&scene.sent("/", &token)).0["kid"], header["kid"]);
}

/// A private key in PEM, as openssl writes it, and its name in the key set.
fn private_key(gateway_dir: &std::path::Path, name: &str) {
    let path = gateway_dir.join(name);
    let done = run_to_end(
        Command::new("openssl")
            .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
            .arg(&path),
    );
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn keys_of_files_change_without_a_moment_in_which_nobody_can_verify() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let setup = Setup::simple(&issuer, &upstream);
    private_key(setup.dir(), "one.pem");
    private_key(setup.dir(), "two.pem");
    let gateway = setup
        .tables(&format!("{ASSERTION}key_files = [\"one.pem\"]"))
        .route("/", &format!("assertion = {{ audience = \"{AUDIENCE}\" }}"))
        .start();
    let token = issuer.mint("alice");
    let signer = || {
        assert_eq!(gateway.status(&token), 200);
        opened(upstream.last().header(HEADER).unwrap()).0["kid"].clone()
    };
    let published = || -> Vec<Value> {
        let set = gateway.get("/.auth/jwks", &[]).json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect()
    };
    let first = signer();
    assert_eq!(published(), std::slice::from_ref(&first));
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let reload = |files: &str| {
        let text = text.replace("[\"one.pem\"]", files);
        std::fs::write(gateway.config(), text).unwrap();
        let done = gateway.command(&["reload"], "");
        assert!(done.status.success(), "{done:?}");
    };
    // Published first, then it signs, then the old one goes.
    reload("[\"one.pem\", \"two.pem\"]");
    assert_eq!((signer(), published().len()), (first.clone(), 2));
    reload("[\"two.pem\", \"one.pem\"]");
    let second = signer();
    assert_ne!(second, first);
    assert!(published().contains(&first), "what was signed a moment ago can be verified");
    reload("[\"two.pem\"]");
    assert_eq!(published(), [second]);
}

/// What a block of the guide, asked about each of these, says: the subject, or nothing.
fn verdicts(mut command: Command, tokens: &[&str]) -> Vec<Option<String>> {
    let output = run_to_end(command.env("TOKENS", tokens.join("\n")));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().map(|line| line.strip_prefix("taken ").map(str::to_owned)).collect()
}

#[test]
fn the_backends_of_the_guide_take_an_assertion_and_nothing_else() {
    let scene = scene("");
    let dir = scene.gateway.dir();
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vouching.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let block = |language: &str| {
        let (_, behind) = guide.split_once(&format!("\n```{language}\n")).expect(language);
        let block = behind.split_once("\n```").unwrap().0;
        block.replace("http://127.0.0.1:8080", &scene.gateway.url())
    };
    std::fs::write(dir.join("guide.mjs"), block("js")).unwrap();
    std::fs::write(dir.join("guide.py"), block("python")).unwrap();
    std::os::unix::fs::symlink(packages().join("node_modules"), dir.join("node_modules")).unwrap();
    let alice = scene.issuer.mint("alice");
    let good = scene.sent("/", &alice);
    scene.gateway.get_with("/stock/x", &alice);
    let of_another = scene.upstream.last().header("x-stock-user").unwrap().to_owned();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let spoilt =
        format!("{head}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    let access_token = scene.issuer.token("alice").claim("aud", AUDIENCE).mint();
    let tokens = [good.as_str(), &of_another, &spoilt, &access_token];
    let mut jose = node("vouched.mjs");
    jose.arg(dir.join("guide.mjs"));
    let mut pyjwt = Command::new(python());
    pyjwt.arg(script("vouched.py")).arg(dir);
    for command in [jose, pyjwt] {
        let said = verdicts(command, &tokens);
        assert_eq!(said, [Some("alice".to_owned()), None, None, None]);
    }
}

#[test]
fn a_denied_person_is_vouched_for_no_more() {
    let scene = scene("");
    let token = scene.issuer.mint("alice");
    scene.sent("/", &token);
    scene.gateway.admin().revoke(json!({"user": "alice"}));
    let count = scene.upstream.begun();
    assert_eq!(scene.gateway.status(&token), 401);
    assert_eq!(scene.upstream.begun(), count);
}
