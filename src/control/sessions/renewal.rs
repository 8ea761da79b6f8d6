//! The renewal of browser sessions: a refresh cookie is spent once, for new tokens that go to
//! everybody who brought it.
//!
//! What always holds: nothing that is denied is renewed, asked before the issuer is called and again
//! when it has answered, and cutoffs are compared with the login, so that none is laundered by a fresh
//! `iat`. The new token is the same person's, in the same session and program. A cookie that is used
//! after its successor ends the session: one of the two has been copied.

mod call;
mod counts;
mod flights;
mod issuers;
mod judge;
mod revoking;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::clock::UnixMs;
use crate::control::keys::KeyRing;
use crate::denylist::{Actor, Denylist, Fingerprint, IssuerId, Selector};
use crate::desk::{By, End, Ending, Kept, Later, Over, Renewal, RenewalFault, Renewed};
use crate::telemetry::Sighting;
use crate::verify::{Mode, Signed};

use super::{Advance, Advanced, Record, SessionId, Sessions};
use call::{CallFault, Caller, Tokens};
use flights::{Flight, Flights, GRACE};
use revoking::Revoking;

pub use counts::RenewalCounts;
pub use issuers::{Issuers, Prepared};

/// Asks that are being worked on; some of them wait for others of the same session.
const WORKING_MAX: usize = 8192;
/// Results whose answers were all lost, one after the other.
const LOST_MAX: usize = 8;

/// See the module.
pub struct Renewals {
    denylist: Arc<Denylist>,
    keys: Arc<KeyRing>,
    issuers: Arc<Issuers>,
    flights: Flights,
    working: Semaphore,
    revoking: Revoking,
}

impl Renewals {
    pub fn new(denylist: Arc<Denylist>, keys: Arc<KeyRing>, issuers: Arc<Issuers>) -> Self {
        let (flights, revoking) = (Flights::default(), Revoking::default());
        Self { denylist, keys, issuers, flights, working: Semaphore::new(WORKING_MAX), revoking }
    }

    /// Its issuer wants to know which refresh tokens count no more.
    pub(super) fn revokes(&self, issuer: &IssuerId) -> bool {
        self.issuers.of(issuer).is_some_and(|caller| caller.revokes())
    }

    /// What renewals of a session came to, as far as it is remembered.
    pub(super) fn results_of(&self, issuer: &str, session: &str) -> Vec<Arc<Renewed>> {
        self.flights.results_of(issuer, session)
    }
}

impl Sessions {
    /// What becomes of a refresh cookie that was brought.
    pub(super) async fn renew(
        self: &Arc<Self>,
        mut kept: Kept,
        address: Option<IpAddr>,
    ) -> Renewal {
        let renewals = &self.renewals;
        let Ok(_place) = renewals.working.try_acquire() else {
            return Renewal::Failed(RenewalFault::Later(Later::Busy));
        };
        renewals.flights.seen(&kept, UnixMs::now());
        for _ in 0..LOST_MAX {
            let now = UnixMs::now();
            let Some(flight) = renewals.flights.join(&kept, now) else {
                // A copy is one however often the session is renewed: whoever holds its newest cookie
                // may be the thief, and take all of its pace.
                let copied = RenewalFault::Over(Over::UsedTwice);
                if self.is_of_this_generation(&kept, now) == Err(copied) {
                    return self.used_twice(&kept, address).await;
                }
                break;
            };
            if flight.is_used_up(now) {
                return self.used_twice(&kept, address).await;
            }
            let Some(_seat) = flight.seat() else { break };
            let renewal = flight.outcome(|| self.fly(&flight, &kept, address)).await;
            match renewal {
                // Its answer was lost, and so long ago that the next one is due.
                Renewal::Done(renewed) if renewed.signed.expires_at() <= UnixMs::now() => {
                    kept = renewed.kept.clone();
                }
                Renewal::Done(renewed) => return self.still_good(renewed),
                Renewal::Failed(RenewalFault::Over(Over::UsedTwice)) => {
                    return self.used_twice(&kept, address).await;
                }
                Renewal::Failed(fault) => return Renewal::Failed(fault),
            }
        }
        Renewal::Failed(RenewalFault::Later(Later::Busy))
    }

    /// A result that was there already may have been denied since.
    fn still_good(self: &Arc<Self>, renewed: Arc<Renewed>) -> Renewal {
        match self.is_denied(&renewed.kept, Some(&renewed.signed)) {
            Ok(false) => Renewal::Done(renewed),
            Ok(true) => {
                self.revoke(renewed.kept.clone());
                Renewal::Failed(RenewalFault::Over(Over::Denied))
            }
            Err(fault) => Renewal::Failed(fault),
        }
    }

    async fn fly(
        self: &Arc<Self>,
        flight: &Flight,
        kept: &Kept,
        address: Option<IpAddr>,
    ) -> Renewal {
        let renewal = match self.renew_once(flight, kept, address).await {
            Ok(renewed) => {
                let renewed = Arc::new(renewed);
                self.renewals.flights.done(flight, &renewed);
                Renewal::Done(renewed)
            }
            Err(fault) => Renewal::Failed(fault),
        };
        self.renewals.issuers.counts.ended(&renewal);
        renewal
    }

    /// The straight line of a renewal.
    async fn renew_once(
        self: &Arc<Self>,
        flight: &Flight,
        kept: &Kept,
        address: Option<IpAddr>,
    ) -> Result<Renewed, RenewalFault> {
        let caller = self.may_be_renewed(kept, UnixMs::now()).inspect_err(|fault| {
            // Whoever brings it loses it, and nobody else has it.
            if matches!(fault, RenewalFault::Over(_)) {
                self.revoke(kept.clone());
            }
        })?;
        let tokens = match flight.take_held() {
            Some(tokens) => tokens,
            None => self.ask(&caller, kept).await?,
        };
        let signed = match self.judge(kept, &tokens).await {
            Ok(signed) => signed,
            Err(fault) => {
                match fault {
                    RenewalFault::Later(_) => flight.hold(tokens),
                    RenewalFault::Over(_) => self.revoke(kept.holding(tokens.refresh)),
                }
                return Err(fault);
            }
        };
        match self.record(kept, &signed, address).await {
            Ok(generation) => {
                self.streams.rebase(&signed, Some(self.access_mark(kept))).await;
                // It was verified here, so that no request will be the first with it.
                self.people.sight(&Sighting {
                    at: UnixMs::now(),
                    token: Arc::clone(&signed),
                    address,
                });
                let Tokens { access, refresh } = tokens;
                Ok(Renewed { kept: kept.next(&signed, refresh, generation), access, signed })
            }
            Err(fault) => {
                if fault == RenewalFault::Later(Later::Store) {
                    flight.hold(tokens);
                }
                Err(fault)
            }
        }
    }

    /// Everything that can be known before anybody is asked.
    fn may_be_renewed(&self, kept: &Kept, now: UnixMs) -> Result<Arc<Caller>, RenewalFault> {
        let issuer = self.issuer_of(kept)?;
        let caller = self.renewals.issuers.of(&issuer.policy.id);
        let caller = caller.ok_or(RenewalFault::Over(Over::NotRenewed))?;
        let longest = kept.login_time().plus(issuer.policy.session_lifetime(kept.login_time()));
        if now >= kept.ends_at().min(longest) {
            return Err(RenewalFault::Over(Over::TooOld));
        }
        if self.is_denied(kept, None)? {
            return Err(RenewalFault::Over(Over::Denied));
        }
        if issuer.policy.mode == Mode::Allowlist && !kept.named_here && !self.is_registered(kept) {
            return Err(RenewalFault::Over(Over::Denied));
        }
        self.is_of_this_generation(kept, now)?;
        Ok(caller)
    }

    /// A cookie of an earlier generation was used before, perhaps by an earlier process, which took
    /// the result with it. For a moment that is nobody's fault.
    fn is_of_this_generation(&self, kept: &Kept, now: UnixMs) -> Result<(), RenewalFault> {
        let (issuer, subject) = (kept.issuer_id(), kept.subject.as_deref());
        let found = self.records.find(&issuer, &kept.session, subject);
        match found.map_err(|_| RenewalFault::Later(Later::Store))? {
            Some(record) if record.generation > kept.generation => {
                // Only the one just before may be on its way; a session that is renewed all the time
                // would always be fresh.
                let just_before = record.generation == kept.generation.saturating_add(1);
                let fresh = record.issued_at.is_some_and(|at| now < at.plus(GRACE));
                Err(match just_before && fresh {
                    true => RenewalFault::Later(Later::Elsewhere),
                    false => RenewalFault::Over(Over::UsedTwice),
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn ask(&self, caller: &Caller, kept: &Kept) -> Result<Tokens, RenewalFault> {
        let fault = match caller.renew(&kept.token).await {
            Ok(tokens) => return Ok(tokens),
            Err(fault) => fault,
        };
        if caller.may_tell(UnixMs::now()) {
            tracing::warn!(
                target: "portcullis::session",
                issuer = kept.issuer,
                "a session was not renewed: {fault}"
            );
        }
        Err(match fault {
            CallFault::Refused(_) => RenewalFault::Over(Over::Refused),
            CallFault::Unreachable(_) => RenewalFault::Later(Later::Unreachable),
            CallFault::Answer(_) => RenewalFault::Later(Later::BadAnswer),
            CallFault::Busy => RenewalFault::Later(Later::Busy),
        })
    }

    /// The session goes on under the next generation, on disk before anybody gets its cookie.
    async fn record(
        &self,
        kept: &Kept,
        signed: &Arc<Signed>,
        address: Option<IpAddr>,
    ) -> Result<u64, RenewalFault> {
        let now = UnixMs::now();
        let id = SessionId::of(&kept.issuer_id(), &kept.session, kept.subject.as_deref());
        let advance = Advance {
            from: kept.generation,
            token: signed.token_id().clone(),
            issued_at: signed.issued_at(),
            expires_at: signed.expires_at(),
            now,
            address,
        };
        let store = |_| RenewalFault::Later(Later::Store);
        match self.records.advance(id, advance, signed).await.map_err(store)? {
            Advanced::Done(record) => Ok(record.generation),
            // Somebody logged in anew, or logged out, meanwhile.
            Advanced::Otherwise(record) if record.generation > kept.generation => {
                Err(RenewalFault::Later(Later::Elsewhere))
            }
            Advanced::Otherwise(_) | Advanced::Unknown => {
                let record = self.recorded(kept, signed, address, now);
                let begun = self.records.begin(record, signed).await.map_err(store)?;
                Ok(begun.generation)
            }
        }
    }

    /// Of a session that the store has forgotten for want of room.
    fn recorded(
        &self,
        kept: &Kept,
        signed: &Arc<Signed>,
        address: Option<IpAddr>,
        now: UnixMs,
    ) -> Record {
        Record {
            issuer: kept.issuer_id(),
            subject: kept.subject.clone(),
            session: kept.session.clone(),
            named_here: kept.named_here,
            first_seen: kept.login_time(),
            last_seen: now,
            address,
            user_agent: None,
            token: signed.token_id().clone(),
            issued_at: signed.issued_at(),
            expires_at: signed.expires_at(),
            kept_until: kept.ends_at().max(signed.expires_at()),
            generation: kept.generation.saturating_add(1),
        }
    }

    /// Ends the session, with every token of it that is known here.
    async fn used_twice(self: &Arc<Self>, kept: &Kept, address: Option<IpAddr>) -> Renewal {
        let mut endings = vec![Ending::of_session(kept.session.clone(), kept.named_here)];
        if kept.named_here {
            // No mark of its token says the session's name.
            endings
                .push(Ending::Token { id: kept.access.clone(), expires_at: kept.access_ends_at() });
        }
        // Nobody asked for it: of the two who hold the session one is a thief.
        let address = address.map(|address| address.to_string());
        let by = By::Other(Actor { address, ..Actor::gateway() });
        let end = |what| End {
            issuer: kept.issuer_id(),
            what,
            subject: None,
            issued_at: Some(kept.login_time()),
            by: by.clone(),
            reason: "refresh token used twice".into(),
        };
        let ends: Vec<End> = endings.into_iter().map(end).collect();
        let already = self.is_denied(kept, None) == Ok(true);
        if !already && self.end(&ends).await.is_err() {
            return Renewal::Failed(RenewalFault::Later(Later::Store));
        }
        self.renewals.issuers.counts.used_twice();
        self.revoke_all(kept);
        Renewal::Failed(RenewalFault::Over(Over::UsedTwice))
    }

    fn access_mark(&self, kept: &Kept) -> Fingerprint {
        let selector = Selector::Token(kept.access.clone());
        self.renewals.denylist.fingerprinter().selector(&kept.issuer_id(), &selector)
    }
}
