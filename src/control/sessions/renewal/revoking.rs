//! Telling issuers that refresh tokens are of no use any more (RFC 7009), where they want to know.
//! Nobody waits for it: here the session is denied before.
//!
//! What always holds: a token is told once a minute however often its cookie is brought, and what is
//! under way is bounded, so that whoever has one cookie cannot send a storm to the issuer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::UnixMs;
use crate::control::sessions::Sessions;
use crate::desk::Kept;
use crate::token::sha256;

use super::call::Caller;

/// Under way at once, or waiting for a place at their issuer.
const UNDER_WAY_MAX: usize = 256;
/// For how long a token that was told is not told again.
const ONCE_IN: Duration = Duration::from_secs(60);
/// Tokens that are remembered as told.
const TOLD_MAX: usize = 16_384;

/// What was told lately, and places for what is being told.
pub struct Revoking {
    told: Mutex<HashMap<[u8; 32], UnixMs>>,
    places: Arc<Semaphore>,
}

/// Why a token is not told.
#[derive(PartialEq, Eq, Debug)]
enum Untold {
    Already,
    Full,
}

impl Default for Revoking {
    fn default() -> Self {
        Self { told: Mutex::default(), places: Arc::new(Semaphore::new(UNDER_WAY_MAX)) }
    }
}

impl Revoking {
    fn begin(&self, kept: &Kept, now: UnixMs) -> Result<OwnedSemaphorePermit, Untold> {
        let mut text = zeroize::Zeroizing::new(kept.issuer.as_bytes().to_vec());
        // No issuer's name has it.
        text.push(0);
        text.extend_from_slice(kept.token.as_bytes());
        let token = sha256(&text);
        let mut told = self.told.lock();
        if told.get(&token).is_some_and(|at| now.since(*at) < ONCE_IN) {
            return Err(Untold::Already);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Untold::Full)?;
        if told.len() >= TOLD_MAX {
            told.retain(|_, at| now.since(*at) < ONCE_IN);
        }
        // One more call is the worst that comes of forgetting.
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(token, now);
        Ok(place)
    }
}

impl Sessions {
    /// The session's refresh token, and those that renewals of it have brought.
    pub(in crate::control::sessions) fn revoke_all(self: &Arc<Self>, kept: &Kept) {
        self.revoke(kept.clone());
        for renewed in self.renewals.results_of(&kept.issuer, &kept.session) {
            self.revoke(renewed.kept.clone());
        }
    }

    pub(in crate::control::sessions) fn revoke(self: &Arc<Self>, kept: Kept) {
        let Some(caller) = self.renewals.issuers.of(&kept.issuer_id()) else { return };
        if !caller.revokes() {
            return;
        }
        let place = match self.renewals.revoking.begin(&kept, UnixMs::now()) {
            Ok(place) => place,
            Err(Untold::Already) => return,
            Err(Untold::Full) => return self.not_revoked(&caller, &kept, "too many at once"),
        };
        let sessions = Arc::clone(self);
        tokio::spawn(async move {
            match caller.revoke(&kept.token).await {
                Ok(()) => sessions.renewals.issuers.counts.revoked(true),
                Err(fault) => sessions.not_revoked(&caller, &kept, fault),
            }
            drop(place);
        });
    }

    fn not_revoked(&self, caller: &Caller, kept: &Kept, why: impl std::fmt::Display) {
        self.renewals.issuers.counts.revoked(false);
        if caller.may_tell(UnixMs::now()) {
            tracing::warn!(
                target: "portcullis::session",
                issuer = kept.issuer,
                "a refresh token was not revoked at its issuer: {why}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_once_a_minute_and_not_too_many_at_once() {
        let revoking = Revoking::default();
        let begin = |token: &str, at: u64| {
            let now = UnixMs::default().plus(Duration::from_secs(at));
            revoking.begin(&Kept::of_tests(token), now)
        };
        drop(begin("a", 0).unwrap());
        assert_eq!(begin("a", 59).unwrap_err(), Untold::Already);
        let mut places = vec![begin("a", 60).unwrap()];
        places.extend((1..UNDER_WAY_MAX).map(|at| begin(&at.to_string(), 60).unwrap()));
        assert_eq!(begin("b", 60).unwrap_err(), Untold::Full);
        places.pop();
        assert!(begin("b", 60).is_ok());
        // What is remembered is bounded.
        drop(places);
        for number in 0..2 * TOLD_MAX {
            drop(begin(&number.to_string(), 120));
        }
        assert!(revoking.told.lock().len() <= TOLD_MAX);
    }
}
