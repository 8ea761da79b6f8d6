//! The durable copy of the records: redb in a directory, written by one named thread with group
//! commit. A change is on disk, then in the hot table, then acknowledged.

mod acts;
mod batch;
mod codec;
mod command;
mod compact;
mod damage;
mod figures;
mod handover;
mod index;
pub mod offline;
mod open;
mod read;
mod rows;
mod schema;
mod sessions;
mod tally;
mod types;
mod upgrade;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, GuardedClock};
use crate::denylist::{Actor, DenialId, Denylist, Follower, IdSource, IssuerId};

use self::command::{Command, Task};
use self::handover::Possession;
use self::open::Opener;
use self::worker::{Limits, Worker};

pub use self::types::{
    Accepted, Applied, Change, Epoch, Filter, Matching, NewDenial, Options, OwnDenial, Page,
    Record, StoreError,
};
pub use acts::{Act, Deed, NewAct, Retention, What};
pub use figures::Figures;
pub use sessions::{Advance, Advanced, SessionId, SessionRecord};
pub use tally::Tally;

/// Handle of the store's thread; cheap to clone. When the last one goes, the thread writes what is
/// pending and ends.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and the handles both see.
struct Shared {
    denylist: Arc<Denylist>,
    epoch: Epoch,
    index_key: [u8; 16],
    /// Absent after the end, and between a disk failure and the next attempt to open.
    database: RwLock<Option<Database>>,
    sequence: AtomicU64,
    in_force: AtomicU64,
    registered: AtomicU64,
    tally: Mutex<Tally>,
    figures: Figures,
    /// The sequence, for whoever waits for the next.
    changes: watch::Sender<u64>,
}

impl Store {
    /// Opens or creates `directory/denials.redb`, fills the hot table and starts the thread.
    pub fn open(
        directory: &Path,
        options: &Options,
        writer: crate::denylist::Writer,
        denylist: Arc<Denylist>,
    ) -> Result<Self, StoreError> {
        Self::open_at(directory, options, writer, denylist, Clock::system())
    }

    /// [`Store::open`] where another process is told of every change after the table is filled.
    pub fn open_followed(
        directory: &Path,
        options: &Options,
        (writer, follower): (crate::denylist::Writer, Option<Follower>),
        denylist: Arc<Denylist>,
    ) -> Result<Self, StoreError> {
        compact::at_start(directory, compact::FILE_BYTES_MIN);
        let clock = Clock::system();
        let opener = open::file_opener(directory, &clock);
        Self::start(opener, options, (writer, follower), denylist, clock)
    }

    /// [`Store::open`] with a clock of the caller's.
    pub fn open_at(
        directory: &Path,
        options: &Options,
        writer: crate::denylist::Writer,
        denylist: Arc<Denylist>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        compact::at_start(directory, compact::FILE_BYTES_MIN);
        let opener = open::file_opener(directory, &clock);
        Self::start(opener, options, (writer, None), denylist, clock)
    }

    fn start(
        opener: Opener,
        options: &Options,
        (mut writer, follower): (crate::denylist::Writer, Option<Follower>),
        denylist: Arc<Denylist>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let database = opener()?;
        let mut tally = Tally::default();
        let (opened, next_due) = {
            let keep = options.audit.keep;
            open::fill(&database, &mut writer, &mut tally, keep, clock.wall())?
        };
        if let Some(follower) = follower {
            writer.followed_by(follower);
        }
        let shared = Arc::new(Shared {
            denylist,
            epoch: opened.epoch,
            index_key: opened.index_key,
            database: RwLock::new(Some(database)),
            sequence: AtomicU64::new(opened.progress.sequence),
            in_force: AtomicU64::new(opened.progress.in_force),
            registered: AtomicU64::new(opened.progress.registered),
            tally: Mutex::new(tally),
            figures: Figures::default(),
            changes: watch::Sender::new(opened.progress.sequence),
        });
        let (sender, queue) = mpsc::channel();
        let worker = Worker {
            shared: Arc::clone(&shared),
            opener,
            writer,
            queue,
            guarded: GuardedClock::resume(opened.progress.clock, clock.read().1),
            clock,
            ids: IdSource::default(),
            limits: Limits { records: options.limit, audit: options.audit },
            progress: opened.progress,
            next_due,
            unsure: Vec::new(),
            uncounted: None,
            synced: false,
            possession: Possession::default(),
            last_group: 1,
            last_commit: Duration::ZERO,
        };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| {
                StoreError::Open(format!("cannot start the store's thread: {error}"))
            })?;
        let handle =
            Handle { shared, queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Returns when the denial is fsynced and in force.
    pub async fn deny(&self, denial: NewDenial) -> Result<Accepted, StoreError> {
        self.deny_all(vec![denial]).await?.pop().unwrap_or(Err(StoreError::Closed))
    }

    /// Many at once, in one transaction; each has its own answer, in the same order.
    pub async fn deny_all(
        &self,
        denials: Vec<NewDenial>,
    ) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        let via = denials.first().map(|denial| denial.created_by.via.as_str());
        let count = denials.len();
        let (task, answer) = Task::new(denials);
        let outcome = self.ask(Command::Deny(task), answer).await;
        self.counted(via, count, outcome)
    }

    /// What people end of their own access. It is bounded for each of them: see `batch/folding.rs`.
    pub async fn deny_own(
        &self,
        denials: Vec<OwnDenial>,
    ) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        let via = denials.first().map(|own| own.denial.created_by.via.as_str());
        let count = denials.len();
        let (task, answer) = Task::new(denials);
        let outcome = self.ask(Command::DenyOwn(task), answer).await;
        self.counted(via, count, outcome)
    }

    /// Writes tombstones; ids that are unknown or lifted already are answered as they stand.
    pub async fn lift(
        &self,
        ids: Vec<DenialId>,
        reason: Option<String>,
        by: Actor,
    ) -> Result<Vec<Record>, StoreError> {
        let via = by.via.as_str();
        let (task, answer) = Task::new(ids);
        let lifted = self.ask(Command::Lift { ids: task, reason, by }, answer).await?;
        self.figures().changed("undo", via, lifted.len() as u64);
        Ok(lifted)
    }

    /// Takes changes that were made before, here or elsewhere: an import, another replica. In any
    /// order and any number of times they give the same state. Not held to the limit: what is in
    /// force elsewhere is in force here.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Applied>, StoreError> {
        let (task, answer) = Task::new(changes);
        self.ask(Command::Apply(task), answer).await
    }

    /// Lifts what stands of a selector, in one transaction; which these are, newest first.
    pub async fn lift_matching(
        &self,
        which: Matching,
        reason: Option<String>,
        by: Actor,
    ) -> Result<Vec<Record>, StoreError> {
        let via = by.via.as_str();
        let (task, answer) = Task::new(vec![which]);
        let lifted = self.ask(Command::LiftMatching { which: task, reason, by }, answer).await?;
        let lifted: Vec<Record> = lifted.into_iter().flatten().collect();
        self.figures().changed("undo", via, lifted.len() as u64);
        Ok(lifted)
    }

    /// Writes an act that changes no record into the audit.
    pub async fn note(&self, act: NewAct) -> Result<(), StoreError> {
        let (task, answer) = Task::new(vec![act]);
        self.ask(Command::Note(task), answer).await.map(drop)
    }

    /// As [`Store::note`], without waiting for it.
    pub fn note_later(&self, act: NewAct) {
        let (task, _) = Task::new(vec![act]);
        if let Some(queue) = &*self.handle.queue.lock() {
            // The store's thread has ended: nobody reads its audit either.
            queue.send(Command::Note(task)).ok();
        }
    }

    /// Keeps what stands of an issuer until it is lifted, whatever time it says: its tokens came to
    /// live without a bound. Blocks: not for a thread that has a runtime.
    pub fn hold(&self, issuer: &IssuerId) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let (task, answer) = Task::new(vec![()]);
            let queue = self.handle.queue.lock().clone().ok_or(StoreError::Closed)?;
            let command = Command::Hold(issuer.clone(), after, task);
            queue.send(command).map_err(|_| StoreError::Closed)?;
            let done = answer.blocking_recv().unwrap_or(Err(StoreError::Closed))?;
            after = done.into_iter().next().flatten();
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Forgets what is due now rather than within a second; how many records.
    pub async fn housekeep(&self) -> Result<u64, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Housekeep(reply), answer).await
    }

    /// Denials in force.
    pub fn count(&self) -> u64 {
        self.records().saturating_sub(self.registrations())
    }

    /// Denials in force, by issuer and kind.
    pub fn tally(&self) -> Tally {
        self.handle.shared.tally.lock().clone()
    }

    /// Registrations in force.
    pub fn registrations(&self) -> u64 {
        self.handle.shared.registered.load(Ordering::Acquire)
    }

    /// Unlifted records of both kinds: what the limit holds.
    pub fn records(&self) -> u64 {
        self.handle.shared.in_force.load(Ordering::Acquire)
    }

    /// Position of the last change.
    pub fn sequence(&self) -> u64 {
        self.handle.shared.sequence.load(Ordering::Acquire)
    }

    /// Told when the sequence has changed.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.handle.shared.changes.subscribe()
    }

    /// Whether the file is open; after a failure of the disk it is not, until it can be.
    pub fn is_up(&self) -> bool {
        self.handle.shared.database.read().is_some()
    }

    pub fn figures(&self) -> &Figures {
        &self.handle.shared.figures
    }

    pub fn epoch(&self) -> Epoch {
        self.handle.shared.epoch
    }

    /// Writes what is pending and ends the thread. Other handles get [`StoreError::Closed`].
    pub fn close(self) {
        if let Some(queue) = self.handle.queue.lock().take() {
            let _ = queue.send(Command::Close);
        }
        self.handle.join();
    }

    /// For the metrics: what was made, and why the rest of `count` was not.
    fn counted(
        &self,
        via: Option<&'static str>,
        count: usize,
        outcome: Result<Vec<Result<Accepted, StoreError>>, StoreError>,
    ) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        let figures = self.figures();
        match &outcome {
            Ok(all) => {
                let new = all.iter().flatten().filter(|accepted| !accepted.already).count() as u64;
                figures.changed("create", via.unwrap_or_default(), new);
                let refused = all.iter().filter_map(|one| one.as_ref().err()?.cause());
                refused.for_each(|cause| figures.refused(cause, 1));
            }
            Err(whole) => {
                whole.cause().into_iter().for_each(|cause| figures.refused(cause, count as u64));
            }
        }
        outcome
    }

    async fn ask<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let _waiting = self.figures().wait();
        let queue = self.handle.queue.lock().clone().ok_or(StoreError::Closed)?;
        queue.send(command).map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Handle {
    fn join(&self) {
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread ended in a panic");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.lock().take();
        self.join();
    }
}

impl Shared {
    fn tell(&self, progress: schema::Progress) {
        self.in_force.store(progress.in_force, Ordering::Release);
        self.registered.store(progress.registered, Ordering::Release);
        self.sequence.store(progress.sequence, Ordering::Release);
        self.changes.send_replace(progress.sequence);
    }
}

#[cfg(test)]
pub(in crate::control) mod tests;
