//! A token whose signature was verified once: all that may be remembered of it. Not a verdict:
//! times, audience, route and denylist are asked on every request.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use crate::clock::UnixMs;
use crate::denylist::Marks;
use crate::keys::{Algorithm, Thumbprint};
use crate::token::Claims;

use super::Issuer;

/// See the module. Shared by the cache and by the requests that carry the token.
pub struct Signed {
    pub(super) issuer: Arc<Issuer>,
    pub(super) key: Thumbprint,
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Claims,
    pub(super) marks: Marks,
    pub(super) issued_at: Option<UnixMs>,
    pub(super) expires_at: UnixMs,
    pub(super) not_before: Option<UnixMs>,
    pub(super) subject: Option<String>,
    pub(super) session: Option<String>,
    pub(super) client: Option<String>,
    pub(super) jti: Option<String>,
    /// `scope` (space separated) or `scp` (array).
    pub(super) scopes: Vec<String>,
    /// When a request last carried it, for the list of people. Milliseconds; a hint, not exact.
    pub last_seen: AtomicI64,
}
