//! How far the refreshing of an issuer's keys has come: what the one who fetches tells those who
//! wait for it. A value, so that both planes may know it.

use crate::clock::UnixMs;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refresh {
    /// Fetches that have begun; one after the other, so the last of them or none is under way.
    pub begun: u64,
    /// Fetches that have ended, well or not.
    pub round: u64,
    /// Those of them that brought a set, or found that the one in force still holds.
    pub good: u64,
    /// When the last of these began: the set in force was the issuer's then.
    pub confirmed: Option<UnixMs>,
    pub phase: Phase,
}

/// What asking for a fetch would do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// It would begin one.
    #[default]
    Ready,
    /// One is under way.
    Fetching,
    /// Nothing: one was asked for a moment ago.
    Cooling,
}
