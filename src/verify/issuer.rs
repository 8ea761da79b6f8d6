//! An issuer and its policy, as compiled from the config.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::UnixMs;
use crate::denylist::{IssuerId, Retention};
use crate::keys::{Algorithm, KeySet};
use crate::token::ClaimPath;

/// Which claims an issuer's tokens may lack. All `false` is the secure default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Missing {
    pub iss: bool,
    pub aud: bool,
    pub iat: bool,
}

/// Which claim says what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimNames {
    pub subject: ClaimPath,
    pub session: ClaimPath,
    /// The first that is present: `client_id`, then `azp`, by default.
    pub client: Vec<ClaimPath>,
    pub version: ClaimPath,
    /// Configured name and place.
    pub indexed: Vec<(String, ClaimPath)>,
}

impl Default for ClaimNames {
    /// As RFC 7519, RFC 8693, RFC 9068 and OpenID Connect name them.
    fn default() -> Self {
        let named = |name: &str| ClaimPath::Name(name.to_owned());
        Self {
            subject: named("sub"),
            session: named("sid"),
            client: vec![named("client_id"), named("azp")],
            version: named("ver"),
            indexed: Vec::new(),
        }
    }
}

/// Tokens issued before this moment may live at most so long, whatever holds for later ones: denials
/// that they match were kept for no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifetimeMark {
    pub issued_before: UnixMs,
    pub max_lifetime: Duration,
}

/// Which of an issuer's genuine tokens pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// All that are not denied.
    #[default]
    Denylist,
    /// Those that are registered, by themselves or by their session, and not denied.
    Allowlist,
}

/// What an issuer's tokens must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Name in the config: for people, logs and metrics.
    pub name: String,
    pub mode: Mode,
    pub id: IssuerId,
    /// The exact `iss` that its tokens must carry (unless missing and allowed to be).
    pub iss: Option<String>,
    /// One of these must be in `aud`. Empty only with `missing.aud`.
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` header values, compared as RFC 7515 section 4.1.9 says; empty: any of `JWT`,
    /// `at+jwt` or none.
    pub types: Vec<String>,
    pub max_lifetime: Duration,
    /// Before it was raised.
    pub lifetime_marks: Vec<LifetimeMark>,
    pub session_lifetime_max: Duration,
    /// Before renewing was turned on, or that was raised; by when the login was.
    pub session_marks: Vec<LifetimeMark>,
    /// The gateway renews its sessions: cutoffs are kept for a session's life.
    pub renewed: bool,
    pub leeway: Duration,
    pub cutoff_skew: Duration,
    pub missing: Missing,
    pub claims: ClaimNames,
    /// Top-level claims that must be present.
    pub required: Vec<ClaimPath>,
    /// A claim that people are shown by, for example `email`.
    pub display: Option<ClaimPath>,
}

impl Policy {
    pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
    pub const SESSION_LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
    pub const LEEWAY: Duration = Duration::from_secs(30);

    /// Of the issuer with this `iss`, of whose tokens nothing more is said: every claim must be
    /// there, and one of these audiences.
    pub fn new(name: &str, iss: &str, audiences: &[&str], algorithms: &[Algorithm]) -> Self {
        Self {
            name: name.to_owned(),
            mode: Mode::Denylist,
            id: IssuerId::new(iss),
            iss: Some(iss.to_owned()),
            audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
            algorithms: algorithms.to_vec(),
            types: Vec::new(),
            max_lifetime: Self::MAX_LIFETIME,
            lifetime_marks: Vec::new(),
            session_lifetime_max: Self::SESSION_LIFETIME_MAX,
            session_marks: Vec::new(),
            renewed: false,
            leeway: Self::LEEWAY,
            cutoff_skew: Duration::ZERO,
            missing: Missing::default(),
            claims: ClaimNames::default(),
            required: Vec::new(),
            display: None,
        }
    }

    /// For how long after this login its session may be renewed: no longer than what was denied
    /// since then is kept. Zero: not at all.
    pub fn session_lifetime(&self, login: UnixMs) -> Duration {
        let now = if self.renewed { self.session_lifetime_max } else { Duration::ZERO };
        let older = self.session_marks.iter().filter(|mark| login < mark.issued_before);
        older.fold(now, |max, mark| max.min(mark.max_lifetime))
    }

    /// How long what is said of its tokens must be kept.
    pub fn retention(&self) -> Retention {
        Retention {
            max_lifetime: self.max_lifetime,
            session_lifetime_max: self.session_lifetime_max,
            renewed: self.renewed,
            leeway: self.leeway,
            iat_optional: self.missing.iat,
        }
    }
}

/// The keys in force of one issuer. The control plane swaps them; whoever holds the cell sees it,
/// also a token that was verified under an earlier configuration.
pub type KeyCell = Arc<ArcSwap<KeySet>>;

/// A policy and the keys in force.
pub struct Issuer {
    pub policy: Policy,
    pub keys: KeyCell,
}

impl Issuer {
    pub fn new(policy: Policy, keys: Arc<KeySet>) -> Self {
        Self::with_cell(policy, Arc::new(ArcSwap::new(keys)))
    }

    /// With keys that somebody else keeps fresh.
    pub fn with_cell(policy: Policy, keys: KeyCell) -> Self {
        Self { policy, keys }
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Issuer({})", self.policy.name)
    }
}
