//! `[[upstream]]`: the servers behind the gateway, and how requests are shared among them.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::identity::claim_of;
use super::item::{Item, Text};
use super::server::name;
use super::upstream_server::servers;
use super::upstream_tls::{UpstreamTls, upstream_tls};
use super::value;
use crate::token::ClaimPath;

/// A valid `[[upstream]]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Upstream {
    pub name: String,
    pub servers: Vec<UpstreamServer>,
    pub balance: Balance,
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of the answer.
    pub response_timeout: Duration,
    /// Between two pieces of the answer's body; `None`: for as long as it takes.
    pub body_timeout: Option<Duration>,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Send the client's Host, or the server's own.
    pub host: UpstreamHost,
    pub retry: Retry,
    pub ejection: Ejection,
    /// How many requests may be under way; `None`: as many as come.
    pub concurrency: Option<Concurrency>,
    /// A server that comes (back) takes its whole share after this; zero: at once.
    pub slow_start: Duration,
    /// How often names are looked up.
    pub resolve_every: Duration,
    pub health: Option<HealthCheck>,
    /// With prior knowledge, or by ALPN where TLS is spoken.
    pub http2: bool,
    /// Where a server is https://.
    pub tls: Option<UpstreamTls>,
}

/// One server as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamServer {
    pub address: ServerAddress,
    /// Its share of the requests, beside those of the others.
    pub weight: u32,
    /// Used only while no other can be.
    pub backup: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ServerAddress {
    /// `http://host:port`, or `https://`; a name is looked up by the control plane.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

impl ServerAddress {
    /// As it is written in the file.
    pub fn shown(&self) -> String {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    format!("{scheme}://[{host}]:{port}")
                } else {
                    format!("{scheme}://{host}:{port}")
                }
            }
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// A name, which has to be looked up; `None` for addresses and sockets.
    pub fn name(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port, .. } if host.parse::<std::net::IpAddr>().is_err() => {
                Some((host, *port))
            }
            Self::Tcp { .. } | Self::Unix(_) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamHost {
    Preserve,
    Server,
}

/// How a server is chosen for a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Balance {
    /// The one of two drawn by weight that has fewer requests under way.
    LeastRequest,
    RoundRobin,
    /// The same key goes to the same server while that has no more than its share.
    Hash(HashKey),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashKey {
    Claim(ClaimPath),
    Header(HeaderName),
    /// The client's address.
    Address,
}

/// Requests that are sent once more when it is safe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Further servers that a request is tried on; 0: none.
    pub attempts: u32,
    /// Repetitions under way, of all requests under way.
    pub budget_percent: u32,
    /// So many in any case.
    pub budget_min: u32,
    /// PUT and DELETE are repeated as well (RFC 9110 section 9.2.2), not the safe methods alone.
    pub idempotent: bool,
    /// Answers after which another server is asked.
    pub status: Vec<u16>,
}

/// A server whose requests fail gets none for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ejection {
    /// So many in a row; 0: never.
    pub failures: u32,
    pub time: Duration,
    pub time_max: Duration,
    pub percent_max: u32,
}

/// A limit to the requests under way, and who may wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Concurrency {
    pub max: usize,
    pub queue: usize,
    pub wait: Duration,
}

/// What a server is asked to find out whether it is well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    pub path: String,
    pub every: Duration,
    pub timeout: Duration,
    /// Good answers in a row after which a server that was down is used again.
    pub healthy: u32,
    /// Failures in a row after which it is down.
    pub unhealthy: u32,
    /// Good answers; empty: 200 to 399.
    pub status: Vec<u16>,
    /// The Host header; else the server's own.
    pub host: Option<String>,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

pub fn upstream(table: &Table<'_>) -> Option<Upstream> {
    let name = name(table.required("name"));
    let servers = servers(table);
    let tls = upstream_tls(table, servers.as_deref().unwrap_or_default());
    let body_timeout = table.duration("body_timeout", Duration::ZERO, Duration::ZERO..=24 * HOUR);
    let upstream = Upstream {
        name: name.unwrap_or_default(),
        servers: servers.unwrap_or_default(),
        balance: balance(table),
        connect_timeout: table.duration("connect_timeout", 5 * SECOND, SECOND / 100..=HOUR),
        response_timeout: table.duration("response_timeout", 60 * SECOND, SECOND / 100..=24 * HOUR),
        body_timeout: (!body_timeout.is_zero()).then_some(body_timeout),
        idle_timeout: table.duration("idle_timeout", 60 * SECOND, Duration::ZERO..=HOUR),
        host: table.choice(
            "host",
            UpstreamHost::Preserve,
            &[("preserve", UpstreamHost::Preserve), ("server", UpstreamHost::Server)],
        ),
        retry: retry(&table.table("retry", "upstream.retry")),
        ejection: ejection(&table.table("ejection", "upstream.ejection")),
        concurrency: concurrency(table),
        slow_start: table.duration("slow_start", Duration::ZERO, Duration::ZERO..=HOUR),
        resolve_every: table.duration("resolve_every", 10 * SECOND, SECOND..=24 * HOUR),
        health: health(table),
        http2: table.boolean("http2", false),
        tls,
    };
    table.finish();
    (!upstream.name.is_empty()).then_some(upstream)
}

fn balance(table: &Table<'_>) -> Balance {
    let hash = table.string("hash");
    let chosen = table.choice(
        "balance",
        None,
        &[("least_request", None), ("round_robin", Some(false)), ("hash", Some(true))],
    );
    let hashes = chosen == Some(true);
    match (hashes, hash) {
        (true, Some(text)) => hash_key(table, &text).map_or(Balance::LeastRequest, Balance::Hash),
        (true, None) => {
            if !table.has("hash") {
                table.require_also("hash");
            }
            Balance::LeastRequest
        }
        (false, Some(text)) => {
            let message = "`hash` has no effect without `balance = \"hash\"`";
            table.reader.report(&text.span, Diagnostic::error(Code::NoEffect, message));
            Balance::LeastRequest
        }
        (false, None) if chosen == Some(false) => Balance::RoundRobin,
        (false, None) => Balance::LeastRequest,
    }
}

fn hash_key(table: &Table<'_>, text: &Text) -> Option<HashKey> {
    let key = match text.value.split_once(':') {
        None if text.value == "address" => Some(HashKey::Address),
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes()).ok().map(HashKey::Header),
        Some(("claim", claim)) => {
            let claim = Text { value: claim.to_owned(), ..text.clone() };
            return claim_of(&table.get("hash")?, &claim).map(HashKey::Claim);
        }
        _ => None,
    };
    if key.is_none() {
        let message = format!("\"{}\" does not say what requests are placed by", show(&text.raw));
        table.reader.report(
            &text.span,
            Diagnostic::error(Code::BadHashKey, message)
                .help("\"claim:sub\", \"header:X-Tenant\" or \"address\""),
        );
    }
    key
}

fn small(table: &Table<'_>, key: &'static str, default: u32, most: u32) -> u32 {
    let value = table.integer(key, u64::from(default), 0..=u64::from(most));
    u32::try_from(value).unwrap_or(default)
}

fn retry(table: &Table<'_>) -> Retry {
    let retry = Retry {
        attempts: small(table, "attempts", 2, 10),
        budget_percent: small(table, "budget_percent", 20, 100),
        budget_min: small(table, "budget_min", 3, 1000),
        idempotent: table.boolean("idempotent", false),
        status: statuses(table),
    };
    table.finish();
    retry
}

/// Answers that say of themselves that the server did nothing, or could not.
fn statuses(table: &Table<'_>) -> Vec<u16> {
    let Some(item) = table.get("status") else { return Vec::new() };
    let range = 500..=599;
    item.integers(&range).into_iter().filter_map(|status| u16::try_from(status).ok()).collect()
}

fn ejection(table: &Table<'_>) -> Ejection {
    let ejection = Ejection {
        failures: small(table, "failures", 5, 1_000_000),
        time: table.duration("time", 10 * SECOND, SECOND / 10..=HOUR),
        time_max: table.duration("time_max", 300 * SECOND, SECOND / 10..=24 * HOUR),
        percent_max: small(table, "percent_max", 50, 100),
    };
    if let (true, Some(item)) = (ejection.time_max < ejection.time, table.get("time_max")) {
        let message = "`time_max` is shorter than `time`";
        table.reader.report(&item.span, Diagnostic::error(Code::OutOfRange, message));
    }
    table.finish();
    ejection
}

fn health(table: &Table<'_>) -> Option<HealthCheck> {
    let given = table.get("health");
    let inner = table.table("health", "upstream.health");
    let path = inner.get("path").and_then(|item| {
        let text = item.string()?;
        match value::path(&text.value) {
            Ok(()) => Some(text.value),
            Err(expected) => {
                let message = format!("\"{}\" is not a path", show(&text.raw));
                let diagnostic = Diagnostic::error(Code::BadPath, message).help(expected);
                table.reader.report(&item.span, diagnostic);
                None
            }
        }
    });
    if given.as_ref().is_some_and(Item::is_table) && !inner.has("path") {
        inner.require_also("path");
    }
    let host = inner.get("host").and_then(|item| {
        let text = item.string()?;
        if value::is_host_name(&text.value) {
            return Some(text.value);
        }
        let message = format!("\"{}\" is not a host", show(&text.raw));
        table.reader.report(&item.span, Diagnostic::error(Code::BadHost, message));
        None
    });
    let check = HealthCheck {
        path: path.unwrap_or_default(),
        every: inner.duration("every", 5 * SECOND, SECOND / 10..=HOUR),
        timeout: inner.duration("timeout", 2 * SECOND, SECOND / 100..=HOUR),
        healthy: in_a_row(&inner, "healthy", 2),
        unhealthy: in_a_row(&inner, "unhealthy", 3),
        status: inner.get("status").map_or_else(Vec::new, |item| {
            let listed = item.integers(&(100..=599));
            listed.into_iter().filter_map(|status| u16::try_from(status).ok()).collect()
        }),
        host,
    };
    inner.finish();
    given.is_some().then_some(check)
}

fn in_a_row(table: &Table<'_>, key: &'static str, default: u32) -> u32 {
    u32::try_from(table.integer(key, u64::from(default), 1..=100)).unwrap_or(default)
}

fn concurrency(table: &Table<'_>) -> Option<Concurrency> {
    let max = table.get("max_connections").and_then(|item| item.integer(&(1..=1_000_000)));
    let queue = table.table("queue", "upstream.queue");
    let size = queue.integer("size", 100, 0..=1_000_000);
    let wait = queue.duration("wait", 5 * SECOND, SECOND / 100..=HOUR);
    queue.finish();
    if let (false, Some(item)) = (table.has("max_connections"), table.get("queue")) {
        let message = "`queue` has no effect without `max_connections`";
        table.reader.report(&item.key_span, Diagnostic::error(Code::NoEffect, message));
    }
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Some(Concurrency { max: count(max?), queue: count(size), wait })
}
