//! What is remembered of assertions, and for how long.

use std::time::Duration;

use crate::denylist::Fingerprinter;
use crate::keys::{Algorithm, OwnKey};
use crate::token::Credential;
use crate::verify::{Issuer, SignatureCache, Verifier};

use super::*;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

/// Tokens of one issuer, and the gateway that vouches for their people.
struct Scene {
    issuer: SigningKey,
    verifier: Verifier,
    vouching: Vouching,
    memo: Memo,
}

fn own(keys: &[&Arc<SigningKey>]) -> OwnKeys {
    let own = |(at, key): (usize, &&Arc<SigningKey>)| OwnKey {
        key: Arc::clone(key),
        signs_from: (at == 0).then_some(UnixMs(0)),
    };
    OwnKeys::new(keys.iter().enumerate().map(own).collect()).unwrap()
}

fn key(algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(algorithm).unwrap())
}

fn scene(algorithm: Algorithm) -> Scene {
    let text = "[[issuer]]\nname = \"main\"\nissuer = \"i\"\naudiences = [\"a\"]\n\
                keys = { secret_env = \"S\" }\n[[upstream]]\nname = \"app\"\n\
                servers = [\"http://127.0.0.1:1\"]\n[[route]]\npath = \"/\"\nupstream = \"app\"\n";
    let secret = |_: &str| Some("0123456789abcdef0123456789abcdef".to_owned());
    let config = config::parse(text, std::path::Path::new("gateway.toml"), &secret).unwrap().config;
    let issuer = SigningKey::generate(Algorithm::ES256).unwrap();
    let mut policy = config.issuers[0].policy.clone();
    policy.algorithms = vec![Algorithm::ES256];
    let keys = Arc::new(issuer.key_set(&[Algorithm::ES256]).unwrap());
    let known = vec![Arc::new(Issuer::new(policy, keys))];
    let cache = Arc::new(SignatureCache::new(1 << 20));
    let verifier = Verifier::new(known, Fingerprinter::random(), cache);
    let vouching = Vouching::new("g", own(&[&key(algorithm)]));
    Scene { issuer, verifier, vouching, memo: Memo::default() }
}

impl Scene {
    fn signed(&self, subject: &str, lives_s: i64) -> Arc<Signed> {
        let now = NOW.secs();
        let claims = json!({
            "iss": "i", "aud": "a", "sub": subject, "iat": now, "exp": now + lives_s, "jti": subject,
        });
        let token = Credential::new(&self.issuer.sign(&claims).unwrap());
        Arc::clone(self.verifier.verify(&token, NOW).unwrap().signed())
    }

    fn header(&self, signed: &Arc<Signed>, rule: &Arc<RouteAssertion>, at: UnixMs) -> HeaderValue {
        self.vouching.header(signed, rule, &self.memo, at).unwrap()
    }
}

fn rule(audience: &str) -> Arc<RouteAssertion> {
    Arc::new(RouteAssertion {
        audience: audience.to_owned(),
        header: http::HeaderName::from_static("x-who"),
        claims: Vec::new(),
        lifetime: Duration::from_secs(60),
    })
}

fn after(seconds: u64) -> UnixMs {
    NOW.plus(Duration::from_secs(seconds))
}

#[test]
fn an_assertion_is_used_again_for_half_its_life_and_never_for_anybody_else() {
    let scene = scene(Algorithm::ES256);
    let (alice, bob) = (scene.signed("alice", 3600), scene.signed("bob", 3600));
    let (orders, stock) = (rule("orders"), rule("stock"));
    let first = scene.header(&alice, &orders, NOW);
    assert!(first.is_sensitive());
    assert_eq!(scene.header(&alice, &orders, after(29)), first);
    assert_ne!(scene.header(&bob, &orders, NOW), first);
    assert_ne!(scene.header(&alice, &stock, NOW), first);
    let second = scene.header(&alice, &orders, after(30));
    assert_ne!(second, first);
    // A clock that was set back makes a new one: the old one begins in the future.
    assert_ne!(scene.header(&alice, &orders, NOW), second);
}

#[test]
fn another_key_signs_anew_and_a_token_that_is_over_gets_none() {
    let scene = scene(Algorithm::EdDSA);
    let alice = scene.signed("alice", 40);
    let rule = rule("orders");
    let first = scene.header(&alice, &rule, NOW);
    scene.vouching.keys.replace(own(&[&key(Algorithm::EdDSA)]));
    assert_ne!(scene.header(&alice, &rule, NOW), first);
    let late = scene.vouching.header(&alice, &rule, &scene.memo, after(40));
    assert!(matches!(late, Err(Rejection::Token(TokenFault::Expired { .. }))), "{late:?}");
}

#[test]
fn what_is_remembered_is_bounded_and_forgotten_when_it_is_over() {
    let scene = scene(Algorithm::EdDSA);
    let alice = scene.signed("alice", 3600);
    for _ in 0..5000 {
        scene.header(&alice, &rule("orders"), NOW);
    }
    let held = scene.memo.len();
    assert!((1024..=2048).contains(&held), "{held}");
    scene.memo.sweep(after(29));
    assert_eq!(scene.memo.len(), held);
    scene.memo.sweep(after(30));
    assert_eq!(scene.memo.len(), 0);
}
