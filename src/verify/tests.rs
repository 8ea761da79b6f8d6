//! The verifier against known attacks, each with its good twin. Letters such as C5 name the line
//! of the threat list that a test proves.

mod cached;
mod claims;
mod explained;
mod forged;
mod issuers;
mod races;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::UnixMs;
use crate::denylist::{Fingerprinter, IssuerId};
use crate::keys::{Algorithm, KeySet, SigningKey};
use crate::token::{ClaimPath, Credential};

use super::*;

const ISS: &str = "https://id.example.com/";
const AUD: &str = "https://api.example.com";
const NOW_SECS: i64 = 1_800_000_000;
const NOW: UnixMs = UnixMs(NOW_SECS * 1000);

/// One key for all tests that need no other: ES256.
fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Algorithm::ES256).unwrap())
}

fn name(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

fn policy() -> Policy {
    let indexed = vec![("tenant".into(), name("tenant")), ("role".into(), name("/acl/roles"))];
    Policy {
        claims: ClaimNames { indexed, ..ClaimNames::default() },
        display: Some(name("email")),
        ..Policy::new("main", ISS, &[AUD, "https://other.example.com"], &Algorithm::ALL)
    }
}

fn keys(keys: &[&SigningKey]) -> Arc<KeySet> {
    Arc::new(KeySet::merge(keys.iter().map(|key| key.key_set(&Algorithm::ALL).unwrap())))
}

fn issuer(policy: Policy, signing: &[&SigningKey]) -> Arc<Issuer> {
    Arc::new(Issuer::new(policy, keys(signing)))
}

fn verifier_of(issuers: Vec<Arc<Issuer>>) -> Verifier {
    Verifier::new(issuers, Fingerprinter::random(), Arc::new(SignatureCache::new(1 << 20)))
}

fn verifier(policy: Policy) -> Verifier {
    verifier_of(vec![issuer(policy, &[key()])])
}

/// Claims of a good token.
fn claims() -> Value {
    json!({
        "iss": ISS, "aud": AUD, "sub": "alice", "jti": "t-1",
        "iat": NOW_SECS - 60, "exp": NOW_SECS + 3600,
    })
}

/// Good claims with one changed; null removes it.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(claim)
    } else {
        members.insert(claim.into(), value)
    };
    claims
}

fn sign(claims: &Value) -> Credential {
    Credential::new(&key().sign(claims).unwrap())
}

/// The verdict at `NOW`. Asked twice, so that every verdict is also that of the cache; and the
/// explanation must come to the same.
fn verdict(verifier: &Verifier, credential: &Credential) -> Result<Arc<Signed>, TokenFault> {
    verdict_at(verifier, credential, NOW)
}

fn verdict_at(
    verifier: &Verifier,
    credential: &Credential,
    now: UnixMs,
) -> Result<Arc<Signed>, TokenFault> {
    let first = verifier.verify(credential, now).map(|token| Arc::clone(token.signed()));
    let second = verifier.verify(credential, now).map(|token| Arc::clone(token.signed()));
    assert_eq!(first.as_ref().map(|_| ()), second.as_ref().map(|_| ()), "the cache agrees");
    let (checks, _) = verifier.explain(credential, now);
    let failed = checks.iter().find(|check| check.outcome == Outcome::Fail);
    match &first {
        Ok(_) => assert_eq!(failed, None, "explain agrees"),
        Err(fault) => {
            let failed = failed.expect("explain finds the fault");
            assert!(failed.detail.starts_with(&fault.detail()), "{failed:?} is {fault:?}");
        }
    }
    first
}

fn fault(verifier: &Verifier, claims: &Value) -> TokenFault {
    verdict(verifier, &sign(claims)).err().expect("it should be refused")
}

fn passes(verifier: &Verifier, claims: &Value) -> Arc<Signed> {
    verdict(verifier, &sign(claims)).expect("it should pass")
}
