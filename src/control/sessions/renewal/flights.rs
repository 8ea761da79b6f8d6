//! The renewals of this moment and what became of those before, by the refresh cookie that asked for
//! them: however many requests bring one cookie, it is spent once.
//!
//! A result is kept until its successor is seen, and a little longer for requests that were on their
//! way. A cookie that comes after that has a copy. What is kept is bounded; what had to be forgotten
//! is known by the session's generation, which is on disk. Several gateways would share one session:
//! [`Flights::join`] is where one of them claims it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::clock::UnixMs;
use crate::desk::{Kept, Renewal, RenewalFault, Renewed};
use crate::token::sha256;

use super::call::Tokens;

/// For how long after its successor was seen a refresh cookie gets the same answer.
pub const GRACE: Duration = Duration::from_secs(60);
/// For how long nobody asks again after a failure that may pass.
const LATER: Duration = Duration::from_secs(2);
/// The same after one that does not.
const OVER: Duration = Duration::from_secs(60);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Memory that results may take; about.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a result takes besides its texts.
const BYTES_EACH: usize = 2048;
/// A session may be renewed so often in the long run, whatever its cookies say …
const PACE: Duration = Duration::from_secs(3);
/// … and by so much faster for a while: about twenty times at once.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// Requests of one cookie that wait at once: what one session asks keeps no place from the others.
const SEATS_MAX: usize = 256;

/// Names a refresh cookie: what it says of its session, and the refresh token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// One refresh cookie that is being spent, or was.
pub struct Flight {
    pub key: Key,
    outcome: OnceCell<(UnixMs, Renewal)>,
    /// The issuer's answer, where it could not be judged yet: the refresh token is spent.
    held: Mutex<Option<Tokens>>,
    /// When its successor was brought.
    followed_at: Mutex<Option<UnixMs>>,
    /// Nobody gets an answer later than that.
    ends_at: UnixMs,
    seats: Semaphore,
}

/// See the module.
#[derive(Default)]
pub struct Flights(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_key: HashMap<Key, Arc<Flight>>,
    /// Of each result, the cookie that it answered.
    before: HashMap<Key, Key>,
    /// Of each session, until when its renewals so far are paid for.
    paid_until: HashMap<Key, UnixMs>,
    bytes: usize,
    swept_at: UnixMs,
}

impl Key {
    pub fn of(kept: &Kept) -> Self {
        Self::of_parts(kept.generation, kept, &kept.token)
    }

    /// The same for all cookies of a session.
    fn of_session(kept: &Kept) -> Self {
        Self::of_parts(0, kept, kept.subject.as_deref().unwrap_or_default())
    }

    fn of_parts(generation: u64, kept: &Kept, token: &str) -> Self {
        let parts = [kept.issuer.as_bytes(), kept.session.as_bytes(), token.as_bytes()];
        let mut text = zeroize::Zeroizing::new(generation.to_be_bytes().to_vec());
        for part in parts {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        Self(sha256(&text))
    }
}

impl Flight {
    fn new(key: Key, ends_at: UnixMs, held: Option<Tokens>) -> Arc<Self> {
        Arc::new(Self {
            key,
            outcome: OnceCell::new(),
            held: Mutex::new(held),
            followed_at: Mutex::new(None),
            ends_at,
            seats: Semaphore::new(SEATS_MAX),
        })
    }

    /// A place to wait for it; `None`: too many do.
    pub fn seat(&self) -> Option<SemaphorePermit<'_>> {
        self.seats.try_acquire().ok()
    }

    /// What comes of it: of all who ask, one does the work.
    pub async fn outcome<F>(&self, renew: impl FnOnce() -> F) -> Renewal
    where
        F: Future<Output = Renewal>,
    {
        let work = || async {
            let renewal = renew().await;
            (UnixMs::now(), renewal)
        };
        self.outcome.get_or_init(work).await.1.clone()
    }

    pub fn take_held(&self) -> Option<Tokens> {
        self.held.lock().take()
    }

    pub fn hold(&self, tokens: Tokens) {
        *self.held.lock() = Some(tokens);
    }

    /// Its successor was seen so long ago that nobody who brings it was on the way by then.
    pub fn is_used_up(&self, now: UnixMs) -> bool {
        let Some((_, Renewal::Done(renewed))) = self.outcome.get() else { return false };
        let seen = renewed.signed.first_presented_at();
        let seen = seen.or(*self.followed_at.lock());
        seen.is_some_and(|at| now > at.plus(GRACE))
    }

    /// A failure that was long enough ago for another try.
    fn is_to_be_tried_again(&self, now: UnixMs) -> bool {
        match self.outcome.get() {
            Some((at, Renewal::Failed(RenewalFault::Later(_)))) => now >= at.plus(LATER),
            Some((at, Renewal::Failed(RenewalFault::Over(_)))) => now >= at.plus(OVER),
            Some((_, Renewal::Done(_))) | None => false,
        }
    }

    fn is_of_use(&self, now: UnixMs) -> bool {
        let wanted = match self.outcome.get() {
            // An answer that waits for its key is not thrown away.
            Some((at, Renewal::Failed(_))) => {
                let held = self.held.lock().is_some() && now < at.plus(GRACE);
                held || !self.is_to_be_tried_again(now)
            }
            Some((_, Renewal::Done(_))) | None => !self.is_used_up(now),
        };
        wanted && now < self.ends_at.plus(GRACE)
    }
}

impl Flights {
    /// The flight of a refresh cookie: one that is there, or a new one. `None`: the session is renewed
    /// too often, as by whoever leaves the access token out each time.
    pub fn join(&self, kept: &Kept, now: UnixMs) -> Option<Arc<Flight>> {
        let key = Key::of(kept);
        let mut table = self.0.lock();
        table.sweep(now);
        let known = table.by_key.get(&key).map(Arc::clone);
        let held = match known {
            Some(flight) if !flight.is_to_be_tried_again(now) => return Some(flight),
            Some(_) | None if !table.pays(kept, now) => return None,
            Some(failed) => failed.take_held(),
            None => None,
        };
        let flight = Flight::new(key, kept.ends_at(), held);
        table.by_key.insert(key, Arc::clone(&flight));
        Some(flight)
    }

    /// The browser brought this cookie: the one before it has reached its end.
    pub fn seen(&self, kept: &Kept, now: UnixMs) {
        let table = self.0.lock();
        let before = table.before.get(&Key::of(kept)).and_then(|key| table.by_key.get(key));
        if let Some(flight) = before {
            flight.followed_at.lock().get_or_insert(now);
        }
    }

    /// Remembers whose result this is.
    pub fn done(&self, flight: &Flight, renewed: &Renewed) {
        let mut table = self.0.lock();
        table.before.insert(Key::of(&renewed.kept), flight.key);
        table.bytes += size_bytes(renewed);
    }

    /// What renewals of a session came to, as far as it is remembered.
    pub fn results_of(&self, issuer: &str, session: &str) -> Vec<Arc<Renewed>> {
        let of = |flight: &Arc<Flight>| match flight.outcome.get() {
            Some((_, Renewal::Done(renewed))) => Some(Arc::clone(renewed)),
            Some((_, Renewal::Failed(_))) | None => None,
        };
        let table = self.0.lock();
        let same = |renewed: &Arc<Renewed>| {
            renewed.kept.issuer == issuer && renewed.kept.session == session
        };
        table.by_key.values().filter_map(of).filter(same).collect()
    }
}

impl Table {
    fn pays(&mut self, kept: &Kept, now: UnixMs) -> bool {
        let paid_until = self.paid_until.entry(Key::of_session(kept)).or_insert(now);
        // A clock that was set back keeps nobody out.
        let paid = Some(*paid_until).filter(|until| until.since(now) <= AHEAD_MAX);
        let next = paid.unwrap_or(now).max(now).plus(PACE);
        let pays = next.since(now) <= AHEAD_MAX;
        if pays {
            *paid_until = next;
        }
        pays
    }

    fn sweep(&mut self, now: UnixMs) {
        if now.since(self.swept_at) < SWEEP_EVERY && self.bytes <= BYTES_MAX {
            return;
        }
        self.swept_at = now;
        self.by_key.retain(|_, flight| flight.is_of_use(now));
        self.paid_until.retain(|_, paid_until| *paid_until > now);
        self.recount();
        if self.bytes <= BYTES_MAX {
            return;
        }
        // The oldest half of what nobody fetched: their sessions log in again.
        let mut ages: Vec<UnixMs> =
            self.by_key.values().filter_map(|flight| Some(flight.outcome.get()?.0)).collect();
        ages.sort_unstable();
        let middle = ages.get(ages.len() / 2).copied().unwrap_or(now);
        self.by_key.retain(|_, flight| flight.outcome.get().is_none_or(|(at, _)| *at > middle));
        self.recount();
    }

    fn recount(&mut self) {
        let size = |flight: &Arc<Flight>| match flight.outcome.get() {
            Some((_, Renewal::Done(renewed))) => size_bytes(renewed),
            Some((_, Renewal::Failed(_))) | None => BYTES_EACH,
        };
        self.bytes = self.by_key.values().map(size).sum();
        let by_key = &self.by_key;
        self.before.retain(|_, key| by_key.contains_key(key));
    }
}

fn size_bytes(renewed: &Renewed) -> usize {
    BYTES_EACH + 2 * renewed.access.len() + renewed.kept.token.len()
}

#[cfg(test)]
mod tests;
