//! What went wrong behind us: how that looks from in front, and what the log says of it beside that.

use std::fmt::{self, Display};

use http::StatusCode;

use super::answer::Rejection;
use crate::upstreams::Address;

/// What is said of a cause at the most: a server chooses the names in its certificate.
const CAUSE_BYTES_MAX: usize = 300;

/// A fault, and for the log alone with which server and why: where servers are is nothing for a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub kind: UpstreamFault,
    /// On the heap, since most requests have none.
    known: Option<Box<Known>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Known {
    server: Option<String>,
    cause: Option<String>,
}

impl From<UpstreamFault> for Fault {
    fn from(kind: UpstreamFault) -> Self {
        Self { kind, known: None }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::Upstream(fault)
    }
}

impl Fault {
    pub fn because(kind: UpstreamFault, cause: impl Display) -> Self {
        let mut cause = cause.to_string();
        // `(os error 111)` says nothing to people.
        let end = cause.find(" (os error").unwrap_or(CAUSE_BYTES_MAX).min(CAUSE_BYTES_MAX);
        cause.truncate(cause.floor_char_boundary(end));
        Self { kind, known: Some(Box::new(Known { server: None, cause: Some(cause) })) }
    }

    /// It was this server.
    pub fn at(mut self, server: &Address) -> Self {
        self.known.get_or_insert_default().server = Some(server.shown());
        self
    }

    /// It says something of its servers.
    pub fn is_theirs(&self) -> bool {
        !matches!(self.kind, UpstreamFault::Overloaded | UpstreamFault::NoDescriptors)
    }

    /// For operators.
    pub fn reason(&self) -> String {
        match (self.kind, &self.known) {
            (kind, None) => kind.text().to_owned(),
            // It may have sent something else than an answer.
            (UpstreamFault::Broken, Some(known)) if known.cause.is_some() => {
                format!("The backend gave no answer: {known}")
            }
            (kind, Some(known)) => format!("{}: {known}", kind.text()),
        }
    }
}

impl Display for Known {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.server, &self.cause) {
            (Some(server), Some(cause)) => write!(out, "{server}: {cause}"),
            (Some(one), None) | (None, Some(one)) => out.write_str(one),
            (None, None) => Ok(()),
        }
    }
}

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
