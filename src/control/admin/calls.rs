//! How many calls the admin API had, for metrics: by the path as the table has it, without what callers
//! put into it, and by the class of the answer.

use std::collections::BTreeMap;

use http::StatusCode;
use parking_lot::Mutex;

use crate::telemetry::counters::status_class;

use super::endpoints;

/// See the module.
#[derive(Default)]
pub struct Calls(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Calls {
    /// A path that the API does not have is the empty one.
    pub(super) fn answered(&self, path: &str, status: StatusCode) {
        let class = status_class(status.as_u16()).unwrap_or_default();
        let template = endpoints::template(path).unwrap_or_default();
        *self.0.lock().entry((template, class)).or_default() += 1;
    }

    /// Path, class, and how many.
    pub fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.0.lock().iter().map(|((path, class), n)| (*path, *class, *n)).collect()
    }
}
