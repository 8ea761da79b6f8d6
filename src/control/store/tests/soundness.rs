//! The promise on which forgetting rests: when a denial's record may go, no token that it matches
//! passes the rules about claims any more, whatever its issuer's lifetimes and clocks.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::control::store::batch::due_at;
use crate::denylist::{Fold, kept_until};
use crate::keys::{Algorithm, SigningKey};
use crate::token::Credential;
use crate::verify::{Issuer, Missing, Policy, SignatureCache, Verifier};

const ISS: &str = "https://id.example.com/";
const NOW_S: i64 = 1_800_000_000;
const NOW: UnixMs = UnixMs(NOW_S * 1000);

/// An issuer with one key.
struct World {
    key: SigningKey,
    verifier: Verifier,
}

impl World {
    fn new(policy: Policy) -> Self {
        let key = SigningKey::generate(Algorithm::HS256).unwrap();
        let keys = Arc::new(key.key_set(&[Algorithm::HS256]).unwrap());
        let issuer = Arc::new(Issuer::new(policy, keys));
        let cache = Arc::new(SignatureCache::new(0));
        Self { key, verifier: Verifier::new(vec![issuer], Fingerprinter::random(), cache) }
    }

    fn token(&self, claims: &Value) -> Credential {
        Credential::new(&self.key.sign(claims).unwrap())
    }

    /// It passes the rules at `at`, and this condition, which its selector meets, denies it.
    fn is_missed(&self, token: &Credential, condition: Condition, at: UnixMs) -> bool {
        let mut fold = Fold::default();
        fold.add_condition(condition, None);
        let verified = self.verifier.verify(token, at);
        verified.is_ok_and(|token| fold.denies(token.signed().marks()).is_some())
    }
}

fn policy(max_lifetime_s: u64, leeway_s: u64, iat_optional: bool) -> Policy {
    Policy {
        max_lifetime: Duration::from_secs(max_lifetime_s),
        leeway: Duration::from_secs(leeway_s),
        missing: Missing { iat: iat_optional, ..Missing::default() },
        ..Policy::new("main", ISS, &["api"], &[Algorithm::HS256])
    }
}

fn claims(issued_s: Option<i64>, expires_s: i64) -> Value {
    let mut claims = json!({
        "iss": ISS, "aud": "api", "sub": "alice", "sid": "s-1", "client_id": "shop", "jti": "t-1",
        "ver": 1, "exp": expires_s,
    });
    if let Some(issued_s) = issued_s {
        claims["iat"] = issued_s.into();
    }
    claims
}

/// When the record of such a denial, made at [`NOW`], may go.
fn forgotten_at(
    policy: &Policy,
    selector: &Selector,
    condition: Condition,
    token_expires: Option<UnixMs>,
) -> Option<UnixMs> {
    let kept = kept_until(selector, condition, NOW, token_expires, &policy.retention());
    let denial = Denial {
        id: DenialId([1; 10]),
        issuer: policy.id.clone(),
        selector: selector.clone(),
        condition,
        except: None,
        created_at: NOW,
        kept_until: kept,
        ends_at: None,
        reason: String::new(),
        reference: None,
        created_by: actor("eve", "admin"),
    };
    due_at(&denial)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_that_a_forgotten_denial_matched_can_pass(
        max_lifetime_s in 1..20_000_u64,
        (leeway_s, skew_s) in (0..=300_u64, 0..=300_i64),
        iat_optional in any::<bool>(),
        // A token that is there when it is denied: issued by then, as far as its issuer's clock says.
        issued_s in proptest::option::weighted(0.9, -30_000..=300_i64),
        lives_s in 1..25_000_i64,
        cutoff_s in -30_000..=1_i64,
        which in 0..6_usize,
        later_ms in 0..100_000_u64,
    ) {
        let policy = policy(max_lifetime_s, leeway_s, iat_optional);
        let world = World::new(policy.clone());
        let expires_s = NOW_S + issued_s.unwrap_or(0) + lives_s;
        let token = world.token(&claims(issued_s.map(|issued| NOW_S + issued), expires_s));
        let (selector, condition, expires) = match which {
            0 => (jti("t-1"), Condition::Always, Some(UnixMs::from_secs(expires_s))),
            1 => (jti("t-1"), Condition::Always, None),
            2 => (subject("alice"), Condition::VersionBelow(2), None),
            3 => (Selector::Session("s-1".into()), Condition::VersionBelow(2), None),
            4 => (Selector::Client("shop".into()), cutoff(cutoff_s + skew_s), None),
            _ => (subject("alice"), cutoff(cutoff_s + skew_s), None),
        };
        if let Some(due) = forgotten_at(&policy, &selector, condition, expires) {
            let at = due.plus(Duration::from_millis(later_ms));
            prop_assert!(!world.is_missed(&token, condition, due), "{due:?}");
            prop_assert!(!world.is_missed(&token, condition, at), "{at:?}");
        }
    }
}

fn jti(id: &str) -> Selector {
    Selector::Token(TokenId::Jti(id.into()))
}

fn cutoff(after_now_s: i64) -> Condition {
    Condition::IssuedBefore(UnixMs::from_secs(NOW_S + after_now_s))
}

/// The bound is no wider than it must be: just before it such a token still passes.
#[test]
fn a_token_that_lives_as_long_as_it_may_is_denied_to_its_last_second() {
    let policy = policy(3600, 30, false);
    let world = World::new(policy.clone());
    let token = world.token(&claims(Some(NOW_S - 1), NOW_S - 1 + 3600));
    let condition = cutoff(0);
    let kept = kept_until(&subject("alice"), condition, NOW, None, &policy.retention()).unwrap();
    assert!(world.is_missed(&token, condition, kept.minus(Duration::from_millis(1_001))));
    assert!(!world.is_missed(&token, condition, kept));
    let longer = world.token(&claims(Some(NOW_S - 1), NOW_S + 3600));
    assert!(!world.is_missed(&longer, condition, NOW), "one that lives longer passes never");
}
