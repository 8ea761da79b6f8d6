//! `[server]`, `[store]`, `[log]`: the process itself.

use std::path::PathBuf;
use std::time::Duration;

use super::cursor::{Reader, Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::entrance::{Entrance, entrance, network};
use super::item::{Item, Text};
use super::{BodyPace, Forwarded, Limits, Listen, Server, Store, TrustedProxies, value};
use super::{memory, room};
use crate::token::TOKEN_BYTES_MAX;

/// A path of a unix socket must fit `sockaddr_un` with its closing NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

pub fn server(table: &Table<'_>, has_listeners: bool) -> Server {
    let default = || match has_listeners {
        true => Vec::new(),
        false => vec![Listen::Tcp(([127, 0, 0, 1], 8080).into())],
    };
    let entrance = entrance(table, "server");
    let redirect = redirect(table, &entrance);
    let server = Server {
        listen: listen(table).unwrap_or_else(default),
        entrance,
        redirect_from: redirect.0,
        redirect_port: redirect.1,
        trusted_proxies: trusted_proxies(table),
        external_origins: super::session::origins(table, "external_origins"),
        threads: usize::try_from(table.integer("threads", 0, 0..=1024)).unwrap_or(0),
        watch: table.boolean("watch", true),
        ready_path: ready_path(table),
        drain_delay: table.duration("drain_delay", Duration::ZERO, Duration::ZERO..=HOUR),
        drain_timeout: table.duration("drain_timeout", 30 * SECOND, Duration::ZERO..=24 * HOUR),
        forwarded: table.choice(
            "forwarded",
            Forwarded::XForwarded,
            &[
                ("x-forwarded", Forwarded::XForwarded),
                ("forwarded", Forwarded::Forwarded),
                ("both", Forwarded::Both),
                ("none", Forwarded::Neither),
            ],
        ),
        limits: limits(&table.table("limits", "server.limits")),
        signature_cache_bytes: table.size("signature_cache", 64 << 20, 0..=64 << 30),
        reveal_reason: table.boolean("reveal_reason", true),
    };
    table.finish();
    server
}

fn ready_path(table: &Table<'_>) -> Option<String> {
    let text = table.string("ready_path").filter(|text| !text.value.is_empty())?;
    if value::path(&text.value).is_ok() && text.value.len() > 1 {
        return Some(text.value);
    }
    let message = format!("\"{}\" cannot be the path of probes", show(&text.raw));
    let help = "one path, at which no page of the backend is: \"/.ready\"; \"\" for none";
    table.reader.report(&text.span, Diagnostic::error(Code::BadPath, message).help(help));
    None
}

fn limits(table: &Table<'_>) -> Limits {
    let count =
        |key, default, range| usize::try_from(table.integer(key, default, range)).unwrap_or(0);
    let bytes = |key, default, range| usize::try_from(table.size(key, default, range)).unwrap_or(0);
    let connections_max = connections_max(table, room::descriptors());
    let limits = Limits {
        header_count_max: count("header_count_max", 100, 8..=1000),
        header_bytes_max: bytes("header_bytes_max", 64 << 10, 8192..=1 << 20),
        header_timeout: table.duration("header_timeout", 10 * SECOND, SECOND..=HOUR),
        body_pace: body_pace(table),
        memory_max: table.size("memory_max", memory_max(), 0..=1 << 50),
        idle_timeout: table.duration("idle_timeout", 75 * SECOND, SECOND..=24 * HOUR),
        failed_credentials_per_minute: table.integer(
            "failed_credentials_per_minute",
            300,
            0..=60_000,
        ),
        requests_max: count("requests_max", 65_536, 1..=16_777_216),
        connections_max,
        connections_per_address: count(
            "connections_per_address",
            // All of them cannot be one client's, many behind one address translation may.
            (connections_max as u64).div_ceil(4).max(1024),
            0..=16_777_216,
        ),
        token_bytes_max: bytes(
            "token_bytes_max",
            TOKEN_BYTES_MAX as u64,
            256..=TOKEN_BYTES_MAX as u64,
        ),
        http2_streams_max: u32::try_from(table.integer("http2_streams_max", 100, 1..=10_000))
            .unwrap_or(1),
        http2_resets_max: count("http2_resets_max", 200, 10..=100_000),
    };
    let smaller = limits.token_bytes_max.saturating_add(1024) > limits.header_bytes_max;
    if let (true, Some(item)) = (smaller, table.get("token_bytes_max")) {
        table.reader.report(
            &item.span,
            Diagnostic::error(
                Code::OutOfRange,
                "`token_bytes_max` does not fit into `header_bytes_max`",
            )
            .help("a token travels in a header: leave 1KiB for the others"),
        );
    }
    table.finish();
    limits
}

fn body_pace(table: &Table<'_>) -> Option<BodyPace> {
    let bytes_per_second = table.size("body_rate_min", 500, 0..=1 << 30);
    let grace = table.duration("body_grace", 20 * SECOND, SECOND / 10..=HOUR);
    (bytes_per_second > 0).then_some(BodyPace { bytes_per_second, grace })
}

/// Nine tenths of what there is: short of where the system would end the process.
fn memory_max() -> u64 {
    memory::available().map_or(0, |bytes| bytes / 10 * 9)
}

/// What is written, or as many as there are descriptors for.
fn connections_max(table: &Table<'_>, descriptors: Option<u64>) -> usize {
    let wanted = table.integer("connections_max", 65_536, 1..=16_777_216);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let room = room::connections(descriptors);
    if let (true, Some(item)) = (wanted > room, table.get("connections_max")) {
        let message = format!(
            "there are file descriptors for {room} connections: that is how many are taken"
        );
        let help = "each may need two: raise the limit of open files (LimitNOFILE=, ulimit -Hn)";
        let diagnostic = Diagnostic::warning(Code::FewDescriptors, message).help(help);
        table.reader.report(&item.span, diagnostic);
    }
    wanted.min(room)
}

/// Where plain HTTP is answered with a redirect, and to which port when it is not 443.
fn redirect(table: &Table<'_>, entrance: &Entrance) -> (Vec<Listen>, Option<u16>) {
    let port = table.integer("redirect_port", 0, 1..=65_535);
    let from = addresses(table, "redirect_from").unwrap_or_default();
    for key in ["redirect_from", "redirect_port"] {
        let Some(item) = table.get(key) else { continue };
        let message = match (table.has("tls"), table.has("redirect_from")) {
            (true, true) => continue,
            (false, _) => format!("`{key}` has no effect without `tls`"),
            (true, false) => format!("`{key}` has no effect without `redirect_from`"),
        };
        table.reader.report(&item.span, Diagnostic::error(Code::NoEffect, message));
    }
    let usable = entrance.tls.is_some();
    (if usable { from } else { Vec::new() }, u16::try_from(port).ok().filter(|port| *port != 0))
}

/// `None`: the key is absent or of no use.
pub fn listen(table: &Table<'_>) -> Option<Vec<Listen>> {
    addresses(table, "listen")
}

fn addresses(table: &Table<'_>, key: &'static str) -> Option<Vec<Listen>> {
    let texts = table.string_or_strings(key)?;
    if let (true, Some(item)) = (texts.is_empty(), table.get(key)) {
        let message = format!("{} listens nowhere", table.title);
        table.reader.report(&item.span, Diagnostic::error(Code::Empty, message));
    }
    let found = texts.iter().filter_map(|text| listen_address(table.reader, text)).collect();
    Some(found)
}

/// The path of a unix socket as the process sees it.
pub fn unix_path(reader: &Reader<'_>, path: &str) -> Result<PathBuf, String> {
    let resolved = reader.resolve(path);
    let is_file = !path.is_empty() && !path.ends_with('/') && resolved.file_name().is_some();
    if is_file && resolved.as_os_str().len() <= UNIX_PATH_BYTES_MAX {
        return Ok(resolved);
    }
    Err(format!("unix: and the path of a socket, at most {UNIX_PATH_BYTES_MAX} bytes in all"))
}

pub fn listen_address(reader: &Reader<'_>, text: &Text) -> Option<Listen> {
    let (message, expected) = if let Some(path) = text.value.strip_prefix("unix:") {
        match unix_path(reader, path) {
            Ok(path) => return Some(Listen::Unix(path)),
            Err(expected) => ("not the path of a socket", expected),
        }
    } else {
        match value::socket_address(&text.value) {
            Ok(address) => return Some(Listen::Tcp(address)),
            Err(expected) => ("not an address to listen on", expected),
        }
    };
    let message = format!("\"{}\" is {message}", show(&text.raw));
    reader.report(&text.span, Diagnostic::error(Code::BadAddress, message).help(expected));
    None
}

fn trusted_proxies(table: &Table<'_>) -> TrustedProxies {
    let mut proxies = TrustedProxies::default();
    for text in table.strings("trusted_proxies").unwrap_or_default() {
        if text.value == "unix" {
            proxies.unix = true;
            continue;
        }
        let everyone = "every peer is a trusted proxy: anyone can claim any address";
        proxies.networks.extend(network(table, &text, everyone));
    }
    proxies
}

const DAY: Duration = Duration::from_secs(86_400);

pub fn store(table: &Table<'_>) -> Store {
    let instead = "each gateway has its own store in `path`";
    table.unsupported("kind", instead);
    table.unsupported("of", instead);
    let path = table.get("path").and_then(|item| item.file_name());
    let store = Store {
        path: path.unwrap_or_else(|| table.reader.resolve("data")),
        limit: table.integer("limit", 10_000_000, 1_000..=1_000_000_000),
        audit_keep: table.duration("audit_keep", DAY * 400, DAY..=DAY * 3_660),
        audit_entries_max: table.integer("audit_entries_max", 1_000_000, 1_000..=100_000_000),
    };
    table.finish();
    store
}

/// The `name` of a table.
pub fn name(item: Option<Item<'_>>) -> Option<String> {
    let item = item?;
    let text = item.string()?;
    if value::is_name(&text.value) {
        return Some(text.value);
    }
    let message = format!("\"{}\" cannot be a name", show(&text.raw));
    let help = "letters, digits, - _ and . ; at most 100";
    item.reader.report(&item.span, Diagnostic::error(Code::BadName, message).help(help));
    None
}
