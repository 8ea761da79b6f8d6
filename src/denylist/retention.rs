//! How long a denial must be kept, so that nothing is forgotten while a token that it matches can
//! still pass.

use std::time::Duration;

use crate::clock::UnixMs;

use super::{Condition, Selector, SelectorKind};

/// The part of an issuer's policy that bounds how long its tokens live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub max_lifetime: Duration,
    pub session_lifetime_max: Duration,
    /// Sessions are renewed by the gateway: cutoffs are kept for the session's life.
    pub renewed: bool,
    pub leeway: Duration,
    /// Its tokens may lack `iat`: cutoffs are kept until lifted.
    pub iat_optional: bool,
}

/// When the denial may be forgotten; `None`: only when lifted. `token_expires` is the `exp` of the
/// token that a token selector names, where it is known.
pub fn kept_until(
    selector: &Selector,
    condition: Condition,
    created_at: UnixMs,
    token_expires: Option<UnixMs>,
    retention: &Retention,
) -> Option<UnixMs> {
    let kind = selector.kind();
    if let (SelectorKind::Token, Some(expires)) = (kind, token_expires) {
        return Some(expires.plus(retention.leeway));
    }
    // A lifetime is bounded by `exp` − `iat`; without `iat` it is not bounded at all.
    if retention.iat_optional || matches!(kind, SelectorKind::Key | SelectorKind::Issuer) {
        return None;
    }
    let of_tokens = if retention.renewed {
        retention.max_lifetime.max(retention.session_lifetime_max)
    } else {
        retention.max_lifetime
    };
    let end = match (condition, kind) {
        (Condition::Always, SelectorKind::Token) => created_at.plus(retention.max_lifetime),
        (Condition::Always, SelectorKind::Session) => {
            created_at.plus(retention.session_lifetime_max.max(retention.max_lifetime))
        }
        (
            Condition::Always,
            SelectorKind::Subject
            | SelectorKind::Client
            | SelectorKind::Claim
            | SelectorKind::Key
            | SelectorKind::Issuer,
        ) => return None,
        (Condition::IssuedBefore(before), _) => before.plus(of_tokens),
        (Condition::VersionBelow(_), _) => created_at.plus(of_tokens),
    };
    Some(end.plus(retention.leeway))
}
