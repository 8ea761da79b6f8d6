//! Assertions of the last half minute, so that a busy client costs no signature a request. One of
//! each core, bounded: of the last two generations, each of which holds so many.
//!
//! An assertion is found by the very token and rule that it was made of, held here so that no other
//! can take their place in memory, and counts only while its key is the one that signs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use http::header::HeaderValue;

use crate::clock::UnixMs;
use crate::config::RouteAssertion;
use crate::keys::SigningKey;
use crate::verify::Signed;

const GENERATION: usize = 1024;

/// See the module.
#[derive(Default)]
pub struct Memo(RefCell<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Name, Entry>,
    old: HashMap<Name, Entry>,
}

/// Where token and rule are in memory.
type Name = (usize, usize);

struct Entry {
    signed: Arc<Signed>,
    rule: Arc<RouteAssertion>,
    key: Arc<SigningKey>,
    made_at: UnixMs,
    /// Half its life: whoever gets it has the other half.
    until: UnixMs,
    value: HeaderValue,
}

fn name(signed: &Arc<Signed>, rule: &Arc<RouteAssertion>) -> Name {
    (Arc::as_ptr(signed).addr(), Arc::as_ptr(rule).addr())
}

impl Memo {
    pub fn find(
        &self,
        signed: &Arc<Signed>,
        rule: &Arc<RouteAssertion>,
        key: &Arc<SigningKey>,
        now: UnixMs,
    ) -> Option<HeaderValue> {
        let generations = self.0.borrow();
        let name = name(signed, rule);
        let entry = generations.young.get(&name).or_else(|| generations.old.get(&name))?;
        debug_assert!(Arc::ptr_eq(&entry.signed, signed) && Arc::ptr_eq(&entry.rule, rule));
        let good = Arc::ptr_eq(&entry.key, key) && (entry.made_at..entry.until).contains(&now);
        good.then(|| entry.value.clone())
    }

    pub fn keep(
        &self,
        signed: &Arc<Signed>,
        rule: &Arc<RouteAssertion>,
        key: &Arc<SigningKey>,
        (made_at, expires_at): (UnixMs, UnixMs),
        value: &HeaderValue,
    ) {
        let mut generations = self.0.borrow_mut();
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        let entry = Entry {
            signed: Arc::clone(signed),
            rule: Arc::clone(rule),
            key: Arc::clone(key),
            made_at,
            until: made_at.plus(expires_at.since(made_at) / 2),
            value: value.clone(),
        };
        generations.young.insert(name(signed, rule), entry);
    }

    /// Forgets what is over: what nobody asks for again holds no memory.
    pub fn sweep(&self, now: UnixMs) {
        let mut generations = self.0.borrow_mut();
        let Generations { young, old } = &mut *generations;
        young.retain(|_, entry| entry.until > now);
        old.retain(|_, entry| entry.until > now);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let generations = self.0.borrow();
        generations.young.len() + generations.old.len()
    }
}
