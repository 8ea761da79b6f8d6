//! Who renews the sessions of which issuer, by the configuration in force, and what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config;
use crate::denylist::IssuerId;

use super::RenewalCounts;
use super::call::Caller;

/// See the module. Outlives configurations.
#[derive(Default)]
pub struct Issuers {
    callers: ArcSwap<HashMap<IssuerId, Arc<Caller>>>,
    pub counts: RenewalCounts,
}

/// Those of a new configuration, not in force yet.
pub struct Prepared(HashMap<IssuerId, Arc<Caller>>);

impl Issuers {
    /// One that has not changed stays the same, with its calls under way. The text of an error says
    /// which certificates cannot be trusted.
    pub fn prepare(&self, issuers: &[config::Issuer]) -> Result<Prepared, String> {
        let before = self.callers.load();
        let mut next = HashMap::new();
        for issuer in issuers {
            let (id, Some(renewal)) = (&issuer.policy.id, &issuer.renewal) else { continue };
            let caller =
                match before.get(id).filter(|caller| caller.renewal == *renewal) {
                    Some(same) => Arc::clone(same),
                    None => Arc::new(Caller::new(renewal).map_err(|why| {
                        format!("renewal of issuer {}: {why}", issuer.policy.name)
                    })?),
                };
            next.insert(id.clone(), caller);
        }
        Ok(Prepared(next))
    }

    pub fn commit(&self, prepared: Prepared) {
        self.callers.store(Arc::new(prepared.0));
    }

    pub(super) fn of(&self, id: &IssuerId) -> Option<Arc<Caller>> {
        self.callers.load().get(id).map(Arc::clone)
    }
}
