//! `require` of a route: what a token must have beyond being good.

use std::time::Duration;

use serde_json::Value;
use toml::de::DeValue;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::identity::claim;
use super::item::Item;
use super::value::show_duration;
use crate::token::ClaimPath;

/// See the module. Every one of them must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requirements {
    /// One of these must be in `aud`; empty: those of the issuer are enough.
    pub audiences: Vec<String>,
    /// The `typ` header (RFC 9068 section 2.1).
    pub typ: Option<String>,
    /// `exp` − `iat` may be no longer.
    pub max_lifetime: Option<Duration>,
    /// All of these.
    pub scopes: Vec<String>,
    /// One of these at least.
    pub scopes_any: Vec<String>,
    pub claims: Vec<ClaimRule>,
    /// Since `auth_time`.
    pub max_age: Option<Duration>,
}

/// One claim, and what it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimRule {
    pub claim: ClaimPath,
    pub test: ClaimTest,
}

/// Strings, integers and booleans compare by type and value: `"1"` is not `1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClaimTest {
    /// It is this.
    Equals(Value),
    /// It is a list that holds this.
    Contains(Value),
    /// It is one of these, or a list that holds one of these.
    OneOf(Vec<Value>),
}

impl Requirements {
    /// What `check` prints of them, one part each.
    pub fn shown(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let list = |names: &[String], between| names.join(between);
        if !self.audiences.is_empty() {
            parts.push(format!("audience {}", list(&self.audiences, " or ")));
        }
        parts.extend(self.typ.as_ref().map(|typ| format!("type {typ}")));
        match self.scopes.as_slice() {
            [] => {}
            [one] => parts.push(format!("scope {one}")),
            several => parts.push(format!("scopes {}", list(several, " "))),
        }
        if !self.scopes_any.is_empty() {
            parts.push(format!("scope {}", list(&self.scopes_any, " or ")));
        }
        parts.extend(self.claims.iter().map(ClaimRule::shown));
        parts.extend(self.max_age.map(|age| format!("login in {}", show_duration(age))));
        parts.extend(self.max_lifetime.map(|max| format!("lifetime to {}", show_duration(max))));
        parts
    }
}

impl ClaimRule {
    pub fn shown(&self) -> String {
        let claim = &self.claim;
        match &self.test {
            ClaimTest::Equals(value) => format!("{claim} = {value}"),
            ClaimTest::Contains(value) => format!("{claim} with {value}"),
            ClaimTest::OneOf(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                format!("{claim} of {}", values.join(" or "))
            }
        }
    }
}

pub fn require(table: &Table<'_>) -> Requirements {
    let second = Duration::from_secs(1);
    let day = 86_400 * second;
    let requirements = Requirements {
        audiences: audiences(table),
        typ: table.string("type").map(|text| text.value),
        max_lifetime: table
            .get("max_lifetime")
            .and_then(|item| item.duration(&(second..=3650 * day))),
        scopes: scopes(table, "scopes"),
        scopes_any: scopes(table, "scopes_any"),
        claims: table
            .tables("claims", "route.require.claims")
            .iter()
            .filter_map(claim_rule)
            .collect(),
        max_age: table.get("max_age").and_then(|item| item.duration(&(second..=365 * day))),
    };
    table.finish();
    requirements
}

fn audiences(table: &Table<'_>) -> Vec<String> {
    let texts = table.strings("audiences").unwrap_or_default();
    texts.into_iter().map(|text| text.value).collect()
}

fn scopes(table: &Table<'_>, key: &'static str) -> Vec<String> {
    let mut scopes = Vec::new();
    for text in table.strings(key).unwrap_or_default() {
        // RFC 6749 section 3.3: visible ASCII without quote and backslash.
        let is_scope = !text.value.is_empty()
            && text.value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
        if is_scope {
            scopes.push(text.value);
        } else {
            let message = format!("\"{}\" is not one scope", show(&text.raw));
            let help = "one scope each: scopes = [\"read\", \"write\"]";
            let diagnostic = Diagnostic::error(Code::BadName, message).help(help);
            table.reader.report(&text.span, diagnostic);
        }
    }
    scopes
}

fn claim_rule(table: &Table<'_>) -> Option<ClaimRule> {
    let name = table.required("claim");
    let tests = [table.get("equals"), table.get("contains"), table.get("one_of")];
    table.finish();
    let mut given = tests.into_iter().flatten();
    let (test, more) = (given.next(), given.next());
    let Some(item) = test.filter(|_| more.is_none()) else {
        let message = "a claim has exactly one of `equals`, `contains` and `one_of`";
        table.reader.report(&table.span, Diagnostic::error(Code::Exclusive, message));
        return None;
    };
    let test = match item.key.as_str() {
        "equals" => ClaimTest::Equals(wanted(&item)?),
        "contains" => ClaimTest::Contains(wanted(&item)?),
        _ => ClaimTest::OneOf(any_wanted(&item)?),
    };
    Some(ClaimRule { claim: claim(&name?)?, test })
}

/// A value that a claim is compared with.
fn wanted(item: &Item<'_>) -> Option<Value> {
    match item.value {
        DeValue::String(_) => item.string().map(|text| Value::from(text.value)),
        DeValue::Boolean(flag) => Some(Value::from(*flag)),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
            if number.is_none() {
                item.wrong_type("a string, an integer or true or false");
            }
            number.map(Value::from)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            item.wrong_type("a string, an integer or true or false");
            None
        }
    }
}

fn any_wanted(item: &Item<'_>) -> Option<Vec<Value>> {
    let DeValue::Array(array) = item.value else {
        item.wrong_type("a list");
        return None;
    };
    if array.is_empty() {
        let diagnostic = Diagnostic::error(Code::Impossible, "no claim is one of none");
        item.reader.report(&item.span, diagnostic);
        return None;
    }
    let items = array.iter().map(|entry| Item {
        span: entry.span(),
        value: entry.get_ref(),
        in_list: true,
        ..item.again()
    });
    items.map(|item| wanted(&item)).collect()
}
