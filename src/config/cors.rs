//! `cors` of a route: which pages of other origins may use it. Everything that an answer says is
//! prepared here.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::{Item, Text};
use super::route_match::methods;
use super::{session, value};

/// Who answers preflights and says which origins may read an answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Cors {
    /// Nobody: the same as any other request.
    #[default]
    Off,
    /// The backend: a preflight is sent on without a token, and answers stay as they are.
    Pass,
    /// The gateway.
    Policy(Arc<CorsPolicy>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorsPolicy {
    pub origins: Origins,
    pub credentials: bool,
    /// Access-Control-Allow-Methods, -Allow-Headers, -Expose-Headers, -Max-Age.
    pub methods: HeaderValue,
    pub headers: Option<HeaderValue>,
    pub expose: Option<HeaderValue>,
    pub max_age: HeaderValue,
}

/// As browsers send them: `https://app.example.com`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// `*`, never with credentials.
    Any,
    Listed(Vec<String>),
}

impl Origins {
    pub fn holds(&self, origin: &[u8]) -> bool {
        match self {
            // `null` is what any page can make of itself (RFC 6454 section 7).
            Self::Any => origin != b"null",
            Self::Listed(origins) => origins.iter().any(|listed| listed.as_bytes() == origin),
        }
    }
}

pub fn cors(table: &Table<'_>, route_methods: &[Method]) -> Cors {
    let Some(item) = table.get("cors") else { return Cors::Off };
    if item.is_string() {
        let pass = item.string().is_some_and(|text| text.value == "pass");
        if !pass {
            let diagnostic = Diagnostic::error(Code::BadChoice, "`cors` is a table, or \"pass\"");
            let help = "cors = { origins = [\"https://app.example.com\"] }; \"pass\" leaves it to the \
                        backend";
            item.reader.report(&item.span, diagnostic.help(help));
        }
        return Cors::Pass;
    }
    let Some(inner) = item.table("`cors`", "route.cors") else { return Cors::Off };
    let origins = origins(&inner);
    let credentials = inner.boolean("credentials", false);
    if credentials && origins == Some(Origins::Any) {
        let message = "`credentials` with any origin: every page could act for its visitors";
        let diagnostic = Diagnostic::error(Code::BadCors, message).help("list the origins");
        item.reader.report(&item.key_span, diagnostic);
    }
    let named = methods(&inner);
    let allowed: Vec<&str> = match (named.as_slice(), route_methods) {
        ([], []) => vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        ([], methods) | (methods, _) => methods.iter().map(Method::as_str).collect(),
    };
    let default = || vec!["authorization".to_owned(), "content-type".to_owned()];
    let headers = names(&inner, "headers").unwrap_or_else(default);
    let expose = names(&inner, "expose").unwrap_or_default();
    let day = Duration::from_secs(86_400);
    let max_age = inner.duration("max_age", Duration::from_secs(600), Duration::ZERO..=day);
    inner.finish();
    let policy = || {
        Some(CorsPolicy {
            origins: origins?,
            credentials,
            methods: list(&allowed)?,
            headers: list(&headers),
            expose: list(&expose),
            max_age: HeaderValue::from(max_age.as_secs()),
        })
    };
    policy().map_or(Cors::Off, |policy| Cors::Policy(Arc::new(policy)))
}

fn list(names: &[impl AsRef<str>]) -> Option<HeaderValue> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let text = names.join(", ");
    HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
}

fn origins(table: &Table<'_>) -> Option<Origins> {
    let Some(texts) = table.strings("origins") else {
        if !table.has("origins") {
            table.require_also("origins");
        }
        return None;
    };
    let alone = texts.len() == 1;
    let mut listed = Vec::new();
    for text in &texts {
        if text.value == "*" && alone {
            return Some(Origins::Any);
        }
        match session::origin(&text.value) {
            Some(origin) => listed.push(origin),
            None => refuse(table, text),
        }
    }
    if let (true, Some(item)) = (texts.is_empty(), table.get("origins")) {
        let diagnostic = Diagnostic::error(Code::Empty, "`origins` names no origin");
        item.reader.report(&item.span, diagnostic);
    }
    Some(Origins::Listed(listed))
}

fn refuse(table: &Table<'_>, text: &Text) {
    let message = format!("\"{}\" is not an origin", show(&text.raw));
    let help = "scheme, host and port of a page: \"https://app.example.com\"; or [\"*\"] alone; \
                \"null\" never";
    let diagnostic = Diagnostic::error(Code::BadCors, message).help(help);
    table.reader.report(&text.span, diagnostic);
}

/// Names of headers, lower case.
fn names(table: &Table<'_>, key: &'static str) -> Option<Vec<String>> {
    let item: Item<'_> = table.get(key)?;
    let mut names = Vec::new();
    for text in table.strings(key)? {
        let lower = text.value.to_ascii_lowercase();
        if value::is_token(&lower)
            && lower != "*"
            && HeaderName::from_bytes(lower.as_bytes()).is_ok()
        {
            names.push(lower);
        } else {
            let message = format!("\"{}\" is not a header name", show(&text.raw));
            let diagnostic = Diagnostic::error(Code::BadCors, message);
            let help = "each by its name: \"X-Version\"; * does not name Authorization";
            item.reader.report(&text.span, diagnostic.help(help));
        }
    }
    Some(names)
}
