//! What a route says of its streams, compiled.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::config::{OnExpired, StreamRules};

use super::Cause;

/// See the module.
#[derive(Debug)]
pub struct StreamPolicy {
    /// The route's name.
    pub route: Arc<str>,
    /// Headers by which any route selects.
    pub selecting: Arc<[HeaderName]>,
    /// A denied stream goes on for so long; zero: cut at once.
    pub revoked_grace: Duration,
    /// The same for one whose token expired; `None`: it is kept.
    pub expired_grace: Option<Duration>,
    pub close_code: u16,
    /// Instead of ours.
    pub close_reason: Option<String>,
    /// An event stream ends with an event that says so.
    pub last_event: bool,
    /// So long before its token ends an event stream says so.
    pub reauth_margin: Option<Duration>,
    /// A tunnel through which nothing moves for so long is closed.
    pub idle_timeout: Option<Duration>,
}

/// RFC 6455 section 7.4.1: the endpoint goes away.
const GOING_AWAY: u16 = 1001;

impl StreamPolicy {
    pub fn new(route: Arc<str>, selecting: &Arc<[HeaderName]>, rules: &StreamRules) -> Self {
        Self {
            route,
            selecting: Arc::clone(selecting),
            revoked_grace: rules.revoked_grace,
            expired_grace: match rules.on_expired {
                OnExpired::End { grace } => Some(grace),
                OnExpired::Keep => None,
            },
            close_code: rules.close_code,
            close_reason: rules.close_reason.clone(),
            last_event: rules.last_event,
            reauth_margin: rules.reauth_margin,
            idle_timeout: rules.idle_timeout,
        }
    }

    /// What a close frame says: no more than the client may know.
    pub fn closing(&self, cause: Cause, reveal: bool) -> (u16, &str) {
        let ours = match cause {
            Cause::Draining => return (GOING_AWAY, "going away"),
            Cause::Idle => return (GOING_AWAY, "idle"),
            Cause::Operator => "ended",
            Cause::Denied(_) | Cause::KeyRemoved | Cause::RouteChanged | Cause::Expired
                if !reveal =>
            {
                "ended"
            }
            Cause::Denied(_) | Cause::KeyRemoved | Cause::RouteChanged => "revoked",
            Cause::Expired => "expired",
        };
        (self.close_code, self.close_reason.as_deref().unwrap_or(ours))
    }
}
