//! The way to ask for an issuer's fresh keys, and to wait for them: the one place where a request
//! of a known issuer waits before a token is verified, its own or one that it is answered with.
//! Whoever fetches is on the other end; the data plane does not know who that is.
//!
//! What always holds: a request waits for one fetch and a bounded time; so many wait and no more,
//! on a core and for an issuer; where a fetch was asked for a moment ago, nobody waits; and who is
//! not waited for learns whether the keys that are here can have the last word about the token.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::clock::UnixMs;
use crate::denylist::IssuerId;
use crate::keys::{Phase, Refresh};
use crate::verify::TokenFault;

/// Requests that may wait on one core.
const WAITING_PER_CORE: usize = 256;
/// Requests that may wait for one issuer: one whose provider hangs leaves places to the others.
const WAITING_PER_ISSUER: usize = 64;
/// So far apart the issuer's clock and ours may be when a token's `iat` is held against a fetch.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// One issuer's line to whoever fetches its keys.
pub struct Nudge {
    asked: Arc<Notify>,
    refresh: watch::Receiver<Refresh>,
    wait: Duration,
    waiting: AtomicUsize,
}

/// The lines of all issuers whose keys are fetched.
#[derive(Default)]
pub struct Nudges(HashMap<IssuerId, Arc<Nudge>>);

/// Places of one core.
#[derive(Default)]
pub struct Places(Cell<usize>);

/// What came of asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// A fetch has ended: the token is worth another look.
    pub look_again: bool,
    /// A key that is unknown then is no key of the issuer's: its set was read since the token was
    /// made, as far as can be known. Otherwise the key may be on its way.
    pub settled: bool,
}

impl Asked {
    const NOTHING: Self = Self { look_again: false, settled: true };

    /// What a fault amounts to after that: a key that may be on its way is no unknown one.
    pub fn weighed(self, mut fault: TokenFault) -> TokenFault {
        if let TokenFault::UnknownKey { kid, former: false, .. } = &mut fault
            && !self.settled
        {
            return TokenFault::KeyAwaited { kid: std::mem::take(kid) };
        }
        fault
    }
}

impl Nudge {
    pub fn new(asked: Arc<Notify>, refresh: watch::Receiver<Refresh>, wait: Duration) -> Self {
        Self { asked, refresh, wait, waiting: AtomicUsize::new(0) }
    }

    /// Asks, and takes a place where there is something to wait for.
    fn ask<'n>(&'n self, places: &'n Places) -> Waiting<'n> {
        let mut refresh = self.refresh.clone();
        let before = *refresh.borrow_and_update();
        let comes = match before.phase {
            Phase::Cooling => false,
            Phase::Ready => {
                self.asked.notify_one();
                true
            }
            Phase::Fetching => true,
        };
        let place = comes.then(|| Place::take(places, &self.waiting)).flatten();
        Waiting { until: Instant::now() + self.wait, place, before, refresh }
    }
}

/// One who asked an issuer's line.
struct Waiting<'n> {
    until: Instant,
    place: Option<Place<'n>>,
    before: Refresh,
    refresh: watch::Receiver<Refresh>,
}

impl Waiting<'_> {
    /// Until a fetch has ended, or for no longer than it may wait.
    async fn answer(mut self, issued_at: Option<UnixMs>) -> Asked {
        let before = self.before;
        let mut look_again = false;
        if self.place.is_some() {
            let ended = self.refresh.wait_for(|now| now.round > before.round);
            look_again = matches!(tokio::time::timeout_at(self.until, ended).await, Ok(Ok(_)));
        }
        let now = *self.refresh.borrow();
        // A fetch that was under way when the token came may have been answered before its key was
        // published; one that the token itself asked for was not.
        let since = before.phase == Phase::Ready && now.good > before.good;
        let later = now.confirmed.zip(issued_at);
        let later = later.is_some_and(|(confirmed, at)| confirmed >= at.plus(CLOCKS_APART));
        Asked { look_again, settled: since || later }
    }
}

impl Nudges {
    pub fn new(lines: impl IntoIterator<Item = (IssuerId, Nudge)>) -> Self {
        Self(lines.into_iter().map(|(issuer, nudge)| (issuer, Arc::new(nudge))).collect())
    }

    /// Asks for the keys that the token of this fault lacks. Every other fault is final, and costs
    /// nothing here.
    pub async fn ask(&self, fault: &TokenFault, places: &Places) -> Asked {
        let (issuers, issued_at) = if let TokenFault::UnknownKey { issuers, issued_at, .. } = fault
        {
            (issuers, *issued_at)
        } else if let TokenFault::KeysAbsent { issuers } = fault {
            (issuers, None)
        } else {
            return Asked::NOTHING;
        };
        // All are asked before one is waited for: several cost the time of the slowest.
        let nudges = issuers.iter().filter_map(|issuer| self.0.get(issuer));
        let asked: Vec<_> = nudges.map(|nudge| nudge.ask(places)).collect();
        let mut all = Asked::NOTHING;
        for waiting in asked {
            let one = waiting.answer(issued_at).await;
            all.look_again |= one.look_again;
            all.settled &= one.settled;
        }
        all
    }
}

/// A place of the core and of the issuer, until it is dropped.
struct Place<'p> {
    core: &'p Cell<usize>,
    issuer: &'p AtomicUsize,
}

impl<'p> Place<'p> {
    fn take(places: &'p Places, issuer: &'p AtomicUsize) -> Option<Self> {
        let core = &places.0;
        if core.get() >= WAITING_PER_CORE {
            return None;
        }
        let taken = issuer.fetch_add(1, Ordering::Relaxed);
        core.set(core.get() + 1);
        // Dropping it gives both back.
        let place = Self { core, issuer };
        (taken < WAITING_PER_ISSUER).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.core.set(self.core.get().saturating_sub(1));
        self.issuer.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(2);

    fn line() -> (watch::Sender<Refresh>, Arc<Notify>, IssuerId, Nudges) {
        let (sender, refresh) = watch::channel(Refresh::default());
        let (asked, issuer) = (Arc::new(Notify::new()), IssuerId::new("one"));
        let nudge = Nudge::new(Arc::clone(&asked), refresh, WAIT);
        (sender, asked, issuer.clone(), Nudges::new([(issuer, nudge)]))
    }

    /// Issued at second 1000.
    fn unknown(issuer: &IssuerId) -> TokenFault {
        let issued_at = Some(UnixMs::from_secs(1000));
        let issuers = vec![issuer.clone()];
        TokenFault::UnknownKey { kid: "k".into(), issuers, issued_at, former: false }
    }

    const IN_VAIN: Asked = Asked { look_again: false, settled: false };

    #[tokio::test]
    async fn one_fetch_is_asked_for_and_waited_for() {
        for good in [true, false] {
            let (sender, asked, issuer, nudges) = line();
            let places = Places::default();
            let fault = unknown(&issuer);
            let asking = nudges.ask(&fault, &places);
            let fetching = async {
                asked.notified().await;
                sender.send_modify(|refresh| {
                    refresh.round += 1;
                    refresh.good += u64::from(good);
                });
            };
            // A fetch that failed says nothing of the key.
            let expected = Asked { look_again: true, settled: good };
            assert_eq!(tokio::join!(asking, fetching).0, expected);
            assert_eq!(nudges.ask(&TokenFault::BadSignature, &places).await, Asked::NOTHING);
            let fixed = unknown(&IssuerId::new("two"));
            assert_eq!(nudges.ask(&fixed, &places).await, Asked::NOTHING);
        }
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_bound_or_where_nothing_would_come() {
        let (sender, _asked, issuer, nudges) = line();
        let places = Places::default();
        assert_eq!(nudges.ask(&unknown(&issuer), &places).await, IN_VAIN, "nobody fetches");
        sender.send_modify(|refresh| refresh.phase = Phase::Cooling);
        let started = std::time::Instant::now();
        assert_eq!(nudges.ask(&unknown(&issuer), &places).await, IN_VAIN);
        assert!(started.elapsed() < WAIT, "{:?}", started.elapsed());
        drop(sender);
        assert_eq!(nudges.ask(&unknown(&issuer), &places).await, IN_VAIN);
        assert_eq!(places.0.get(), 0);
    }

    #[tokio::test]
    async fn a_set_that_was_read_long_after_the_token_was_made_has_the_last_word() {
        let (sender, _asked, issuer, nudges) = line();
        let places = Places::default();
        for (confirmed, settled) in [(1_059, false), (1_060, true)] {
            sender.send_modify(|refresh| {
                refresh.phase = Phase::Cooling;
                refresh.confirmed = Some(UnixMs::from_secs(confirmed));
            });
            let asked = nudges.ask(&unknown(&issuer), &places).await;
            assert_eq!(asked, Asked { look_again: false, settled }, "{confirmed}");
        }
        let issuers = vec![issuer];
        let undated =
            TokenFault::UnknownKey { kid: "k".into(), issuers, issued_at: None, former: false };
        assert_eq!(nudges.ask(&undated, &places).await, IN_VAIN);
    }

    #[tokio::test]
    async fn several_issuers_cost_the_wait_of_one() {
        let (_senders, lines): (Vec<_>, Vec<_>) = (0..20)
            .map(|number| {
                let (sender, refresh) = watch::channel(Refresh::default());
                let nudge = Nudge::new(Arc::default(), refresh, Duration::from_millis(500));
                (sender, (IssuerId::new(&format!("issuer-{number}")), nudge))
            })
            .unzip();
        let issuers = lines.iter().map(|(issuer, _)| issuer.clone()).collect();
        let nudges = Nudges::new(lines);
        let started = std::time::Instant::now();
        let asked = nudges.ask(&TokenFault::KeysAbsent { issuers }, &Places::default()).await;
        assert_eq!(asked, IN_VAIN);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let (sender, _asked, issuer, nudges) = line();
        let nudge = &nudges.0[&issuer];
        let places = Places::default();
        let taken: Vec<_> =
            (0..WAITING_PER_ISSUER).map(|_| Place::take(&places, &nudge.waiting)).collect();
        assert!(taken.iter().all(Option::is_some));
        let started = std::time::Instant::now();
        assert_eq!(nudges.ask(&unknown(&issuer), &places).await, IN_VAIN);
        assert!(started.elapsed() < WAIT, "{:?}", started.elapsed());
        drop(taken);
        assert_eq!((places.0.get(), nudge.waiting.load(Ordering::Relaxed)), (0, 0));
        drop(sender);
    }
}
