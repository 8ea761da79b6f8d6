//! What of a request, beside host and path, a route may ask for: its method and its headers. The
//! more a route asks, the earlier it is tried.

use http::{HeaderName, HeaderValue, Method};
use toml::de::DeValue;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::header_name;
use super::item::Item;
use super::value;

/// Conditions beside host and path; all must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    /// One of these; empty: any. `GET` also means `HEAD`.
    pub methods: Vec<Method>,
    /// Sorted by name, one for each name.
    pub headers: Vec<HeaderCondition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderCondition {
    pub name: HeaderName,
    /// The one value that it must have; `None`: it must be there.
    pub equals: Option<HeaderValue>,
}

impl Conditions {
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.headers.is_empty()
    }

    /// How much it asks: conditions in all, then those that name a value.
    pub fn weight(&self) -> (usize, usize) {
        let exact = self.headers.iter().filter(|header| header.equals.is_some()).count();
        (usize::from(!self.methods.is_empty()) + self.headers.len(), exact)
    }

    pub fn takes_method(&self, method: &Method) -> bool {
        let named = |wanted: &Method| {
            wanted == method || (*wanted == Method::GET && *method == Method::HEAD)
        };
        self.methods.is_empty() || self.methods.iter().any(named)
    }

    /// No request can meet both.
    pub fn excludes(&self, other: &Self) -> bool {
        let both_name = !self.methods.is_empty() && !other.methods.is_empty();
        let no_method = both_name
            && !(self.methods.iter().any(|method| other.takes_method(method))
                || other.methods.iter().any(|method| self.takes_method(method)));
        let differ = |one: &HeaderCondition| {
            let same_name = other.headers.iter().find(|two| two.name == one.name);
            let values =
                same_name.and_then(|two| Some((one.equals.as_ref()?, two.equals.as_ref()?)));
            values.is_some_and(|(one, two)| one != two)
        };
        no_method || self.headers.iter().any(differ)
    }

    /// As `check` prints it: `GET POST, X-Version: 2`.
    pub fn shown(&self) -> String {
        let mut parts = Vec::new();
        if !self.methods.is_empty() {
            parts.push(self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(" "));
        }
        parts.extend(self.headers.iter().map(HeaderCondition::shown));
        parts.join(", ")
    }
}

impl HeaderCondition {
    pub fn shown(&self) -> String {
        match &self.equals {
            Some(value) => format!("{}: {}", self.name, value.to_str().unwrap_or("")),
            None => self.name.to_string(),
        }
    }
}

pub fn conditions(table: &Table<'_>) -> Conditions {
    Conditions { methods: methods(table), headers: headers(table) }
}

/// Methods as they are sent: upper case, none that the gateway never serves.
pub fn methods(table: &Table<'_>) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    let Some(texts) = table.strings("methods") else { return methods };
    if let (true, Some(item)) = (texts.is_empty(), table.get("methods")) {
        let diagnostic = Diagnostic::error(Code::Empty, "`methods` names no method");
        item.reader.report(&item.span, diagnostic.help("leave it out for any method"));
    }
    for text in texts {
        let good = value::is_token(&text.value) && text.value == text.value.to_ascii_uppercase();
        let served = !matches!(text.value.as_str(), "CONNECT" | "TRACE");
        match text.value.parse::<Method>().ok().filter(|_| good && served) {
            Some(method) if methods.contains(&method) => {
                let message = format!("\"{}\" is listed twice", show(&text.raw));
                table.reader.report(&text.span, Diagnostic::error(Code::Duplicate, message));
            }
            Some(method) => methods.push(method),
            None => {
                let message = format!("\"{}\" is not a method", show(&text.raw));
                let help = "upper case, as it is sent: \"GET\", \"POST\"; CONNECT and TRACE are \
                            never served";
                let diagnostic = Diagnostic::error(Code::BadMethod, message).help(help);
                table.reader.report(&text.span, diagnostic);
            }
        }
    }
    methods.sort_unstable_by(|one, two| one.as_str().cmp(two.as_str()));
    methods
}

fn headers(table: &Table<'_>) -> Vec<HeaderCondition> {
    let mut headers: Vec<HeaderCondition> = Vec::new();
    for item in table.table("headers", "route.headers").entries() {
        let Some(name) = condition_name(&item) else { continue };
        if headers.iter().any(|other| other.name == name) {
            let message = format!("header {name} is asked for twice");
            let diagnostic = Diagnostic::error(Code::Duplicate, message);
            item.reader.report(&item.key_span, diagnostic);
            continue;
        }
        if let Some(equals) = condition_value(&item) {
            headers.push(HeaderCondition { name, equals });
        }
    }
    headers.sort_unstable_by(|one, two| one.name.as_str().cmp(two.name.as_str()));
    headers
}

fn condition_name(item: &Item<'_>) -> Option<HeaderName> {
    let lower = item.key.to_ascii_lowercase();
    let name = HeaderName::from_bytes(lower.as_bytes()).ok().filter(|_| value::is_token(&lower));
    let fault = match &name {
        None => "is not a header name",
        Some(name) if header_name::is_hop_by_hop(name.as_str()) || name.as_str() == "host" => {
            "cannot choose a route"
        }
        // Whoever is no trusted proxy loses these: they must not decide anything before that.
        Some(name) if header_name::speaks_of_client(name.as_str()) => {
            "speaks for a proxy, and cannot choose a route"
        }
        Some(_) => return name,
    };
    let message = format!("\"{}\" {fault}", show(&item.key));
    let help = "a header of the client's own: { \"X-Version\" = \"2\" }; `host` chooses by Host";
    item.reader.report(&item.key_span, Diagnostic::error(Code::BadHeaderRule, message).help(help));
    None
}

/// `Some(None)`: it only has to be there. `None`: reported.
fn condition_value(item: &Item<'_>) -> Option<Option<HeaderValue>> {
    if let DeValue::Boolean(true) = item.value {
        return Some(None);
    }
    if !item.is_string() {
        item.wrong_type("a value, or true where the header only has to be there");
        return None;
    }
    header_name::field_value(item, &item.string()?).map(Some)
}
