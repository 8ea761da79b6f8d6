//! What a scrape of the metrics asks: each figure from the part that knows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::Config;
use crate::control::admin::Calls;
use crate::control::config::Desk;
use crate::control::keys::KeyRing;
use crate::control::metrics::{Metrics, Sources};
use crate::control::sessions::renewal::Issuers;
use crate::control::store::Store;
use crate::control::traces::Exported;
use crate::denylist::Denylist;
use crate::proxy;
use crate::proxy::core::Shared;

use super::certificates;

/// Parts that have figures.
pub struct Told<'t> {
    pub config: &'t Config,
    pub shared: &'t Shared,
    pub calls: &'t Arc<Calls>,
    pub exported: &'t Arc<Exported>,
}

impl Told<'_> {
    pub fn metrics(
        self,
        store: &Store,
        denylist: &Arc<Denylist>,
        desk: &Arc<Desk>,
        (ring, renewed): (&Arc<KeyRing>, &Arc<Issuers>),
    ) -> Metrics {
        let Self { config, shared, calls, exported } = self;
        let (verifier_of, routes_of) =
            (Arc::clone(&shared.published), Arc::clone(&shared.published));
        let tls_of = Arc::clone(&shared.published);
        let groups_of = Arc::clone(&shared.published);
        let connections_of = Arc::clone(&shared.published);
        let (reloads, keys) = (Arc::clone(desk), Arc::clone(desk));
        let (ring, fetching) = (Arc::clone(ring), Arc::clone(ring));
        Metrics::new(Sources {
            counters: shared.counters.clone(),
            store: store.clone(),
            store_file: config.store.path.join("denials.redb"),
            store_limit: config.store.limit,
            denylist: Arc::clone(denylist),
            verifier: Box::new(move || Arc::clone(&verifier_of.load().verifier)),
            routes: Box::new(move || routes_of.load().routes.names()),
            upstreams: Box::new(move || groups_of.load().groups()),
            connections: Box::new(move || {
                let published = connections_of.load();
                let open = published.connections.iter();
                open.map(|(name, open)| (name.clone(), open.load(Ordering::Relaxed))).collect()
            }),
            calls: Arc::clone(calls),
            reload: Box::new(move || reloads.outcome()),
            // Keys in files are read with the configuration.
            keys_read_at: Box::new(move |issuer| match ring.is_fetched(issuer) {
                true => ring.read_at(issuer),
                false => Some(keys.outcome().1),
            }),
            key_fetches: Box::new(move || fetching.fetches()),
            certificates: Box::new(move || certificates::ends(&tls_of.load())),
            renewed: Arc::clone(renewed),
            dropped: Arc::clone(shared.desk.dropped()),
            observer: shared.observer.clone(),
            tracer: shared.tracer.clone(),
            exported: Arc::clone(exported),
            log: shared.log.clone(),
            codes: proxy::answer::CODES,
        })
    }
}
