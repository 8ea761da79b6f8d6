//! `[metrics]`: a listener of its own, so that who scrapes need not reach the admin API.

use super::Metrics;
use super::cursor::Table;
use super::server::listen;

pub fn metrics(table: &Table<'_>) -> Metrics {
    let metrics = Metrics { listen: listen(table).unwrap_or_default() };
    table.finish();
    metrics
}
