//! Certificates towards servers, read again when their files change. What cannot be used is told
//! once, and what was there stays.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::upstreams::Group;

const LOOK: Duration = Duration::from_secs(2);

type Stamp = Option<(SystemTime, u64)>;

/// Watches the files of the group's `tls`.
pub async fn keep(group: Arc<Group>) {
    let Some(tls) = &group.config.tls else { return };
    let mut seen = stamps(tls.files.paths());
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = stamps(tls.files.paths());
        if now == seen {
            continue;
        }
        seen = now;
        let upstream = group.config.name.as_str();
        match tls.files.read() {
            Ok(client) => {
                group.set_client(client);
                tracing::info!(upstream, "the certificates towards an upstream were read again");
            }
            Err(fault) => {
                tracing::warn!(
                    upstream,
                    why = %fault,
                    "the certificates towards an upstream cannot be used; the old ones stay"
                );
            }
        }
    }
}

fn stamps<'p>(paths: impl Iterator<Item = &'p Path>) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.map(stamp).collect()
}
