//! One direction of a tunnel after the end of the other: it lives on for as long as something moves. A
//! program whose input has ended may have hours of output to come.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct HalfOpen {
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self { patience: PATIENCE, timer: None }
    }
}

impl HalfOpen {
    /// Ready when nothing has moved for too long. `moved`: since it was asked last.
    pub fn poll(&mut self, moved: bool, context: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        if moved {
            timer.as_mut().reset(Instant::now() + patience);
        }
        timer.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn what_moves_keeps_it_open_and_silence_ends_it() {
        let patience = Duration::from_secs(1);
        let mut half_open = HalfOpen { patience, timer: None };
        let mut context = Context::from_waker(Waker::noop());
        assert!(half_open.poll(false, &mut context).is_pending());
        sleep(patience + patience / 10).await;
        assert!(half_open.poll(true, &mut context).is_pending(), "something moved");
        std::future::poll_fn(|context| half_open.poll(false, context)).await;
    }
}
