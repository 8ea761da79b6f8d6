//! Text to [`Config`]: one walk over the whole document, which reads every table even when another
//! one is wrong, so that all mistakes come out together.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::cursor::{Reader, Table};
use super::diagnostic::{Code, Diagnostic, Diagnostics, Severity};
use super::environment::Environment;
use super::listener::Listeners;
use super::route::{self, Parsed};
use super::source::Source;
use super::whole::{Whole, named};
use super::{
    Config, Listen, Loaded, admin, assertion, issuer, listener, log, metrics, server, session,
    traces, upstream,
};

/// A configuration is written by hand; a larger file is a mistake.
const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Reads and checks a file, with the variables of the process.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let refuse = |why: String| {
        let diagnostic =
            Diagnostic::error(Code::Unreadable, "the config file cannot be read").detail(why);
        let file = path.display().to_string();
        let help = match path.try_exists() {
            Ok(false) => {
                "name it with --config FILE, or write one: \
                 portcullis init < some-token.jwt > gateway.toml"
            }
            Ok(true) | Err(_) => "name it with --config FILE",
        };
        let found = vec![diagnostic.help(help)];
        Err(Diagnostics { named: vec![path.to_owned()], ..Diagnostics::new(file, found) })
    };
    let content = match super::files::read_up_to(path, CONFIG_BYTES_MAX) {
        Ok(content) => content,
        Err(why) => return refuse(why),
    };
    match String::from_utf8(content.bytes) {
        Ok(text) => parse(&text, path, &|name| std::env::var(name).ok()),
        Err(_) => refuse("it is not UTF-8 text".to_owned()),
    }
}

/// Checks a text as if it were the file `path`; relative paths start at its directory.
pub fn parse(
    text: &str,
    path: &Path,
    environment: &Environment<'_>,
) -> Result<Loaded, Diagnostics> {
    parse_with_keys(text, path, environment).0
}

/// Every key that was looked for, by table, and whether this version supports it.
pub(super) type Keys = BTreeMap<(String, String), bool>;

pub(super) fn parse_with_keys(
    text: &str,
    path: &Path,
    environment: &Environment<'_>,
) -> (Result<Loaded, Diagnostics>, Keys) {
    let source = Source::new(path, text);
    let (document, faults) = DeTable::parse_recoverable(&source.text);
    let reader = Reader::new(&source, environment);
    for fault in &faults {
        let span = fault.span().unwrap_or(0..0);
        let diagnostic = Diagnostic::error(Code::Syntax, fault.message().replace('\n', " "));
        reader.report(&span, diagnostic);
    }
    let config = walk(&Table::new(&reader, "", "", 0..0, Some(document.get_ref())));
    let named = reader.named();
    let (mut found, keys) = reader.into_found();
    if !faults.is_empty() {
        keep_what_holds(&mut found);
    }
    if found.iter().any(|item| item.severity == Severity::Error) {
        // Advice waits until the file can be used.
        found.retain(|item| item.severity == Severity::Error);
    }
    let found = Diagnostics { named, ..Diagnostics::new(source.file(), found) };
    let result = match config {
        Some(config) if !found.has_errors() => Ok(Loaded { config, notes: found }),
        _ => Err(found),
    };
    (result, keys)
}

/// A broken line may have swallowed others: what is missing is not known then, and a line that
/// does not parse is named once.
fn keep_what_holds(found: &mut Vec<Diagnostic>) {
    let line = |item: &Diagnostic| item.place.as_ref().map(|place| place.line);
    let broken: Vec<Option<usize>> =
        found.iter().filter(|item| item.code == Code::Syntax).map(line).collect();
    let unsure = [Code::MissingKey, Code::UnknownUpstream, Code::UnknownIssuer, Code::Unused];
    found.retain(|item| {
        item.code == Code::Syntax || (!unsure.contains(&item.code) && !broken.contains(&line(item)))
    });
}

/// `None` where something is missing that has no default; a diagnostic says what.
fn walk(root: &Table<'_>) -> Option<Config> {
    root.unsupported("replicas", "one gateway only: each has its own store");
    root.unsupported("intake", "revoke by the admin API");
    let tracing = traces::tracing(&root.table("tracing", "tracing"));
    let server = server::server(&root.table("server", "server"), root.has("listener"));
    let tables = root.tables("listener", "listener");
    let Listeners { entrances, listeners, complete: all_listeners } =
        listener::listeners(&server, &tables);
    let addresses: Vec<Listen> = listeners.iter().map(|one| one.listen.clone()).collect();
    let store = server::store(&root.table("store", "store"));
    let (admin, admin_issuers) = admin::admin(&root.table("admin", "admin"), &store);
    let metrics = metrics::metrics(&root.table("metrics", "metrics"));
    let log = log::log(&root.table("log", "log"));
    let session = session::session(&root.table("session", "session"), &store);
    let assertion =
        assertion::assertion(&root.table("assertion", "assertion"), root.has("assertion"), &store);
    let issuers = named(root.tables("issuer", "issuer"), issuer::issuer);
    let upstreams = named(root.tables("upstream", "upstream"), upstream::upstream);
    let routes: Vec<Option<Parsed>> =
        root.tables("route", "route").iter().map(route::route).collect();
    root.finish();
    let complete: Vec<&Parsed> = routes.iter().flatten().collect();
    let whole = Whole { root, issuers: &issuers, upstreams: &upstreams, routes: &complete };
    whole.check(&admin_issuers);
    whole.check_assertions(assertion.as_ref(), &session);
    whole.check_listeners(&[
        ("server", &addresses),
        ("admin", &admin.listen),
        ("metrics", &metrics.listen),
    ]);
    whole.check_ready_path(server.ready_path.as_deref(), session.prefix.as_deref());
    whole.check_prefix(session.prefix.as_deref());
    whole.note_deployment(&server);
    whole.note_sessions();
    whole.check_empty(routes.len());
    let all = issuers.iter().all(|entry| entry.value.is_some())
        && upstreams.iter().all(|entry| entry.value.is_some())
        && routes.iter().all(Option::is_some)
        && all_listeners;
    all.then(|| Config {
        path: root.reader.source.path.clone(),
        server,
        entrances,
        listeners,
        admin,
        metrics,
        store,
        log,
        tracing,
        session,
        assertion,
        issuers: issuers.into_iter().filter_map(|entry| entry.value).collect(),
        upstreams: upstreams.into_iter().filter_map(|entry| entry.value).collect(),
        routes: routes.into_iter().flatten().map(|parsed| parsed.route).collect(),
    })
}
