//! What the control plane asks the cores about open streams, and what they answer. Each core is
//! asked by a command of its own and answers when its turn comes; nothing is shared, no lock is
//! taken on the way of the bytes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::denylist::{Fingerprint, Fold, IssuerId};
use crate::verify::Signed;

/// What kind of exchange it is, once that is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StreamKind {
    /// No answer yet: a slow one, or a long upload.
    Request,
    /// An answer that is being sent.
    Response,
    EventStream,
    WebSocket,
    Grpc,
    /// A connection that switched to another protocol.
    Tunnel,
}

impl StreamKind {
    pub const ALL: [Self; 6] = [
        Self::Request,
        Self::Response,
        Self::EventStream,
        Self::WebSocket,
        Self::Grpc,
        Self::Tunnel,
    ];

    /// The word of the API, the log and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::EventStream => "sse",
            Self::WebSocket => "websocket",
            Self::Grpc => "grpc",
            Self::Tunnel => "tunnel",
        }
    }

    pub fn index(self) -> usize {
        match self {
            Self::Request => 0,
            Self::Response => 1,
            Self::EventStream => 2,
            Self::WebSocket => 3,
            Self::Grpc => 4,
            Self::Tunnel => 5,
        }
    }
}

/// Why streams end by us, without the particulars.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CutCause {
    Denied,
    Expired,
    KeyRemoved,
    RouteChanged,
    Operator,
    Idle,
    Draining,
}

impl CutCause {
    pub const ALL: [Self; 7] = [
        Self::Denied,
        Self::Expired,
        Self::KeyRemoved,
        Self::RouteChanged,
        Self::Operator,
        Self::Idle,
        Self::Draining,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::KeyRemoved => "key_removed",
            Self::RouteChanged => "route_changed",
            Self::Operator => "operator",
            Self::Idle => "idle",
            Self::Draining => "draining",
        }
    }

    pub fn index(self) -> usize {
        match self {
            Self::Denied => 0,
            Self::Expired => 1,
            Self::KeyRemoved => 2,
            Self::RouteChanged => 3,
            Self::Operator => 4,
            Self::Idle => 5,
            Self::Draining => 6,
        }
    }
}

/// Streams by kind, in the order of [`StreamKind::ALL`].
pub type ByKind = [u64; StreamKind::ALL.len()];

/// Names an open stream in this process: the core in the high bits, then a count that began at
/// random, so that an id of an earlier process means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

impl StreamId {
    const CORE_BITS: u32 = 12;
    const COUNT_BITS: u32 = 48;
    const CHARS: u32 = 12;
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    pub fn new(core: usize, count: u64) -> Self {
        let core = u64::try_from(core).unwrap_or(u64::MAX) & ((1 << Self::CORE_BITS) - 1);
        Self(core << Self::COUNT_BITS | count & ((1 << Self::COUNT_BITS) - 1))
    }

    pub fn core(self) -> usize {
        usize::try_from(self.0 >> Self::COUNT_BITS).unwrap_or(usize::MAX)
    }

    /// The first count of a core of this process.
    pub fn first_count() -> u64 {
        let mut random = [0; 8];
        // Without randomness ids of two processes may be equal; in one they are not.
        let _ = aws_lc_rs::rand::fill(&mut random);
        u64::from_le_bytes(random) >> (64 - Self::COUNT_BITS + 2)
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;
        out.write_str("st_")?;
        for place in (0..Self::CHARS).rev() {
            let digit = usize::try_from(self.0 >> (5 * place) & 31).unwrap_or(0);
            out.write_char(char::from(Self::ALPHABET.get(digit).copied().unwrap_or(b'0')))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for StreamId {
    type Err = NotAStream;

    fn from_str(text: &str) -> Result<Self, NotAStream> {
        let digits = text.strip_prefix("st_").ok_or(NotAStream)?;
        if digits.len() != Self::CHARS as usize {
            return Err(NotAStream);
        }
        let mut id = 0;
        for digit in digits.bytes() {
            let known = Self::ALPHABET.iter().position(|known| *known == digit);
            id = id << 5 | u64::try_from(known.ok_or(NotAStream)?).unwrap_or(0);
        }
        Ok(Self(id))
    }
}

/// The text is not the written form of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAStream;

/// Which streams to list.
#[derive(Clone, Default, Debug)]
pub struct Wanted {
    /// Any of these marks selects: the index is asked, and no other stream looked at.
    pub marks: Option<Vec<Fingerprint>>,
    pub subject: Option<String>,
    pub session: Option<String>,
    pub route: Option<String>,
    pub kind: Option<StreamKind>,
    /// Only streams of these issuers; `None`: all, also those without a token.
    pub issuers: Option<Vec<IssuerId>>,
    /// Only those after this one.
    pub after: Option<StreamId>,
    pub limit: usize,
}

/// One open stream.
#[derive(Clone, Debug)]
pub struct OpenStream {
    pub id: StreamId,
    pub kind: StreamKind,
    pub issuer: Option<IssuerId>,
    pub subject: Option<String>,
    pub session: Option<String>,
    pub client: Option<String>,
    pub route: Arc<str>,
    pub opened_at: UnixMs,
    /// When its token ends it; `None`: never.
    pub ends_at: Option<UnixMs>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub address: Option<IpAddr>,
}

/// Some of a core's streams.
#[derive(Clone, Default, Debug)]
pub struct Listed {
    pub items: Vec<OpenStream>,
    /// Where to go on, if this core has more; those between were looked at and not wanted.
    pub next: Option<StreamId>,
}

/// One core's question.
pub enum Question {
    List(Wanted, oneshot::Sender<Listed>),
    /// Open streams that this would deny.
    Count(Fingerprint, Fold, oneshot::Sender<ByKind>),
    /// Streams that denials of these selectors have ended, each since then. Answered when all changes
    /// of them that were told before have been dealt with.
    EndedBy(Arc<[(Fingerprint, Instant)]>, oneshot::Sender<Vec<ByKind>>),
    /// The streams of this token's session stand on it from here on; answered with how many.
    Rebase(Arc<Signed>, Option<Fingerprint>, oneshot::Sender<ByKind>),
    /// Cut this one, where a caller bound to these issuers may; `true`: it was open.
    Cut(StreamId, Option<Vec<IssuerId>>, oneshot::Sender<bool>),
}

/// One core's inbox for questions; `false`: it has ended.
pub type Ask = Box<dyn Fn(Question) -> bool + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_says_its_core() {
        for (core, count) in [(0, 0), (1, 1), (4095, u64::MAX), (7, StreamId::first_count())] {
            let id = StreamId::new(core, count);
            assert_eq!(id.core(), core);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "st_", "st_00000000000u", "dn_000000000000", "st_0000000000000"] {
            assert_eq!(bad.parse::<StreamId>(), Err(NotAStream), "{bad}");
        }
    }

    #[test]
    fn ids_of_a_core_sort_by_age() {
        assert!(StreamId::new(1, 5) < StreamId::new(1, 6));
        assert!(StreamId::new(1, u64::MAX) < StreamId::new(2, 0));
    }
}
