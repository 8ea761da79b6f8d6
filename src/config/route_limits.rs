//! How much and how long: what one route lets a request take.

use std::time::Duration;

use super::cursor::Table;

/// `None`: no limit of the route's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RouteLimits {
    /// Of a request's body.
    pub body_bytes_max: Option<u64>,
    /// Until the request's body has come whole, from its head on.
    pub body_timeout: Option<Duration>,
    /// Until the head of the answer has come.
    pub timeout: Option<Duration>,
    /// Requests in flight, over all threads.
    pub requests_max: Option<usize>,
}

pub fn limits(table: &Table<'_>) -> RouteLimits {
    let tenth = Duration::from_millis(100);
    let day = Duration::from_secs(86_400);
    let count = table.get("requests_max").and_then(|item| item.integer(&(1..=16_777_216)));
    RouteLimits {
        body_bytes_max: table.get("body_bytes_max").and_then(|item| item.size(&(0..=1 << 50))),
        body_timeout: table.get("body_timeout").and_then(|item| item.duration(&(tenth..=day))),
        timeout: table.get("timeout").and_then(|item| item.duration(&(tenth..=day))),
        requests_max: count.and_then(|count| usize::try_from(count).ok()),
    }
}
