//! Acts for the audit that change no record of their own.

use crate::control::config::Trigger;
use crate::control::store::{Deed, NewAct};
use crate::denylist::{Actor, Via};

use super::Api;
use super::caller::Caller;

/// What a call did; `counts`: how many of what.
pub(super) fn act(
    caller: &Caller,
    deed: Deed,
    reason: Option<String>,
    counts: &[(&str, u64)],
) -> NewAct {
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    NewAct {
        deed,
        by: caller.actor(),
        what: None,
        reason,
        counts: counts.map(|(name, count)| ((*name).to_owned(), *count)).collect(),
    }
}

/// Returns when it is on disk. What it tells of was done all the same where it cannot be written.
pub(super) async fn note(api: &Api, act: NewAct) {
    if let Err(fault) = api.store.note(act).await {
        tracing::warn!(target: "portcullis::admin", %fault, "the audit was not written");
    }
}

impl Api {
    /// The configuration was read again, and no call asked for it.
    pub fn reloaded(&self, trigger: Trigger) {
        let by = match trigger {
            // The call itself says who.
            Trigger::Api => return,
            Trigger::Signal | Trigger::File => {
                let name = trigger.as_str().to_owned();
                Actor {
                    name,
                    role: Via::Gateway.as_str().to_owned(),
                    via: Via::Gateway,
                    address: None,
                }
            }
        };
        let (what, reason, counts) = (None, None, Vec::new());
        self.store.note_later(NewAct { deed: Deed::Reloaded, by, what, reason, counts });
    }
}
