//! The records: an immutable denial, and the tombstone that takes it back.

use crate::clock::UnixMs;

use super::{Condition, Except, IssuerId, Selector};

/// Unique id of a denial: 80 bits, the first 44 the creation time in milliseconds, so ids sort by
/// time. Written `dn_` and 16 characters of Crockford's base 32, lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DenialId(pub [u8; 10]);

/// By which door a change came in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Via {
    Api,
    Cli,
    Dashboard,
    Import,
    /// The gateway itself: a timed block that ended.
    Gateway,
}

/// Who made a change, for the audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// Name of the admin credential, or `uid 1000` for a unix-socket peer.
    pub name: String,
    pub role: String,
    pub via: Via,
    /// Peer address, absent for a unix socket.
    pub address: Option<String>,
}

/// An immutable record: these tokens of this issuer are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    pub id: DenialId,
    pub issuer: IssuerId,
    pub selector: Selector,
    pub condition: Condition,
    /// Only with [`Condition::IssuedBefore`].
    pub except: Option<Except>,
    pub created_at: UnixMs,
    /// When the record may be forgotten because no token can match it any more, leeway included;
    /// `None`: until lifted.
    pub kept_until: Option<UnixMs>,
    /// When a timed block ends by itself; only with [`Condition::Always`].
    pub ends_at: Option<UnixMs>,
    pub reason: String,
    pub reference: Option<String>,
    pub created_by: Actor,
}

/// The tombstone of a denial. It may be known before the denial it names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lift {
    pub denial: DenialId,
    pub at: UnixMs,
    pub reason: Option<String>,
    pub by: Actor,
}
