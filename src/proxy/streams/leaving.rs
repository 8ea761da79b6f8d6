//! The gateway ends: what it takes with it, at once and when there is no time left.

use crate::telemetry::streams::StreamKind;

use super::turns::Task;
use super::{Cause, Stream, Streams};

/// What is told that the gateway ends, those too that come to be it later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Leaving {
    #[default]
    Nothing,
    Sockets,
    Everything,
}

impl Streams {
    /// Every WebSocket is told; all else may come to its own end.
    pub fn drain(&self) {
        self.leave_with(Leaving::Sockets);
    }

    /// There is no time left: whatever is open is cut, so that nothing of it looks whole.
    pub fn break_off(&self) {
        self.leave_with(Leaving::Everything);
    }

    fn leave_with(&self, leaving: Leaving) {
        self.leaving.set(leaving);
        self.work.borrow_mut().push_back(Task::Drain(None));
    }

    pub(super) fn tell_of_drain(&self, stream: &Stream) {
        let leaves = match self.leaving.get() {
            Leaving::Nothing => false,
            Leaving::Sockets => stream.kind.get() == StreamKind::WebSocket,
            Leaving::Everything => true,
        };
        if leaves {
            stream.cut(Cause::Draining);
        }
    }
}
