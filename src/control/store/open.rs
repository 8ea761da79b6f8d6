//! Opening: the directory, the file, its format, and the hot table filled from its records.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _};

use crate::clock::{Clock, UnixMs};
use crate::denylist::{Addition, DenialId, Writer, canonical};

use super::acts::Part;
use super::codec;
use super::rows::{self, Fault};
use super::schema::{self, Progress};
use super::{Epoch, StoreError, Tally, damage, upgrade};

/// Pages that redb keeps itself; the kernel's page cache has the rest.
const CACHE_BYTES: usize = 64 << 20;

pub(super) const FILE: &str = "denials.redb";

/// Makes or opens the database. Called again after a disk failure.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, StoreError> + Send>;

/// What an open file says of itself.
pub(super) struct Opened {
    pub(super) epoch: Epoch,
    pub(super) index_key: [u8; 16],
    pub(super) progress: Progress,
}

pub(super) fn file_opener(directory: &Path, clock: &Clock) -> Opener {
    let (directory, clock) = (directory.to_owned(), clock.clone());
    Box::new(move || open_file(&directory, clock.wall()))
}

pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn open_file(directory: &Path, now: UnixMs) -> Result<Database, StoreError> {
    let path = directory.join(FILE);
    let cannot = |what: &str, error: &dyn std::fmt::Display| {
        StoreError::Open(format!("cannot {what} {}: {error}", path.display()))
    };
    if !directory.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| cannot("make the directory of", &error))?;
        // The directory's own entry must survive a power loss too.
        directory
            .parent()
            .map_or(Ok(()), sync_directory)
            .map_err(|error| cannot("sync the parent directory of", &error))?;
    }
    let exists = path.try_exists().map_err(|error| cannot("look for", &error))?;
    if !exists {
        create_file(directory, &path, now)?;
    }
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(|error| cannot("open", &error))?;
    // A file gets its name when it is whole: an empty one has lost what it held.
    if file.metadata().map_err(|error| cannot("look at", &error))?.len() == 0 {
        return Err(unusable(&path, &"it is empty"));
    }
    open_guarded(&path, || builder().create_file(file))
}

/// Makes the file under another name, and gives it its own when it is whole and on disk.
fn create_file(directory: &Path, path: &Path, now: UnixMs) -> Result<(), StoreError> {
    let cannot = |error: &dyn std::fmt::Display| {
        StoreError::Open(format!("cannot create {}: {error}", path.display()))
    };
    let unfinished = path.with_extension("redb.new");
    match std::fs::remove_file(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(&error)),
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&unfinished).map_err(|error| cannot(&error))?;
    let database = open_guarded(&unfinished, || builder().create_file(file))?;
    prepare(&database, now)?;
    drop(database);
    std::fs::rename(&unfinished, path).map_err(|error| cannot(&error))?;
    sync_directory(directory).map_err(|error| cannot(&error))
}

/// An empty path is the current directory.
pub(super) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    let here = PathBuf::from(".");
    File::open(if directory.as_os_str().is_empty() { &here } else { directory })?.sync_all()
}

/// A damaged file may also make the library panic: that is an error like others here.
fn open_guarded(
    path: &Path,
    open: impl FnOnce() -> Result<Database, DatabaseError>,
) -> Result<Database, StoreError> {
    match damage::guarded(open) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(StoreError::Open(format!(
            "{} is in use by another process: one gateway per store; stop the other one, or give \
             this one a store.path of its own",
            path.display()
        ))),
        Ok(Err(DatabaseError::Storage(redb::StorageError::Io(error))))
            if rows::is_no_space(&error) =>
        {
            Err(StoreError::NoSpace(format!("cannot open {}: {error}", path.display())))
        }
        Ok(Err(error)) => Err(unusable(path, &error)),
        Err(damage::Panicked) => Err(unusable(path, &"its structure is damaged")),
    }
}

pub(super) fn unusable(path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open(format!(
        "{} cannot be used: {why}. Nothing was changed. If it is not a store of this gateway, set \
         store.path to another directory. If it is and it is damaged, `portcullis store repair` \
         builds it anew from what can be read, or put back a copy of it; starting with an empty \
         directory would forget every denial",
        path.display()
    ))
}

/// Makes the tables of a new file, or checks those of an old one.
pub(super) fn prepare(database: &Database, now: UnixMs) -> Result<Opened, StoreError> {
    let fault = |fault: Fault| unusable(Path::new(FILE), &fault);
    match read_meta(database).map_err(fault)? {
        Meta::Ours(opened) => Ok(opened),
        Meta::Empty => create(database, now).map_err(fault),
        Meta::Before(opened) => {
            upgrade::upgrade(database, &opened).map_err(fault)?;
            Ok(opened)
        }
        Meta::Incomplete => Err(unusable(Path::new(FILE), &"its description is incomplete")),
        Meta::Foreign(why) => Err(unusable(Path::new(FILE), &why)),
    }
}

pub(super) enum Meta {
    Empty,
    Ours(Opened),
    /// Ours, of the format before.
    Before(Opened),
    /// Ours, and damaged.
    Incomplete,
    /// Of another program, or of another format.
    Foreign(String),
}

pub(super) fn read_meta(database: &Database) -> Result<Meta, Fault> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(schema::META) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            let foreign = transaction.list_tables()?.next().is_some();
            let why = "it is a database of another program".to_owned();
            return Ok(if foreign { Meta::Foreign(why) } else { Meta::Empty });
        }
        Err(error) => return Err(error.into()),
    };
    let row = |name: &str| -> Result<Option<Vec<u8>>, Fault> {
        Ok(table.get(name)?.map(|row| row.value().to_vec()))
    };
    let format = row(schema::META_FORMAT)?.and_then(|row| row.try_into().ok());
    let format = format.map(u64::from_le_bytes);
    match format {
        Some(schema::FORMAT | schema::FORMAT_BEFORE) => {}
        Some(other) => {
            return Ok(Meta::Foreign(format!(
                "it is of format {other}, this program knows {}: use the version that wrote it, \
                 or a later one",
                schema::FORMAT
            )));
        }
        None => return Ok(Meta::Incomplete),
    }
    let epoch = row(schema::META_EPOCH)?.and_then(|row| row.try_into().ok());
    let index_key = row(schema::META_INDEX_KEY)?.and_then(|row| row.try_into().ok());
    let progress = row(schema::META_PROGRESS)?.and_then(|row| Progress::from_bytes(&row));
    Ok(match (epoch, index_key, progress) {
        (Some(epoch), Some(index_key), Some(progress)) => {
            let opened = Opened { epoch: Epoch(epoch), index_key, progress };
            if format == Some(schema::FORMAT) { Meta::Ours(opened) } else { Meta::Before(opened) }
        }
        _ => Meta::Incomplete,
    })
}

/// Makes the tables of a store without a past.
fn create(database: &Database, now: UnixMs) -> Result<Opened, Fault> {
    let opened = newborn(now);
    write_tables(database, &opened)?;
    Ok(opened)
}

pub(super) fn newborn(now: UnixMs) -> Opened {
    let mut opened = Opened {
        epoch: Epoch([0; 16]),
        index_key: [0; 16],
        progress: Progress { sequence: 0, in_force: 0, registered: 0, clock: now },
    };
    #[expect(clippy::expect_used, reason = "without randomness nothing here is safe")]
    for random in [&mut opened.epoch.0, &mut opened.index_key] {
        aws_lc_rs::rand::fill(random).expect("the operating system gives random bytes");
    }
    opened
}

/// Makes the tables, empty, with this description.
pub(super) fn write_tables(database: &Database, opened: &Opened) -> Result<(), Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_FORMAT, schema::FORMAT.to_le_bytes().as_slice())?;
        meta.insert(schema::META_EPOCH, opened.epoch.0.as_slice())?;
        meta.insert(schema::META_INDEX_KEY, opened.index_key.as_slice())?;
        meta.insert(schema::META_PROGRESS, opened.progress.to_bytes().as_slice())?;
        transaction.open_table(schema::LOG)?;
        transaction.open_table(schema::RECORDS)?;
        transaction.open_table(schema::LIFTS)?;
        transaction.open_table(schema::BY_SELECTOR)?;
        transaction.open_table(schema::DUE)?;
        for part in Part::ALL {
            transaction.open_table(part.table())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Checks or makes the tables and fills the hot table; when the first record is due.
pub(super) fn fill(
    database: &Database,
    writer: &mut Writer,
    tally: &mut Tally,
    keep: Duration,
    now: UnixMs,
) -> Result<(Opened, Option<UnixMs>), StoreError> {
    let filling = || {
        let opened = prepare(database, now)?;
        let read =
            load(database, writer, tally).and_then(|count| Ok((count, next_due(database, keep)?)));
        let (in_force, due) = read.map_err(|fault| unusable(Path::new(FILE), &fault))?;
        if in_force != opened.progress.in_force {
            let said = opened.progress.in_force;
            let why = format!("it should hold {said} denials in force and has {in_force}");
            return Err(unusable(Path::new(FILE), &why));
        }
        Ok((opened, due))
    };
    damage::guarded(filling)
        .unwrap_or_else(|_| Err(unusable(Path::new(FILE), &"its structure is damaged")))
}

/// Some 14 MiB of them.
const ADDED_AT_ONCE: usize = 256 * 1024;

/// Puts every unlifted record into the hot table; how many there are. Records and tombstones are
/// both in the order of their ids, so one pass over each is enough.
pub(super) fn load(
    database: &Database,
    writer: &mut Writer,
    tally: &mut Tally,
) -> Result<u64, Fault> {
    let transaction = database.begin_read()?;
    let records = transaction.open_table(schema::RECORDS)?;
    let lifts = transaction.open_table(schema::LIFTS)?;
    let by = writer.table().fingerprinter().clone();
    let mut lifted = lifts.iter()?;
    let mut next_lifted = move || -> Result<Option<[u8; 10]>, Fault> {
        Ok(lifted.next().transpose()?.map(|(id, _)| *id.value()))
    };
    let mut lift = next_lifted()?;
    let mut in_force = 0;
    let mut additions = Vec::new();
    for entry in records.iter()? {
        let (id, row) = entry?;
        while lift.is_some_and(|lift| lift < *id.value()) {
            lift = next_lifted()?;
        }
        let hot = codec::decode_hot(DenialId(*id.value()), row.value())?;
        if lift == Some(*id.value()) {
            continue;
        }
        let kind = canonical::kind(hot.form).ok_or(codec::CodecError::Damaged)?;
        let except = hot.except.map(|except| by.form(except));
        let issuer = canonical::issuer(hot.form).ok_or(codec::CodecError::Damaged)?;
        tally.change(issuer, kind, 1);
        let (at, condition) = (by.form(hot.form), hot.condition);
        additions.push(Addition { kind, at, condition, except });
        if additions.len() == ADDED_AT_ONCE {
            writer.add_all(&mut additions);
        }
        in_force += 1;
    }
    writer.add_all(&mut additions);
    Ok(in_force)
}

/// The earliest time at which a record is due, or an act, which are kept for `keep`.
pub(super) fn next_due(database: &Database, keep: Duration) -> Result<Option<UnixMs>, Fault> {
    let transaction = database.begin_read()?;
    let due = transaction.open_table(schema::DUE)?;
    let mut next = due.first()?.map(|(key, _)| schema::due_parts(key.value()).0);
    for part in Part::ALL {
        let acts = transaction.open_table(part.table())?;
        if let Some((sequence, row)) = acts.first()? {
            let due = codec::acts::taken(sequence.value(), row.value())?.plus(keep);
            next = Some(next.map_or(due, |next| next.min(due)));
        }
    }
    Ok(next)
}
