//! Which background work a configuration wants. This is the one place that says so: each kind of
//! work is a function that the list below calls, and [`Tasks`](crate::control::tasks::Tasks)
//! starts, keeps and stops it as configurations come and go.

use std::sync::Arc;

use crate::config::Config;
use crate::control::tasks::Work;
use crate::proxy::Published;

use super::assertion_keys;

/// Everything that is to run while this configuration is in force.
pub fn wanted(config: &Config, published: &Arc<Published>) -> Vec<Work> {
    assertion_keys::work(config, published).into_iter().collect()
}
