//! What only the whole configuration can tell: names given twice, references to nothing, routes
//! that hide each other or ask for what cannot be brought.

use std::collections::BTreeMap;

use super::cursor::{Span, Table, show};
use super::diagnostic::{Code, Diagnostic, Severity};
use super::item::{Item, Text};
use super::route::Parsed;
use super::{Access, Carrier, Issuer, Listen, PathPattern, Server, Upstream, route_table, suggest};

/// A table with a name, kept also where the rest of it is wrong, so that references to it hold.
pub struct Named<T> {
    pub name: Option<Text>,
    pub span: Span,
    pub value: Option<T>,
}

pub fn named<'r, T>(
    tables: Vec<Table<'r>>,
    read: impl Fn(&Table<'r>) -> Option<T>,
) -> Vec<Named<T>> {
    let entries = tables.into_iter().map(|table| {
        let value = read(&table);
        let name = table.get("name").filter(Item::is_string);
        Named { name: name.and_then(|item| item.quiet_string()), span: table.span, value }
    });
    entries.collect()
}

pub struct Whole<'w, 'r> {
    pub root: &'w Table<'r>,
    pub issuers: &'w [Named<Issuer>],
    pub upstreams: &'w [Named<Upstream>],
    pub routes: &'w [&'w Parsed],
}

impl Whole<'_, '_> {
    fn report(&self, span: &Span, diagnostic: Diagnostic) {
        self.root.reader.report(span, diagnostic);
    }

    fn line(&self, span: &Span) -> usize {
        self.root.reader.source.line(span.start)
    }

    /// Names and references.
    pub fn check(&self, admin_issuers: &[Text]) {
        self.unique("issuer", self.issuers.iter().filter_map(|entry| entry.name.as_ref()));
        self.unique("upstream", self.upstreams.iter().filter_map(|entry| entry.name.as_ref()));
        self.unique_identities();
        route_table::check(self.root.reader, self.routes);
        for parsed in self.routes {
            if let Some(upstream) = &parsed.upstream {
                self.known(upstream, "upstream", Code::UnknownUpstream, self.upstreams);
            }
            for text in &parsed.issuers {
                self.known(text, "issuer", Code::UnknownIssuer, self.issuers);
            }
            self.possible(parsed);
        }
        for text in admin_issuers {
            self.known(text, "issuer", Code::UnknownIssuer, self.issuers);
        }
        self.unused();
        self.renewable();
    }

    /// Refresh tokens that are captured and never used, and the other way round.
    fn renewable(&self) {
        let issuers = || self.issuers.iter().filter_map(|entry| entry.value.as_ref());
        let renewed = |name: &String| {
            issuers().any(|issuer| issuer.policy.name == *name && issuer.renewal.is_some())
        };
        let captures = |parsed: &Parsed| {
            let capture = parsed.route.capture.as_ref();
            capture.is_some_and(|capture| capture.refresh.is_some())
        };
        for parsed in self.routes.iter().filter(|parsed| captures(parsed)) {
            let used = match &parsed.route.issuers {
                Some(names) => names.iter().any(renewed),
                None => issuers().any(|issuer| issuer.renewal.is_some()),
            };
            if !used && self.issuers.iter().all(|entry| entry.value.is_some()) {
                let message =
                    "the refresh token is captured and dropped: no issuer has a `renewal`";
                let help = "[issuer.renewal] says where sessions are renewed";
                self.report(&parsed.span, Diagnostic::note(Code::Unused, message).help(help));
            }
        }
        let any = self.routes.iter().any(|parsed| captures(parsed));
        for entry in self.issuers.iter().filter(|_| !any) {
            if entry.value.as_ref().is_some_and(|issuer| issuer.renewal.is_some()) {
                let message =
                    "no login brings refresh tokens, so no session of this issuer is renewed";
                let help = "capture = { token = …, refresh = … } at the route of the login";
                self.report(&entry.span, Diagnostic::warning(Code::Unused, message).help(help));
            }
        }
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
            let leads = |parsed: &&&Parsed| {
                parsed.upstream.as_ref().is_some_and(|upstream| upstream.value == name.value)
            };
            if self.routes.iter().find(leads).is_none() {
                let message = format!("no route leads to upstream \"{}\"", show(&name.raw));
                self.report(&name.span, Diagnostic::warning(Code::Unused, message));
            }
        }
    }

    /// Each table's addresses are its own.
    pub fn check_listeners(&self, tables: &[(&'static str, &[Listen])]) {
        let mut seen: Vec<&Listen> = Vec::new();
        for listen in tables.iter().flat_map(|(_, addresses)| *addresses) {
            if let Some(other) = seen.iter().find(|other| other.overlaps(listen)) {
                let message = if *other == listen {
                    format!("{} is listened on twice", listen.shown())
                } else {
                    format!("{} and {} are the same port", other.shown(), listen.shown())
                };
                let diagnostic = Diagnostic::error(Code::Duplicate, message)
                    .help("each [[listener]], [server], [admin] and [metrics] need addresses of their own");
                let written = tables.iter().find_map(|(key, _)| {
                    self.root.table(key, key).get("listen").map(|item| item.span)
                });
                match written {
                    Some(span) => self.report(&span, diagnostic),
                    None => self.root.reader.report_whole(diagnostic),
                }
            }
            seen.push(listen);
        }
    }

    /// It is answered before any route and below `/.auth` too: whoever meant another answer there
    /// would never see it.
    pub fn check_ready_path(&self, ready: Option<&str>, auth: Option<&str>) {
        let Some(ready) = ready else { return };
        let (only, among) = (PathPattern::Exact(ready.into()), PathPattern::Prefix(ready.into()));
        for parsed in self.routes {
            let path = parsed.route.path.normal();
            let severity = if path == only {
                Severity::Error
            } else if path == among.normal() {
                Severity::Warning
            } else {
                continue;
            };
            let message =
                format!("this route never gets {ready}: `ready_path` of [server] answers it");
            let diagnostic = Diagnostic::new(severity, Code::Unreachable, message);
            self.report(&parsed.span, diagnostic.help("give one of the two another path"));
        }
        let below = |prefix: &str| {
            ready.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(prefix) = auth.filter(|prefix| below(prefix))
            && let Some(item) = self.root.table("server", "server").get("ready_path")
        {
            let message = format!("`ready_path` lies below {prefix}, where [session] answers");
            self.report(&item.span, Diagnostic::error(Code::BadPath, message));
        }
    }

    /// Below the prefix of `[session]` no route is asked.
    pub fn check_prefix(&self, prefix: Option<&str>) {
        let Some(prefix) = prefix else { return };
        for parsed in self.routes {
            let path = match parsed.route.path.normal() {
                PathPattern::Exact(path) | PathPattern::Prefix(path) => path,
            };
            let rest = path.strip_prefix(prefix);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                let message =
                    format!("this route gets no request: below {prefix} `[session]` answers");
                let diagnostic = Diagnostic::warning(Code::Unreachable, message);
                let help = "give the route another path, or [session] another `prefix`";
                self.report(&parsed.span, diagnostic.help(help));
            }
        }
    }

    /// What the deployment may have forgotten.
    pub fn note_deployment(&self, server: &Server) {
        let uses_cookies = self.routes.iter().any(|parsed| {
            let takes_cookie = |carrier: &Carrier| carrier.is_cookie();
            parsed.route.credentials.iter().any(takes_cookie)
        });
        let is_public = server.listen.iter().any(|listen| match listen {
            Listen::Tcp(address) => !address.ip().is_loopback(),
            Listen::Unix(_) => false,
        });
        let is_plain = server.entrance.tls.is_none() && server.trusted_proxies.is_empty();
        if is_plain && (uses_cookies || is_public) {
            let message = "listen is plain HTTP; cookies with Secure work only behind something \
                           that ends TLS";
            let help = "set `tls.certificates`, or list the proxy in front in `trusted_proxies`";
            let diagnostic = Diagnostic::note(Code::PlainHttp, message).help(help);
            self.root.reader.report_whole(diagnostic);
        }
        if (self.root.reader.environment)("KUBERNETES_SERVICE_HOST").is_some() {
            let message = "this is a pod, and the store is its own: with several replicas, what is \
                           revoked on one still passes on the others";
            let diagnostic = Diagnostic::warning(Code::OnePerPod, message);
            self.root.reader.report_whole(diagnostic.help("run one replica"));
        }
    }

    pub fn check_empty(&self, routes: usize) {
        let upstream = "where requests go: name = \"app\", servers = [\"http://127.0.0.1:3000\"]";
        let route = "which requests go there: path = \"/\", upstream = \"app\"";
        // Routes may all answer by themselves; one that names an upstream has been told.
        let lacks_upstream = self.upstreams.is_empty() && routes == 0;
        for (key, lacks, help) in
            [("upstream", lacks_upstream, upstream), ("route", routes == 0, route)]
        {
            if lacks && !self.root.is_no_list(key) {
                let message = format!("the config needs a [[{key}]]");
                let diagnostic = Diagnostic::error(Code::MissingKey, message).help(help);
                self.root.reader.report_whole(diagnostic);
            }
        }
    }
}
