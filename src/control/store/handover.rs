//! The file changes hands: another process takes the place of this one. While that one has it,
//! nothing is written here, and the hot table follows what the other says of its own. Should the
//! other not stay, the file is opened again, and everything in it is put into the table: what it
//! wrote and did not come to tell.

use tokio::sync::oneshot;

use crate::denylist::Step;

use super::command::Command;
use super::worker::Worker;
use super::{Store, StoreError};

/// Whose the file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Possession {
    #[default]
    Ours,
    /// Another process has it, or is about to.
    Released,
    /// Ours again, and the table may lack what the other process wrote.
    Behind,
}

impl Store {
    /// Returns when the file is closed. Changes asked for after that fail until [`Store::resume`].
    pub fn release(&self) -> Result<(), StoreError> {
        self.order(Command::Release)
    }

    /// Takes the file back. After an error it is tried again with every change that is asked for.
    pub fn resume(&self) -> Result<(), StoreError> {
        self.order(Command::Resume)?
    }

    /// Returns when the hot table says what these say, and the streams have been told.
    pub fn follow(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        self.order(|reply| Command::Follow(steps, reply))
    }

    /// Blocks: not for a thread that has a runtime.
    fn order<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.handle.queue.lock().clone().ok_or(StoreError::Closed)?;
        queue.send(command(reply)).map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)
    }
}

impl Worker {
    /// Whoever asked may be gone; what was asked is done.
    pub(super) fn hand_over(&mut self, command: Command) {
        match command {
            Command::Release(reply) => {
                self.release();
                self.possession = Possession::Released;
                reply.send(()).ok();
            }
            Command::Resume(reply) => {
                self.possession = Possession::Behind;
                reply.send(self.reopen().map_err(StoreError::from)).ok();
            }
            Command::Follow(steps, reply) => {
                steps.into_iter().for_each(|step| self.writer.follow(step));
                self.writer.announce();
                reply.send(()).ok();
            }
            Command::Deny(_)
            | Command::DenyOwn(_)
            | Command::Lift { .. }
            | Command::LiftMatching { .. }
            | Command::Apply(_)
            | Command::Session(_)
            | Command::Note(_)
            | Command::Hold(..)
            | Command::Housekeep(_)
            | Command::Close => {}
        }
    }

    /// The file is free for another process even while handles live on.
    pub(super) fn release(&mut self) {
        if self.possession == Possession::Released {
            return;
        }
        self.advance_clock();
        if let Err(fault) = self.write_clock() {
            tracing::warn!(%fault, "the store's clock was not written at the end");
        }
        *self.shared.database.write() = None;
    }
}
