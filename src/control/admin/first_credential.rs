//! The first admin credential, for a gateway whose config names none: from the environment, or a
//! file made at first start that only its owner can read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::config::{AdminToken, Role};
use crate::secret::Secret;

/// The variable that holds it.
pub const FIRST_CREDENTIAL_VARIABLE: &str = "PORTCULLIS_ADMIN_TOKEN";

/// Shorter ones could be guessed.
const BYTES_MIN: usize = 16;
const BYTES_MAX: u64 = 4096;

/// Where the first credential came from, for the log. Never the credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FirstCredentialSource {
    Environment,
    /// Made now.
    Created(PathBuf),
    /// Made at an earlier start.
    Found(PathBuf),
}

/// Why there is none. The text never holds the credential.
#[derive(Debug)]
pub enum FirstCredentialFault {
    /// The environment's value, or the file's content, is shorter than 16 bytes or not visible
    /// ASCII.
    Weak(String),
    /// Others than its owner can read the file, or it is not ours, or no plain file.
    Exposed(PathBuf, &'static str),
    Disk(PathBuf, io::Error),
}

impl std::fmt::Display for FirstCredentialFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Weak(place) => write!(
                out,
                "the admin token in {place} must have at least {BYTES_MIN} visible ASCII characters"
            ),
            Self::Exposed(path, why) => write!(
                out,
                "the admin token file {} {why}; delete it and a new one is made, or chmod 600 it",
                path.display()
            ),
            Self::Disk(path, _) => write!(out, "the admin token file {}", path.display()),
        }
    }
}

impl std::error::Error for FirstCredentialFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk(_, cause) => Some(cause),
            Self::Weak(_) | Self::Exposed(..) => None,
        }
    }
}

/// The credential to use when the config names none. `environment` is the value of
/// [`FIRST_CREDENTIAL_VARIABLE`], which wins over the file.
pub fn first_credential(
    path: &Path,
    environment: Option<&str>,
) -> Result<(AdminToken, FirstCredentialSource), FirstCredentialFault> {
    let (text, source) = match environment {
        Some(text) => (Zeroizing::new(text.to_owned()), FirstCredentialSource::Environment),
        None => from_file(path)?,
    };
    let secret = text.trim_ascii();
    if secret.len() < BYTES_MIN || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let place = match source {
            FirstCredentialSource::Environment => FIRST_CREDENTIAL_VARIABLE.to_owned(),
            FirstCredentialSource::Created(_) | FirstCredentialSource::Found(_) => {
                path.display().to_string()
            }
        };
        return Err(FirstCredentialFault::Weak(place));
    }
    let token = AdminToken {
        name: "admin".to_owned(),
        role: Role::Admin,
        secret: Secret::new(secret.as_bytes().to_vec()),
        issuers: None,
    };
    Ok((token, source))
}

fn from_file(
    path: &Path,
) -> Result<(Zeroizing<String>, FirstCredentialSource), FirstCredentialFault> {
    let disk = |cause| FirstCredentialFault::Disk(path.to_owned(), cause);
    match read(path) {
        Err(FirstCredentialFault::Disk(_, cause)) if cause.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(|text| (text, FirstCredentialSource::Found(path.to_owned()))),
    }
    match create(path) {
        Ok(()) => Ok((read(path)?, FirstCredentialSource::Created(path.to_owned()))),
        // Another process was quicker: its file counts.
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            Ok((read(path)?, FirstCredentialSource::Found(path.to_owned())))
        }
        Err(cause) => Err(disk(cause)),
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, FirstCredentialFault> {
    let disk = |cause| FirstCredentialFault::Disk(path.to_owned(), cause);
    let exposed = |why| Err(FirstCredentialFault::Exposed(path.to_owned(), why));
    let named = std::fs::symlink_metadata(path).map_err(disk)?;
    if !named.is_file() {
        return exposed("is not a plain file");
    }
    let file = File::open(path).map_err(disk)?;
    // Asked of the opened file: the name may have been changed meanwhile.
    let meta = file.metadata().map_err(disk)?;
    if (meta.dev(), meta.ino()) != (named.dev(), named.ino()) {
        return exposed("changed while it was read");
    }
    if meta.mode() & 0o077 != 0 {
        return exposed("can be read by others");
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return exposed("belongs to another user");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(disk)?;
    Ok(text)
}

/// The file appears whole or not at all: written beside its place, then linked there, which fails
/// when something is there already.
fn create(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let text = Zeroizing::new(format!("portcullis_{}\n", URL_SAFE_NO_PAD.encode(*random::<32>()?)));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", URL_SAFE_NO_PAD.encode(*random::<9>()?)));
    let draft = directory.join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    written.and(removed)?;
    File::open(directory)?.sync_all()
}

pub(super) fn random<const N: usize>() -> io::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice())
        .map_err(|_| io::Error::other("the operating system gives no random bytes"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_first_start_makes_a_file_that_only_its_owner_reads_and_the_next_finds_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data/admin.token");
        let (first, source) = first_credential(&path, None).unwrap();
        assert_eq!(source, FirstCredentialSource::Created(path.clone()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.secret.expose().len() >= 43);
        let (second, source) = first_credential(&path, None).unwrap();
        assert_eq!(source, FirstCredentialSource::Found(path.clone()));
        assert!(second.secret.matches(first.secret.expose()));
        assert_eq!(std::fs::read_dir(place.path().join("data")).unwrap().count(), 1);
        let (other, _) = first_credential(&place.path().join("other"), None).unwrap();
        assert!(!other.secret.matches(first.secret.expose()));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("admin.token");
        first_credential(&path, None).unwrap();
        for mode in [0o640, 0o604, 0o622] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let fault = first_credential(&path, None).unwrap_err();
            assert!(matches!(fault, FirstCredentialFault::Exposed(..)), "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(first_credential(&path, None).is_ok());
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(first_credential(&link, None), Err(FirstCredentialFault::Exposed(..))));
    }

    #[test]
    fn the_environment_wins_and_a_weak_token_is_refused_without_being_shown() {
        let path = Path::new("/nonexistent/admin.token");
        let (token, source) = first_credential(path, Some("0123456789abcdef\n")).unwrap();
        assert_eq!(source, FirstCredentialSource::Environment);
        assert!(token.secret.matches(b"0123456789abcdef"));
        for weak in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdé"] {
            let fault = first_credential(path, Some(weak)).unwrap_err();
            assert!(matches!(fault, FirstCredentialFault::Weak(_)), "{weak}");
            assert!(weak.is_empty() || !fault.to_string().contains(weak));
        }
    }
}
