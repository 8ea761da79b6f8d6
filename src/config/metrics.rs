//! `[metrics]`: a listener of its own, so that who scrapes need not reach the admin API.

use super::Listen;
use super::cursor::Table;
use super::server::listen;

/// Where metrics are scraped; nowhere by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    pub listen: Vec<Listen>,
}

pub fn metrics(table: &Table<'_>) -> Metrics {
    let metrics = Metrics { listen: listen(table).unwrap_or_default() };
    table.finish();
    metrics
}
