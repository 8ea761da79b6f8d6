//! Why a stream is ended by us, for the metrics and in words.

use crate::denylist::Hit;
use crate::telemetry::streams::CutCause;

/// Why a stream is ended by us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Denied(Hit),
    Expired,
    KeyRemoved,
    /// What is published now would not let it begin.
    RouteChanged,
    /// Somebody cut this one.
    Operator,
    /// Nothing moved for as long as the route allows.
    Idle,
    /// The gateway ends.
    Draining,
}

impl Cause {
    pub fn plain(self) -> CutCause {
        match self {
            Self::Denied(_) => CutCause::Denied,
            Self::Expired => CutCause::Expired,
            Self::KeyRemoved => CutCause::KeyRemoved,
            Self::RouteChanged => CutCause::RouteChanged,
            Self::Operator => CutCause::Operator,
            Self::Idle => CutCause::Idle,
            Self::Draining => CutCause::Draining,
        }
    }

    /// For operators.
    pub fn text(self) -> String {
        match self {
            Self::Denied(hit) if hit.is_absence() => "its registration ended while open".to_owned(),
            Self::Denied(hit) => format!("denied by {} while open", hit.selector.as_str()),
            Self::KeyRemoved => "its issuer takes it no more, or its key is gone".to_owned(),
            Self::Expired => "its token expired while it was open".to_owned(),
            Self::RouteChanged => "what is published now would not let it begin".to_owned(),
            Self::Operator => "an operator cut it".to_owned(),
            Self::Idle => "nothing moved for as long as the route allows".to_owned(),
            Self::Draining => "the gateway drains".to_owned(),
        }
    }
}
