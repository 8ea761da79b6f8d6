//! Idle upstream connections of one core: last in, first out, so that the warm ones are used and
//! the rest grow old and leave.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::upstream::{Sender, Server};

/// Kept at the most per server and core.
const IDLE_MAX: usize = 256;

/// See the module.
#[derive(Default)]
pub struct Pool {
    slots: RefCell<Vec<Vec<Idle>>>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// A connection in use; [`Lease::release`] gives it back, dropping it closes it.
pub struct Lease {
    pub(super) sender: Sender,
    slot: usize,
    core: Rc<Core>,
    /// It served a request before, so it may have been closed behind our back.
    pub(super) reused: bool,
}

impl Lease {
    pub fn new(core: &Rc<Core>, server: &Server, sender: Sender, reused: bool) -> Self {
        Self { sender, slot: server.slot, core: Rc::clone(core), reused }
    }

    pub fn release(self) {
        if !self.sender.is_closed() {
            let Self { sender, slot, core, .. } = self;
            core.pool.put(slot, sender);
        }
    }
}

impl Pool {
    /// A connection that can take a request now. No system call: hyper's driver has seen a close
    /// by the time this core gets here, or the request is repeated.
    pub fn take(&self, slot: usize) -> Option<Sender> {
        let mut slots = self.slots.borrow_mut();
        let idle = slots.get_mut(slot)?;
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let sender = &idle.get(at)?.sender;
            if sender.is_closed() {
                idle.swap_remove(at);
            } else if sender.is_ready() {
                return Some(idle.remove(at).sender);
            }
        }
        None
    }

    fn put(&self, slot: usize, sender: Sender) {
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= slot {
            slots.resize_with(slot + 1, Vec::new);
        }
        if let Some(idle) = slots.get_mut(slot)
            && idle.len() < IDLE_MAX
        {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Closes connections that were idle for longer than their upstream keeps them.
    pub fn sweep(&self, timeout_of: impl Fn(usize) -> Duration) {
        let now = Instant::now();
        for (slot, idle) in self.slots.borrow_mut().iter_mut().enumerate() {
            let timeout = timeout_of(slot);
            idle.retain(|idle| {
                !idle.sender.is_closed() && now.duration_since(idle.since) < timeout
            });
        }
    }
}
