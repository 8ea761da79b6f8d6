//! An upload whose answer has begun. It goes on in a task of its own: the answer is read as its client
//! takes it, and a client that takes nothing before all of its request is sent would wait for ever.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::upload::Progress;
use super::{Call, WireFault};

/// How long a server that has answered may still take the rest of its request. Its connection goes on
/// then, and its client's. Not for longer: what has its answer is not cut any more.
const REST_PATIENCE: Duration = Duration::from_secs(1);

/// The task, which ends with this.
pub struct Aside {
    task: AbortHandle,
    /// Whoever reads the answer, to be told if the upload breaks off.
    reading: Option<Waker>,
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Aside {
    /// Goes on with the upload, if there is more of it.
    pub fn begin(call: &Rc<RefCell<Call>>) {
        if call.borrow().upload.progress() != Progress::UnderWay {
            return;
        }
        let weak = Rc::downgrade(call);
        let sending = std::future::poll_fn(move |context| {
            let Some(call) = weak.upgrade() else { return Poll::Ready(()) };
            let mut call = call.borrow_mut();
            let sent = call.poll_upload(context);
            if sent.is_err()
                && let Some(waker) = call.aside.as_mut().and_then(|aside| aside.reading.take())
            {
                waker.wake();
            }
            match call.upload.progress() {
                Progress::UnderWay => Poll::Pending,
                Progress::Sent | Progress::Failed => Poll::Ready(()),
            }
        });
        let task = tokio::task::spawn_local(sending).abort_handle();
        call.borrow_mut().aside = Some(Self { task, reading: None });
    }

    /// The request's body may have broken off, and nobody waits for the end of the answer then.
    pub fn check(call: &mut Call, waker: &Waker) -> Result<(), WireFault> {
        if call.upload.is_lost() {
            return Err(WireFault::Upload);
        }
        if let Some(aside) = &mut call.aside {
            aside.reading = Some(waker.clone());
        }
        Ok(())
    }
}

/// Behind the answer.
pub async fn send_rest(mut call: Call) {
    let sending = std::future::poll_fn(|context| call.upload.poll(&mut call.wire.stream, context));
    if let Ok(Ok(())) = tokio::time::timeout(REST_PATIENCE, sending).await {
        call.release();
    }
}
