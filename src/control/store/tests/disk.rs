//! Bad disks: one that freezes at the n-th sync and forgets what was not synced, one that fails
//! for a while, one that is full, files that are torn, damaged, foreign or taken.

use std::io;
use std::os::unix::fs::PermissionsExt as _;

use redb::StorageBackend;

use super::*;

/// A disk in memory. What is written is seen at once and sure only after a sync.
#[derive(Clone, Debug)]
pub(in crate::control) struct SimulatedDisk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    seen: Vec<u8>,
    sure: Vec<u8>,
    unsure: Vec<Written>,
    /// Every operation fails once this many syncs are done.
    syncs_left: Option<u32>,
    syncs_done: u32,
    /// Growing beyond this fails.
    size_max: Option<usize>,
    /// Reading fails once this many reads are done.
    reads_left: Option<u32>,
}

#[derive(Clone, Debug)]
enum Written {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Written {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl SimulatedDisk {
    pub(in crate::control) fn new() -> Self {
        Self(Arc::default())
    }

    /// What is found after a power loss: all that was synced, and of the rest what chance says,
    /// the last of it torn.
    pub(super) fn after_power_loss(&self, mut chance: u64) -> Self {
        let platter = self.0.lock();
        let mut image = platter.sure.clone();
        for written in &platter.unsure {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let written = written.clone();
            match (chance >> 60, written) {
                (0..6, _) => {}
                (6, Written::Bytes(offset, bytes)) => {
                    Written::Bytes(offset, bytes[..bytes.len() / 2].to_vec()).apply(&mut image);
                }
                (_, written) => written.apply(&mut image),
            }
        }
        Self(Arc::new(Mutex::new(Platter {
            seen: image.clone(),
            sure: image,
            ..Platter::default()
        })))
    }

    /// From now on it fails after so many syncs, or never.
    pub(super) fn freeze_after(&self, syncs: Option<u32>) {
        self.0.lock().syncs_left = syncs;
    }

    /// From now on it fails after so many reads, or never.
    pub(super) fn unreadable_after(&self, reads: Option<u32>) {
        self.0.lock().reads_left = reads;
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().seen.clone()
    }

    /// From now on it has no room for more, or for anything again.
    pub(in crate::control) fn is_full(&self, full: bool) {
        let mut platter = self.0.lock();
        platter.size_max = full.then_some(platter.seen.len());
    }

    /// From now on it fails, or works again.
    pub(in crate::control) fn is_broken(&self, broken: bool) {
        self.0.lock().syncs_left = broken.then_some(0);
    }

    /// A store on it.
    pub(in crate::control) fn store(
        &self,
        writer: crate::denylist::Writer,
        denylist: Arc<Denylist>,
        clock: Clock,
    ) -> Result<Store, StoreError> {
        let disk = self.clone();
        let opener: Opener = Box::new(move || {
            open::builder()
                .create_with_backend(disk.clone())
                .map_err(|error| StoreError::Open(error.to_string()))
        });
        Store::start(opener, &Options::of_limit(100_000), (writer, None), denylist, clock)
    }

    fn open(&self) -> Result<Bed, StoreError> {
        self.open_at(&SimulatedClock::at(START))
    }

    pub(super) fn open_at(&self, clock: &Arc<SimulatedClock>) -> Result<Bed, StoreError> {
        let (denylist, writer) = Denylist::new(Fingerprinter::random());
        let clock = Clock::Simulated(Arc::clone(clock));
        let store = self.store(writer, Arc::clone(&denylist), clock)?;
        Ok(Bed { store, denylist })
    }

    fn alive(&self) -> io::Result<parking_lot::MutexGuard<'_, Platter>> {
        let platter = self.0.lock();
        if platter.syncs_left == Some(0) {
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(platter)
    }
}

impl Platter {
    fn write(&mut self, written: Written) -> io::Result<()> {
        let end = match &written {
            Written::Length(length) => *length,
            Written::Bytes(offset, bytes) => offset + bytes.len(),
        };
        if self.size_max.is_some_and(|most| end > most && end > self.seen.len()) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        written.apply(&mut self.seen);
        self.unsure.push(written);
        Ok(())
    }
}

impl StorageBackend for SimulatedDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut platter = self.alive()?;
        if let Some(left) = &mut platter.reads_left {
            if *left == 0 {
                return Err(io::Error::other("a sector cannot be read"));
            }
            *left -= 1;
        }
        let offset = offset as usize;
        let bytes = platter.seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.alive()?.write(Written::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.alive()?;
        if let Some(left) = &mut platter.syncs_left {
            *left -= 1;
            if *left == 0 {
                return Err(io::Error::other("the disk does not answer"));
            }
        }
        platter.syncs_done += 1;
        platter.sure = platter.seen.clone();
        platter.unsure.clear();
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.alive()?.write(Written::Bytes(offset as usize, bytes.to_vec()))
    }
}

/// Blocks users and lifts every third, until the disk gives up. What was acknowledged: for each
/// user whether the block stands, `None` where the answer was an error.
fn scenario(bed: &Bed) -> Vec<(String, Option<bool>)> {
    (0..9)
        .map(|n| {
            let name = format!("u-{n}");
            let ban = new(subject(&name), Condition::Always);
            let state = match run(bed.store.deny(ban)) {
                Ok(accepted) if n % 3 == 0 => {
                    let by = actor("dana", "operator");
                    let lifted = run(bed.store.lift(vec![accepted.record.denial.id], None, by));
                    lifted.ok().map(|_| false)
                }
                Ok(_) => Some(true),
                Err(StoreError::Disk(_)) => None,
                Err(other) => panic!("{other}"),
            };
            (name, state)
        })
        .collect()
}

#[test]
fn what_was_acknowledged_stands_after_a_power_loss_at_any_sync() {
    let mut finished = false;
    for syncs in 1..200 {
        let disk = SimulatedDisk::new();
        // The first syncs make the file; a store that never opened has acknowledged nothing.
        disk.0.lock().syncs_left = Some(syncs);
        let Ok(bed) = disk.open() else { continue };
        let acknowledged = scenario(&bed);
        for (name, state) in &acknowledged {
            if *state == Some(true) {
                assert!(denied(&bed, name), "in force while the process lives");
            }
        }
        drop(bed);
        for chance in 0..8 {
            let after = disk.after_power_loss(chance * 7919 + u64::from(syncs)).open().unwrap();
            for (name, state) in &acknowledged {
                if let Some(state) = state {
                    assert_eq!(denied(&after, name), *state, "{name}, {syncs} syncs");
                }
            }
            assert!(!denied(&after, "nobody"));
        }
        finished = acknowledged.iter().all(|(_, state)| state.is_some());
        if finished {
            break;
        }
    }
    assert!(finished, "the scenario ended within the syncs tried");
}

/// What was answered while the disk lived: `None` where the answer was an error.
#[derive(Default)]
struct Answered {
    /// Groups of six blocks, and whether the first three were lifted in one call.
    groups: Vec<(Option<()>, Option<()>)>,
    /// Registrations, and whether each was ended again.
    registered: Vec<(Option<()>, Option<()>)>,
    /// The 65th log-out of one person.
    folded: Option<()>,
}

const GROUPS: usize = 3;

fn member(group: usize, number: usize) -> String {
    format!("u-{group}-{number}")
}

fn registration(group: usize) -> Selector {
    Selector::Registration(Except::Session(format!("r-{group}")))
}

fn own(number: usize) -> OwnDenial {
    let cutoff = Condition::IssuedBefore(START.plus(Duration::from_secs(1)));
    let of = |selector| NewDenial {
        created_by: Actor::holder(Some("alice"), None),
        ..new(selector, cutoff)
    };
    let denial = of(Selector::Session(format!("own-{number}")));
    OwnDenial { denial, instead: Some(of(subject("alice"))) }
}

/// Groups of blocks with lifts and registrations between, and at last a fold.
fn batches(bed: &Bed) -> Answered {
    let by = || actor("dana", "operator");
    let known = |fault: StoreError| assert!(matches!(fault, StoreError::Disk(_)), "{fault}");
    let ids = |answer: Result<Vec<Result<Accepted, StoreError>>, StoreError>| {
        let ids = |all: Vec<Result<Accepted, StoreError>>| {
            all.into_iter().map(|one| one.unwrap().record.denial.id).collect::<Vec<_>>()
        };
        answer.map(ids).map_err(known).ok()
    };
    let mut answered = Answered::default();
    for group in 0..GROUPS {
        let bans = (0..6).map(|number| new(subject(&member(group, number)), Condition::Always));
        let made = ids(run(bed.store.deny_all(bans.collect())));
        let lifted = made
            .as_ref()
            .and_then(|ids| run(bed.store.lift(ids[..3].to_vec(), None, by())).map_err(known).ok());
        answered.groups.push((made.map(|_| ()), lifted.map(|_| ())));
        let made = ids(run(bed.store.deny_all(vec![new(registration(group), Condition::Always)])));
        let ended = made
            .as_ref()
            .filter(|_| group == 1)
            .and_then(|ids| run(bed.store.lift(ids.clone(), None, by())).map_err(known).ok());
        answered.registered.push((made.map(|_| ()), ended.map(|_| ())));
    }
    // Sixty-four at once, then the one too many.
    let first = run(bed.store.deny_own((0..64).map(own).collect()));
    answered.folded =
        ids(first).and_then(|_| ids(run(bed.store.deny_own(vec![own(64)])))).map(|_| ());
    answered
}

#[test]
fn batches_lifts_registrations_and_folds_are_whole_after_a_power_loss_at_any_sync() {
    let mut finished = false;
    for syncs in 1..200 {
        let disk = SimulatedDisk::new();
        disk.0.lock().syncs_left = Some(syncs);
        let Ok(bed) = disk.open() else { continue };
        let answered = batches(&bed);
        drop(bed);
        for chance in 0..4 {
            let after = disk.after_power_loss(chance * 104_729 + u64::from(syncs)).open().unwrap();
            let held = |group: usize| {
                std::array::from_fn::<_, 6, _>(|number| denied(&after, &member(group, number)))
            };
            for (group, (made, lifted)) in answered.groups.iter().enumerate() {
                let held = held(group);
                let (lifted_half, kept_half) = held.split_at(3);
                let whole = |half: &[bool]| half.iter().all(|one| *one == half[0]);
                assert!(whole(lifted_half) && whole(kept_half), "{syncs}: {held:?}");
                assert!(made.is_none() || kept_half[0], "{syncs}: group {group} was answered");
                assert!(lifted.is_none() || !lifted_half[0], "{syncs}: its lift was answered");
                assert!(!lifted_half[0] || kept_half[0], "{syncs}: half a group");
            }
            for (group, (made, ended)) in answered.registered.iter().enumerate() {
                let stands = after.store.in_force(&issuer(), &registration(group)).unwrap();
                assert!(made.is_none() || group == 1 || stands.len() == 1, "{syncs}");
                assert!(ended.is_none() || stands.is_empty(), "{syncs}");
            }
            let of_alice = Selector::Subject("alice".into());
            let cutoff = after.store.in_force(&issuer(), &of_alice).unwrap().len();
            let own_left = (0..64)
                .filter(|number| {
                    let session = Selector::Session(format!("own-{number}"));
                    !after.store.in_force(&issuer(), &session).unwrap().is_empty()
                })
                .count();
            assert!(matches!((cutoff, own_left), (1, 0) | (0, 0 | 64)), "{cutoff} {own_left}");
            assert!(answered.folded.is_none() || cutoff == 1, "{syncs}");
            let tally = after.store.tally();
            let counted: u64 = tally.of(issuer().as_str()).map(|(_, n)| n).sum();
            assert_eq!(counted, after.store.count());
        }
        finished = answered.folded.is_some();
        if finished {
            break;
        }
    }
    assert!(finished, "the scenario ended within the syncs tried");
}

#[test]
fn after_a_disk_failure_nothing_of_it_is_in_force_and_the_store_goes_on_when_it_heals() {
    let disk = SimulatedDisk::new();
    let bed = disk.open().unwrap();
    deny(&bed, new(subject("alice"), Condition::Always));
    disk.0.lock().syncs_left = Some(0);
    for _ in 0..2 {
        let failed = run(bed.store.deny(new(subject("bob"), Condition::Always)));
        assert!(matches!(failed, Err(StoreError::Disk(_))), "{failed:?}");
        assert!(denied(&bed, "alice") && !denied(&bed, "bob"));
        assert_eq!(bed.store.count(), 1);
    }
    disk.0.lock().syncs_left = None;
    deny(&bed, new(subject("carol"), Condition::Always));
    assert!(denied(&bed, "alice") && !denied(&bed, "bob") && denied(&bed, "carol"));
    assert_eq!(bed.store.count(), 2);

    // A commit that fails at its syncs may have reached the disk: then table and disk agree.
    for syncs in 1..4 {
        let name = format!("dave-{syncs}");
        disk.0.lock().syncs_left = Some(syncs);
        let answer = run(bed.store.deny(new(subject(&name), Condition::Always)));
        disk.0.lock().syncs_left = None;
        deny(&bed, new(subject(&format!("after-{syncs}")), Condition::Always));
        let on_disk = bed.store.in_force(&issuer(), &subject(&name)).unwrap().len();
        assert_eq!(denied(&bed, &name), on_disk == 1);
        assert!(answer.is_err() || on_disk == 1);
        let all = Filter { limit: 1000, ..Filter::default() };
        assert_eq!(bed.store.list(&all).unwrap().records.len() as u64, bed.store.count());
        let tally = bed.store.tally();
        assert_eq!(tally.of(issuer().as_str()).map(|(_, n)| n).sum::<u64>(), bed.store.count());
    }
}

#[test]
fn a_full_disk_refuses_what_is_new_and_keeps_what_is_old() {
    let disk = SimulatedDisk::new();
    let bed = disk.open().unwrap();
    deny(&bed, new(subject("alice"), Condition::Always));
    disk.is_full(true);
    let batch = |from: usize| -> Vec<NewDenial> {
        (from..from + 500).map(|n| new(subject(&format!("u-{n}")), Condition::Always)).collect()
    };
    let mut taken = 0;
    let refused = loop {
        match run(bed.store.deny_all(batch(taken))) {
            Ok(_) => taken += 500,
            Err(error) => break error,
        }
        assert!(taken < 100_000, "the disk is full at some time");
    };
    assert!(matches!(refused, StoreError::NoSpace(_)), "{refused:?}");
    assert!(denied(&bed, "alice") && !denied(&bed, &format!("u-{taken}")));
    disk.is_full(false);
    run(bed.store.deny_all(batch(taken))).unwrap();
    assert!(denied(&bed, "alice") && denied(&bed, &format!("u-{taken}")));
    assert_eq!(bed.store.count(), taken as u64 + 501);
}

#[test]
fn what_stands_already_costs_no_sync_once_the_disk_is_known_to_hold_it() {
    let disk = SimulatedDisk::new();
    let bed = disk.open().unwrap();
    let ban = || new(subject("alice"), Condition::Always);
    let syncs = || disk.0.lock().syncs_done;
    let id = deny(&bed, ban()).record.denial.id;
    let before = syncs();
    assert!(deny(&bed, ban()).already);
    assert_eq!(run(bed.store.lift(vec![DenialId([7; 10])], None, actor("x", "admin"))), Ok(vec![]));
    assert_eq!(syncs(), before);
    deny(&bed, new(subject("bob"), Condition::Always));
    assert!(syncs() > before, "what is new does");
    let before = syncs();
    lift(&bed, id);
    assert!(syncs() > before && !denied(&bed, "alice"));
    // A process that died may have left what is read in the kernel's cache alone.
    deny(&bed, ban());
    drop(bed);
    let bed = disk.open().unwrap();
    let before = syncs();
    assert!(deny(&bed, ban()).already);
    assert!(syncs() > before);
    let before = syncs();
    assert!(deny(&bed, ban()).already);
    assert_eq!(syncs(), before);
}

fn open_error(directory: &Path) -> String {
    match try_open(directory, 1000, &SimulatedClock::at(START)) {
        Err(StoreError::Open(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it opened"),
    }
}

#[test]
fn directory_and_file_are_for_their_owner_alone() {
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("data/store");
    let _bed = open(&directory, &SimulatedClock::at(START));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("denials.redb")), 0o600);
}

#[test]
fn a_store_in_use_a_foreign_file_and_an_empty_one_are_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let bed = open(directory.path(), &SimulatedClock::at(START));
    assert!(open_error(directory.path()).contains("in use by another process"));
    drop(bed);
    let path = directory.path().join("denials.redb");
    for foreign in [&b""[..], b"{}", &[0x5a; 100_000]] {
        std::fs::write(&path, foreign).unwrap();
        let why = open_error(directory.path());
        assert!(why.contains("cannot be used") && why.contains("put back a copy"), "{why}");
        assert_eq!(std::fs::read(&path).unwrap(), foreign, "it was not touched");
    }
    // A database of another program.
    std::fs::remove_file(&path).unwrap();
    let other = Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("theirs");
    transaction.open_table(table).unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert!(open_error(directory.path()).contains("another program"));
    // One of a later format.
    std::fs::remove_file(&path).unwrap();
    drop(open(directory.path(), &SimulatedClock::at(START)));
    let ours = Database::open(&path).unwrap();
    let transaction = ours.begin_write().unwrap();
    let later = 3_u64.to_le_bytes();
    transaction
        .open_table(schema::META)
        .unwrap()
        .insert(schema::META_FORMAT, later.as_slice())
        .unwrap();
    transaction.commit().unwrap();
    drop(ours);
    assert!(open_error(directory.path()).contains("format 3"));
}

#[test]
fn a_file_that_is_torn_or_damaged_never_opens_with_a_denial_missing() {
    let directory = tempfile::tempdir().unwrap();
    let bed = open(directory.path(), &SimulatedClock::at(START));
    let names: Vec<String> = (0..300).map(|n| format!("u-{n}")).collect();
    let all = names.iter().map(|name| new(subject(name), Condition::Always)).collect();
    run(bed.store.deny_all(all)).unwrap();
    drop(bed);
    let path = directory.path().join("denials.redb");
    let whole = std::fs::read(&path).unwrap();
    let holds = |what: &str| match try_open(directory.path(), 1000, &SimulatedClock::at(START)) {
        Ok(bed) => {
            assert!(names.iter().all(|name| denied(&bed, name)), "{what}");
            true
        }
        Err(StoreError::Open(why)) => {
            assert!(why.contains("cannot be used"), "{why}");
            false
        }
        Err(other) => panic!("{other:?}"),
    };
    for part in 1..8 {
        std::fs::write(&path, &whole[..whole.len() * part / 8]).unwrap();
        assert!(!holds(&format!("cut to {part} eighths")));
    }
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for place in (0..used).step_by(used / 150) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x41;
        std::fs::write(&path, &damaged).unwrap();
        refused += usize::from(!holds(&format!("byte {place}")));
    }
    assert!(refused > 0, "some damage hits a record");
    std::fs::write(&path, &whole).unwrap();
    assert!(holds("whole again"));
}
