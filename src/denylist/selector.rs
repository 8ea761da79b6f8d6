//! What a denial matches (selector) and under which condition. Words as in RFC 7519.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::keys::Thumbprint;

/// Identity of an issuer: its exact `iss`, or the configured stable `id` where its tokens carry
/// none. Never its name in the config, so that renaming a table orphans nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IssuerId(Arc<str>);

impl IssuerId {
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One token, as it can be named.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum TokenId {
    /// The `jti` claim (RFC 7519 section 4.1.7).
    Jti(String),
    /// SHA-256 of the signing input, for a token that has no `jti`.
    Digest([u8; 32]),
}

/// Which tokens of an issuer a denial matches. Identifiers compare byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Selector {
    Token(TokenId),
    Session(String),
    Subject(String),
    Client(String),
    /// The key that signed it, by RFC 7638 thumbprint.
    Key(Thumbprint),
    /// A claim that the config lists as indexed, by its configured name.
    Claim {
        name: String,
        value: String,
    },
    /// Every token of the issuer.
    Issuer,
    /// No denial: a token or session that an issuer in allowlist mode lets pass. Kept, taken back
    /// and forgotten like the others, and looked up under a fingerprint of its own.
    Registration(Except),
}

/// The selector's kind, for logs, metrics and lists.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum SelectorKind {
    Token,
    Session,
    Subject,
    Client,
    Key,
    Claim,
    Issuer,
    Registration,
}

impl Selector {
    pub fn kind(&self) -> SelectorKind {
        match self {
            Self::Token(_) => SelectorKind::Token,
            Self::Session(_) => SelectorKind::Session,
            Self::Subject(_) => SelectorKind::Subject,
            Self::Client(_) => SelectorKind::Client,
            Self::Key(_) => SelectorKind::Key,
            Self::Claim { .. } => SelectorKind::Claim,
            Self::Issuer => SelectorKind::Issuer,
            Self::Registration(_) => SelectorKind::Registration,
        }
    }
}

impl SelectorKind {
    /// Every kind, for whoever shows a figure for each.
    pub const ALL: [Self; 7] = [
        Self::Token,
        Self::Session,
        Self::Subject,
        Self::Client,
        Self::Key,
        Self::Claim,
        Self::Issuer,
    ];

    /// The word used in the API, the log and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Key => "key",
            Self::Claim => "claim",
            Self::Issuer => "issuer",
            Self::Registration => "registration",
        }
    }
}

/// When a matching token is denied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Condition {
    /// Every token, also future ones.
    Always,
    /// `iat` before this instant, or no `iat`.
    IssuedBefore(UnixMs),
    /// The version claim below this number, or no version claim.
    VersionBelow(u64),
}

/// The condition's kind, for logs and lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConditionKind {
    Always,
    IssuedBefore,
    VersionBelow,
}

impl Condition {
    pub fn kind(self) -> ConditionKind {
        match self {
            Self::Always => ConditionKind::Always,
            Self::IssuedBefore(_) => ConditionKind::IssuedBefore,
            Self::VersionBelow(_) => ConditionKind::VersionBelow,
        }
    }
}

/// One session or token: the one that a cutoff spares ("log out my other devices"), or the one that
/// a registration lets pass.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Except {
    Session(String),
    Token(TokenId),
}

impl Except {
    /// The selector of the same session or token.
    pub fn selector(&self) -> Selector {
        match self {
            Self::Session(session) => Selector::Session(session.clone()),
            Self::Token(token) => Selector::Token(token.clone()),
        }
    }
}
