//! Certificates that change while the gateway runs: their files are looked at every few seconds, and
//! read again when one is another. All or none of a listener's are taken; one that cannot be used
//! leaves those in place that are, and is tried again as long as it stands there.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::UnixMs;
use crate::proxy::Published;
use crate::proxy::tls::Tls;

const INTERVAL: Duration = Duration::from_secs(2);

/// What tells one version of a file from another: inode, size, seconds and nanoseconds of change.
type Version = Option<(u64, u64, i64, i64)>;

/// Names of the certificates in use, and when they end.
pub fn ends(published: &Published) -> Vec<(String, UnixMs)> {
    published.entrances.iter().filter_map(|one| one.tls.as_ref()).flat_map(Tls::ends).collect()
}

/// Reads the certificates of every listener again. A listener whose certificates cannot all be used
/// keeps those that it has; the first fault is told.
pub fn reread(published: &Published) -> Result<(), String> {
    let mut result = Ok(());
    for tls in published.entrances.iter().filter_map(|entrance| entrance.tls.as_ref()) {
        result = result.and(tls.reread().map(drop).map_err(|fault| fault.to_string()));
    }
    result
}

/// Ends with the runtime.
pub async fn watch(published: Arc<ArcSwap<Published>>) {
    let mut seen = Seen::default();
    seen.changed(&published.load());
    let mut failed: Option<String> = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let published = published.load_full();
        if !seen.changed(&published) && failed.is_none() {
            continue;
        }
        match reread(&published) {
            Ok(()) => {
                failed = None;
                tracing::info!("the certificates were read again");
            }
            Err(why) if failed.as_deref() == Some(&why) => {}
            Err(why) => {
                tracing::error!(why, "a new certificate cannot be used: the old ones stay");
                failed = Some(why);
            }
        }
    }
}

/// The files as they were when they were last looked at.
#[derive(Default)]
struct Seen(HashMap<PathBuf, Version>);

impl Seen {
    /// Whether any is another than before; a file that was not looked at before is not.
    fn changed(&mut self, published: &Published) -> bool {
        let all = published.entrances.iter().filter_map(|entrance| entrance.tls.as_ref());
        let mut now = HashMap::new();
        for files in all.flat_map(Tls::files) {
            for path in [&files.chain, &files.key] {
                now.insert(path.clone(), version(path));
            }
        }
        let before = std::mem::replace(&mut self.0, now);
        self.0.iter().any(|(path, version)| before.get(path).is_some_and(|old| old != version))
    }
}

fn version(path: &Path) -> Version {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
