//! How much of a request's body has come; and what is left of it when the answer is ready and nobody
//! wanted the rest. hyper closes such a connection of HTTP/1.1 behind the answer and tells nobody, so
//! that a proxy in front sends its next request into a closed one. What is left is read and dropped
//! where it is little and comes at once; else the answer has to say that it is the connection's last.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::joined::Joined;

const LITTLE_BYTES: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub struct Received {
    bytes: Cell<u64>,
    keeps: Cell<bool>,
    rest: RefCell<Option<Joined>>,
}

impl Received {
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// What nobody reads is to come back here.
    pub fn keep_rest(&self) {
        self.keeps.set(true);
    }

    pub(super) fn give_back(&self, rest: Joined) {
        if self.keeps.get() {
            *self.rest.borrow_mut() = Some(rest);
        }
    }

    /// It was dropped before its end.
    pub fn has_rest(&self) -> bool {
        self.rest.borrow().is_some()
    }

    /// Whether a body of this length has come whole, the rest of it perhaps now.
    pub async fn is_whole(&self, length: u64) -> bool {
        let rest = self.rest.borrow_mut().take();
        match (rest, length.saturating_sub(self.bytes())) {
            (_, 0) => true,
            (Some(rest), 1..=LITTLE_BYTES) => {
                tokio::time::timeout(PATIENCE, discard(rest)).await.unwrap_or(false)
            }
            (Some(_) | None, _) => false,
        }
    }
}

async fn discard(mut rest: Joined) -> bool {
    loop {
        match std::future::poll_fn(|context| rest.poll_frame(context)).await {
            Some(Ok(_)) => {}
            ended => return ended.is_none(),
        }
    }
}
