//! What happens at the same time, on threads that a seed drives: denials, keys that go and come back,
//! configurations that are swapped, and the cache of signatures between. A request that begins after
//! a change was acknowledged is never let through by what was true before.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use super::*;
use crate::denylist::{Condition, Denylist, Selector, SelectorKind, Writer};

const READERS: usize = 4;
const TOKENS: usize = 24;

/// What the seed says comes next.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (self.0 >> 33) as usize % below
    }

    /// Lets others run for a while that differs from turn to turn.
    fn pause(&mut self) {
        match self.next(4) {
            0 => std::thread::yield_now(),
            turns => (0..turns * 50).for_each(|_| std::hint::spin_loop()),
        }
    }
}

/// What both sides see.
struct Scene {
    published: ArcSwap<Verifier>,
    denylist: Arc<Denylist>,
    tokens: Vec<Credential>,
    /// Odd: the change that refuses this token is acknowledged, and nobody has begun to take it back.
    refused: Vec<AtomicUsize>,
    passed: AtomicUsize,
    failed: AtomicUsize,
    done: AtomicBool,
}

impl Scene {
    /// As the data plane asks: the signature, remembered or verified now; the denylist; and after a
    /// wait the denylist and the key once more.
    fn passes(&self, token: &Credential, chance: &mut Chance) -> bool {
        let verifier = self.published.load_full();
        let Ok(verified) = verifier.verify(token, NOW) else { return false };
        chance.pause();
        let signed = verified.signed();
        let denied = || self.denylist.check(signed.marks()).is_some();
        if denied() {
            return false;
        }
        chance.pause();
        !denied() && signed.key_is_published()
    }

    fn read(&self, mut chance: Chance) {
        while !self.done.load(Ordering::Acquire) {
            let place = chance.next(self.tokens.len());
            let before = self.refused[place].load(Ordering::SeqCst);
            if self.passes(&self.tokens[place], &mut chance) {
                // What was refused then and taken back meanwhile may pass.
                let after = self.refused[place].load(Ordering::SeqCst);
                assert!(before.is_multiple_of(2) || before != after, "token {place} passed");
                self.passed.fetch_add(1, Ordering::Relaxed);
            } else {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn race(
    seed: u64,
    issuer: &Arc<Issuer>,
    cache: &Arc<SignatureCache>,
    tokens: Vec<Credential>,
    mut change: impl FnMut(&Scene, &mut Writer, &mut Chance),
) {
    let by = Fingerprinter::random();
    let (denylist, mut writer) = Denylist::new(by.clone());
    let verifier = Verifier::new(vec![Arc::clone(issuer)], by, Arc::clone(cache));
    let refused = tokens.iter().map(|_| AtomicUsize::new(0)).collect();
    let scene = Scene {
        published: ArcSwap::from_pointee(verifier),
        denylist,
        tokens,
        refused,
        passed: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        done: AtomicBool::new(false),
    };
    std::thread::scope(|threads| {
        for reader in 0..READERS {
            let chance = Chance(seed ^ (reader as u64 + 1) << 40);
            let scene = &scene;
            threads.spawn(move || scene.read(chance));
        }
        let wait = |counter: &AtomicUsize| {
            let (from, start) = (counter.load(Ordering::Relaxed), std::time::Instant::now());
            while counter.load(Ordering::Relaxed) == from {
                // A reader that failed has ended the scene.
                assert!(start.elapsed() < Duration::from_secs(60), "the readers have stopped");
                std::thread::yield_now();
            }
        };
        wait(&scene.passed);
        change(&scene, &mut writer, &mut Chance(seed));
        wait(&scene.failed);
        scene.done.store(true, Ordering::Release);
    });
}

fn tokens_of(signer: &SigningKey) -> Vec<Credential> {
    (0..TOKENS)
        .map(|n| Credential::new(&signer.sign(&with("sub", format!("u-{n}").into())).unwrap()))
        .collect()
}

fn cache() -> Arc<SignatureCache> {
    Arc::new(SignatureCache::new(1 << 20))
}

#[test]
fn a_denial_between_verifying_and_remembering_holds() {
    for seed in 1..=4 {
        let issuer = issuer(policy(), &[key()]);
        race(seed, &issuer, &cache(), tokens_of(key()), |scene, writer, chance| {
            for (place, refused) in scene.refused.iter().enumerate() {
                let selector = Selector::Subject(format!("u-{place}"));
                let at = scene.denylist.fingerprinter().selector(&issuer.policy.id, &selector);
                writer.add(SelectorKind::Subject, at, Condition::Always, None);
                writer.announce();
                refused.fetch_add(1, Ordering::SeqCst);
                chance.pause();
            }
        });
    }
}

#[test]
fn a_removed_key_refuses_whatever_is_remembered_or_under_way() {
    let other = SigningKey::generate(Algorithm::ES256).unwrap();
    for seed in 1..=4 {
        let issuer = issuer(policy(), &[key(), &other]);
        race(seed, &issuer, &cache(), tokens_of(key()), |scene, _, chance| {
            let turn = || {
                for one in &scene.refused {
                    one.fetch_add(1, Ordering::SeqCst);
                }
            };
            for _ in 0..200 {
                issuer.keys.store(keys(&[&other]));
                turn();
                chance.pause();
                turn();
                issuer.keys.store(keys(&[key(), &other]));
                chance.pause();
            }
            issuer.keys.store(keys(&[&other]));
            turn();
        });
    }
}

#[test]
fn an_issuer_that_left_the_config_lets_nothing_pass_although_the_cache_is_shared() {
    for seed in 1..=4 {
        let (issuer, cache) = (issuer(policy(), &[key()]), cache());
        let stranger = self::issuer(
            Policy { id: IssuerId::new("x"), iss: Some("x".into()), ..policy() },
            &[key()],
        );
        race(seed, &issuer, &cache, tokens_of(key()), |scene, _, chance| {
            let publish = |one: &Arc<Issuer>| {
                let by = scene.denylist.fingerprinter().clone();
                let verifier = Verifier::new(vec![Arc::clone(one)], by, Arc::clone(&cache));
                scene.published.store(Arc::new(verifier));
            };
            let turn = || {
                for one in &scene.refused {
                    one.fetch_add(1, Ordering::SeqCst);
                }
            };
            for _ in 0..200 {
                publish(&stranger);
                turn();
                chance.pause();
                turn();
                publish(&issuer);
                chance.pause();
            }
            publish(&stranger);
            turn();
        });
    }
}
