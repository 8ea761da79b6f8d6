//! What a route changes of a request on its way to the backend, and of the answer on its way back:
//! the path and headers. Everything is checked and prepared here.

use std::ops::Range;

use http::{HeaderName, HeaderValue};

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::item::{Item, Text};
use super::{PathPattern, header_name, value};

/// How the path is rewritten; the query stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rewrite {
    /// What is taken from its beginning, and what is put there: each empty, or whole segments
    /// without a `/` at the end.
    Prefix { strip: String, add: String },
    /// The whole path.
    Replace(String),
}

/// In the order in which they are done: remove, set, add.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderRules {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Where a header is named, for what only the whole configuration can tell.
pub type NamedAt = (HeaderName, Range<usize>);

impl HeaderRules {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

pub fn rewrite(table: &Table<'_>, path: Option<&PathPattern>) -> Option<Rewrite> {
    let inner = table.get("rewrite")?.table("`rewrite`", "route.rewrite")?;
    let part = |key| inner.get(key).and_then(|item| Some((item.string()?, item)));
    let (strip, add, replace) = (part("strip_prefix"), part("add_prefix"), part("replace"));
    inner.finish();
    let parts = [&strip, &add, &replace];
    for (text, item) in parts.into_iter().flatten() {
        canonical(item, text)?;
    }
    if let Some((text, item)) = replace {
        if strip.is_some() || add.is_some() {
            let message = "`replace` stands alone: it is the whole path";
            item.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
            return None;
        }
        return Some(Rewrite::Replace(text.value));
    }
    if strip.is_none() && add.is_none() {
        let message = "`rewrite` has `strip_prefix`, `add_prefix` or `replace`";
        inner.reader.report(&inner.span, Diagnostic::error(Code::Exclusive, message));
        return None;
    }
    let stem = |text: &str| text.trim_end_matches('/').to_owned();
    if let (Some((text, item)), Some(path)) = (&strip, path)
        && !begins_with(path, &stem(&text.value))
    {
        let message = format!("the paths of this route do not begin with \"{}\"", show(&text.raw));
        let help = "strip_prefix is the route's `path`, or whole segments from its beginning";
        let diagnostic = Diagnostic::error(Code::BadRewrite, message).help(help);
        item.reader.report(&item.span, diagnostic);
        return None;
    }
    let stem_of = |part: Option<(Text, Item<'_>)>| {
        part.map(|(text, _)| stem(&text.value)).unwrap_or_default()
    };
    Some(Rewrite::Prefix { strip: stem_of(strip), add: stem_of(add) })
}

fn canonical(item: &Item<'_>, text: &Text) -> Option<()> {
    let Err(expected) = value::path(&text.value) else { return Some(()) };
    let message = format!("\"{}\" is not a path", show(&text.raw));
    item.reader.report(&item.span, Diagnostic::error(Code::BadPath, message).help(expected));
    None
}

fn begins_with(path: &PathPattern, stem: &str) -> bool {
    let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = path.normal();
    path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Which way the headers go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Request,
    Response,
}

/// The rules below a key, and where they name headers.
pub fn header_rules(
    table: &Table<'_>,
    key: &'static str,
    kind: &str,
    way: Way,
) -> (HeaderRules, Vec<NamedAt>) {
    let inner = table.table(key, kind);
    let mut named = Vec::new();
    let set = pairs(&inner, "set", way, &mut named);
    let add = pairs(&inner, "add", way, &mut named);
    let mut remove = Vec::new();
    for text in inner.strings("remove").unwrap_or_default() {
        if let Some(name) = rule_name(&inner, &text.raw, &text.value, &text.span, way) {
            named.push((name.clone(), text.span));
            remove.push(name);
        }
    }
    inner.finish();
    (HeaderRules { remove, set, add }, named)
}

fn pairs(
    table: &Table<'_>,
    key: &'static str,
    way: Way,
    named: &mut Vec<NamedAt>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut pairs = Vec::new();
    for item in table.table(key, "route.headers.rule").entries() {
        let name = rule_name(table, &item.key, &item.key, &item.key_span, way);
        let Some(text) = item.string() else { continue };
        let value = header_name::field_value(&item, &text);
        if let (Some(name), Some(value)) = (name, value) {
            named.push((name.clone(), item.key_span));
            pairs.push((name, value));
        }
    }
    pairs
}

/// A header that a rule may touch: none that frames a message, chooses a host, carries a credential,
/// or says who the client is.
fn rule_name(
    table: &Table<'_>,
    shown: &str,
    name: &str,
    span: &Range<usize>,
    way: Way,
) -> Option<HeaderName> {
    let lower = name.to_ascii_lowercase();
    let alike = header_name::normal(&lower);
    let parsed = HeaderName::from_bytes(lower.as_bytes()).ok();
    let never = ["host", "trailer", "x-request-id", "date", "content-range", "max-forwards"];
    let for_requests = [
        "authorization",
        "cookie",
        "origin",
        "range",
        "client-cert",
        "client-cert-chain",
        "traceparent",
    ];
    let fault = if parsed.is_none() {
        "is not a header name"
    } else if header_name::is_hop_by_hop(&alike) || never.contains(&alike.as_str()) {
        "belongs to the protocol"
    } else if way == Way::Request
        && (for_requests.contains(&alike.as_str()) || alike.starts_with("sec-"))
    {
        "is the client's or the gateway's to say"
    } else if way == Way::Request && header_name::speaks_of_client(&lower) {
        "is set by `forwarded` of [server]"
    } else {
        return parsed;
    };
    let message = format!("\"{}\" {fault}: no rule can change it", show(shown));
    let help = "headers of your own: { set = { \"X-Env\" = \"prod\" } }; the token by `forward`";
    let diagnostic = Diagnostic::error(Code::BadHeaderRule, message).help(help);
    table.reader.report(span, diagnostic);
    None
}
