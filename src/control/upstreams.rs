//! Keeps the upstreams that are in force: one task for each name to look up and each server to
//! check, and an event for each server that changes its state. A reload needs no word here: what is no longer in
//! force is left, what is new is begun.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::upstreams::{Group, GroupReport, ServerReport, Source, State};

use super::{health, resolve, upstream_certificates};

/// How soon a change is seen.
const TICK: Duration = Duration::from_millis(200);

struct Kept {
    group: Arc<Group>,
    /// Ends with this.
    _tasks: JoinSet<()>,
    states: HashMap<(String, Option<String>), State>,
    /// No server of it was used when last looked at.
    dead: bool,
}

/// Runs until the control plane ends.
pub async fn watch(source: Source) {
    let mut kept: Vec<Kept> = Vec::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let groups = source();
        kept.retain(|kept| groups.iter().any(|group| Arc::ptr_eq(group, &kept.group)));
        for group in groups {
            if !kept.iter().any(|kept| Arc::ptr_eq(&group, &kept.group)) {
                kept.push(begin(group));
            }
        }
        for kept in &mut kept {
            tell(kept);
        }
    }
}

fn begin(group: Arc<Group>) -> Kept {
    let mut tasks = JoinSet::new();
    for (index, server) in group.config.servers.iter().enumerate() {
        if server.address.name().is_some() {
            tasks.spawn(resolve::keep(Arc::clone(&group), index));
        }
    }
    if group.config.health.is_some() {
        tasks.spawn(health::keep(Arc::clone(&group)));
    }
    if group.config.tls.is_some() {
        tasks.spawn(upstream_certificates::keep(Arc::clone(&group)));
    }
    Kept { group, _tasks: tasks, states: HashMap::new(), dead: false }
}

/// Events for what changed since last time. A server that is first seen used is no news.
fn tell(kept: &mut Kept) {
    let report = kept.group.report(Instant::now());
    let mut states = HashMap::new();
    for server in &report.servers {
        let name = (server.server.clone(), server.address.clone());
        let before = kept.states.get(&name).copied().unwrap_or(State::Unchecked);
        if before != server.state {
            changed(&report, server, before);
        }
        states.insert(name, server.state);
    }
    kept.states = states;
    let dead = report.used() == 0;
    if dead && !kept.dead {
        tracing::error!(upstream = report.name, "no server of the upstream is up");
    }
    kept.dead = dead;
}

fn changed(report: &GroupReport, server: &ServerReport, before: State) {
    let upstream = report.name.as_str();
    let address = server.address.as_deref().unwrap_or_default();
    let (server_name, why) = (server.server.as_str(), server.detail.as_deref().unwrap_or_default());
    match server.state {
        State::Down => {
            tracing::warn!(upstream, server = server_name, address, why, "a server is down");
        }
        State::Ejected => {
            let for_ms = server.ejected_for.map_or(0, |left| left.as_millis());
            let for_ms = u64::try_from(for_ms).unwrap_or(u64::MAX);
            tracing::warn!(
                upstream,
                server = server_name,
                address,
                for_ms,
                "a server is ejected: its requests failed"
            );
        }
        State::Up | State::Unchecked if !before.is_used() => {
            tracing::info!(upstream, server = server_name, address, "a server is back");
        }
        // The look-up tells of names; a first good check is no news.
        State::Up | State::Unchecked | State::Unresolved => {}
    }
}
