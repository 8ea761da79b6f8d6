//! The store's thread: takes what waits in the queue, writes it in one transaction, syncs, changes
//! the hot table, and only then answers. Between, it forgets what no token can match any more.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase as _};

use crate::clock::{Clock, GuardedClock, UnixMs};
use crate::denylist::{IdSource, Writer, canonical};

use super::acts::Retention;
use super::batch::{Batch, Effects};
use super::command::Command;
use super::handover::Possession;
use super::index::SelectorHash;
use super::open::{self, Opener};
use super::rows::{Fault, Folding};
use super::schema::{self, Progress};
use super::tally::{Changes, Tally};
use super::{Shared, StoreError};

/// Changes in one transaction: bounds the time that its first waits for its last.
const GROUP_MAX: usize = 4096;
/// How long a group may wait for its last member.
const PATIENCE_MAX: Duration = Duration::from_millis(2);
/// Records forgotten in one transaction: bounds the time that a denial waits for it.
const PURGE_MAX: usize = 512;
/// How often housekeeping looks whether something is due.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How far the clock on disk may lag behind while nothing else is written.
const CLOCK_LAG: Duration = Duration::from_secs(300);

/// What the config says of how much may be in the file.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: u64,
    pub(super) audit: Retention,
}

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) opener: Opener,
    pub(super) writer: Writer,
    pub(super) queue: Receiver<Command>,
    pub(super) clock: Clock,
    pub(super) guarded: GuardedClock,
    pub(super) ids: IdSource,
    pub(super) limits: Limits,
    pub(super) progress: Progress,
    pub(super) next_due: Option<UnixMs>,
    /// Selectors of a commit that failed: what the disk says of them is asked once it can be.
    pub(super) unsure: Vec<Vec<u8>>,
    /// What a commit that failed would have counted, and how to know whether it is on disk.
    pub(super) uncounted: Option<(Progress, Changes)>,
    /// Since the file was opened a commit has succeeded, so that all that is read is on disk. What
    /// a process that died left in the kernel's cache is seen and not sure yet.
    pub(super) synced: bool,
    /// Who has the file.
    pub(super) possession: Possession,
    /// How many callers the last group had, and how long it took.
    pub(super) last_group: usize,
    pub(super) last_commit: Duration,
}

impl Worker {
    /// Until the queue is closed or somebody says so.
    pub(super) fn run(mut self) {
        let mut looked = self.clock.read().1;
        let mut open = true;
        let mut backlog = false;
        while open {
            let mut group = Vec::new();
            let wait = if backlog { Duration::ZERO } else { HOUSEKEEPING };
            match self.queue.recv_timeout(wait) {
                Ok(first) => open = self.gather(first, &mut group),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            self.advance_clock();
            let (handover, group): (Vec<_>, Vec<_>) =
                group.into_iter().partition(Command::is_of_handover);
            if !group.is_empty() {
                self.write(group);
            }
            handover.into_iter().for_each(|command| self.hand_over(command));
            let now = self.clock.read().1;
            let ours = self.possession != Possession::Released;
            if ours && now.saturating_sub(looked) >= HOUSEKEEPING {
                self.reopen_if_closed();
            }
            if ours && (now.saturating_sub(looked) >= HOUSEKEEPING || self.is_due()) {
                looked = now;
                let forgotten = self.housekeep();
                if let Err(fault) = &forgotten {
                    tracing::error!(%fault, "housekeeping of the store failed");
                }
                backlog = forgotten.is_ok_and(|forgotten| forgotten >= PURGE_MAX);
            }
        }
        self.release();
    }

    /// What waits in the queue, up to a limit. After a group of many its callers are about to ask
    /// again, all but together: they are waited for, a fraction of what the commit will take.
    /// `false`: this was the last.
    fn gather(&mut self, first: Command, group: &mut Vec<Command>) -> bool {
        let start = Instant::now();
        let patience = (self.last_commit / 8).min(PATIENCE_MAX);
        let mut next = Some(first);
        let mut size = 0;
        while let Some(command) = next.take() {
            if matches!(command, Command::Close) {
                return false;
            }
            size += command.size();
            group.push(command);
            if size < GROUP_MAX {
                next = self.queue.try_recv().ok();
            }
            if next.is_none() && size < GROUP_MAX && group.len() < self.last_group {
                next = self.queue.recv_timeout(patience.saturating_sub(start.elapsed())).ok();
            }
        }
        self.last_group = group.len();
        true
    }

    /// One transaction for the whole group; then the hot table, then the answers.
    fn write(&mut self, mut group: Vec<Command>) {
        let now = self.clock.wall();
        let clock = self.guarded.reading();
        let mut ids = std::mem::take(&mut self.ids);
        let start = Instant::now();
        let done = self.transact(|batch| {
            group.iter_mut().try_for_each(|command| command.work(batch, &mut ids, now, clock))
        });
        self.ids = ids;
        self.last_commit = start.elapsed();
        self.shared.figures.committed(self.last_commit);
        match &done {
            Ok(()) => group.iter().filter_map(Command::denied).for_each(|(arrived, denials)| {
                self.shared.figures.applied(arrived.elapsed(), denials);
            }),
            Err(fault) => {
                tracing::error!(%fault, "the store could not write; nothing of this is in force");
            }
        }
        let outcome = done.map_err(StoreError::from);
        for command in group {
            match command {
                Command::Deny(task) => task.end(outcome.clone()),
                Command::DenyOwn(task) => task.end(outcome.clone()),
                Command::Lift { ids, .. } => ids.end(outcome.clone()),
                Command::LiftMatching { which, .. } => which.end(outcome.clone()),
                Command::Apply(task) => task.end(outcome.clone()),
                Command::Session(job) => job.end(outcome.clone()),
                Command::Note(task) => task.end(outcome.clone()),
                Command::Hold(_, _, task) => task.end(outcome.clone()),
                Command::Housekeep(reply) => {
                    let _ = reply.send(self.housekeep_all().map_err(StoreError::from));
                }
                Command::Release(_) | Command::Resume(_) | Command::Follow(..) | Command::Close => {
                }
            }
        }
    }

    fn housekeep_all(&mut self) -> Result<u64, Fault> {
        let mut forgotten = 0;
        while self.is_due() {
            forgotten += u64::try_from(self.housekeep()?).unwrap_or(u64::MAX);
        }
        Ok(forgotten)
    }

    /// Forgets what is due, up to a limit; writes the clock when it is far ahead of the disk.
    fn housekeep(&mut self) -> Result<usize, Fault> {
        let clock = self.guarded.reading();
        if self.is_due() {
            let (mut forgotten, mut acts) = (0, 0);
            self.transact(|batch| {
                forgotten = batch.purge(clock, PURGE_MAX)?;
                acts = batch.purge_acts(clock, PURGE_MAX)?;
                Ok(())
            })?;
            self.shared.figures.changed("expire", "housekeeping", forgotten as u64);
            let keep = self.limits.audit.keep;
            self.next_due = self.on_disk(|database| open::next_due(database, keep))?;
            return Ok(forgotten.max(acts));
        }
        if clock.since(self.progress.clock) >= CLOCK_LAG {
            self.write_clock()?;
        }
        Ok(0)
    }

    pub(super) fn write_clock(&mut self) -> Result<(), Fault> {
        self.transact(|batch| {
            batch.touch();
            Ok(())
        })
    }

    fn is_due(&self) -> bool {
        self.next_due.is_some_and(|due| due <= self.guarded.reading())
    }

    pub(super) fn advance_clock(&mut self) {
        self.guarded.advance(self.clock.read());
    }

    /// Changes on disk, then in the hot table. On an error nothing is in force that was not.
    fn transact(
        &mut self,
        change: impl FnOnce(&mut Batch<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.possession == Possession::Released {
            return Err(Fault::Closed);
        }
        if self.shared.database.read().is_none() {
            self.reopen()?;
        }
        let shared = Arc::clone(&self.shared);
        let done = match &*shared.database.read() {
            Some(database) => self.attempt(database, change),
            None => return Err(Fault::Closed),
        };
        if done.is_err() {
            self.shared.figures.failed();
        }
        match done {
            Ok((progress, effects)) => {
                self.publish(progress, effects);
                Ok(())
            }
            Err(fault) => {
                // After a failed write redb serves no more writes until the file is opened again.
                if fault.is_of_disk()
                    && let Err(fault) = self.reopen()
                {
                    tracing::error!(%fault, "the store could not be opened again");
                }
                Err(fault)
            }
        }
    }

    fn attempt(
        &mut self,
        database: &Database,
        change: impl FnOnce(&mut Batch<'_>) -> Result<(), Fault>,
    ) -> Result<(Progress, Effects), Fault> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        transaction.set_quick_repair(true);
        let progress = Progress { clock: self.guarded.reading(), ..self.progress };
        let shared = &*self.shared;
        let mut batch =
            Batch::begin(&transaction, &shared.denylist, &shared.index_key, self.limits, progress)?;
        change(&mut batch)?;
        if self.synced && !batch.is_changed() {
            drop(batch);
            transaction.abort()?;
            return Ok((self.progress, Effects::default()));
        }
        let (progress, effects) = batch.finish()?;
        transaction
            .open_table(schema::META)?
            .insert(schema::META_PROGRESS, progress.to_bytes().as_slice())?;
        if let Err(error) = transaction.commit() {
            // It may have reached the disk all the same.
            let added = effects.additions.into_iter().map(|addition| addition.form);
            self.unsure.extend(added.chain(effects.recomputed.into_keys()));
            self.uncounted = Some((progress, effects.tally));
            return Err(error.into());
        }
        self.synced = true;
        Ok((progress, effects))
    }

    fn publish(&mut self, progress: Progress, effects: Effects) {
        for addition in effects.additions {
            let super::batch::Addition { kind, at, condition, except, form: _ } = addition;
            self.writer.add(kind, at, condition, except);
        }
        for (form, fold) in effects.recomputed {
            self.set(&form, &fold);
        }
        self.writer.announce();
        self.shared.figures.folded(effects.folded);
        self.shared.figures.read(effects.reads);
        self.shared.tally.lock().apply(&effects.tally);
        self.next_due = match (self.next_due, effects.next_due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
        self.progress = progress;
        self.shared.tell(progress);
    }

    fn set(&mut self, form: &[u8], fold: &crate::denylist::Fold) {
        let at = self.writer.table().fingerprinter().form(form);
        match canonical::kind(form) {
            Some(kind) => self.writer.set_of_kind(kind, at, fold),
            None => self.writer.set(at, fold),
        }
        // What was let pass under it must not go on.
        if fold.is_empty()
            && let Some(plain) = canonical::registered(form)
        {
            let at = self.writer.table().fingerprinter().form(&plain);
            self.writer.unregistered(at);
        }
    }

    /// Opens the file again after a failure, and asks it about what was in doubt.
    pub(super) fn reopen(&mut self) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let mut place = shared.database.write();
        // The old handle holds the file's lock: it goes first.
        *place = None;
        self.synced = false;
        let database = (self.opener)().map_err(Fault::Open)?;
        let opened = open::prepare(&database, self.clock.wall()).map_err(Fault::Open)?;
        if opened.epoch != shared.epoch {
            return Err(Fault::Open(StoreError::Open(
                "another store lies in the place of this one".to_owned(),
            )));
        }
        let by = shared.denylist.fingerprinter();
        let transaction = database.begin_read()?;
        let records = transaction.open_table(schema::RECORDS)?;
        let by_selector = transaction.open_table(schema::BY_SELECTOR)?;
        let mut folding = Folding { records: &records, by_selector: &by_selector, by, reads: 0 };
        for form in std::mem::take(&mut self.unsure) {
            let hash = SelectorHash::of(&form, &shared.index_key);
            match folding.of(hash, &form) {
                Ok(fold) => self.set(&form, &fold),
                Err(fault) => {
                    self.unsure.push(form);
                    return Err(fault);
                }
            }
        }
        if self.possession == Possession::Behind {
            let mut tally = Tally::default();
            open::load(&database, &mut self.writer, &mut tally)?;
            *shared.tally.lock() = tally;
            self.uncounted = None;
            self.possession = Possession::Ours;
        }
        self.writer.announce();
        self.next_due = open::next_due(&database, self.limits.audit.keep)?;
        // A commit is on disk whole or not at all, and says where it came to.
        if let Some((progress, changes)) = self.uncounted.take()
            && progress == opened.progress
        {
            shared.tally.lock().apply(&changes);
        }
        self.progress = opened.progress;
        shared.tell(opened.progress);
        *place = Some(database);
        Ok(())
    }

    /// After a failure, also while nobody asks for a change: readers need the file too.
    fn reopen_if_closed(&mut self) {
        if self.shared.database.read().is_none()
            && let Err(fault) = self.reopen()
        {
            tracing::warn!(%fault, "the store cannot be opened again yet");
        }
    }

    fn on_disk<T>(&self, read: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        self.shared.database.read().as_ref().map_or(Err(Fault::Closed), read)
    }
}
