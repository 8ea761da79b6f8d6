//! The hot table: for each selector with something in force, its fingerprint and its fold in 20
//! bytes. Exact, never evicts. Many shards, each behind a read-write lock that a writer holds only
//! for one insertion or a pointer swap: a shard that must grow is built anew beside the old one.

mod packed;
mod shard;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use self::packed::Slot;
use self::shard::Shard;
use super::{
    Admission, Condition, ConditionKind, Fingerprint, Fingerprinter, Fold, Follower, Marks,
    SelectorKind, Step,
};

/// Why a token is denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    pub fingerprint: Fingerprint,
    pub selector: SelectorKind,
    pub condition: ConditionKind,
}

impl Hit {
    /// Nothing denies it: it lacks the registration that its issuer asks for.
    pub fn is_absence(&self) -> bool {
        self.selector == SelectorKind::Registration
    }
}

/// The reader half. Shared by every core; a look-up never waits for I/O.
pub struct Denylist {
    fingerprinter: Fingerprinter,
    shards: Box<[CacheLine]>,
    counts: Counts,
    on_change: OnceLock<OnChange>,
}

/// Told which selectors changed, once the table says so.
pub type OnChange = Box<dyn Fn(Vec<Fingerprint>) + Send + Sync>;

/// The writer half: one owner, the store's thread.
#[derive(Debug)]
pub struct Writer {
    table: Arc<Denylist>,
    /// Not announced yet; kept only while somebody listens.
    changed: Vec<Fingerprint>,
    /// Another process, and what it has not been told yet; kept only while there is one.
    follower: Option<Follower>,
    steps: Vec<Step>,
}

/// A condition that comes into force for a selector.
pub(crate) struct Addition {
    pub kind: SelectorKind,
    pub at: Fingerprint,
    pub condition: Condition,
    pub except: Option<Fingerprint>,
}

/// One lock and its shard on a cache line of their own, so that a probe touches one line of them.
#[repr(align(64))]
struct CacheLine(RwLock<Shard>);

/// Entries by kind of selector, so that a request does not look for kinds that hold nothing. A
/// count is raised before its entry is seen and lowered after it is gone.
#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    kinds: [AtomicU64; Slot::KINDS],
}

const SHARD_BITS: u32 = 12;

/// Which shard holds a fingerprint. The share of the shards rises evenly to twice that of the
/// first, so that they do not all double at once: bytes an entry stay near 33 at any size instead
/// of swinging between 24 and 48, and growing is spread over time.
fn shard_of(at: &Fingerprint) -> usize {
    let [.., a, b, c, d] = at.0;
    let x = u64::from(u32::from_le_bytes([a, b, c, d]));
    // log2(1 + x) for x in [0, 1), as a parabola: x + 0.3431·x·(1 − x). Below 2^32 by a margin.
    let bend = (x * ((1 << 32) - x)) >> 32;
    let bent = x + ((bend * 351) >> 10);
    usize::try_from(bent.min((1 << 32) - 1) >> (32 - SHARD_BITS)).unwrap_or(0)
}

impl Denylist {
    /// An empty table and its writer.
    pub fn new(fingerprinter: Fingerprinter) -> (Arc<Self>, Writer) {
        let shards =
            (0..1 << SHARD_BITS).map(|_| CacheLine(RwLock::new(Shard::default()))).collect();
        let (counts, on_change) = (Counts::default(), OnceLock::new());
        let table = Arc::new(Self { fingerprinter, shards, counts, on_change });
        (
            Arc::clone(&table),
            Writer { table, changed: Vec::new(), follower: None, steps: Vec::new() },
        )
    }

    /// May a token with these marks not pass: because it is denied, or because it is not
    /// registered where it must be? The narrowest selector that says so is named.
    pub fn check(&self, marks: &Marks) -> Option<Hit> {
        match &marks.admission {
            None => self.denied(marks),
            Some(admission) => self.denied(marks).or_else(|| self.unregistered(marks, admission)),
        }
    }

    fn denied(&self, marks: &Marks) -> Option<Hit> {
        if self.counts.all.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.probe(SelectorKind::Token, &marks.token, marks)
            .or_else(|| self.probe(SelectorKind::Session, marks.session.as_ref()?, marks))
            .or_else(|| self.probe(SelectorKind::Subject, marks.subject.as_ref()?, marks))
            .or_else(|| self.probe(SelectorKind::Client, marks.client.as_ref()?, marks))
            .or_else(|| self.probe(SelectorKind::Key, &marks.key, marks))
            .or_else(|| self.probe(SelectorKind::Issuer, &marks.issuer, marks))
            .or_else(|| {
                marks.claims.iter().find_map(|claim| self.probe(SelectorKind::Claim, claim, marks))
            })
    }

    /// Is the token, or its session, registered? `None`: its issuer does not ask for it.
    pub fn is_registered(&self, marks: &Marks) -> Option<bool> {
        Some(self.holds(marks.admission.as_ref()?))
    }

    fn holds(&self, admission: &Admission) -> bool {
        let registered = |at: &Fingerprint| self.shard(at).read().find(at).is_some();
        registered(&admission.token) || admission.session.as_ref().is_some_and(registered)
    }

    fn unregistered(&self, marks: &Marks, admission: &Admission) -> Option<Hit> {
        if self.holds(admission) {
            return None;
        }
        let selector = SelectorKind::Registration;
        Some(Hit { fingerprint: marks.token, selector, condition: ConditionKind::Always })
    }

    #[inline]
    fn probe(&self, kind: SelectorKind, at: &Fingerprint, marks: &Marks) -> Option<Hit> {
        if !self.counts.may_hold(kind) {
            return None;
        }
        let condition = self.shard(at).read().find(at)?.denies(marks)?;
        Some(Hit { fingerprint: *at, selector: kind, condition })
    }

    /// From now on `listener` is told of changes. The first one stays.
    pub fn listen(&self, listener: OnChange) {
        self.on_change.set(listener).ok();
    }

    /// What is in force for a selector; empty when nothing is.
    pub fn fold(&self, at: &Fingerprint) -> Fold {
        self.shard(at).read().find(at).map(|found| found.fold()).unwrap_or_default()
    }

    pub fn fingerprinter(&self) -> &Fingerprinter {
        &self.fingerprinter
    }

    /// Selectors with something in force.
    pub fn len(&self) -> usize {
        self.counts.all.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the table takes. Walks the shards: for a scrape, not for a request.
    pub fn bytes(&self) -> usize {
        let within: usize = self.shards.iter().map(|line| line.0.read().bytes()).sum();
        within + std::mem::size_of_val(&*self.shards) + std::mem::size_of::<Self>()
    }

    #[expect(clippy::indexing_slicing, reason = "shard_of is below 1 << SHARD_BITS, the length")]
    fn shard(&self, at: &Fingerprint) -> &RwLock<Shard> {
        &self.shards[shard_of(at)].0
    }
}

impl std::fmt::Debug for Denylist {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Denylist").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Replaces what is in force for a selector; an empty fold removes it. In force for every
    /// request that begins after this returns. A selector whose kind is not known is looked for by
    /// every probe: prefer [`Writer::set_of_kind`].
    pub fn set(&mut self, at: Fingerprint, fold: &Fold) {
        self.replace(at, None, fold);
    }

    /// [`Writer::set`] for a selector of a known kind.
    pub fn set_of_kind(&mut self, kind: SelectorKind, at: Fingerprint, fold: &Fold) {
        self.replace(at, Some(kind), fold);
    }

    /// Adds many, shard by shard: each is in the processor's cache while its own come, and of a table
    /// of ten millions hardly any would be. Empties the list.
    pub(crate) fn add_all(&mut self, additions: &mut Vec<Addition>) {
        additions.sort_unstable_by_key(|addition| shard_of(&addition.at));
        for Addition { kind, at, condition, except } in additions.drain(..) {
            self.add(kind, at, condition, except);
        }
    }

    /// Adds one more condition to what is in force for a selector.
    pub(crate) fn add(
        &mut self,
        kind: SelectorKind,
        at: Fingerprint,
        condition: Condition,
        except: Option<Fingerprint>,
    ) {
        let mut fold = self.table.fold(&at);
        fold.add_condition(condition, except);
        self.replace(at, Some(kind), &fold);
    }

    /// Tells the listener what has changed since the last time. To be called when the table is
    /// written and before anybody is told that it is: the table first, then the streams.
    pub fn announce(&mut self) {
        if let Some(listener) = self.table.on_change.get().filter(|_| !self.changed.is_empty()) {
            listener(std::mem::take(&mut self.changed));
        }
        if let Some(follower) = self.follower.as_mut().filter(|_| !self.steps.is_empty()) {
            follower.tell(std::mem::take(&mut self.steps));
        }
    }

    /// From now on this one is told of every change.
    pub fn followed_by(&mut self, follower: Follower) {
        self.follower = Some(follower);
    }

    /// What the table of another process has done is done here. To be announced like any change.
    pub fn follow(&mut self, step: Step) {
        match step {
            Step::Set { kind, at, fold } => self.replace(at, kind, &fold),
            Step::Unregistered(at) => self.unregistered(at),
        }
    }

    /// A token or session, by its own fingerprint, is registered no longer: its streams end. To
    /// be said after the registration was taken out of the table.
    pub fn unregistered(&mut self, at: Fingerprint) {
        if self.follower.is_some() {
            self.steps.push(Step::Unregistered(at));
        }
        if self.table.on_change.get().is_some() {
            self.changed.push(at);
        }
    }

    pub fn table(&self) -> &Arc<Denylist> {
        &self.table
    }

    fn replace(&mut self, at: Fingerprint, kind: Option<SelectorKind>, fold: &Fold) {
        self.put(at, kind, fold);
        if self.follower.is_some() {
            self.steps.push(Step::Set { kind, at, fold: fold.clone() });
        }
        // A lift ends no stream.
        if !fold.is_empty() && self.table.on_change.get().is_some() {
            self.changed.push(at);
        }
    }

    fn put(&mut self, at: Fingerprint, kind: Option<SelectorKind>, fold: &Fold) {
        let table = &*self.table;
        let lock = table.shard(&at);
        let slot = Slot::of(kind);
        if fold.is_empty() {
            // Bound to a name so that the lock is free again before the counts change.
            let removed = lock.write().remove(&at);
            if let Some(removed) = removed {
                table.counts.lower(removed);
            }
        } else {
            let (needs_room, before) = {
                let shard = lock.read();
                (shard.is_full(), shard.find(&at).map(|found| found.slot()))
            };
            if needs_room {
                Self::rebuild(lock, 1);
            }
            if before != Some(slot) {
                table.counts.raise(slot);
            }
            lock.write().set(at, slot, fold);
            if let Some(before) = before.filter(|before| *before != slot) {
                table.counts.lower(before);
            }
            return;
        }
        if lock.read().is_wasteful() {
            Self::rebuild(lock, 0);
        }
    }

    /// Builds the shard anew beside itself and swaps it in. Sound because there is one writer: no
    /// entry changes between the copy and the swap. Readers wait for the swap alone.
    fn rebuild(lock: &RwLock<Shard>, more: usize) {
        let mut table = lock.read().rebuilt(more);
        lock.write().swap_table(&mut table);
        // What is dropped here is the old table, outside the lock.
    }
}

impl Counts {
    fn may_hold(&self, kind: SelectorKind) -> bool {
        self.of(Slot::of(Some(kind))).load(Ordering::Acquire) != 0
            || self.of(Slot::of(None)).load(Ordering::Acquire) != 0
    }

    fn raise(&self, slot: Slot) {
        self.of(slot).fetch_add(1, Ordering::Release);
        self.all.fetch_add(1, Ordering::Release);
    }

    fn lower(&self, slot: Slot) {
        self.of(slot).fetch_sub(1, Ordering::Release);
        self.all.fetch_sub(1, Ordering::Release);
    }

    #[expect(clippy::indexing_slicing, reason = "a slot is below KINDS, the length")]
    fn of(&self, slot: Slot) -> &AtomicU64 {
        &self.kinds[slot.index()]
    }
}
