//! The configuration, valid. `config::load` turns the text into this or into every diagnostic at
//! once; nothing after it has to ask whether a value makes sense.

mod admin;
mod capture;
mod cursor;
mod diagnostic;
mod environment;
mod files;
mod flags;
mod identity;
mod init;
mod issuer;
mod item;
mod keys;
mod load;
mod log;
mod mask;
mod metrics;
mod order;
mod report;
mod route;
mod secrets;
mod server;
mod session;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod upstream;
mod value;
mod whole;

pub use diagnostic::{Code, Diagnostic, Diagnostics, Place, Severity};
pub use flags::{Flags, from_flags};
pub use init::{InitFault, Initial, init};
pub use load::{load, parse};
pub use order::{ORDER, ordered, specificity};
pub use report::{report, report_json};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::keys::KeySet;
use crate::secret::Secret;
use crate::token::ClaimPath;
use crate::verify::Policy;

/// A configuration that can be used, and what is worth knowing about it: warnings and notes.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub notes: Diagnostics,
}

/// A whole configuration. Paths are absolute or relative to the process, already resolved against
/// the file's directory.
#[derive(Debug)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    pub server: Server,
    pub admin: Admin,
    pub metrics: Metrics,
    pub store: Store,
    pub log: Log,
    pub session: Session,
    pub issuers: Vec<Issuer>,
    pub upstreams: Vec<Upstream>,
    /// In file order; the order of matching is the route table's.
    pub routes: Vec<Route>,
}

/// Where metrics are scraped; nowhere by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    pub listen: Vec<Listen>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Clone, Debug)]
pub struct Server {
    pub listen: Vec<Listen>,
    /// Peers whose X-Forwarded-* and Forwarded are believed. Empty by default.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of our own pages, besides the one that a request was sent to.
    pub external_origins: Vec<String>,
    /// Data-plane threads; 0: one per core.
    pub threads: usize,
    /// How long a drain waits for requests in flight.
    pub drain_timeout: Duration,
    /// Which headers tell the upstream about the client.
    pub forwarded: Forwarded,
    pub limits: Limits,
    /// Bytes of verified signatures remembered.
    pub signature_cache_bytes: u64,
    /// The client's 401 says `expired` or `revoked`; otherwise one text for all.
    pub reveal_reason: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarded {
    /// X-Forwarded-For, -Proto and -Host.
    XForwarded,
    /// RFC 7239.
    Forwarded,
    Both,
    Neither,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub header_count_max: usize,
    pub header_bytes_max: usize,
    pub header_timeout: Duration,
    /// An idle keep-alive connection is closed after this.
    pub idle_timeout: Duration,
    pub connections_max: usize,
    pub token_bytes_max: usize,
}

/// An address block: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpNet {
    pub address: std::net::IpAddr,
    pub prefix: u8,
}

impl IpNet {
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        let (ours, theirs, width) = match (self.address, address) {
            (V4(ours), V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (V6(ours), V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            (V4(_), V6(_)) | (V6(_), V4(_)) => return false,
        };
        let host_bits = width - u32::from(self.prefix).min(width);
        let differ = ours ^ theirs;
        differ.checked_shr(host_bits).unwrap_or(0) == 0
    }
}

#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: Vec<Listen>,
    pub tokens: Vec<AdminToken>,
    /// Names besides loopback ones by which the API may be called (DNS rebinding guard).
    pub hosts: Vec<String>,
    /// Where the first credential is written when none is configured: `<store.path>/admin.token`.
    pub first_token: PathBuf,
    /// Recently seen people are remembered.
    pub people: bool,
}

#[derive(Clone, Debug)]
pub struct AdminToken {
    pub name: String,
    pub role: Role,
    pub secret: Secret,
    /// Issuers by config name that it may act on; `None`: all.
    pub issuers: Option<Vec<String>>,
}

/// Each role may do what the ones before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    Viewer,
    Revoker,
    Operator,
    Admin,
}

#[derive(Clone, Debug)]
pub struct Store {
    pub path: PathBuf,
    pub limit: u64,
}

/// How browsers are served.
#[derive(Clone, Debug)]
pub struct Session {
    /// Below this the gateway answers itself, without a slash at the end; `None`: nowhere.
    pub prefix: Option<String>,
    /// Where a browser goes after a log-out that says no other place.
    pub after_logout: String,
    pub cookies: SessionCookies,
}

/// The cookies of sessions that the gateway keeps.
#[derive(Clone, Debug)]
pub struct SessionCookies {
    /// Without the prefix that its attributes ask for.
    pub name: String,
    /// Shared by the hosts below it; `None`: this host's alone.
    pub domain: Option<String>,
    pub secure: bool,
    pub same_site: SameSite,
    /// Access tokens are sealed; refresh tokens always are.
    pub seal: bool,
    /// The first seals, all open. Empty: a key in the store's directory.
    pub keys: Vec<Secret>,
    /// Where that key is.
    pub key_file: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// Where a login's answer holds its tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    pub token: TokenPlace,
    pub refresh: Option<TokenPlace>,
    /// An answer without a token passes: a login in several steps.
    pub optional: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenPlace {
    Header(http::HeaderName),
    /// A member of the JSON.
    Member(ClaimPath),
}

impl Capture {
    pub fn places(&self) -> impl Iterator<Item = &TokenPlace> {
        std::iter::once(&self.token).chain(&self.refresh)
    }

    /// Some token is in the body.
    pub fn needs_body(&self) -> bool {
        self.places().any(|place| matches!(place, TokenPlace::Member(_)))
    }
}

impl SameSite {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl SessionCookies {
    /// With the prefix by which a browser holds the cookie to its attributes (RFC 6265bis section
    /// 4.1.3).
    pub fn full_name(&self, suffix: &str) -> String {
        let prefix = match (self.secure, &self.domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}{}{suffix}", self.name)
    }
}

impl Config {
    /// Some route takes the session's cookie, or makes one.
    pub fn uses_sessions(&self) -> bool {
        let uses = |route: &Route| {
            route.capture.is_some() || route.credentials.contains(&Carrier::Session)
        };
        self.routes.iter().any(uses)
    }
}

#[derive(Clone, Debug)]
pub struct Log {
    pub access: AccessLog,
    /// Where the lines of requests go; `None`: to standard output.
    pub access_file: Option<PathBuf>,
    pub access_format: AccessFormat,
    /// Of so many forwarded requests one has its line. Refused ones all have.
    pub sample: u32,
    /// Lines a second of one client that is refused for one reason, on each core; 0: all.
    pub repeats_max: u32,
    /// People are named: the subject in the access log, who was denied and why in events.
    pub subject: bool,
    /// Events: `error`, `warn`, `info`, `debug`.
    pub level: tracing::Level,
    pub format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessLog {
    Off,
    On,
    /// Refused requests only.
    Refused,
}

/// How the lines of requests are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessFormat {
    /// As events are; in a file, JSON.
    AsEvents,
    Text,
    Json,
    Combined,
}

/// Text on a terminal, JSON elsewhere, unless said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

pub struct Issuer {
    pub policy: Policy,
    pub keys: Arc<KeySet>,
    /// For the table of `check`: `jwks_file keys.json`, `secret from env JWT_SECRET`.
    pub keys_source: String,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Issuer").field("name", &self.policy.name).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: String,
    pub servers: Vec<ServerAddress>,
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of the answer.
    pub response_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Send the client's Host, or the server's own.
    pub host: UpstreamHost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamHost {
    Preserve,
    Server,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerAddress {
    /// `http://host:port`: a name is resolved when a connection is made.
    Http {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

#[derive(Clone, Debug)]
pub struct Route {
    /// Unique: as configured, or `host path`.
    pub name: String,
    pub host: HostPattern,
    pub path: PathPattern,
    pub access: Access,
    pub credentials: Vec<Carrier>,
    pub forward: Forward,
    /// Header name (lower case) and the claim that fills it.
    pub identity: Vec<(http::HeaderName, ClaimPath)>,
    pub require: Requirements,
    /// Issuers by name whose tokens this route takes; `None`: all.
    pub issuers: Option<Vec<String>>,
    /// Its answers are those of a login.
    pub capture: Option<Capture>,
    /// Where a page request without a credential is sent.
    pub login_url: Option<String>,
    pub upstream: String,
    /// Line in the file, for `check`.
    pub line: usize,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HostPattern {
    /// Lower case, without port.
    Exact(String),
    /// `*.example.com`: exactly one or more labels before `.example.com`; holds `.example.com`.
    Suffix(String),
    Any,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PathPattern {
    Exact(String),
    /// By whole segments: `/api/` and `/api` match `/api` and everything below `/api/`.
    Prefix(String),
}

impl Listen {
    /// As it is written in the file.
    pub fn shown(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// As people type it: `http://127.0.0.1:8080`, `unix:/run/p.sock`.
    pub fn url(&self) -> String {
        match self {
            Self::Tcp(address) => format!("http://{address}"),
            Self::Unix(_) => self.shown(),
        }
    }
}

impl HostPattern {
    /// As it is written in the file.
    pub fn shown(&self) -> String {
        match self {
            Self::Exact(host) => host.clone(),
            Self::Suffix(suffix) => format!("*{suffix}"),
            Self::Any => "*".to_owned(),
        }
    }
}

impl PathPattern {
    /// The path; an exact one begins with `=`.
    pub fn shown(&self) -> String {
        match self {
            Self::Exact(path) => format!("={path}"),
            Self::Prefix(path) => path.clone(),
        }
    }

    /// `/api` for `/api/`: patterns that match the same paths are equal.
    pub fn normal(&self) -> Self {
        match self {
            Self::Exact(path) => Self::Exact(path.clone()),
            Self::Prefix(path) => Self::Prefix(path.trim_end_matches('/').to_owned()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Required,
    Optional,
    Public,
}

/// Where a route looks for a token.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Carrier {
    Bearer,
    Cookie(String),
    /// The gateway's own session cookie.
    Session,
}

impl Carrier {
    /// The browser sends it by itself, whoever asked for the request.
    pub fn is_cookie(&self) -> bool {
        match self {
            Self::Bearer => false,
            Self::Cookie(_) | Self::Session => true,
        }
    }
}

/// What becomes of the token on the way to the backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forward {
    Strip,
    Pass,
    /// Whatever carried it, it goes on as `Authorization: Bearer`.
    Bearer,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requirements {
    /// All of these.
    pub scopes: Vec<String>,
    /// Since `auth_time`.
    pub max_age: Option<Duration>,
}
