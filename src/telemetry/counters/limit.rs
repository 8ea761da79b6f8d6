//! Limits that turn somebody away. Those at which one only waits (handshakes, streams of a connection)
//! have nothing to count here.

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
    /// More of HTTP/2's frames than h2 lets pass: the connection ends.
    Http2Flood,
    /// `connections_max`, or no open files: 503, or closed.
    Connections,
    /// `connections_per_address`: 503, or closed.
    AddressConnections,
    /// `header_count_max`, `header_bytes_max`: 431.
    Headers,
    /// `token_bytes_max`: 400.
    TokenBytes,
    /// A route's `body_bytes_max`: 413.
    BodyBytes,
    /// A route's `body_timeout`, or `body_rate_min`: 408.
    BodyTime,
    /// `memory_max`: 503.
    Memory,
}

impl Limit {
    pub const ALL: [Self; 13] = [
        Self::FailedCredentials,
        Self::Requests,
        Self::RouteRequests,
        Self::UpstreamRequests,
        Self::Http2Resets,
        Self::Http2Flood,
        Self::Connections,
        Self::AddressConnections,
        Self::Headers,
        Self::TokenBytes,
        Self::BodyBytes,
        Self::BodyTime,
        Self::Memory,
    ];

    /// The label `limit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailedCredentials => "failed_credentials",
            Self::Requests => "requests",
            Self::RouteRequests => "route_requests",
            Self::UpstreamRequests => "upstream_requests",
            Self::Http2Resets => "http2_resets",
            Self::Http2Flood => "http2_flood",
            Self::Connections => "connections",
            Self::AddressConnections => "connections_per_address",
            Self::Headers => "headers",
            Self::TokenBytes => "token_bytes",
            Self::BodyBytes => "body_bytes",
            Self::BodyTime => "body_time",
            Self::Memory => "memory",
        }
    }
}
