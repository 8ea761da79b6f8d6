//! `[admin]` and its named credentials.

use super::cursor::show;
use super::cursor::{Table, choose};
use super::diagnostic::{Code, Diagnostic};
use super::item::Text;
use super::secrets::{secret_file, secret_variable};
use super::server::{listen, name};
use super::{Admin, AdminToken, Listen, Role, Store, value};
use crate::secret::Secret;

const ADMIN_SECRET_BYTES_MIN: usize = 16;

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
        if tokens.iter().any(|other| other.name == token.name) {
            let message = format!("two admin tokens are named \"{}\"", token.name);
            entry.reader.report(&entry.span, Diagnostic::error(Code::Duplicate, message));
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
    if let (true, Some(item)) = (issuers.as_ref().is_some_and(Vec::is_empty), table.get("issuers"))
    {
        let message = "`issuers` is empty: this credential could see and do nothing";
        let diagnostic = Diagnostic::error(Code::Empty, message);
        table.reader.report(&item.span, diagnostic.help("leave it out for all issuers"));
    }
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
