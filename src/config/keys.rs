//! `keys` of an issuer: exactly one source. Reads the files and variables that it names and turns
//! them into a key set; no message holds key material.

mod clients;
mod remote;

pub use remote::{KeyLocation, RemoteKeys, UrlFault, authorities, is_loopback, url};

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::files;
use super::item::Item;
use super::secrets::{secret_file, secret_variable};
use super::suggest;
use crate::keys::{Algorithm, KeySet};
use crate::secret::Secret;

/// The sources, each an own key of the table.
const SOURCES: [&str; 9] = [
    "secret_env",
    "secret_file",
    "secret",
    "secrets",
    "secrets_dir",
    "pem_file",
    "jwks_file",
    "jwks_url",
    "discovery",
];
/// What may be shown of a `keys` table in a message.
pub const SHOWN: [&str; 16] = [
    "client",
    "pem_file",
    "jwks_file",
    "jwks_url",
    "jwks",
    "discovery",
    "kid",
    "ca",
    "allow_http",
    "allow_redirects",
    "refresh_min",
    "refresh_max",
    "cooldown",
    "timeout",
    "wait",
    "max_stale",
];
/// For the list of keys that exist.
const KIND: &str = "issuer.keys";
const ONE_OF: &str = "one of discovery, jwks_url, jwks_file, pem_file, secret_env, secret_file, \
                      secrets, secrets_dir";

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
    Secrets(Vec<Named>),
    Pem(Vec<u8>),
    Jwks(Vec<u8>),
    /// Not here yet.
    Remote(Box<RemoteKeys>),
}

/// A secret, its name, and the one client that it is for.
struct Named {
    kid: Option<String>,
    client: Option<String>,
    secret: Secret,
}

/// Reads the `keys` of an issuer's table.
pub fn source<'r>(issuer: &Table<'r>) -> Option<KeySource<'r>> {
    let Some(item) = issuer.required("keys") else {
        // So that a source which stands beside it is told where it belongs.
        let absent = Table::new(issuer.reader, "`keys`", KIND, issuer.span.clone(), None);
        for key in SOURCES {
            absent.get(key);
        }
        return None;
    };
    if item.is_string() {
        let message = "`keys` is a table that says where the keys are";
        let is_url = item.quiet_string().is_some_and(|text| suggest::is_url(&text.value));
        let help = match is_url {
            true => "keys = { jwks_url = \"https://…\" }, or another source",
            false => "keys = { discovery = true }, or another source",
        };
        let diagnostic = Diagnostic::error(Code::WrongType, message).help(help);
        item.reader.report(&item.span, diagnostic);
        return None;
    }
    let table = item.table("`keys`", KIND)?;
    let settings = remote::settings(&table);
    let kid = table.get("kid");
    let mut found: Vec<Item<'r>> = SOURCES.iter().filter_map(|key| table.get(key)).collect();
    found.sort_by_key(|item| item.key_span.start);
    let source = exactly_one(&table, found, &item);
    if let (Some(kid), Some(source)) = (&kid, &source)
        && !matches!(source.key.as_str(), "pem_file" | "secret" | "secret_env" | "secret_file")
    {
        let message = format!("`kid` does not go with `{}`: it names its keys itself", source.key);
        kid.reader.report(&kid.key_span, Diagnostic::error(Code::Exclusive, message));
    }
    let kid = kid.and_then(|item| item.string()).map(|text| text.value);
    let bound = bound_by_kid(&table, source.as_ref());
    if let Some(source) = &source {
        remote::only_for_fetched(&table, source);
    }
    let read = source.map(|source| read(source, (kid, bound), issuer, settings));
    table.finish();
    read
}

/// `client = "kid"` beside `secrets_dir`: the tokens of each secret must be of the client of its name.
fn bound_by_kid(table: &Table<'_>, source: Option<&Item<'_>>) -> bool {
    let Some(item) = table.get("client") else { return false };
    if source.is_some_and(|source| source.key != "secrets_dir") {
        let message = "`client` goes with `secrets_dir` only; each of `secrets` has its own";
        item.reader.report(&item.key_span, Diagnostic::error(Code::Exclusive, message));
    }
    match item.string() {
        Some(text) if text.value == "kid" => true,
        Some(_) => {
            let message = "`client` beside `secrets_dir` is \"kid\": the client of the file's name";
            item.reader.report(&item.span, Diagnostic::error(Code::BadChoice, message));
            false
        }
        None => false,
    }
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
            let explained =
                table.entries().iter().any(|entry| !matches!(entry.key.as_str(), "kid" | "client"));
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

fn read<'r>(
    item: Item<'r>,
    (kid, bound): (Option<String>, bool),
    issuer: &Table<'_>,
    settings: remote::Settings,
) -> KeySource<'r> {
    let one = |secret: Option<Vec<u8>>| {
        let named = |bytes| Named { kid: kid.clone(), client: None, secret: Secret::new(bytes) };
        secret.map(|bytes| Material::Secrets(vec![named(bytes)]))
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
            let secrets = clients::by_kid(&item);
            let count = secrets.as_ref().map_or(0, Vec::len);
            (true, format!("{count} secrets by kid"), secrets.map(Material::Secrets))
        }
        "pem_file" => {
            let shown = format!("pem_file {}", show(&file_name(&item)));
            (false, shown, public_file(&item).map(Material::Pem))
        }
        "secrets_dir" => {
            let shown = format!("secrets in {}", show(&file_name(&item)));
            (true, shown, clients::directory(&item, bound).map(Material::Secrets))
        }
        "jwks_file" => {
            let shown = format!("jwks_file {}", show(&file_name(&item)));
            (false, shown, public_file(&item).map(Material::Jwks))
        }
        "jwks_url" => {
            let shown = format!("jwks_url {}", show(&file_name(&item)));
            let location = remote::jwks_url(&item, settings.allow_http);
            (
                false,
                shown,
                location.map(|location| Material::Remote(Box::new(settings.at(location)))),
            )
        }
        _ => {
            let location = remote::discovery(&item, issuer, settings.allow_http);
            let material =
                location.map(|location| Material::Remote(Box::new(settings.at(location))));
            (false, "by discovery".to_owned(), material)
        }
    };
    KeySource { is_secret, shown, item, kid, material }
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

fn public_file(item: &Item<'_>) -> Option<Vec<u8>> {
    let text = item.string()?.value;
    let path = item.reader.resolve_file(&text);
    match files::read(&path) {
        Ok(content) => Some(content.bytes),
        Err(why) => {
            let help = match suggest::is_url(&text) {
                true => "keys at a URL: keys = { jwks_url = \"https://…\" }",
                false => "relative paths start at the config file's directory",
            };
            let diagnostic = Diagnostic::error(Code::FileUnreadable, "the key file cannot be read")
                .detail(why)
                .help(help);
            item.reader.report(&item.span, diagnostic);
            None
        }
    }
}

impl KeySource<'_> {
    /// Where the keys are fetched.
    pub fn remote(&self) -> Option<RemoteKeys> {
        match self.material.as_ref()? {
            Material::Remote(remote) => Some((**remote).clone()),
            Material::Secrets(_) | Material::Pem(_) | Material::Jwks(_) => None,
        }
    }

    /// The key set, or a report of why there is none. Empty where it must be fetched first.
    pub fn load(&self, allowed: &[Algorithm]) -> Option<KeySet> {
        let built = match self.material.as_ref()? {
            Material::Remote(_) => return Some(KeySet::default()),
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

    fn secrets(&self, secrets: &[Named], allowed: &[Algorithm]) -> Option<KeySet> {
        let least = allowed.iter().map(|algorithm| algorithm.secret_bytes_min()).max().unwrap_or(0);
        let mut sets = Vec::new();
        for Named { kid, client, secret } in secrets {
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
                Ok(set) => sets.push(match client {
                    Some(client) => set.of_client(client),
                    None => set,
                }),
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
