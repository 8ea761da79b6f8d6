//! Why a connection of a client was ended by us, or did not begin.

/// In the order of [`Closed::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// `idle_timeout` without a request.
    Idle,
    /// `header_timeout`: no request came whole.
    Header,
    /// `idle_timeout` in which the client took nothing of an answer; of HTTP/2, one stream.
    Stalled,
    /// It idled, and another client needed its place.
    Room,
    /// The TLS handshake failed, or took too long.
    Handshake,
    /// No PROXY protocol header came, or one from a peer that is not listed.
    ProxyProtocol,
    /// What it sent is no HTTP.
    Malformed,
}

impl Closed {
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Header,
        Self::Stalled,
        Self::Room,
        Self::Handshake,
        Self::ProxyProtocol,
        Self::Malformed,
    ];

    /// The label `cause`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Header => "header",
            Self::Stalled => "stalled",
            Self::Room => "room",
            Self::Handshake => "handshake",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Malformed => "malformed",
        }
    }
}
