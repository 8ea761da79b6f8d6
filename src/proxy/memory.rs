//! Whether memory is short, as the cores and the acceptor see it. Somebody else measures it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module.
pub struct Memory {
    /// `limits.memory_max`; 0: any amount.
    pub max_bytes: AtomicU64,
    short: AtomicBool,
}

impl Memory {
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes: AtomicU64::new(max_bytes), short: AtomicBool::new(false) }
    }

    /// Nothing new is begun.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    pub fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }
}
