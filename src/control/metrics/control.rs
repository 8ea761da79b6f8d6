//! The denylist, the store, the keys, and what was lost on the way to a log.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::UnixMs;

use super::Sources;
use super::family::{Page, number};

/// Of the source, where whoever built it said so.
const REVISION: &str = match option_env!("PORTCULLIS_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

pub fn write(sources: &Sources, page: &mut Page<'_>) -> std::fmt::Result {
    page.gauges(
        "portcullis_build_info",
        "The version that runs",
        [([("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION)], 1.0)],
    )?;
    denylist(sources, page)?;
    store(sources, page)?;
    let verifier = (sources.verifier)();
    page.gauges(
        "portcullis_keys",
        "Keys in force",
        verifier.issuers().iter().map(|issuer| {
            let keys = issuer.keys.load().keys().len();
            ([("issuer", issuer.policy.name.as_str())], number(keys as u64))
        }),
    )?;
    page.gauges(
        "portcullis_keys_last_success_timestamp_seconds",
        "When an issuer's keys were last read",
        verifier.issuers().iter().filter_map(|issuer| {
            let name = issuer.policy.name.as_str();
            Some(([("issuer", name)], seconds((sources.keys_read_at)(name)?)))
        }),
    )?;
    let fetches = (sources.key_fetches)();
    page.counters(
        "portcullis_key_fetches",
        "Fetches of an issuer's keys that have ended",
        fetches.iter().flat_map(|(issuer, good, failed)| {
            let labels = |result| [("issuer", issuer.as_str()), ("result", result)];
            [(labels("success"), *good), (labels("failure"), *failed)]
        }),
    )?;
    renewals(sources, page)?;
    config(sources, page)?;
    let connections = (sources.connections)();
    page.gauges(
        "portcullis_connections",
        "Connections that clients have open",
        connections.iter().map(|(name, n)| ([("listener", name.as_str())], number(*n as u64))),
    )?;
    page.counters(
        "portcullis_admin_requests",
        "Calls of the admin API that were answered",
        sources
            .calls
            .counts()
            .into_iter()
            .map(|(path, code, n)| ([("path", path), ("code", code)], n)),
    )?;
    page.counter(
        "portcullis_access_log_dropped",
        "Buffers of access log lines that were dropped because the writer was behind",
        sources.log.dropped(),
    )?;
    page.counter(
        "portcullis_observations_dropped",
        "Sightings and refusals that the control plane was too busy to remember",
        sources.observer.dropped(),
    )?;
    let exported = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (delivered, lost) = (&sources.exported.delivered, &sources.exported.lost);
    page.counters(
        "portcullis_spans",
        "Spans for the collector, by what became of them",
        [
            ([("result", "delivered")], exported(delivered)),
            ([("result", "lost")], exported(lost) + sources.tracer.dropped()),
        ],
    )
}

fn renewals(sources: &Sources, page: &mut Page<'_>) -> std::fmt::Result {
    let counts = &sources.renewed.counts;
    page.counters(
        "portcullis_renewals",
        "Renewals of browser sessions, by what became of them",
        counts.renewals().map(|(result, n)| ([("result", result)], n)),
    )?;
    page.counters(
        "portcullis_refresh_token_revocations",
        "Refresh tokens that were to be revoked at their issuer",
        counts.revocations().into_iter().map(|(result, n)| ([("result", result)], n)),
    )?;
    page.counters(
        "portcullis_desk_dropped",
        "What requests asked for and the control plane was too busy to take",
        sources.dropped.counts().map(|(ask, n)| ([("ask", ask)], n)),
    )
}

fn config(sources: &Sources, page: &mut Page<'_>) -> std::fmt::Result {
    let (successful, at) = (sources.reload)();
    page.gauge(
        "portcullis_config_last_reload_successful",
        "1 when the last configuration that was read is in force",
        if successful { 1.0 } else { 0.0 },
    )?;
    page.gauge(
        "portcullis_config_last_reload_success_timestamp_seconds",
        "When a configuration last came into force",
        seconds(at),
    )?;
    let certificates = (sources.certificates)();
    page.gauges(
        "portcullis_certificate_expiry_timestamp_seconds",
        "When a certificate ends",
        certificates.iter().map(|(name, ends)| ([("name", name.as_str())], seconds(*ends))),
    )
}

/// Unix time as the format wants it.
fn seconds(at: UnixMs) -> f64 {
    number(u64::try_from(at.0).unwrap_or(0)) / 1e3
}

fn denylist(sources: &Sources, page: &mut Page<'_>) -> std::fmt::Result {
    let (verifier, tally) = ((sources.verifier)(), sources.store.tally());
    let configured = || verifier.issuers().iter().map(|issuer| &issuer.policy);
    let gone = tally.issuers().filter(|id| configured().all(|policy| policy.id.as_str() != *id));
    // One that has left the config has no name; its denials stand.
    let issuers = configured()
        .map(|policy| (policy.name.as_str(), policy.id.as_str()))
        .chain(gone.map(|id| (id, id)));
    page.gauges(
        "portcullis_denials",
        "Denials in force",
        issuers.flat_map(|(name, id)| {
            tally
                .of(id)
                .map(move |(kind, n)| ([("issuer", name), ("selector", kind.as_str())], number(n)))
        }),
    )?;
    page.gauge(
        "portcullis_denials_limit",
        "Denials that may be in force; new ones beyond it are refused with 507",
        number(sources.store_limit),
    )?;
    page.gauge(
        "portcullis_records",
        "Denials and registrations in force: what the limit holds",
        number(sources.store.records()),
    )?;
    page.counters(
        "portcullis_denials_refused",
        "Denials and registrations that were asked for and not made",
        sources.store.figures().refusals().into_iter().map(|(cause, n)| ([("cause", cause)], n)),
    )?;
    page.counter(
        "portcullis_denials_folded",
        "People's own denials whose place one cutoff of all their tokens took",
        sources.store.figures().folds(),
    )?;
    page.gauge(
        "portcullis_denials_bytes",
        "Memory of the hot table",
        number(sources.denylist.bytes() as u64),
    )
}

fn store(sources: &Sources, page: &mut Page<'_>) -> std::fmt::Result {
    page.gauge(
        "portcullis_sequence",
        "Position of the last change in the store's log",
        number(sources.store.sequence()),
    )?;
    let figures = sources.store.figures();
    let up = if sources.store.is_up() { 1.0 } else { 0.0 };
    page.gauge("portcullis_store_up", "1 while the store's file is open", up)?;
    page.gauge(
        "portcullis_store_pending_changes",
        "Changes that were asked for and are not on disk yet",
        number(figures.waiting()),
    )?;
    let bytes = std::fs::metadata(&sources.store_file).map_or(0, |meta| meta.len());
    page.gauge("portcullis_store_bytes", "Size of the store's file", number(bytes))?;
    page.histograms(
        "portcullis_store_append_duration_seconds",
        "Time to bring a group of changes to disk",
        [([], &figures.commits())],
    )?;
    page.histograms(
        "portcullis_denial_apply_duration_seconds",
        "From the arrival of a denial to its being in force",
        [([], &figures.applied_in())],
    )?;
    page.counters(
        "portcullis_store_errors",
        "Groups of changes that could not be written",
        [([("operation", "write")], figures.failures())],
    )?;
    page.counters(
        "portcullis_denial_changes",
        "Denials made, taken back and forgotten, by the way they came",
        figures
            .changes()
            .into_iter()
            .map(|(action, via, n)| ([("action", action), ("via", via)], n)),
    )?;
    // One gateway with a store of its own: what is acknowledged is on its disk.
    page.gauge("portcullis_view_age_seconds", "Age of this gateway's view of the denylist", 0.0)
}
