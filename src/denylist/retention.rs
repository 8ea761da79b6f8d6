//! How long a denial must be kept, so that nothing is forgotten while a token that it matches can
//! still pass.

use std::time::Duration;

use crate::clock::UnixMs;

use super::{Condition, Selector};

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
    let _ = (selector, condition, created_at, token_expires, retention);
    unimplemented!()
}
