//! What callers ask of the store's thread, and how each is done within a transaction.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::denylist::{Actor, DenialId, IdSource, IssuerId, Lift, Step};

use super::batch::Batch;
use super::rows::Fault;
use super::sessions::SessionJob;
use super::{
    Accepted, Applied, Change, Matching, NewAct, NewDenial, OwnDenial, Record, StoreError,
};

/// Calls that change more at once have a part of the audit for themselves.
const MANY: usize = 16;
/// Records that are looked at in one transaction.
const HELD_AT_ONCE: usize = 20_000;

/// What callers ask of the thread.
pub(super) enum Command {
    Deny(Task<NewDenial, Result<Accepted, StoreError>>),
    DenyOwn(Task<OwnDenial, Result<Accepted, StoreError>>),
    Lift {
        ids: Task<DenialId, Record>,
        reason: Option<String>,
        by: Actor,
    },
    LiftMatching {
        which: Task<Matching, Vec<Record>>,
        reason: Option<String>,
        by: Actor,
    },
    Apply(Task<Change, Applied>),
    /// A change of browser sessions.
    Session(Box<dyn SessionJob>),
    Note(Task<NewAct, ()>),
    /// Keep until lifted what stands of an issuer, some records after an id; the last of them.
    Hold(IssuerId, Option<DenialId>, Task<(), Option<DenialId>>),
    /// Forget all that is due now; how many.
    Housekeep(oneshot::Sender<Result<u64, StoreError>>),
    /// Write what is pending and let go of the file: another process opens it now.
    Release(oneshot::Sender<()>),
    /// The other process did not stay: open the file again, with what it may have written.
    Resume(oneshot::Sender<Result<(), StoreError>>),
    /// The other process changed these; for the hot table here.
    Follow(Vec<Step>, oneshot::Sender<()>),
    Close,
}

/// Something to do and whom to tell.
pub(super) struct Task<I, O> {
    input: Vec<I>,
    output: Vec<O>,
    reply: oneshot::Sender<Result<Vec<O>, StoreError>>,
    arrived: Instant,
}

impl<I, O> Task<I, O> {
    pub(super) fn new(input: Vec<I>) -> (Self, oneshot::Receiver<Result<Vec<O>, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let output = Vec::with_capacity(input.len());
        (Self { output, input, reply, arrived: Instant::now() }, answer)
    }

    /// A caller that has gone away does not matter: what it asked for is done.
    pub(super) fn end(self, outcome: Result<(), StoreError>) {
        let _ = self.reply.send(outcome.map(|()| self.output));
    }
}

impl Command {
    /// How many changes it may make.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Deny(task) => task.input.len(),
            Self::DenyOwn(task) => task.input.len(),
            Self::Lift { ids, .. } => ids.input.len(),
            Self::LiftMatching { which, .. } => which.input.iter().map(|which| which.most).sum(),
            Self::Apply(task) => task.input.len(),
            Self::Note(task) => task.input.len(),
            Self::Hold(..) => HELD_AT_ONCE,
            Self::Session(_)
            | Self::Housekeep(_)
            | Self::Release(_)
            | Self::Resume(_)
            | Self::Follow(..)
            | Self::Close => 1,
        }
    }

    /// When the denials that it made arrived, and how many they are.
    pub(super) fn denied(&self) -> Option<(Instant, u64)> {
        let (arrived, made) = match self {
            Self::Deny(task) => (task.arrived, task.output.len()),
            Self::DenyOwn(task) => (task.arrived, task.output.len()),
            Self::Lift { .. }
            | Self::LiftMatching { .. }
            | Self::Apply(_)
            | Self::Session(_)
            | Self::Note(_)
            | Self::Hold(..)
            | Self::Housekeep(_)
            | Self::Release(_)
            | Self::Resume(_)
            | Self::Follow(..)
            | Self::Close => return None,
        };
        Some((arrived, u64::try_from(made).unwrap_or(u64::MAX)))
    }

    /// It is about the file or the table and not for a transaction.
    pub(super) fn is_of_handover(&self) -> bool {
        match self {
            Self::Release(_) | Self::Resume(_) | Self::Follow(..) => true,
            Self::Deny(_)
            | Self::DenyOwn(_)
            | Self::Lift { .. }
            | Self::LiftMatching { .. }
            | Self::Apply(_)
            | Self::Session(_)
            | Self::Note(_)
            | Self::Hold(..)
            | Self::Housekeep(_)
            | Self::Close => false,
        }
    }

    /// Makes the changes; the answers wait for the commit.
    pub(super) fn work(
        &mut self,
        batch: &mut Batch<'_>,
        ids: &mut IdSource,
        now: UnixMs,
        clock: UnixMs,
    ) -> Result<(), Fault> {
        match self {
            Self::Deny(task) => {
                batch.is_of_many = task.input.len() > MANY;
                for denial in task.input.drain(..) {
                    task.output.push(batch.deny(denial, ids.next(now), now)?);
                }
            }
            Self::DenyOwn(task) => {
                batch.is_of_many = false;
                for own in task.input.drain(..) {
                    task.output.push(batch.deny_own(own, ids.next(now), now)?);
                }
            }
            Self::Lift { ids: task, reason, by } => {
                batch.is_of_many = task.input.len() > MANY;
                for denial in task.input.drain(..) {
                    let (reason, by) = (reason.clone(), by.clone());
                    task.output.extend(batch.lift(Lift { denial, at: now, reason, by })?);
                }
            }
            Self::LiftMatching { which: task, reason, by } => {
                batch.is_of_many = false;
                for which in task.input.drain(..) {
                    task.output.push(batch.lift_matching(&which, reason.as_deref(), by, now)?);
                }
            }
            Self::Note(task) => {
                batch.is_of_many = false;
                for act in task.input.drain(..) {
                    task.output.push(batch.note(act, now)?);
                }
            }
            Self::Hold(issuer, after, task) => {
                task.input.clear();
                task.output.push(batch.hold(issuer, *after, HELD_AT_ONCE)?);
            }
            Self::Apply(task) => {
                for change in task.input.drain(..) {
                    task.output.push(batch.apply(change, clock)?);
                }
            }
            Self::Session(job) => batch.session(job.as_mut(), clock)?,
            Self::Housekeep(_)
            | Self::Release(_)
            | Self::Resume(_)
            | Self::Follow(..)
            | Self::Close => {}
        }
        Ok(())
    }
}
