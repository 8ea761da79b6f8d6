//! Where an issuer's keys come from once the gateway runs: nowhere new, a file that may be written
//! again, or a URL.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use crate::keys::{Algorithm, KeyFault, KeySet};
use crate::secret::Secret;

use super::super::files;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyOrigin {
    /// As they were read with the config.
    Fixed,
    /// Read again when it changes.
    File(KeyFile),
    /// Fetched, and fetched again.
    Remote(RemoteKeys),
}

/// A file or directory of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFile {
    pub path: PathBuf,
    pub form: KeyForm,
}

/// What such a file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyForm {
    Jwks,
    Pem {
        kid: Option<String>,
    },
    Secret {
        kid: Option<String>,
    },
    /// A directory: each file is the secret of the kid that is its name.
    SecretDirectory,
}

/// Keys at a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteKeys {
    pub location: KeyLocation,
    /// Plain HTTP is taken from other machines too.
    pub allow_http: bool,
    /// A redirect may lead to another host.
    pub allow_redirects: bool,
    /// Certificates in PEM that are trusted in the place of the system's.
    pub ca: Option<Vec<u8>>,
    /// Bounds of what the server says about freshness.
    pub refresh_min: Duration,
    pub refresh_max: Duration,
    /// Between two fetches that unknown keys ask for.
    pub cooldown: Duration,
    /// For a whole fetch.
    pub timeout: Duration,
    /// How long a request with an unknown key may wait for a fetch; zero: not at all.
    pub wait: Duration,
    /// How long the last good set is served.
    pub max_stale: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyLocation {
    Jwks(Uri),
    /// OpenID Connect Discovery 1.0 section 4: a document that must name exactly this issuer.
    Discovery {
        document: Uri,
        issuer: String,
    },
}

impl KeyLocation {
    /// The URL that is asked first.
    pub fn url(&self) -> &Uri {
        match self {
            Self::Jwks(url) | Self::Discovery { document: url, .. } => url,
        }
    }
}

/// Secrets in a directory are read up to this many.
const SECRETS_MAX: usize = 10_000;

impl KeyFile {
    /// Reads the file. The second part names keys that were skipped; the error is for people.
    pub fn read(&self, allowed: &[Algorithm]) -> Result<(KeySet, Vec<String>), String> {
        let fault = |fault: KeyFault| fault.to_string();
        let whole = |set: KeySet| (set, Vec::new());
        match &self.form {
            KeyForm::Jwks => {
                KeySet::from_jwks(&files::read(&self.path)?.bytes, allowed).map_err(fault)
            }
            KeyForm::Pem { kid } => {
                KeySet::from_pem(&files::read(&self.path)?.bytes, kid.as_deref(), allowed)
                    .map(whole)
                    .map_err(fault)
            }
            KeyForm::Secret { kid } => {
                let secret = secret_of(&self.path)?;
                KeySet::from_secret(&secret, kid.as_deref(), allowed).map(whole).map_err(fault)
            }
            KeyForm::SecretDirectory => self.read_directory(allowed).map(whole),
        }
    }

    fn read_directory(&self, allowed: &[Algorithm]) -> Result<KeySet, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let mut sets = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // What editors and mounts leave beside the files.
            if name.starts_with('.') || name.ends_with('~') || !path.is_file() {
                continue;
            }
            let kid = name.strip_suffix(".secret").unwrap_or(name);
            if sets.len() == SECRETS_MAX {
                return Err(format!("more than {SECRETS_MAX} secrets"));
            }
            let set = KeySet::from_secret(&secret_of(&path)?, Some(kid), allowed);
            sets.push(set.map_err(|fault| format!("{name}: {fault}"))?);
        }
        if sets.is_empty() {
            return Err(format!("{}: there is no secret in it", self.path.display()));
        }
        KeySet::merge(sets).with_unique_kids().map_err(|fault| fault.to_string())
    }

    /// Changes when the file does: name, size and time of what is there.
    pub fn stamp(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        use std::os::unix::fs::MetadataExt as _;
        let mut hasher = DefaultHasher::new();
        let mut add = |path: &std::path::Path| {
            if let Ok(found) = std::fs::metadata(path) {
                (path, found.ino(), found.len(), found.mtime(), found.mtime_nsec())
                    .hash(&mut hasher);
            }
        };
        add(&self.path);
        if self.form == KeyForm::SecretDirectory {
            let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
            let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            paths.iter().for_each(|path| add(path));
        }
        hasher.finish()
    }
}

fn secret_of(path: &std::path::Path) -> Result<Secret, String> {
    Ok(Secret::new(files::trim_newline(files::read_unnamed(path)?.bytes)))
}
