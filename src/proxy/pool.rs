//! Idle upstream connections of one core: last in, first out, so that the warm ones are used and
//! the rest grow old and leave.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::upstreams::{Endpoint, Key};

use super::core::Core;
use super::upstream::Sender;
use super::upstream_h2::Http2;

/// Kept at the most per endpoint and core.
const IDLE_MAX: usize = 256;

/// See the module.
#[derive(Default)]
pub struct Pool {
    slots: RefCell<Vec<Vec<Idle>>>,
}

struct Idle {
    sender: Sender,
    /// Whose connection it is: a slot is used again for another endpoint.
    serial: u64,
    since: Instant,
}

/// What an answer holds of its connection; [`Lease::release`] gives it back, dropping it closes the
/// connection, or resets the one stream.
pub enum Lease {
    Http1(Http1),
    Http2(Http2),
}

/// A connection in use.
pub struct Http1 {
    pub(super) sender: Sender,
    key: Key,
    core: Rc<Core>,
    reused: bool,
}

impl Http1 {
    pub fn opened(core: &Rc<Core>, endpoint: &Endpoint, sender: Sender) -> Self {
        Self { sender, key: endpoint.key(), core: Rc::clone(core), reused: false }
    }

    /// Out of the pool.
    pub fn reused(core: &Rc<Core>, endpoint: &Endpoint, sender: Sender) -> Self {
        Self { reused: true, ..Self::opened(core, endpoint, sender) }
    }
}

impl Lease {
    /// The connection had been there before the request.
    pub fn is_reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.reused,
            Self::Http2(stream) => stream.reused,
        }
    }

    pub fn release(self) {
        match self {
            Self::Http1(Http1 { sender, key, core, .. }) => {
                if !sender.is_closed() {
                    core.pool.put(key, sender);
                }
            }
            // Its place is free when it is dropped.
            Self::Http2(_) => {}
        }
    }
}

impl Pool {
    /// A connection that can take a request now. No system call: hyper's driver has seen a close
    /// by the time this core gets here, or the request is repeated.
    pub fn take(&self, key: Key) -> Option<Sender> {
        let mut slots = self.slots.borrow_mut();
        let idle = slots.get_mut(key.slot)?;
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let Idle { sender, serial, .. } = idle.get(at)?;
            if *serial != key.serial || sender.is_closed() {
                idle.swap_remove(at);
            } else if sender.is_ready() {
                return Some(idle.remove(at).sender);
            }
        }
        None
    }

    fn put(&self, key: Key, sender: Sender) {
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= key.slot {
            slots.resize_with(key.slot + 1, Vec::new);
        }
        if let Some(idle) = slots.get_mut(key.slot)
            && idle.len() < IDLE_MAX
        {
            idle.push(Idle { sender, serial: key.serial, since: Instant::now() });
        }
    }

    /// Whose connections have no request.
    pub fn each_idle(&self, mut count: impl FnMut(Key)) {
        for (slot, idle) in self.slots.borrow().iter().enumerate() {
            idle.iter().for_each(|idle| count(Key { slot, serial: idle.serial }));
        }
    }

    /// Closes connections that were idle for longer than their upstream keeps them, and those to
    /// endpoints that are no more.
    pub fn sweep(&self, timeout_of: impl Fn(Key) -> Option<Duration>) {
        let now = Instant::now();
        for (slot, idle) in self.slots.borrow_mut().iter_mut().enumerate() {
            idle.retain(|idle| {
                let timeout = timeout_of(Key { slot, serial: idle.serial });
                !idle.sender.is_closed()
                    && timeout.is_some_and(|timeout| now.duration_since(idle.since) < timeout)
            });
            if idle.is_empty() {
                idle.shrink_to_fit();
            }
        }
    }
}
