//! `secrets`: one for each client that signs its own tokens, by kid, bound to the client if wanted.

use super::super::diagnostic::{Code, Diagnostic};
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
        let client = table.get("client").and_then(|item| item.string()).map(|text| text.value);
        table.finish();
        let kid = Some(entry.key.clone());
        secrets.extend(bytes.map(|bytes| Named { kid, client, secret: Secret::new(bytes) }));
    }
    (secrets.len() == count).then_some(secrets)
}
