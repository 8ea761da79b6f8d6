//! `[server]`, `[admin]`, `[store]`, `[log]`: the process itself.

use std::path::PathBuf;
use std::time::Duration;

use super::cursor::{Item, Reader, Table, Text, choose, show};
use super::diagnostic::{Code, Diagnostic};
use super::{
    AccessLog, Admin, AdminToken, Forwarded, Limits, Listen, Log, LogFormat, Role, Server, Store,
    files, value,
};
use crate::secret::Secret;
use crate::token::TOKEN_BYTES_MAX;

/// A path of a unix socket must fit `sockaddr_un` with its closing NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;
const ADMIN_SECRET_BYTES_MIN: usize = 16;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

pub fn server(table: &Table<'_>) -> Server {
    let default = || vec![Listen::Tcp(([127, 0, 0, 1], 8080).into())];
    table.unsupported(
        "tls",
        "end TLS in front of the gateway and list that proxy in `trusted_proxies`",
    );
    table.unsupported("proxy_protocol", "let the proxy in front send X-Forwarded-For");
    let server = Server {
        listen: listen(table).unwrap_or_else(default),
        trusted_proxies: trusted_proxies(table),
        threads: usize::try_from(table.integer("threads", 0, 0..=1024)).unwrap_or(0),
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

fn limits(table: &Table<'_>) -> Limits {
    let count =
        |key, default, range| usize::try_from(table.integer(key, default, range)).unwrap_or(0);
    let bytes = |key, default, range| usize::try_from(table.size(key, default, range)).unwrap_or(0);
    let limits = Limits {
        header_count_max: count("header_count_max", 100, 8..=1000),
        header_bytes_max: bytes("header_bytes_max", 64 << 10, 8192..=1 << 20),
        header_timeout: table.duration("header_timeout", 10 * SECOND, SECOND..=HOUR),
        idle_timeout: table.duration("idle_timeout", 75 * SECOND, SECOND..=24 * HOUR),
        connections_max: count("connections_max", 65_536, 1..=16_777_216),
        token_bytes_max: bytes(
            "token_bytes_max",
            TOKEN_BYTES_MAX as u64,
            256..=TOKEN_BYTES_MAX as u64,
        ),
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

/// `None`: the key is absent or of no use.
fn listen(table: &Table<'_>) -> Option<Vec<Listen>> {
    let texts = table.string_or_strings("listen")?;
    let found = texts.iter().filter_map(|text| listen_address(table.reader, text)).collect();
    Some(found)
}

fn listen_address(reader: &Reader<'_>, text: &Text) -> Option<Listen> {
    let (message, expected) = if let Some(path) = text.value.strip_prefix("unix:") {
        let path = reader.resolve(path);
        let length = path.as_os_str().len();
        if !path.ends_with("/") && path.file_name().is_some() && length <= UNIX_PATH_BYTES_MAX {
            return Some(Listen::Unix(path));
        }
        let expected = format!("unix: and a path of at most {UNIX_PATH_BYTES_MAX} bytes");
        ("not the path of a socket", expected)
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

fn trusted_proxies(table: &Table<'_>) -> Vec<super::IpNet> {
    let mut networks = Vec::new();
    for text in table.strings("trusted_proxies").unwrap_or_default() {
        match value::network(&text.value) {
            Ok(network) => {
                if network.prefix == 0 {
                    let message = "every peer is a trusted proxy: anyone can claim any address";
                    let help = "list the proxies in front of the gateway";
                    table.reader.report(
                        &text.span,
                        Diagnostic::warning(Code::TrustsEveryone, message).help(help),
                    );
                }
                networks.push(network);
            }
            Err(expected) => {
                let message = format!("\"{}\" is not a network", show(&text.raw));
                let diagnostic = Diagnostic::error(Code::BadNetwork, message).help(expected);
                table.reader.report(&text.span, diagnostic);
            }
        }
    }
    networks
}

pub fn store(table: &Table<'_>) -> Store {
    let instead = "each gateway has its own store in `path`";
    table.unsupported("kind", instead);
    table.unsupported("of", instead);
    let path = table.string("path").map_or_else(|| "data".to_owned(), |text| text.value);
    let store = Store {
        path: table.reader.resolve(&path),
        limit: table.integer("limit", 10_000_000, 1_000..=1_000_000_000),
    };
    table.finish();
    store
}

pub fn log(table: &Table<'_>) -> Log {
    let log = Log {
        access: table.choice(
            "access",
            AccessLog::On,
            &[("on", AccessLog::On), ("off", AccessLog::Off), ("refused", AccessLog::Refused)],
        ),
        subject: table.boolean("subject", true),
        level: table.choice(
            "level",
            tracing::Level::INFO,
            &[
                ("error", tracing::Level::ERROR),
                ("warn", tracing::Level::WARN),
                ("info", tracing::Level::INFO),
                ("debug", tracing::Level::DEBUG),
            ],
        ),
        format: table.choice(
            "format",
            LogFormat::Auto,
            &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
        ),
    };
    table.finish();
    log
}

/// The admin listeners and credentials; `store` is where the defaults live. `issuers` of a token
/// are returned as written, to be compared with the issuers later.
pub fn admin(table: &Table<'_>, store: &Store) -> (Admin, Vec<Text>) {
    let default = || {
        let socket = Listen::Unix(store.path.join("admin.sock"));
        vec![Listen::Tcp(([127, 0, 0, 1], 9900).into()), socket]
    };
    let listen = listen(table);
    warn_exposed(table, listen.as_deref());
    let mut references = Vec::new();
    let mut tokens: Vec<AdminToken> = Vec::new();
    for entry in table.tables("token", "admin.token") {
        let Some(token) = admin_token(&entry, &mut references) else { continue };
        if let Some(twin) = tokens.iter().find(|twin| twin.secret.matches(token.secret.expose())) {
            let message = format!(
                "admin tokens \"{}\" and \"{}\" are the same secret",
                twin.name, token.name
            );
            let help = "one credential for each caller: the audit says who did what";
            entry
                .reader
                .report(&entry.span, Diagnostic::error(Code::BadAdminToken, message).help(help));
        }
        tokens.push(token);
    }
    let admin = Admin {
        listen: listen.unwrap_or_else(default),
        tokens,
        hosts: hosts(table),
        first_token: store.path.join("admin.token"),
        people: table.boolean("people", true),
    };
    table.finish();
    (admin, references)
}

fn warn_exposed(table: &Table<'_>, listen: Option<&[Listen]>) {
    let Some(item) = table.get("listen") else { return };
    let is_exposed = |listen: &Listen| match listen {
        Listen::Tcp(address) => !address.ip().is_loopback(),
        Listen::Unix(_) => false,
    };
    let listen = listen.unwrap_or_default();
    if listen.iter().any(is_exposed) {
        let message = "the admin API is reachable from other machines, in plain HTTP";
        let help = "listen on 127.0.0.1 or on a unix socket, or end TLS in front of it";
        let diagnostic = Diagnostic::warning(Code::AdminExposed, message).help(help);
        table.reader.report(&item.span, diagnostic);
    }
}

fn hosts(table: &Table<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for text in table.strings("hosts").unwrap_or_default() {
        if value::is_host_name(&text.value) {
            hosts.push(text.value.to_ascii_lowercase());
        } else {
            let message = format!("\"{}\" is not a host name", show(&text.raw));
            let help = "the name alone, without scheme and port: \"gateway.internal\"";
            let diagnostic = Diagnostic::error(Code::BadHost, message).help(help);
            table.reader.report(&text.span, diagnostic);
        }
    }
    hosts
}

fn admin_token(table: &Table<'_>, references: &mut Vec<Text>) -> Option<AdminToken> {
    let name = name(table.required("name"));
    let roles = [
        ("viewer", Role::Viewer),
        ("revoker", Role::Revoker),
        ("operator", Role::Operator),
        ("admin", Role::Admin),
    ];
    let role = table
        .required("role")
        .and_then(|item| item.string())
        .and_then(|text| choose(table.reader, &text, "role", &roles));
    let issuers = table.strings("issuers");
    references.extend(issuers.iter().flatten().cloned());
    let secret = admin_secret(table);
    table.finish();
    Some(AdminToken {
        name: name?,
        role: role?,
        secret: secret?,
        issuers: issuers.map(|issuers| issuers.into_iter().map(|text| text.value).collect()),
    })
}

fn admin_secret(table: &Table<'_>) -> Option<Secret> {
    let (file, env) = (table.get("file"), table.get("env"));
    let (item, bytes) = match (file, env) {
        (Some(item), None) => {
            let bytes = secret_file(&item)?;
            (item, bytes)
        }
        (None, Some(item)) => {
            let bytes = secret_variable(&item)?;
            (item, bytes)
        }
        (None, None) => {
            let message = "an admin token needs exactly one of `file` and `env`";
            table.reader.report(&table.span, Diagnostic::error(Code::Exclusive, message));
            return None;
        }
        (Some(_), Some(item)) => {
            let message = "an admin token has exactly one of `file` and `env`";
            table.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
            return None;
        }
    };
    let fault = if bytes.len() < ADMIN_SECRET_BYTES_MIN {
        format!("has {} bytes; the least is {ADMIN_SECRET_BYTES_MIN}", bytes.len())
    } else if !bytes.iter().all(u8::is_ascii_graphic) {
        "holds bytes that an Authorization header cannot carry".to_owned()
    } else {
        return Some(Secret::new(bytes));
    };
    let message = format!("the admin token's secret {fault}");
    table.reader.report(
        &item.span,
        Diagnostic::error(Code::BadAdminToken, message).help("make one: openssl rand -hex 32"),
    );
    None
}

/// A secret from a file; reports and notes.
pub fn secret_file(item: &Item<'_>) -> Option<Vec<u8>> {
    let path: PathBuf = item.reader.resolve(&item.string()?.value);
    match files::read_unnamed(&path) {
        Ok(content) => {
            if content.mode & 0o077 != 0 {
                let mode = content.mode;
                let message = format!("a secret file can be read by others (mode {mode:04o})");
                let diagnostic = Diagnostic::note(Code::OpenFile, message).help("chmod 600");
                item.reader.report(&item.span, diagnostic);
            }
            Some(files::trim_newline(content.bytes))
        }
        Err(why) => {
            let message = "the secret file cannot be read";
            item.reader.report(
                &item.span,
                Diagnostic::error(Code::FileUnreadable, message)
                    .detail(why)
                    .help("relative paths start at the config file's directory"),
            );
            None
        }
    }
}

/// A secret from the environment. The name is printed only when it looks like one: people put the
/// secret itself here.
pub fn secret_variable(item: &Item<'_>) -> Option<Vec<u8>> {
    let name = item.string()?.value;
    if !looks_like_a_variable(&name) {
        let message = format!("`{}` is the name of an environment variable", show(&item.key));
        let help = format!("capitals, digits and _: {} = \"JWT_SECRET\"", show(&item.key));
        item.reader.report(&item.span, Diagnostic::error(Code::BadVariable, message).help(help));
        return None;
    }
    let value = (item.reader.environment)(&name);
    if value.is_none() {
        let message = format!("the environment variable {name} is not set");
        item.reader.report(&item.span, Diagnostic::error(Code::UnsetVariable, message));
    }
    value.map(String::into_bytes)
}

pub fn looks_like_a_variable(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
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
