//! What the control plane is told of an open stream when it asks. Plain data: nothing of a core
//! leaves its thread.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::UnixMs;

/// What kind of exchange it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamKind {
    /// No answer yet.
    Request,
    Response,
    EventStream,
    WebSocket,
}

/// One open stream, as it was when its core was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenStream {
    pub id: StreamId,
    pub kind: StreamKind,
    pub issuer: String,
    pub subject: Option<String>,
    pub session: Option<String>,
    pub route: Arc<str>,
    pub path: String,
    pub opened_at: UnixMs,
    pub expires_at: UnixMs,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub client: Option<IpAddr>,
}

/// Core and number: unique in this process. Written `st_1-42`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StreamId {
    pub core: usize,
    pub number: u64,
}

impl StreamKind {
    /// The word used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::EventStream => "event_stream",
            Self::WebSocket => "websocket",
        }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "st_{}-{}", self.core, self.number)
    }
}

impl std::str::FromStr for StreamId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (core, number) = text.strip_prefix("st_").and_then(|id| id.split_once('-')).ok_or(())?;
        let (core, number) = (core.parse().map_err(|_| ())?, number.parse().map_err(|_| ())?);
        Ok(Self { core, number })
    }
}
