//! Limits that turn somebody away. Those at which one only waits (open connections, handshakes) have
//! nothing to count here.

/// In the order of [`Limit::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// `failed_credentials_per_minute`: 429.
    FailedCredentials,
    /// The gateway's `requests_max`: 503.
    Requests,
    /// A route's `requests_max`: 503.
    RouteRequests,
    /// An upstream's `concurrency` and its queue: 503.
    UpstreamRequests,
    /// `http2_resets_max`: the connection ends.
    Http2Resets,
}

impl Limit {
    pub const ALL: [Self; 5] = [
        Self::FailedCredentials,
        Self::Requests,
        Self::RouteRequests,
        Self::UpstreamRequests,
        Self::Http2Resets,
    ];

    /// The label `limit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailedCredentials => "failed_credentials",
            Self::Requests => "requests",
            Self::RouteRequests => "route_requests",
            Self::UpstreamRequests => "upstream_requests",
            Self::Http2Resets => "http2_resets",
        }
    }
}
