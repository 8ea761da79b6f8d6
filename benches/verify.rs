//! What a token costs: cold (form, signature, claims) for each algorithm, hot (remembered
//! signature) by the number of remembered tokens, and refused; and what it costs to vouch for its
//! person to a backend.
//!
//! `cargo bench --bench verify`. The tokens have about 800 bytes, as those of PERFORMANCE's table.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark whose preparation fails has nothing to measure"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use portcullis::clock::UnixMs;
use portcullis::denylist::{Fingerprinter, IssuerId};
use portcullis::keys::{Algorithm, KeySet, SigningKey};
use portcullis::proxy::measuring::Vouched;
use portcullis::token::{Compact, Credential};
use portcullis::verify::{Issuer, Missing, Policy, SignatureCache, Verifier};
use serde_json::{Value, json};

const ISS: &str = "https://id.example.com/";
const NOW_SECS: i64 = 1_800_000_000;
const NOW: UnixMs = UnixMs(NOW_SECS * 1000);

fn policy() -> Policy {
    Policy::new("main", ISS, &["https://api.example.com"], &Algorithm::ALL)
}

fn verifier(key: &SigningKey, cache_bytes: u64) -> Verifier {
    let keys = key.key_set(&Algorithm::ALL).expect("the key is good");
    let issuer = Arc::new(Issuer::new(policy(), Arc::new(keys)));
    let cache = Arc::new(SignatureCache::new(cache_bytes));
    Verifier::new(vec![issuer], Fingerprinter::random(), cache)
}

fn claims(number: usize) -> Value {
    json!({
        "iss": ISS, "aud": ["https://api.example.com", "account"], "sub": format!("user-{number}"),
        "jti": format!("5f0c2d1e-{number:012}"), "sid": format!("s-{number}"), "azp": "web",
        "iat": NOW_SECS - 60, "exp": NOW_SECS + 3600, "typ": "Bearer", "email_verified": true,
        "name": "Alice Example", "preferred_username": "alice", "email": "alice@example.com",
        "realm_access": { "roles": ["offline_access", "default-roles", "user", "editor"] },
        "scope": "openid profile email",
    })
}

fn token(key: &SigningKey, number: usize) -> Credential {
    Credential::new(&key.sign(&claims(number)).expect("it signs"))
}

fn cold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cold");
    for algorithm in [
        Algorithm::HS256,
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ] {
        let key = SigningKey::generate(algorithm).expect("a key");
        let (verifier, token) = (verifier(&key, 0), token(&key, 0));
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| verifier.verify(black_box(&token), NOW).is_ok());
        });
    }
    let key = SigningKey::generate(Algorithm::ES256).expect("a key");
    let token = token(&key, 0);
    group.bench_function(format!("form only, {} bytes", token.expose().len()), |bencher| {
        bencher.iter(|| Compact::parse(black_box(token.expose())).is_ok());
    });
}

fn hot(criterion: &mut Criterion) {
    let key = SigningKey::generate(Algorithm::EdDSA).expect("a key");
    let mut group = criterion.benchmark_group("hot");
    for count in [1, 1_000, 100_000] {
        let verifier = verifier(&key, 1 << 30);
        let tokens: Vec<_> = (0..count).map(|number| token(&key, number)).collect();
        for token in &tokens {
            assert!(verifier.verify(token, NOW).is_ok());
        }
        let mut random = 1_u64;
        group.bench_function(format!("{count} tokens"), |bencher| {
            bencher.iter_batched(
                || {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    &tokens[usize::try_from(random % count as u64).unwrap_or(0)]
                },
                |token| verifier.verify(token, NOW).is_ok(),
                BatchSize::SmallInput,
            );
        });
        let cache = verifier.cache();
        println!(
            "{} remembered, {} bytes each by our estimate",
            cache.len(),
            cache.size_bytes() / cache.len().max(1)
        );
    }
}

fn refused(criterion: &mut Criterion) {
    let key = SigningKey::generate(Algorithm::ES256).expect("a key");
    let verifier = verifier(&key, 1 << 20);
    let other = SigningKey::generate(Algorithm::ES256).expect("a key");
    let forged = token(&other, 0);
    let mut old = claims(0);
    old["exp"] = (NOW_SECS - 3600).into();
    old["iat"] = (NOW_SECS - 7200).into();
    let cases = [
        ("garbage", Credential::new(&"x".repeat(800))),
        ("unknown kid", forged),
        (
            "bad signature",
            Credential::new(&other.with_kid(key.kid()).sign(&claims(0)).expect("it signs")),
        ),
        ("expired, again", Credential::new(&key.sign(&old).expect("it signs"))),
    ];
    let mut group = criterion.benchmark_group("refused");
    for (name, token) in &cases {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| verifier.verify(black_box(token), NOW).is_err());
        });
    }
}

/// A thousand issuers cost a request what one costs.
fn issuers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("issuers");
    for count in [1, 1_000] {
        let keys: Vec<_> =
            (0..count).map(|_| SigningKey::generate(Algorithm::HS256).expect("a key")).collect();
        let iss = |number: usize| format!("https://id-{number}.example.com/");
        let table = keys.iter().enumerate().map(|(number, key)| {
            let (name, iss) = (format!("issuer-{number}"), iss(number));
            let policy = Policy { name, id: IssuerId::new(&iss), iss: Some(iss), ..policy() };
            let set = key.key_set(&Algorithm::ALL).expect("the key is good");
            Arc::new(Issuer::new(policy, Arc::new(set)))
        });
        let table: Vec<_> = table.collect();
        let last = count - 1;
        let mut claims = claims(last);
        claims["iss"] = iss(last).into();
        let token = Credential::new(&keys[last].sign(&claims).expect("it signs"));
        cold_and_hot(&mut group, count, &table, &token);
    }
}

/// A token of one of the table's issuers, each time as if it had never been seen, and remembered.
fn cold_and_hot(
    group: &mut BenchmarkGroup<'_, WallTime>,
    count: usize,
    table: &[Arc<Issuer>],
    token: &Credential,
) {
    for (what, bytes) in [("cold", 0), ("hot", 1 << 20)] {
        let cache = Arc::new(SignatureCache::new(bytes));
        let verifier = Verifier::new(table.to_vec(), Fingerprinter::random(), cache);
        assert!(verifier.verify(token, NOW).is_ok());
        group.bench_function(format!("{count}, {what}"), |bencher| {
            bencher.iter(|| verifier.verify(black_box(token), NOW).is_ok());
        });
    }
}

/// Nor a thousand whose tokens have no `iss`, once a token is known.
fn issuers_without_iss(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("issuers without iss");
    for count in [1, 1_000] {
        let keys: Vec<_> =
            (0..count).map(|_| SigningKey::generate(Algorithm::HS256).expect("a key")).collect();
        let table = keys.iter().enumerate().map(|(number, key)| {
            let name = format!("issuer-{number}");
            let id = IssuerId::new(&name);
            let missing = Missing { iss: true, ..Missing::default() };
            let policy = Policy { name, id, iss: None, missing, ..policy() };
            let set = key.key_set(&Algorithm::ALL).expect("the key is good");
            Arc::new(Issuer::new(policy, Arc::new(set)))
        });
        let mut claims = claims(0);
        claims.as_object_mut().expect("an object").remove("iss");
        let token = Credential::new(&keys[count - 1].sign(&claims).expect("it signs"));
        let table: Vec<_> = table.collect();
        cold_and_hot(&mut group, count, &table, &token);
    }
}

/// Ten thousand clients with a secret each: a name that none has is found missing at once.
fn client_secrets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("client secrets");
    let stranger = SigningKey::generate(Algorithm::HS256).expect("a key");
    for count in [1, 10_000] {
        let keys: Vec<_> =
            (0..count).map(|_| SigningKey::generate(Algorithm::HS256).expect("a key")).collect();
        let sets = keys.iter().map(|key| key.key_set(&Algorithm::ALL).expect("the key is good"));
        let issuer = Arc::new(Issuer::new(policy(), Arc::new(KeySet::merge(sets))));
        let cache = Arc::new(SignatureCache::new(0));
        let verifier = Verifier::new(vec![issuer], Fingerprinter::random(), cache);
        for (what, token) in [("cold", token(&keys[0], 0)), ("unknown kid", token(&stranger, 0))] {
            group.bench_function(format!("{count}, {what}"), |bencher| {
                bencher.iter(|| verifier.verify(black_box(&token), NOW).is_ok());
            });
        }
    }
}

fn assertions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assertions");
    let key = SigningKey::generate(Algorithm::EdDSA).expect("a key");
    let verified = verifier(&key, 1 << 20).verify(&token(&key, 0), NOW).expect("it passes");
    let signed = verified.signed();
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let key = SigningKey::generate(algorithm).expect("a key").with_kid("2026-11");
        let vouched = Vouched::new(key).expect("it signs");
        assert!(vouched.first(signed, NOW) && vouched.again(signed, NOW));
        group.bench_function(format!("signed, {}", algorithm.as_str()), |bencher| {
            bencher.iter(|| vouched.first(black_box(signed), NOW));
        });
        group.bench_function(format!("remembered, {}", algorithm.as_str()), |bencher| {
            bencher.iter(|| vouched.again(black_box(signed), NOW));
        });
    }
}

criterion_group!(
    benches,
    cold,
    hot,
    refused,
    issuers,
    issuers_without_iss,
    client_secrets,
    assertions
);
criterion_main!(benches);
