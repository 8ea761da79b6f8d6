//! `keys` of an issuer: exactly one source. Reads the files and variables that it names and turns
//! them into a key set; no message holds key material.

mod clients;
mod origin;
mod remote;

pub use origin::{KeyFile, KeyForm, KeyLocation, KeyOrigin, RemoteKeys};
pub use remote::is_loopback;

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::files;
use super::item::Item;
use super::secrets::{secret_file, secret_variable};
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
const ONE_OF: &str = "one of discovery, jwks_url, jwks_file, pem_file, secret_env, secret_file, \
                      secrets, secrets_dir";

/// Where an issuer's keys come from, and what was read there.
pub struct KeySource<'r> {
    pub is_secret: bool,
    /// For people; names files and variables, holds no key.
    pub shown: String,
    item: Item<'r>,
    /// `None`: it could not be read, and that was reported.
    material: Option<Material>,
}

enum Material {
    Secrets(Vec<Named>),
    File(KeyFile),
    Remote(RemoteKeys),
}

/// A secret, its name, and the one client that it is for.
struct Named {
    kid: Option<String>,
    client: Option<String>,
    secret: Secret,
}

/// Reads the `keys` of an issuer's table.
pub fn source<'r>(issuer: &Table<'r>) -> Option<KeySource<'r>> {
    let item = issuer.required("keys")?;
    if item.is_string() {
        let message = "`keys` is a table that says where the keys are";
        let diagnostic = Diagnostic::error(Code::WrongType, message)
            .help("keys = { discovery = true }, or another source");
        item.reader.report(&item.span, diagnostic);
        return None;
    }
    let table = item.table("`keys`", "issuer.keys")?;
    let settings = remote::settings(&table);
    let kid = table.get("kid");
    let mut found: Vec<Item<'r>> = SOURCES.iter().filter_map(|key| table.get(key)).collect();
    found.sort_by_key(|item| item.key_span.start);
    let source = exactly_one(&table, found, &item);
    if let (Some(kid), Some(source)) = (&kid, &source)
        && !matches!(
            source.key.as_str(),
            "pem_file" | "secret" | "secret_env" | "secret_file"
        )
    {
        let message = format!("`kid` does not go with `{}`: it names its keys itself", source.key);
        kid.reader.report(&kid.key_span, Diagnostic::error(Code::Exclusive, message));
    }
    let kid = kid.and_then(|item| item.string()).map(|text| text.value);
    if let Some(source) = &source {
        only_for_fetched(&table, source);
    }
    let read = source.map(|source| read(source, kid, issuer, settings));
    table.finish();
    read
}

/// What says how to fetch says nothing about a file.
fn only_for_fetched(table: &Table<'_>, source: &Item<'_>) {
    if matches!(source.key.as_str(), "jwks_url" | "discovery") {
        return;
    }
    for setting in remote::SETTINGS.iter().filter_map(|key| table.get(key)) {
        let message = format!("`{}` is for keys that are fetched", show(&setting.key));
        let diagnostic = Diagnostic::error(Code::Exclusive, message)
            .help("it goes with `jwks_url` and `discovery`");
        setting.reader.report(&setting.key_span, diagnostic);
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

fn read<'r>(
    item: Item<'r>,
    kid: Option<String>,
    issuer: &Table<'_>,
    settings: remote::Settings,
) -> KeySource<'r> {
    let one = |secret: Option<Vec<u8>>| {
        let named = |bytes| Named { kid: kid.clone(), client: None, secret: Secret::new(bytes) };
        secret.map(|bytes| Material::Secrets(vec![named(bytes)]))
    };
    let file = |form: KeyForm| {
        let path = item.reader.resolve(&item.string()?.value);
        Some(Material::File(KeyFile { path, form }))
    };
    let named = |what: &str| {
        let raw = item.quiet_string().map(|text| text.raw).unwrap_or_default();
        format!("{what} {}", show(&raw))
    };
    let (is_secret, shown, material) = match item.key.as_str() {
        "secret_env" => {
            let material = one(secret_variable(&item));
            // The name was checked to look like one where there is material.
            let name = material.as_ref().and_then(|_| item.string()).map(|text| text.value);
            (true, format!("secret from env {}", name.unwrap_or_default()), material)
        }
        "secret_file" => {
            // Reads it once, for the words that only a secret's file earns.
            let readable = secret_file(&item).is_some();
            let form = KeyForm::Secret { kid: kid.clone() };
            let material = if readable { file(form) } else { None };
            (true, "secret from a file".to_owned(), material)
        }
        "secret" => (true, "secret written inline".to_owned(), one(inline(&item))),
        "secrets" => {
            let secrets = clients::by_kid(&item);
            let count = secrets.as_ref().map_or(0, Vec::len);
            (true, format!("{count} secrets by kid"), secrets.map(Material::Secrets))
        }
        "secrets_dir" => (true, named("secrets in"), file(KeyForm::SecretDirectory)),
        "pem_file" => (false, named("pem_file"), file(KeyForm::Pem { kid: kid.clone() })),
        "jwks_file" => (false, named("jwks_file"), file(KeyForm::Jwks)),
        "jwks_url" => {
            let location = remote::jwks_url(&item, settings.allow_http);
            (false, named("jwks_url"), fetched(location, settings))
        }
        _ => {
            let location = remote::discovery(&item, issuer, settings.allow_http);
            (false, "by discovery".to_owned(), fetched(location, settings))
        }
    };
    KeySource { is_secret, shown, item, material }
}

fn fetched(location: Option<KeyLocation>, settings: remote::Settings) -> Option<Material> {
    location.map(|location| Material::Remote(settings.at(location)))
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

impl KeySource<'_> {
    /// The keys of the start, empty where they must be fetched first, and where later ones come
    /// from. `None`: there is none, which is reported.
    pub fn load(&self, allowed: &[Algorithm]) -> Option<(KeySet, KeyOrigin)> {
        match self.material.as_ref()? {
            Material::Secrets(secrets) => {
                self.secrets(secrets, allowed).map(|set| (set, KeyOrigin::Fixed))
            }
            Material::Remote(remote) => {
                Some((KeySet::default(), KeyOrigin::Remote(remote.clone())))
            }
            Material::File(file) => {
                let set = match &file.form {
                    // As strict as for any secret of the config.
                    KeyForm::Secret { kid } => self.secret_of(file, kid.as_deref(), allowed)?,
                    KeyForm::SecretDirectory | KeyForm::Jwks | KeyForm::Pem { .. } => {
                        self.file(file, allowed)?
                    }
                };
                Some((set, KeyOrigin::File(file.clone())))
            }
        }
    }

    fn file(&self, file: &KeyFile, allowed: &[Algorithm]) -> Option<KeySet> {
        if let Err(why) = std::fs::metadata(&file.path).and(std::fs::File::open(&file.path)) {
            let why = files::read(&file.path).err().unwrap_or_else(|| why.to_string());
            let diagnostic = Diagnostic::error(Code::FileUnreadable, "the key file cannot be read")
                .detail(why)
                .help("relative paths start at the config file's directory");
            self.item.reader.report(&self.item.span, diagnostic);
            return None;
        }
        match file.read(allowed) {
            Ok((set, skipped)) => {
                for why in skipped {
                    let message = format!("a key of the set is not used: {why}");
                    let diagnostic = Diagnostic::note(Code::SkippedKey, message);
                    self.item.reader.report(&self.item.span, diagnostic);
                }
                Some(set)
            }
            Err(fault) => {
                self.refuse(&fault);
                None
            }
        }
    }

    fn secret_of(
        &self,
        file: &KeyFile,
        kid: Option<&str>,
        allowed: &[Algorithm],
    ) -> Option<KeySet> {
        let bytes = files::trim_newline(files::read_unnamed(&file.path).ok()?.bytes);
        let kid = kid.map(str::to_owned);
        self.secrets(&[Named { kid, client: None, secret: Secret::new(bytes) }], allowed)
    }

    fn secrets(
        &self,
        secrets: &[Named],
        allowed: &[Algorithm],
    ) -> Option<KeySet> {
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
