//! The configuration, valid. `config::load` turns the text into this or into every diagnostic at
//! once; nothing after it has to ask whether a value makes sense.

mod admin;
mod assertion;
mod browser;
mod capture;
mod cors;
mod cursor;
mod diagnostic;
mod effective;
mod entrance;
mod environment;
mod files;
mod flags;
mod header_name;
mod identity;
mod init;
mod issuer;
mod item;
mod keys;
mod listen;
mod listener;
mod load;
mod log;
mod mask;
mod memory;
mod metrics;
mod order;
mod renewal;
mod report;
mod room;
mod route;
mod route_limits;
mod route_match;
mod route_pattern;
mod route_require;
mod route_rewrite;
mod route_table;
mod route_target;
mod secrets;
mod server;
mod session;
mod source;
mod streams;
mod suggest;
#[cfg(test)]
mod tests;
pub mod tls;
mod traces;
mod upgrades;
mod upstream;
mod upstream_server;
mod upstream_tls;
mod value;
mod whole;
mod whole_sessions;

pub use assertion::{
    ASSERTION_LIFETIME_MAX, ASSERTION_TYPE, Assertion, AssertionClient, RouteAssertion,
};
pub use browser::{Capture, SameSite, Session, SessionCookies, TokenPlace};
pub use cors::{Cors, CorsPolicy, Origins};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Place, Severity};
pub use effective::effective;
pub use entrance::Entrance;
pub use flags::{Flags, from_flags};
pub use header_name::{is_hop_by_hop, normal as normal_header_name, speaks_of_client};
pub use init::{InitFault, Initial, init};
pub use keys::{KeyLocation, RemoteKeys, is_loopback};
pub use listen::{IpNet, Listen, TrustedProxies};
pub use load::{load, parse};
pub use log::{AccessFormat, AccessLog, Log, LogFormat};
pub use metrics::Metrics;
pub use order::{ORDER, ordered, specificity};
pub use renewal::{OauthClient, PlainEndpoint, RenewAt, Renewal};
pub use report::{report, report_json};
pub use route_limits::RouteLimits;
pub use route_match::{Conditions, HeaderCondition};
pub use route_pattern::{HostPattern, PathPattern};
pub use route_require::{ClaimRule, ClaimTest, Requirements};
pub use route_rewrite::{HeaderRules, Rewrite};
pub use route_target::{Piece, Redirect, StaticAnswer, Target};
pub use streams::{OnExpired, StreamRules};
pub use traces::Tracing;
pub use upstream::{
    Balance, Concurrency, Ejection, HashKey, HealthCheck, Retry, ServerAddress, Upstream,
    UpstreamHost, UpstreamServer,
};
pub use upstream_tls::UpstreamTls;

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
    /// How connections begin: to `[server] listen`, to what only redirects, to each `[[listener]]`.
    pub entrances: Vec<Entrance>,
    /// `[server] listen`, `redirect_from`, and each `[[listener]]`.
    pub listeners: Vec<Listener>,
    pub admin: Admin,
    pub metrics: Metrics,
    pub store: Store,
    pub log: Log,
    pub tracing: Option<Tracing>,
    pub session: Session,
    /// How the gateway vouches for people to its backends.
    pub assertion: Option<Assertion>,
    pub issuers: Vec<Issuer>,
    pub upstreams: Vec<Upstream>,
    /// In file order; the order of matching is the route table's.
    pub routes: Vec<Route>,
}

/// One address with what its socket is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// By which a service manager may pass its socket.
    pub name: Option<String>,
    pub listen: Listen,
    /// Which of the entrances its connections take.
    pub entrance: usize,
    /// An IPv6 address takes no IPv4 clients, so that `[::]` and `0.0.0.0` can both be listened on.
    pub ipv6_only: bool,
    pub rights: SocketRights,
}

/// Who may connect to a unix socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketRights {
    pub mode: u32,
    /// `None`: the process's own.
    pub owner: Option<u32>,
    pub group: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct Server {
    pub listen: Vec<Listen>,
    /// How connections to `listen` begin.
    pub entrance: Entrance,
    /// Plain addresses that only send people to the encrypted ones.
    pub redirect_from: Vec<Listen>,
    /// The port in that redirect; `None`: that of the first address of `listen`.
    pub redirect_port: Option<u16>,
    /// Peers whose X-Forwarded-* and Forwarded are believed. Empty by default.
    pub trusted_proxies: TrustedProxies,
    /// Origins of our own pages, besides the one that a request was sent to.
    pub external_origins: Vec<String>,
    /// Data-plane threads; 0: one per core.
    pub threads: usize,
    /// The config file and those that it names are read again when they change.
    pub watch: bool,
    /// Where public listeners say whether the gateway is ready.
    pub ready_path: Option<String>,
    /// How long it is not ready and still takes connections before it drains.
    pub drain_delay: Duration,
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

/// The least rate of a body, and for how long it may be slower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyPace {
    pub bytes_per_second: u64,
    pub grace: Duration,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub header_count_max: usize,
    pub header_bytes_max: usize,
    pub header_timeout: Duration,
    /// How slowly a body may be sent; `None`: at any rate.
    pub body_pace: Option<BodyPace>,
    /// Of the whole process; 0: any amount.
    pub memory_max: u64,
    /// An idle keep-alive connection is closed after this.
    pub idle_timeout: Duration,
    /// No more than there are file descriptors for.
    pub connections_max: usize,
    /// Of one client address; 0: any number.
    pub connections_per_address: usize,
    /// Requests in flight, shared evenly between the threads.
    pub requests_max: usize,
    pub token_bytes_max: usize,
    /// Of one client address; 0: any number.
    pub failed_credentials_per_minute: u64,
    /// Streams of one HTTP/2 connection at a time.
    pub http2_streams_max: u32,
    /// Requests that one HTTP/2 connection may give up in a second.
    pub http2_resets_max: usize,
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
    /// How long acts stay in the audit, and how many at the most.
    pub audit_keep: Duration,
    pub audit_entries_max: u64,
}

pub struct Issuer {
    pub policy: Policy,
    pub keys: Arc<KeySet>,
    /// For the table of `check`: `jwks_file keys.json`, `secret from env JWT_SECRET`.
    pub keys_source: String,
    /// Where they are fetched; `keys` is empty then.
    pub remote: Option<RemoteKeys>,
    /// How its sessions are renewed.
    pub renewal: Option<Renewal>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Issuer").field("name", &self.policy.name).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Route {
    /// Unique: as configured, or `host path` and the conditions.
    pub name: String,
    pub host: HostPattern,
    pub path: PathPattern,
    pub conditions: Conditions,
    pub access: Access,
    pub credentials: Vec<Carrier>,
    pub forward: Forward,
    /// Header name (lower case) and the claim that fills it.
    pub identity: Vec<(http::HeaderName, ClaimPath)>,
    /// What the gateway signs for its backend.
    pub assertion: Option<RouteAssertion>,
    pub require: Requirements,
    /// Issuers by name whose tokens this route takes; `None`: all.
    pub issuers: Option<Vec<String>>,
    /// Its answers are those of a login.
    pub capture: Option<Capture>,
    /// Where a page request without a credential is sent.
    pub login_url: Option<String>,
    /// How its streams end.
    pub streams: StreamRules,
    pub target: Target,
    pub limits: RouteLimits,
    pub cors: Cors,
    /// Protocols besides WebSocket to which a connection may switch; lower case.
    pub upgrades: Vec<String>,
    pub rewrite: Option<Rewrite>,
    pub request_headers: HeaderRules,
    pub response_headers: HeaderRules,
    /// Line in the file, for `check`.
    pub line: usize,
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
    /// Among the subprotocols of a WebSocket, under this name.
    Protocol(String),
}

impl Carrier {
    /// The browser sends it by itself, whoever asked for the request.
    pub fn is_cookie(&self) -> bool {
        match self {
            Self::Bearer | Self::Protocol(_) => false,
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
