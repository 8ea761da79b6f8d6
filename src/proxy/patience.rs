//! How long an upstream may pause in the middle of its answer. Only time in which we wait for it
//! counts: a client that reads slowly is no slow upstream.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// See the module.
pub struct Patience {
    pause_max: Duration,
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Patience {
    pub fn new(pause_max: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(pause_max));
        Self { pause_max, sleep, waiting: false }
    }

    /// Something came.
    pub fn moved(&mut self) {
        self.waiting = false;
    }

    /// Nothing has come yet: has it been too long? Wakes the task when it will have been.
    pub fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if !self.waiting {
            self.waiting = true;
            self.sleep.as_mut().reset(Instant::now() + self.pause_max);
        }
        self.sleep.as_mut().poll(context).is_ready()
    }
}
