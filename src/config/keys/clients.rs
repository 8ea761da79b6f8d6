//! `secrets` and `secrets_dir`: one for each client that signs its own tokens, by kid, bound to the client if wanted.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::diagnostic::{Code, Diagnostic};
use super::super::files;
use super::super::item::Item;
use super::super::secrets::{secret_file, secret_variable};
use super::Named;
use crate::secret::Secret;

/// `secrets = { KID = { env = "…" }, KID = { file = "…" } }`.
pub(super) fn by_kid(item: &Item<'_>) -> Option<Vec<Named>> {
    let entries = item.table("`secrets`", "issuer.keys.secrets")?.entries();
    if entries.is_empty() {
        let message = "`secrets` holds no secret";
        let help = "secrets = { client-a = { env = \"CLIENT_A_SECRET\" } }";
        item.reader.report(&item.span, Diagnostic::error(Code::Empty, message).help(help));
        return None;
    }
    let count = entries.len();
    let mut secrets = Vec::new();
    for entry in entries {
        if !entry.is_table() {
            // Its type only: the value may be the secret.
            entry.wrong_type("a table with `env` or `file`");
            continue;
        }
        let Some(table) = entry.table("a secret of `secrets`", "issuer.keys.secrets.KID") else {
            continue;
        };
        let bytes = match (table.get("env"), table.get("file")) {
            (Some(env), None) => secret_variable(&env),
            (None, Some(file)) => secret_file(&file),
            (Some(_), Some(_)) | (None, None) => {
                let message = "a secret has exactly one of `env` and `file`";
                entry.reader.report(&entry.span, Diagnostic::error(Code::Exclusive, message));
                None
            }
        };
        let client = table.get("client").and_then(|item| bound_to(&item));
        table.finish();
        let kid = Some(entry.key.clone());
        secrets.extend(bytes.map(|bytes| Named { kid, client, secret: Secret::new(bytes) }));
    }
    (secrets.len() == count).then_some(secrets)
}

fn bound_to(item: &Item<'_>) -> Option<String> {
    let client = item.string()?.value;
    if client.is_empty() {
        let message = "`client` is empty: no token could be signed with this secret";
        let diagnostic = Diagnostic::error(Code::Empty, message);
        item.reader.report(&item.span, diagnostic.help("leave it out for any client"));
    }
    Some(client)
}

/// Secrets in a directory are read up to this many.
const SECRETS_MAX: usize = 10_000;

/// `secrets_dir = "clients"`: each file is a secret; its name, less `.secret`, is the kid, and the
/// client that signs with it if `bound`.
pub(super) fn directory(item: &Item<'_>, bound: bool) -> Option<Vec<Named>> {
    let path = item.reader.resolve_file(&item.string()?.value);
    let refuse = |code: Code, why: String| {
        let message = "the directory of secrets cannot be used";
        let diagnostic = Diagnostic::error(code, message).detail(why);
        item.reader.report(&item.span, diagnostic.help("one file for each kid, mode 0600"));
    };
    let mut names = match names(&path) {
        Ok(names) => names,
        Err(error) => {
            refuse(Code::FileUnreadable, format!("{}: {error}", path.display()));
            return None;
        }
    };
    names.sort();
    let mut kids = BTreeSet::new();
    let mut secrets: Vec<Named> = Vec::new();
    for name in &names {
        let kid = name.strip_suffix(".secret").unwrap_or(name);
        if !kids.insert(kid) {
            refuse(Code::Duplicate, "two files are for one kid".to_owned());
            return None;
        }
        let file = item.reader.resolve_file(&path.join(name).to_string_lossy());
        match files::read_unnamed(&file) {
            Ok(content) => {
                let secret = Secret::new(files::trim_newline(content.bytes));
                let client = bound.then(|| kid.to_owned());
                secrets.push(Named { kid: Some(kid.to_owned()), client, secret });
            }
            Err(why) => {
                refuse(Code::FileUnreadable, why);
                return None;
            }
        }
    }
    if secrets.is_empty() || secrets.len() > SECRETS_MAX {
        refuse(Code::Empty, format!("{}: {} secrets", path.display(), secrets.len()));
        return None;
    }
    Some(secrets)
}

/// What editors and mounts leave beside the files is not looked at.
fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !name.ends_with('~') && entry.path().is_file() {
            names.push(name);
        }
    }
    Ok(names)
}
