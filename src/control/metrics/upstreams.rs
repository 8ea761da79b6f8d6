//! The servers of the upstreams, out of the state that both planes share.

use std::time::Instant;

use crate::upstreams::State;

use super::Sources;
use super::family::{Page, number};

pub fn write(sources: &Sources, page: &mut Page<'_>) -> std::fmt::Result {
    let groups = (sources.upstreams)();
    let now = Instant::now();
    let reports: Vec<_> = groups.iter().map(|group| group.report(now)).collect();
    page.gauges(
        "portcullis_upstream_servers",
        "Servers of an upstream by what is known of them; only unchecked and up get requests",
        reports.iter().flat_map(|report| {
            State::ALL.into_iter().map(|state| {
                let count = report.servers.iter().filter(|server| server.state == state).count();
                let labels = [("upstream", report.name.as_str()), ("state", state.as_str())];
                (labels, number(count as u64))
            })
        }),
    )?;
    page.counters(
        "portcullis_upstream_retries",
        "Requests that were sent to a server once more",
        groups.iter().map(|group| ([("upstream", group.config.name.as_str())], group.retries())),
    )
}
