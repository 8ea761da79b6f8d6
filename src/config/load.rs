//! Text to [`Config`]: one walk over the whole document, then what only the whole can tell:
//! duplicate names, references to nothing, routes that hide each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use super::cursor::{Reader, Table, show};
use super::diagnostic::{Code, Diagnostic, Diagnostics, Severity};
use super::environment::Environment;
use super::item::{Item, Text};
use super::route::{self, Parsed};
use super::source::Source;
use super::{
    Access, Carrier, Config, HostPattern, Issuer, Listen, Loaded, PathPattern, Route, Upstream,
    admin, issuer, server, suggest, upstream,
};

/// A configuration is written by hand; a larger file is a mistake.
const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Reads and checks a file, with the variables of the process.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let refuse = |why: String| {
        let diagnostic =
            Diagnostic::error(Code::Unreadable, "the config file cannot be read").detail(why);
        let file = path.display().to_string();
        Err(Diagnostics::new(file, vec![diagnostic.help("name it with --config FILE")]))
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
    let (mut found, keys) = reader.into_found();
    if !faults.is_empty() {
        keep_what_holds(&mut found);
    }
    if found.iter().any(|item| item.severity == Severity::Error) {
        // Advice waits until the file can be used.
        found.retain(|item| item.severity == Severity::Error);
    }
    let found = Diagnostics::new(source.file(), found);
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
    let later = "this version is configured by [server], [admin], [store], [log], [[issuer]], \
                 [[upstream]] and [[route]]";
    root.unsupported("listener", "several addresses: [server] listen = [\"…\", \"…\"]");
    root.unsupported("metrics", later);
    root.unsupported("replicas", "one gateway only: each has its own store");
    root.unsupported("intake", "revoke by the admin API");
    root.unsupported("session", "let the backend set the cookie, and name it in `credentials`");
    root.unsupported("tracing", later);
    let server = server::server(&root.table("server", "server"));
    let store = server::store(&root.table("store", "store"));
    let (admin, admin_issuers) = admin::admin(&root.table("admin", "admin"), &store);
    let log = server::log(&root.table("log", "log"));
    let issuers = named(root.tables("issuer", "issuer"), issuer::issuer);
    let upstreams = named(root.tables("upstream", "upstream"), upstream::upstream);
    let routes: Vec<Option<Parsed>> =
        root.tables("route", "route").iter().map(route::route).collect();
    root.finish();
    let complete: Vec<&Parsed> = routes.iter().flatten().collect();
    let whole = Whole { root, issuers: &issuers, upstreams: &upstreams, routes: &complete };
    whole.check(&admin_issuers);
    whole.check_listeners(&server.listen, &admin.listen);
    whole.note_plain_http(&server);
    whole.check_empty(routes.len());
    let all = issuers.iter().all(|entry| entry.value.is_some())
        && upstreams.iter().all(|entry| entry.value.is_some())
        && routes.iter().all(Option::is_some);
    all.then(|| Config {
        path: root.reader.source.path.clone(),
        server,
        admin,
        store,
        log,
        issuers: issuers.into_iter().filter_map(|entry| entry.value).collect(),
        upstreams: upstreams.into_iter().filter_map(|entry| entry.value).collect(),
        routes: routes.into_iter().flatten().map(|parsed| parsed.route).collect(),
    })
}

/// A table with a name, kept also where the rest of it is wrong, so that references to it hold.
struct Named<T> {
    name: Option<Text>,
    span: Range<usize>,
    value: Option<T>,
}

fn named<'r, T>(tables: Vec<Table<'r>>, read: impl Fn(&Table<'r>) -> Option<T>) -> Vec<Named<T>> {
    let entries = tables.into_iter().map(|table| {
        let value = read(&table);
        let name = table.get("name").filter(Item::is_string);
        Named { name: name.and_then(|item| item.quiet_string()), span: table.span, value }
    });
    entries.collect()
}

struct Whole<'w, 'r> {
    root: &'w Table<'r>,
    issuers: &'w [Named<Issuer>],
    upstreams: &'w [Named<Upstream>],
    routes: &'w [&'w Parsed],
}

impl Whole<'_, '_> {
    fn report(&self, span: &Range<usize>, diagnostic: Diagnostic) {
        self.root.reader.report(span, diagnostic);
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.root.reader.source.line(span.start)
    }

    fn check(&self, admin_issuers: &[Text]) {
        self.unique("issuer", self.issuers.iter().filter_map(|entry| entry.name.as_ref()));
        self.unique("upstream", self.upstreams.iter().filter_map(|entry| entry.name.as_ref()));
        self.unique_identities();
        self.unique_routes();
        for parsed in self.routes {
            self.known(&parsed.upstream, "upstream", Code::UnknownUpstream, self.upstreams);
            for text in &parsed.issuers {
                self.known(text, "issuer", Code::UnknownIssuer, self.issuers);
            }
            self.possible(parsed);
        }
        for text in admin_issuers {
            self.known(text, "issuer", Code::UnknownIssuer, self.issuers);
        }
        self.unused();
    }

    fn unique<'t>(&self, what: &str, names: impl Iterator<Item = &'t Text>) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for name in names {
            let line = self.line(&name.span);
            match seen.get(name.value.as_str()) {
                Some(first) => {
                    let name_shown = show(&name.raw);
                    let message = format!(
                        "two {what}s are named \"{name_shown}\" (the other on line {first})"
                    );
                    self.report(&name.span, Diagnostic::error(Code::Duplicate, message));
                }
                None => drop(seen.insert(&name.value, line)),
            }
        }
    }

    /// Two issuers with one `iss` would share their denials without saying so.
    fn unique_identities(&self) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for entry in self.issuers {
            let Some(policy) = entry.value.as_ref().map(|issuer| &issuer.policy) else { continue };
            if let Some(first) = seen.insert(policy.id.as_str(), &policy.name) {
                let message =
                    format!("issuers \"{first}\" and \"{}\" have the same identity", policy.name);
                let help = "one [[issuer]] for each `iss`; a key set may hold several keys";
                let diagnostic = Diagnostic::error(Code::Duplicate, message).help(help);
                self.report(&entry.span, diagnostic);
            }
        }
    }

    /// Two routes with the same host and path: the second can never match.
    fn unique_routes(&self) {
        let mut seen: BTreeMap<(HostPattern, PathPattern), usize> = BTreeMap::new();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for parsed in self.routes {
            let Route { host, path, name, line, .. } = &parsed.route;
            if let Some(first) = seen.get(&(host.clone(), path.normal())) {
                let message = format!(
                    "this route never matches: the one on line {first} has the same host and path"
                );
                self.report(&parsed.span, Diagnostic::error(Code::Unreachable, message));
                continue;
            }
            seen.insert((host.clone(), path.normal()), *line);
            if let Some(first) = names.insert(name, *line) {
                let message =
                    format!("two routes are named \"{name}\" (the other on line {first})");
                self.report(&parsed.span, Diagnostic::error(Code::Duplicate, message));
            }
        }
    }

    fn known<T>(&self, text: &Text, what: &str, code: Code, entries: &[Named<T>]) {
        let names = || entries.iter().filter_map(|entry| entry.name.as_ref());
        if self.root.is_no_list(what) || names().any(|name| name.value == text.value) {
            return;
        }
        let nearest = suggest::nearest(&text.value, names().map(|name| name.value.as_str()));
        let nearest = nearest.and_then(|nearest| names().find(|name| name.value == nearest));
        let suggestion = nearest.map(|name| {
            format!("did you mean \"{}\" (line {})?", show(&name.raw), self.line(&name.span))
        });
        let article = if what == "issuer" { "no issuer" } else { "no upstream" };
        let message = format!("{article} is named \"{}\"", show(&text.raw));
        self.report(&text.span, Diagnostic::error(code, message).suggest(suggestion));
    }

    /// A route that asks for tokens needs someone who issues them.
    fn possible(&self, parsed: &Parsed) {
        let route = &parsed.route;
        let no_issuer = self.issuers.is_empty() && !self.root.is_no_list("issuer");
        let none = no_issuer || route.issuers.as_ref().is_some_and(Vec::is_empty);
        if none && route.access != Access::Public {
            let message = "this route asks for tokens and no issuer is configured for it";
            let help = "add an [[issuer]], or access = \"public\"";
            let diagnostic = Diagnostic::error(Code::Impossible, message).help(help);
            self.report(&parsed.access_span, diagnostic);
        }
    }

    fn unused(&self) {
        for entry in self.upstreams {
            let Some(name) = &entry.name else { continue };
            if !self.routes.iter().any(|parsed| parsed.upstream.value == name.value) {
                let message = format!("no route leads to upstream \"{}\"", show(&name.raw));
                self.report(&name.span, Diagnostic::warning(Code::Unused, message));
            }
        }
    }

    fn check_listeners(&self, server: &[Listen], admin: &[Listen]) {
        let mut seen: Vec<&Listen> = Vec::new();
        for listen in server.iter().chain(admin) {
            let is_any_port = matches!(listen, Listen::Tcp(address) if address.port() == 0);
            if seen.contains(&listen) && !is_any_port {
                let message = format!("{} is listened on twice", listen.shown());
                let diagnostic = Diagnostic::error(Code::Duplicate, message)
                    .help("[server] and [admin] need addresses of their own");
                let written = ["server", "admin"]
                    .into_iter()
                    .find_map(|key| self.root.table(key, key).get("listen").map(|item| item.span));
                match written {
                    Some(span) => self.report(&span, diagnostic),
                    None => self.root.reader.report_whole(diagnostic),
                }
            }
            seen.push(listen);
        }
    }

    fn note_plain_http(&self, server: &super::Server) {
        let uses_cookies = self.routes.iter().any(|parsed| {
            let takes_cookie = |carrier: &Carrier| matches!(carrier, Carrier::Cookie(_));
            parsed.route.credentials.iter().any(takes_cookie)
        });
        let is_public = server.listen.iter().any(|listen| match listen {
            Listen::Tcp(address) => !address.ip().is_loopback(),
            Listen::Unix(_) => false,
        });
        if server.trusted_proxies.is_empty() && (uses_cookies || is_public) {
            let message = "listen is plain HTTP; cookies with Secure work only behind something \
                           that ends TLS";
            let help = "list the proxy in front in `trusted_proxies`";
            let diagnostic = Diagnostic::note(Code::PlainHttp, message).help(help);
            self.root.reader.report_whole(diagnostic);
        }
    }

    fn check_empty(&self, routes: usize) {
        for (key, count) in [("upstream", self.upstreams.len()), ("route", routes)] {
            if count == 0 && !self.root.is_no_list(key) {
                let message = format!("the config needs a [[{key}]]");
                self.root.reader.report_whole(Diagnostic::error(Code::MissingKey, message));
            }
        }
    }
}
