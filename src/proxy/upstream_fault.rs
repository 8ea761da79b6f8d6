//! What went wrong behind us, and how that looks from in front.

use http::StatusCode;

/// What went wrong behind us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamFault {
    Unreachable,
    ConnectTimeout,
    ResponseTimeout,
    /// Its certificate was refused, or ours, or it does not speak TLS.
    Handshake,
    /// It closed or broke the protocol before an answer.
    Broken,
    /// It switched protocols without being asked, or to another one.
    UnexpectedSwitch,
    /// Its name has no address yet.
    Unresolved,
    /// Checks call all of its servers down.
    NoneUp,
    /// As many requests as it may have are under way, and as many as may wait for it.
    Overloaded,
    /// By no fault of its own: this process may open no more files.
    NoDescriptors,
}

impl UpstreamFault {
    pub fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "The backend cannot be reached",
            Self::Handshake => "The TLS handshake with the backend failed",
            Self::ConnectTimeout => "The backend did not accept a connection in time",
            Self::ResponseTimeout => "The backend did not answer in time",
            Self::Broken => "The backend closed the connection before it answered",
            Self::UnexpectedSwitch => "The backend switched protocols without being asked",
            Self::Unresolved => "The backend has no address yet",
            Self::NoneUp => "No server of the backend is up",
            Self::Overloaded => "The backend has as many requests as it takes",
            Self::NoDescriptors => "The gateway has as many connections as it may have",
        }
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "upstream_unreachable",
            Self::Handshake => "upstream_tls",
            Self::ConnectTimeout | Self::ResponseTimeout => "upstream_timeout",
            Self::Broken | Self::UnexpectedSwitch => "upstream_broken",
            Self::Unresolved | Self::NoneUp => "upstream_down",
            Self::Overloaded | Self::NoDescriptors => "overloaded",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unreachable | Self::Handshake | Self::Broken | Self::UnexpectedSwitch => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Unresolved | Self::NoneUp | Self::Overloaded | Self::NoDescriptors => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// When it is worth while to come again, where that can be said.
    pub(super) fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::Unresolved | Self::NoneUp => Some(5),
            Self::Overloaded | Self::NoDescriptors => Some(1),
            Self::Unreachable
            | Self::Handshake
            | Self::ConnectTimeout
            | Self::ResponseTimeout
            | Self::Broken
            | Self::UnexpectedSwitch => None,
        }
    }
}
