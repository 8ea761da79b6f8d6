//! What requests asked for and the control plane was too busy to take. Most of it is answered with
//! 503; some of it nobody waits for, and its only trace is here.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Ask;

/// Words of the metric and the log.
const KINDS: [&str; 6] = ["log_out", "login", "sessions", "streams", "renewal", "revocation"];

/// See the module.
#[derive(Default)]
pub struct Dropped([AtomicU64; KINDS.len()]);

impl Dropped {
    /// How often, by what was asked for.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// The first of a kind is told in the log, and then few: it happens to many at once.
    pub(super) fn note(&self, ask: &Ask) {
        let kind = kind(ask);
        let Some((_, count)) = KINDS.into_iter().zip(&self.0).find(|(of, _)| *of == kind) else {
            return;
        };
        let count = count.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(
                target: "portcullis::session",
                ask = kind,
                count,
                "not done: requests ask for more than the control plane can do at once"
            );
        }
    }
}

fn kind(ask: &Ask) -> &'static str {
    match ask {
        Ask::End(..) | Ask::EndOne(..) => "log_out",
        Ask::Begin(..) => "login",
        Ask::List(..) => "sessions",
        Ask::Rebase(..) => "streams",
        Ask::Renew(..) => "renewal",
        Ask::Revoke(_) => "revocation",
    }
}
