//! The way to ask for an issuer's fresh keys, and to wait for them: the one place where a request
//! of a known issuer waits before its token is verified. Whoever fetches is on the other end; the
//! data plane does not know who that is.
//!
//! What always holds: a request waits for one fetch and a bounded time; so many wait and no more,
//! on a core and for an issuer; and where a fetch was asked for a moment ago, nobody waits.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::denylist::IssuerId;
use crate::keys::{Phase, Refresh};
use crate::verify::TokenFault;

/// Requests that may wait on one core.
const WAITING_PER_CORE: usize = 256;
/// Requests that may wait for one issuer: one whose provider hangs leaves places to the others.
const WAITING_PER_ISSUER: usize = 64;

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

impl Nudge {
    pub fn new(asked: Arc<Notify>, refresh: watch::Receiver<Refresh>, wait: Duration) -> Self {
        Self { asked, refresh, wait, waiting: AtomicUsize::new(0) }
    }

    /// Asks, and waits until a fetch has ended. `false`: none has, or none would.
    async fn fetched(&self, places: &Places) -> bool {
        let mut refresh = self.refresh.clone();
        let Refresh { round, phase } = *refresh.borrow_and_update();
        match phase {
            Phase::Cooling => return false,
            Phase::Ready => self.asked.notify_one(),
            Phase::Fetching => {}
        }
        let Some(_place) = Place::take(places, &self.waiting) else { return false };
        let ended = refresh.wait_for(|now| now.round > round);
        matches!(tokio::time::timeout(self.wait, ended).await, Ok(Ok(_)))
    }
}

impl Nudges {
    pub fn new(lines: impl IntoIterator<Item = (IssuerId, Nudge)>) -> Self {
        Self(lines.into_iter().map(|(issuer, nudge)| (issuer, Arc::new(nudge))).collect())
    }

    /// Whether the token that had this fault is worth another look, now that keys were fetched.
    /// Every other fault is final, and costs nothing here.
    pub async fn may_help(&self, fault: &TokenFault, places: &Places) -> bool {
        let (TokenFault::UnknownKey { issuers, .. } | TokenFault::KeysAbsent { issuers }) = fault
        else {
            return false;
        };
        let mut helped = false;
        for nudge in issuers.iter().filter_map(|issuer| self.0.get(issuer)) {
            helped |= nudge.fetched(places).await;
        }
        helped
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

    fn line() -> (watch::Sender<Refresh>, Arc<Notify>, IssuerId, Nudges) {
        let (sender, refresh) = watch::channel(Refresh::default());
        let (asked, issuer) = (Arc::new(Notify::new()), IssuerId::new("one"));
        let nudge = Nudge::new(Arc::clone(&asked), refresh, Duration::from_millis(50));
        (sender, asked, issuer.clone(), Nudges::new([(issuer, nudge)]))
    }

    fn unknown(issuer: &IssuerId) -> TokenFault {
        TokenFault::UnknownKey { kid: "k".into(), issuers: vec![issuer.clone()] }
    }

    #[tokio::test]
    async fn one_fetch_is_asked_for_and_waited_for() {
        let (sender, asked, issuer, nudges) = line();
        let places = Places::default();
        let fault = unknown(&issuer);
        let asking = nudges.may_help(&fault, &places);
        let fetching = async {
            asked.notified().await;
            sender.send_modify(|refresh| refresh.round += 1);
        };
        assert!(tokio::join!(asking, fetching).0);
        assert!(!nudges.may_help(&TokenFault::BadSignature, &places).await);
        assert!(!nudges.may_help(&unknown(&IssuerId::new("two")), &places).await);
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_bound_or_where_nothing_would_come() {
        let (sender, _asked, issuer, nudges) = line();
        let places = Places::default();
        assert!(!nudges.may_help(&unknown(&issuer), &places).await, "nobody fetches");
        sender.send_modify(|refresh| refresh.phase = Phase::Cooling);
        let started = std::time::Instant::now();
        assert!(!nudges.may_help(&unknown(&issuer), &places).await);
        assert!(started.elapsed() < Duration::from_millis(40));
        drop(sender);
        assert!(!nudges.may_help(&unknown(&issuer), &places).await);
        assert_eq!(places.0.get(), 0);
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
        assert!(!nudges.may_help(&unknown(&issuer), &places).await);
        assert!(started.elapsed() < Duration::from_millis(40));
        drop(taken);
        assert_eq!((places.0.get(), nudge.waiting.load(Ordering::Relaxed)), (0, 0));
        drop(sender);
    }
}
