//! What a table in another process is told so that it says the same: the process that this one took
//! the place of follows it until its last stream has ended. Both make fingerprints with one key.

use serde::{Deserialize, Serialize};

use super::{Fingerprint, Fold, SelectorKind};

/// One change. Applied any number of times it gives the same table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Step {
    /// All that is in force for a selector from now on; an empty fold takes it out.
    Set { kind: Option<SelectorKind>, at: Fingerprint, fold: Fold },
    /// A token or session is registered no longer.
    Unregistered(Fingerprint),
}

/// Told in order, after the table here has changed and before anybody is told that it has. Returns
/// when the other has applied it, or can no longer let anything pass.
pub struct Follower(Box<dyn FnMut(Vec<Step>) + Send>);

impl Follower {
    pub fn new(tell: impl FnMut(Vec<Step>) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }

    pub(super) fn tell(&mut self, steps: Vec<Step>) {
        (self.0)(steps);
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Follower")
    }
}
