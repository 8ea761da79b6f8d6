//! The groups by the name of their upstream, across reloads: what did not change stays, with its
//! connections, counts and what is known of its servers.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::config::Upstream;

use super::group::Group;

/// See the module.
#[derive(Default)]
pub struct Registry(HashMap<String, Weak<Group>>);

impl Registry {
    /// The group of an upstream: the one that is there if its configuration is the same, else a
    /// new one that goes on with the endpoints that stay.
    pub fn group(&mut self, config: Upstream) -> Arc<Group> {
        let former = self.0.get(&config.name).and_then(Weak::upgrade);
        if let Some(former) = former.as_ref().filter(|former| former.config == config) {
            if let Some(tls) = &config.tls {
                former.set_client(Arc::clone(&tls.client));
            }
            return Arc::clone(former);
        }
        let name = config.name.clone();
        let group = Arc::new(Group::new(config, former.as_deref()));
        self.0.retain(|_, group| group.strong_count() > 0);
        self.0.insert(name, Arc::downgrade(&group));
        group
    }
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::super::group::tests::upstream;
    use super::*;

    #[test]
    fn what_did_not_change_stays_and_what_did_keeps_the_servers_that_stay() {
        let mut registry = Registry::default();
        let servers = "\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"";
        let first = registry.group(upstream(servers, ""));
        first.set().all()[0].set_health(Health::Up, None);
        assert!(Arc::ptr_eq(&first, &registry.group(upstream(servers, ""))));
        let second = registry.group(upstream(servers, "connect_timeout = \"1s\""));
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&first.set().all()[0], &second.set().all()[0]));
        let third = registry.group(upstream("\"http://127.0.0.1:3\"", ""));
        assert!(third.sole().is_some_and(|sole| sole.health() == Health::Unknown));
        // A changed weight is another endpoint, with connections of its own.
        let servers = "{ url = \"http://127.0.0.1:3\", weight = 2 }";
        let fourth = registry.group(upstream(servers, ""));
        assert_ne!(fourth.sole().unwrap().key(), third.sole().unwrap().key());
    }
}
