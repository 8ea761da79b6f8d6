//! `[[assertion.client]]`: a server that may ask to be vouched for to another server.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{claims, lifetime, some_text};
use crate::config::cursor::Table;
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::secrets::{secret_file, secret_variable};
use crate::config::server::name;
use crate::secret::Secret;
use crate::token::ClaimPath;

const SECRET_BYTES_MIN: usize = 32;

/// A server that may ask to be vouched for.
#[derive(Clone, Debug)]
pub struct AssertionClient {
    pub name: String,
    pub secret: Secret,
    /// The audience of the assertions that it was sent.
    pub audience: String,
    /// The audiences that it may ask for.
    pub may_call: Vec<String>,
    /// Claims of the token, or of the assertion, that go on.
    pub claims: Vec<ClaimPath>,
    pub lifetime: Duration,
}

pub fn clients(table: &Table<'_>) -> Vec<AssertionClient> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut clients = Vec::new();
    for entry in table.tables("client", "assertion.client") {
        let Some(client) = client(&entry) else { continue };
        let line = table.reader.source.line(entry.span.start);
        if let Some(first) = names.insert(client.name.clone(), line) {
            let name = &client.name;
            let message = format!("two clients are named \"{name}\" (the other on line {first})");
            table.reader.report(&entry.span, Diagnostic::error(Code::Duplicate, message));
        }
        clients.push(client);
    }
    clients
}

fn client(table: &Table<'_>) -> Option<AssertionClient> {
    let named = name(table.required("name"));
    let secret = client_secret(table);
    let audience = table.required("audience").and_then(|item| some_text(&item));
    let may_call = table.required("may_call").and_then(|item| item.strings(false));
    if let (true, Some(item)) =
        (may_call.as_ref().is_some_and(Vec::is_empty), table.get("may_call"))
    {
        let message = "`may_call` is empty: this client could be given nothing";
        table.reader.report(&item.span, Diagnostic::error(Code::Empty, message));
    }
    for text in may_call.iter().flatten() {
        if audience.as_ref().is_some_and(|own| own.value == text.value) {
            let message = "a server that calls itself in somebody's name would renew what it has";
            let diagnostic = Diagnostic::error(Code::BadAssertion, message);
            table.reader.report(&text.span, diagnostic.help("name the servers that it calls"));
        }
    }
    let (claims, lifetime) = (claims(table), lifetime(table));
    table.finish();
    Some(AssertionClient {
        name: named?,
        secret: secret?,
        audience: audience?.value,
        may_call: may_call?.into_iter().map(|text| text.value).collect(),
        claims,
        lifetime,
    })
}

fn client_secret(table: &Table<'_>) -> Option<Secret> {
    let (item, bytes) = match (table.get("secret_file"), table.get("secret_env")) {
        (Some(item), None) => (item.again(), secret_file(&item)?),
        (None, Some(item)) => (item.again(), secret_variable(&item)?),
        (_, both) => {
            let message = "a client has exactly one of `secret_file` and `secret_env`";
            let span = both.map_or_else(|| table.span.clone(), |item| item.key_span);
            table.reader.report(&span, Diagnostic::error(Code::Exclusive, message));
            return None;
        }
    };
    if bytes.len() < SECRET_BYTES_MIN {
        let message = format!("a client's secret has at least {SECRET_BYTES_MIN} bytes");
        let diagnostic = Diagnostic::error(Code::ShortSecret, message);
        table.reader.report(&item.span, diagnostic.help("openssl rand -hex 32"));
        return None;
    }
    Some(Secret::new(bytes))
}
