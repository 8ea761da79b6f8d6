//! The last good key set of a source, kept on disk: with it the gateway starts while the identity
//! provider is down. Written whole or not at all; only what came from the same URL counts.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::keys::JWKS_BYTES_MAX;

const VERSION: u32 = 1;

/// What is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    version: u32,
    /// Where it was asked for.
    url: String,
    /// Where it came from: with discovery another URL.
    pub jwks_url: String,
    pub fetched_at_ms: i64,
    /// The set as the server sent it: another version may understand more of it.
    pub jwks: String,
}

/// The file of one source.
#[derive(Clone, Debug)]
pub struct Keeper {
    path: PathBuf,
    url: String,
}

impl Keeper {
    /// In `directory`, by issuer and URL.
    pub fn new(directory: &Path, issuer: &str, url: &str) -> Self {
        let name = digest::digest(&digest::SHA256, format!("{issuer}\n{url}").as_bytes());
        let name = URL_SAFE_NO_PAD.encode(name.as_ref());
        Self { path: directory.join(format!("{name}.json")), url: url.to_owned() }
    }

    /// `None`: nothing is kept, or nothing that can be used.
    pub fn read(&self) -> Option<Kept> {
        use std::io::Read as _;
        let file = std::fs::File::open(&self.path).ok()?;
        let mut text = Vec::new();
        // JSON in JSON: every quote of it costs a backslash.
        let bytes_max = 2 * JWKS_BYTES_MAX as u64 + 4096;
        file.take(bytes_max).read_to_end(&mut text).ok()?;
        self.parse(&text)
    }

    pub(super) fn parse(&self, text: &[u8]) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(text).ok()?;
        (kept.version == VERSION && kept.url == self.url).then_some(kept)
    }

    pub fn write(&self, jwks_url: &str, jwks: &str, fetched_at: UnixMs) -> std::io::Result<()> {
        let kept = Kept {
            version: VERSION,
            url: self.url.clone(),
            jwks_url: jwks_url.to_owned(),
            fetched_at_ms: fetched_at.0,
            jwks: jwks.to_owned(),
        };
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let unfinished = self.path.with_extension("json.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &self.path)?;
        std::fs::File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_only_for_its_url() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        let keeper = Keeper::new(&keys, "iss", "https://a/keys");
        assert_eq!(keeper.read(), None);
        keeper.write("https://a/keys", "{\"keys\":[]}", UnixMs(5)).unwrap();
        let kept = keeper.read().unwrap();
        assert_eq!((kept.jwks.as_str(), kept.fetched_at_ms), ("{\"keys\":[]}", 5));
        assert_eq!(Keeper::new(&keys, "iss", "https://b/keys").read(), None);
        assert_eq!(Keeper::new(&keys, "other", "https://a/keys").read(), None);
        let other = Keeper { path: keeper.path.clone(), url: "https://b/keys".into() };
        assert_eq!(other.read(), None);
    }

    #[test]
    fn a_broken_file_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(directory.path(), "iss", "https://a/keys");
        keeper.write("https://a/keys", "{}", UnixMs(5)).unwrap();
        let whole = std::fs::read(&keeper.path).unwrap();
        for bytes in [&b""[..], b"null", b"\xff", &whole[..whole.len() - 1]] {
            std::fs::write(&keeper.path, bytes).unwrap();
            assert_eq!(keeper.read(), None);
        }
    }
}
