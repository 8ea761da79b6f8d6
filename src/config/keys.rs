//! `keys` of an issuer: exactly one source. Reads the files and variables that it names and turns
//! them into a key set; no message holds key material.

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::files;
use super::item::Item;
use super::secrets::{secret_file, secret_variable};
use crate::keys::{Algorithm, KeySet};
use crate::secret::Secret;

/// The sources, each an own key of the table.
const SOURCES: [&str; 6] =
    ["secret_env", "secret_file", "secret", "secrets", "pem_file", "jwks_file"];
const ONE_OF: &str = "one of secret_env, secret_file, secrets, pem_file, jwks_file";

/// Where an issuer's keys come from, and what was read there.
pub struct KeySource<'r> {
    pub is_secret: bool,
    /// For people; names files and variables, holds no key.
    pub shown: String,
    item: Item<'r>,
    kid: Option<String>,
    /// `None`: it could not be read, and that was reported.
    material: Option<Material>,
}

enum Material {
    Secrets(Vec<(Option<String>, Secret)>),
    Pem(Vec<u8>),
    Jwks(Vec<u8>),
}

/// Reads the `keys` of an issuer's table.
pub fn source<'r>(issuer: &Table<'r>) -> Option<KeySource<'r>> {
    let item = issuer.required("keys")?;
    if item.is_string() {
        let message = "`keys` is a table that says where the keys are";
        let diagnostic = Diagnostic::error(Code::WrongType, message)
            .help("keys = { jwks_file = \"keys.json\" }, or another source");
        item.reader.report(&item.span, diagnostic);
        return None;
    }
    let table = item.table("`keys`", "issuer.keys")?;
    let elsewhere = "save the key set as a file and name it: keys = { jwks_file = \"keys.json\" }";
    table.unsupported("jwks_url", elsewhere);
    table.unsupported("discovery", elsewhere);
    table.unsupported("keys_max_stale", elsewhere);
    let kid = table.get("kid");
    let mut found: Vec<Item<'r>> = SOURCES.iter().filter_map(|key| table.get(key)).collect();
    found.sort_by_key(|item| item.key_span.start);
    let source = exactly_one(&table, found, &item);
    if let (Some(kid), Some(source)) = (&kid, &source)
        && matches!(source.key.as_str(), "jwks_file" | "secrets")
    {
        let message = format!("`kid` does not go with `{}`: it names its keys itself", source.key);
        kid.reader.report(&kid.key_span, Diagnostic::error(Code::Exclusive, message));
    }
    let kid = kid.and_then(|item| item.string()).map(|text| text.value);
    let read = source.map(|source| read(source, kid));
    table.finish();
    read.flatten()
}

fn exactly_one<'r>(table: &Table<'r>, found: Vec<Item<'r>>, keys: &Item<'r>) -> Option<Item<'r>> {
    let mut found = found.into_iter();
    let first = found.next();
    let second = found.next();
    match (first, second) {
        (Some(first), Some(second)) => {
            let message = format!(
                "`keys` has exactly one source: `{}` or `{}`, not both",
                first.key, second.key
            );
            table.reader.report(&second.key_span, Diagnostic::error(Code::Exclusive, message));
            None
        }
        (None, _) => {
            // Another entry, misspelt or of a later version, is reported as that.
            let explained = table.entries().iter().any(|entry| entry.key != "kid");
            if !explained {
                let message = "`keys` needs a source";
                let diagnostic = Diagnostic::error(Code::Exclusive, message).help(ONE_OF);
                keys.reader.report(&keys.span, diagnostic);
            }
            None
        }
        (first, None) => first,
    }
}

fn read(item: Item<'_>, kid: Option<String>) -> Option<KeySource<'_>> {
    let one = |secret: Option<Vec<u8>>| {
        secret.map(|bytes| Material::Secrets(vec![(kid.clone(), Secret::new(bytes))]))
    };
    let file_name = |item: &Item<'_>| item.string().map(|text| text.raw).unwrap_or_default();
    let (is_secret, shown, material) = match item.key.as_str() {
        "secret_env" => {
            let material = one(secret_variable(&item));
            // The name was checked to look like one where there is material.
            let name = material.as_ref().and_then(|_| item.string()).map(|text| text.value);
            (true, format!("secret from env {}", name.unwrap_or_default()), material)
        }
        "secret_file" => (true, "secret from a file".to_owned(), one(secret_file(&item))),
        "secret" => (true, "secret written inline".to_owned(), one(inline(&item))),
        "secrets" => {
            let secrets = by_kid(&item);
            let count = secrets.as_ref().map_or(0, Vec::len);
            (true, format!("{count} secrets by kid"), secrets.map(Material::Secrets))
        }
        "pem_file" => {
            let shown = format!("pem_file {}", show(&file_name(&item)));
            (false, shown, public_file(&item).map(Material::Pem))
        }
        _ => {
            let shown = format!("jwks_file {}", show(&file_name(&item)));
            (false, shown, public_file(&item).map(Material::Jwks))
        }
    };
    Some(KeySource { is_secret, shown, item, kid, material })
}

fn inline(item: &Item<'_>) -> Option<Vec<u8>> {
    let text = item.string()?;
    // A default is as public as the rest of the file.
    if !text.from_environment || text.raw.contains(":-") {
        let message =
            "the secret is written into the config: everyone who reads it can sign tokens";
        item.reader.report(
            &item.span,
            Diagnostic::warning(Code::InlineSecret, message)
                .help("put it into the environment (secret_env) or a file (secret_file)"),
        );
    }
    Some(text.value.into_bytes())
}

/// `secrets = { KID = { env = "…" }, KID = { file = "…" } }`.
fn by_kid(item: &Item<'_>) -> Option<Vec<(Option<String>, Secret)>> {
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
        table.finish();
        secrets.extend(bytes.map(|bytes| (Some(entry.key.clone()), Secret::new(bytes))));
    }
    (secrets.len() == count).then_some(secrets)
}

fn public_file(item: &Item<'_>) -> Option<Vec<u8>> {
    let path = item.reader.resolve_file(&item.string()?.value);
    match files::read(&path) {
        Ok(content) => Some(content.bytes),
        Err(why) => {
            let diagnostic = Diagnostic::error(Code::FileUnreadable, "the key file cannot be read")
                .detail(why)
                .help("relative paths start at the config file's directory");
            item.reader.report(&item.span, diagnostic);
            None
        }
    }
}

impl KeySource<'_> {
    /// The key set, or a report of why there is none.
    pub fn load(&self, allowed: &[Algorithm]) -> Option<KeySet> {
        let built = match self.material.as_ref()? {
            Material::Secrets(secrets) => return self.secrets(secrets, allowed),
            Material::Pem(pem) => KeySet::from_pem(pem, self.kid.as_deref(), allowed),
            Material::Jwks(json) => KeySet::from_jwks(json, allowed).map(|(set, skipped)| {
                for why in skipped {
                    let message = format!("a key of the set is not used: {why}");
                    let diagnostic = Diagnostic::note(Code::SkippedKey, message);
                    self.item.reader.report(&self.item.span, diagnostic);
                }
                set
            }),
        };
        built.map_err(|fault| self.refuse(&fault.to_string())).ok()
    }

    fn secrets(
        &self,
        secrets: &[(Option<String>, Secret)],
        allowed: &[Algorithm],
    ) -> Option<KeySet> {
        let least = allowed.iter().map(|algorithm| secret_bytes_min(*algorithm)).max().unwrap_or(0);
        let mut sets = Vec::new();
        for (kid, secret) in secrets {
            let length = secret.expose().len();
            if length < least {
                let which = kid.as_ref().map(|kid| format!(" for kid {}", show(kid)));
                let message = format!(
                    "the secret{} has {length} bytes; its algorithms need {least} (RFC 7518 \
                     section 3.2)",
                    which.unwrap_or_default()
                );
                let diagnostic = Diagnostic::error(Code::ShortSecret, message)
                    .help("make one: openssl rand -base64 48");
                self.item.reader.report(&self.item.span, diagnostic);
                continue;
            }
            match KeySet::from_secret(secret, kid.as_deref(), allowed) {
                Ok(set) => sets.push(set),
                Err(fault) => self.refuse(&fault.to_string()),
            }
        }
        (sets.len() == secrets.len()).then(|| KeySet::merge(sets))
    }

    fn refuse(&self, fault: &str) {
        let message = "the keys cannot be used";
        let diagnostic = Diagnostic::error(Code::BadKey, message).detail(fault);
        self.item.reader.report(&self.item.span, diagnostic);
    }
}

/// RFC 7518 section 3.2: as long as the hash.
fn secret_bytes_min(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::EdDSA => 0,
    }
}
