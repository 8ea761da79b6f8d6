//! The key of sessions where the config names none: made once, in the store's directory, readable by
//! its owner only. One gateway has it; several that share sessions name theirs in the config.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::secret::Secret;

const BYTES: usize = 48;

/// Adds the key of the store's directory where sessions need one and the config names none.
pub fn complete(config: &mut Config) -> Result<(), String> {
    if config.session.cookies.keys.is_empty() && config.uses_sessions() {
        config.session.cookies.keys = vec![of_file(&config.session.cookies.key_file)?];
    }
    Ok(())
}

fn of_file(path: &Path) -> Result<Secret, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    match make(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let mode = std::fs::metadata(path).map_err(failed)?.mode();
    if mode & 0o077 != 0 {
        return Err(format!("{} can be read by others: chmod 600", path.display()));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    if bytes.len() < BYTES {
        return Err(format!("{} is too short; remove it to have it made anew", path.display()));
    }
    Ok(Secret::new(bytes))
}

fn make(path: &Path) -> io::Result<()> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice())
        .map_err(|_| io::Error::other("the operating system gives no random bytes"))?;
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes.as_slice())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("session.key");
        make(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        assert_eq!(make(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((first.len(), std::fs::read(&path).unwrap()), (BYTES, first));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
