//! How fast streams are cut: only so many that were told may not have acted on it yet, so that the
//! end of ten thousand leaves the core its turns for others.

use std::cell::Cell;

use tokio::sync::Notify;

/// Streams that are cut and have not seen it.
const AT_ONCE: usize = 32;

/// See the module.
#[derive(Default)]
pub struct Pace {
    waiting: Cell<usize>,
    /// Told when there is room again.
    pub room: Notify,
}

impl Pace {
    pub fn wait_for_one(&self) {
        self.waiting.set(self.waiting.get() + 1);
    }

    pub fn one_has_seen(&self) {
        let before = self.waiting.get();
        self.waiting.set(before.saturating_sub(1));
        if before >= AT_ONCE {
            self.room.notify_one();
        }
    }

    pub fn has_room(&self) -> bool {
        self.waiting.get() < AT_ONCE
    }

    /// Nobody is waited for longer than between two calls of this: a cut that is stuck, on a client
    /// that takes nothing, holds up no other.
    pub fn go_on(&self) {
        self.waiting.set(0);
    }
}
