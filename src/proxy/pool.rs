//! Idle upstream connections of one core: last in, first out, so that the warm ones are used and
//! the rest grow old and leave.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::upstreams::Key;

use super::upstream_h1::Wire;

/// Kept at the most per endpoint and core: sockets and nothing else, as many as were in use at once.
const IDLE_MAX: usize = 1024;

/// See the module.
#[derive(Default)]
pub struct Pool {
    slots: RefCell<Vec<Vec<Idle>>>,
}

struct Idle {
    wire: Wire,
    since: Instant,
}

impl Pool {
    /// A connection that can take a request now.
    pub fn take(&self, key: Key) -> Option<Wire> {
        let mut slots = self.slots.borrow_mut();
        let idle = slots.get_mut(key.slot)?;
        while let Some(Idle { mut wire, .. }) = idle.pop() {
            // A slot is used again for another endpoint.
            if wire.key() == key && wire.is_quiet() {
                return Some(wire);
            }
        }
        None
    }

    pub fn put(&self, wire: Wire) {
        let slot = wire.key().slot;
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= slot {
            slots.resize_with(slot + 1, Vec::new);
        }
        if let Some(idle) = slots.get_mut(slot)
            && idle.len() < IDLE_MAX
        {
            idle.push(Idle { wire, since: Instant::now() });
        }
    }

    /// Closes all of them; whether there were any.
    pub fn close_all(&self) -> bool {
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        slots.iter().any(|idle| !idle.is_empty())
    }

    /// Whose connections have no request.
    pub fn each_idle(&self, mut count: impl FnMut(Key)) {
        self.slots.borrow().iter().flatten().for_each(|idle| count(idle.wire.key()));
    }

    /// Closes connections that were idle for longer than their upstream keeps them, those that their
    /// servers have closed, and those to endpoints that are no more.
    pub fn sweep(&self, timeout_of: impl Fn(Key) -> Option<Duration>) {
        let now = Instant::now();
        for idle in self.slots.borrow_mut().iter_mut() {
            idle.retain_mut(|Idle { wire, since }| {
                let timeout = timeout_of(wire.key());
                timeout.is_some_and(|timeout| now.duration_since(*since) < timeout)
                    && wire.is_quiet()
            });
            if idle.is_empty() {
                idle.shrink_to_fit();
            }
        }
    }
}
