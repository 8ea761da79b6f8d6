//! The keys of assertions where the config names none: made in the store's directory, readable by
//! their owner only, and changed on schedule while the gateway runs. What the file says counts: it
//! is read before each change, and written whole beside itself before it takes the old one's place.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::clock::UnixMs;
use crate::config::Config;
use crate::control::tasks::{Identity, Work};
use crate::keys::{Algorithm, OwnKey, OwnKeys, Rota, SigningKey, turn};
use crate::proxy::{Published, Signing};

/// How often it is asked whether a key's time has come. The turns themselves take an hour.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// A key of one algorithm is a few hundred bytes, and there are two or three.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// One key, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    algorithm: String,
    signs_from_ms: i64,
    /// PKCS#8 in PEM.
    private: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

/// Adds the keys of the store's directory where the config vouches and names none.
pub fn complete(config: &mut Config) -> Result<(), String> {
    if let Some(assertion) = &mut config.assertion
        && let Some(path) = &assertion.key_file
    {
        assertion.keys = in_turn(path, assertion.rota, UnixMs::now())?;
    }
    Ok(())
}

/// The change of keys in the background; nothing where the config names its own.
pub fn work(config: &Config, published: &Arc<Published>) -> Option<Work> {
    let assertion = config.assertion.as_ref()?;
    let path = assertion.key_file.clone()?;
    let (rota, signing) = (assertion.rota, Arc::clone(published.signing()?));
    Some(Work {
        identity: Identity { kind: "assertion keys", of: path.display().to_string() },
        // Each configuration has its own cell, which this fills.
        settings: format!("{rota:?} {:p}", Arc::as_ptr(&signing)),
        start: Box::new(move || {
            Box::pin(async move {
                loop {
                    tokio::time::sleep(LOOK_EVERY).await;
                    look(&path, rota, &signing);
                }
            })
        }),
    })
}

fn look(path: &Path, rota: Rota, signing: &Signing) {
    let keys = in_turn(path, rota, UnixMs::now());
    match keys.and_then(|keys| OwnKeys::new(keys).map_err(|fault| fault.to_string())) {
        Ok(keys) => signing.replace(keys),
        Err(why) => tracing::error!(why, "the keys of assertions cannot be changed"),
    }
}

/// What the file holds, after what is due.
fn in_turn(path: &Path, rota: Rota, now: UnixMs) -> Result<Vec<OwnKey>, String> {
    let keys = read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let turned = turn(&keys, rota, now).map_err(|fault| fault.to_string())?;
    let Some(keys) = turned else { return Ok(keys) };
    write(path, &keys).map_err(|error| format!("{}: {error}", path.display()))?;
    tracing::info!(keys = keys.len(), "the keys of assertions have changed");
    Ok(keys)
}

fn read(path: &Path) -> Result<Vec<OwnKey>, String> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    if metadata.mode() & 0o077 != 0 {
        return Err("it can be read by others: chmod 600".to_owned());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err("it is too long".to_owned());
    }
    let bytes = Zeroizing::new(std::fs::read(path).map_err(|error| error.to_string())?);
    let kept: Vec<Kept> = serde_json::from_slice(&bytes)
        .map_err(|_| "it is broken; remove it to have keys made anew".to_owned())?;
    kept.iter().map(own).collect()
}

fn own(kept: &Kept) -> Result<OwnKey, String> {
    let algorithm = Algorithm::parse(&kept.algorithm).ok_or("it names an unknown algorithm")?;
    let key = SigningKey::from_pem(algorithm, &kept.private).map_err(|fault| fault.to_string())?;
    Ok(OwnKey { key: Arc::new(key), signs_from: Some(UnixMs(kept.signs_from_ms)) })
}

fn write(path: &Path, keys: &[OwnKey]) -> io::Result<()> {
    let kept: Vec<Kept> = keys.iter().filter_map(kept).collect();
    let bytes = Zeroizing::new(serde_json::to_vec(&kept)?);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    // One of a process that died at this point is nobody's.
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(directory)?.sync_all()
}

fn kept(own: &OwnKey) -> Option<Kept> {
    let private = own.key.to_pem()?;
    Some(Kept {
        algorithm: own.key.algorithm().as_str().to_owned(),
        signs_from_ms: own.signs_from?.0,
        private: std::str::from_utf8(private.expose()).ok()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTA: Rota = Rota { algorithm: Algorithm::ES256, every: Duration::from_secs(86_400) };

    fn names(keys: &[OwnKey]) -> Vec<String> {
        keys.iter().map(|own| own.key.kid().to_owned()).collect()
    }

    #[test]
    fn keys_are_made_once_survive_and_change_when_their_time_has_come() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data/assertion-keys.json");
        let start = UnixMs(1_700_000_000_000);
        let first = in_turn(&path, ROTA, start).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(names(&in_turn(&path, ROTA, start).unwrap()), names(&first));
        let signing = Signing::new(OwnKeys::new(first.clone()).unwrap());
        let due = start.plus(Duration::from_secs(23 * 3600));
        let both = in_turn(&path, ROTA, due).unwrap();
        assert_eq!((both.len(), &names(&both)[0]), (2, &names(&first)[0]));
        signing.replace(OwnKeys::new(both.clone()).unwrap());
        assert!(names(&both).iter().all(|kid| signing.jwks().contains(kid)));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_broken_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys.json");
        in_turn(&path, ROTA, UnixMs::now()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(in_turn(&path, ROTA, UnixMs::now()).unwrap_err().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "[{}]").unwrap();
        assert!(in_turn(&path, ROTA, UnixMs::now()).unwrap_err().contains("broken"));
    }
}
