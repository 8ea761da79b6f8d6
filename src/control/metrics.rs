//! Metrics for Prometheus, on a listener of their own: who may scrape need not reach the admin API.
//! Read at the scrape; nothing is computed between two of them.
//!
//! What always holds: no label holds a user, a token, a session, a path or an address, and every
//! label value comes from the configuration or from the program.

mod control;
mod data;
mod family;
mod process;
mod serve;
mod upstreams;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use crate::clock::UnixMs;
use crate::control::admin::Calls;
use crate::control::sessions::renewal::Issuers;
use crate::control::store::Store;
use crate::control::traces::Exported;
use crate::denylist::Denylist;
use crate::desk::Dropped;
use crate::telemetry::Observer;
use crate::telemetry::access::AccessLogWriter;
use crate::telemetry::counters::Counters;
use crate::telemetry::trace::Tracer;
use crate::upstreams::Group;
use crate::verify::Verifier;

pub use serve::serve;

use family::Page;

/// An instant of the issuer of this name.
type OfIssuer = Box<dyn Fn(&str) -> Option<UnixMs> + Send + Sync>;

/// Where the figures come from.
pub struct Sources {
    pub counters: Counters,
    pub store: Store,
    pub store_file: std::path::PathBuf,
    pub store_limit: u64,
    pub denylist: Arc<Denylist>,
    /// The verifier in force.
    pub verifier: Box<dyn Fn() -> Arc<Verifier> + Send + Sync>,
    /// Names of the routes in force.
    pub routes: Box<dyn Fn() -> Vec<Arc<str>> + Send + Sync>,
    /// The upstreams in force.
    pub upstreams: Box<dyn Fn() -> Vec<Arc<Group>> + Send + Sync>,
    /// Connections that clients have open, by listener.
    pub connections: Box<dyn Fn() -> Vec<(String, usize)> + Send + Sync>,
    /// Calls of the admin API.
    pub calls: Arc<Calls>,
    /// Whether the last reload was taken, and when one last was.
    pub reload: Box<dyn Fn() -> (bool, UnixMs) + Send + Sync>,
    /// When the keys of the issuer of this name were last read.
    pub keys_read_at: OfIssuer,
    /// Issuers whose keys are fetched: name, fetches that succeeded and that failed.
    pub key_fetches: Box<dyn Fn() -> Vec<(String, u64, u64)> + Send + Sync>,
    /// Our certificates by name, and when they end.
    pub certificates: Box<dyn Fn() -> Vec<(String, UnixMs)> + Send + Sync>,
    /// What became of renewals.
    pub renewed: Arc<Issuers>,
    /// What requests asked for in vain.
    pub dropped: Arc<Dropped>,
    pub observer: Observer,
    pub tracer: Tracer,
    pub exported: Arc<Exported>,
    pub log: AccessLogWriter,
    /// Codes that a refusal may have: each is there, at zero, from the start.
    pub codes: &'static [&'static str],
}

/// Everything that is scraped.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    pub fn new(sources: Sources) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(sources)));
        Self { registry }
    }

    /// OpenMetrics text, version 1.0.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(64 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The sources as the library asks for them.
struct Scrape(Sources);

impl std::fmt::Debug for Scrape {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> std::fmt::Result {
        let mut page = Page::new(encoder);
        data::write(&self.0, &mut page)?;
        upstreams::write(&self.0, &mut page)?;
        control::write(&self.0, &mut page)?;
        process::write(&mut page)
    }
}
