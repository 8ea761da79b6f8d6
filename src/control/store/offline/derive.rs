//! What follows from records and tombstones: log, index by selector, due times, counts. Rows keep
//! the sequence they had, so that cursors into the log stay good.

use std::collections::BTreeSet;

use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use crate::clock::UnixMs;
use crate::denylist::{DenialId, canonical};

use super::super::batch::{self, due_at, holding};
use super::super::codec;
use super::super::open::{self, Opened};
use super::super::rows::{self, Fault};
use super::super::schema::{self, Logged, Progress};
use super::{BY_ID, ROWS};

#[derive(Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) in_force: u64,
    pub(super) registered: u64,
    pub(super) tombstones: u64,
}

/// Makes what follows from records and tombstones: log, index, due times, description. `last_act`:
/// the last sequence of the audit. `held`: see `batch::holding`.
pub(super) fn derive(
    fresh: &Database,
    described: Option<Opened>,
    lost: bool,
    (last_act, held): (u64, Option<BTreeSet<DenialId>>),
    now: UnixMs,
) -> Result<Counts, Fault> {
    let (last, latest) = ends(fresh)?;
    let newborn = open::newborn(now);
    // A guarded clock that runs behind keeps a denial too long; one ahead forgets it too early.
    let clock = described
        .as_ref()
        .map_or(latest.map_or(now, |at| at.min(now)), |opened| opened.progress.clock);
    let said = described.as_ref().map_or(0, |opened| opened.progress.sequence);
    let index_key = described.as_ref().map_or(newborn.index_key, |opened| opened.index_key);
    // Another history where something may be missing, so that replicas bring what they have.
    let epoch = described.filter(|_| !lost).map_or(newborn.epoch, |opened| opened.epoch);
    let mut derived = Derived {
        counts: Counts::default(),
        sequence: last.max(said).max(last_act),
        clock,
        index_key,
        held,
    };
    for table in [0, 1] {
        let mut after: Option<[u8; 10]> = None;
        while let Some(last) = derived.some(fresh, table, after)? {
            after = Some(last);
        }
    }
    let Derived { counts, sequence, .. } = derived;
    let Counts { in_force, registered, .. } = counts;
    let progress = Progress { sequence, in_force, registered, clock };
    let transaction = fresh.begin_write()?;
    {
        let mut meta = transaction.open_table(schema::META)?;
        meta.insert(schema::META_EPOCH, epoch.0.as_slice())?;
        meta.insert(schema::META_INDEX_KEY, index_key.as_slice())?;
        meta.insert(schema::META_PROGRESS, progress.to_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(counts)
}

/// The highest sequence of the rows, and the latest time that one of them was made.
fn ends(fresh: &Database) -> Result<(u64, Option<UnixMs>), Fault> {
    let transaction = fresh.begin_read()?;
    let (mut last, mut latest) = (0, None);
    for entry in transaction.open_table(schema::RECORDS)?.iter()? {
        let (id, row) = entry?;
        let (sequence, denial) = codec::decode_denial(DenialId(*id.value()), row.value())?;
        (last, latest) = (last.max(sequence), latest.max(Some(denial.created_at)));
    }
    for entry in transaction.open_table(schema::LIFTS)?.iter()? {
        let (id, row) = entry?;
        last = last.max(codec::decode_lift(DenialId(*id.value()), row.value())?.0);
    }
    Ok((last, latest))
}

struct Derived {
    counts: Counts,
    sequence: u64,
    clock: UnixMs,
    index_key: [u8; 16],
    /// Records that are kept until lifted; `None`: not known, so all.
    held: Option<BTreeSet<DenialId>>,
}

impl Derived {
    /// Works on some rows after an id; the last of them, `None` at the end.
    fn some(
        &mut self,
        fresh: &Database,
        table: usize,
        after: Option<[u8; 10]>,
    ) -> Result<Option<[u8; 10]>, Fault> {
        let Some(definition) = BY_ID.get(table).copied() else { return Ok(None) };
        let ids = {
            let rows = fresh.begin_read()?.open_table(definition)?;
            let from = after.unwrap_or([0; 10]);
            rows.range::<&[u8; 10]>(&from..)?
                .map(|entry| Ok(*entry?.0.value()))
                .filter(|id| !matches!(id, Ok(id) if Some(*id) == after))
                .take(ROWS)
                .collect::<Result<Vec<[u8; 10]>, Fault>>()?
        };
        let transaction = fresh.begin_write()?;
        for id in &ids {
            self.one(&transaction, table, DenialId(*id))?;
        }
        transaction.commit()?;
        Ok(ids.last().copied())
    }

    fn one(
        &mut self,
        transaction: &redb::WriteTransaction,
        table: usize,
        id: DenialId,
    ) -> Result<(), Fault> {
        let mut log = transaction.open_table(schema::LOG)?;
        let mut records = transaction.open_table(schema::RECORDS)?;
        let mut lifts = transaction.open_table(schema::LIFTS)?;
        let mut due = transaction.open_table(schema::DUE)?;
        let record = rows::record(&records, &lifts, id)?;
        if table == 0 {
            let Some(record) = record else { return Ok(()) };
            let lifted = record.lift.is_some();
            self.counts.records += 1;
            self.counts.in_force += u64::from(!lifted);
            self.counts.registered += u64::from(!lifted && batch::is_registration(&record.denial));
            let sequence = self.place(&log, record.sequence)?;
            log.insert(sequence, &Logged::Denied(id).to_bytes())?;
            if sequence != record.sequence {
                let row = codec::encode_denial(sequence, &record.denial);
                records.insert(&id.0, row.as_slice())?;
            }
            let form = canonical::of_selector(&record.denial.issuer, &record.denial.selector);
            let mut by_selector = transaction.open_table(schema::BY_SELECTOR)?;
            for key in rows::index_keys(&record.denial, &form, lifted, &self.index_key) {
                by_selector.insert(&key, ())?;
            }
            let held = !lifted && self.held.as_ref().is_none_or(|held| held.contains(&id));
            if let Some(at) = holding::due_of(&record.denial, held) {
                due.insert(&schema::due_key(at, id), ())?;
            }
            return Ok(());
        }
        let Some(row) = lifts.get(&id.0)?.map(|row| row.value().to_vec()) else { return Ok(()) };
        let (old, lift) = codec::decode_lift(id, &row)?;
        self.counts.tombstones += 1;
        let sequence = self.place(&log, old)?;
        log.insert(sequence, &Logged::Lifted(id).to_bytes())?;
        if sequence != old {
            lifts.insert(&id.0, codec::encode_lift(sequence, &lift).as_slice())?;
        }
        let forgotten = self.clock.plus(batch::LIFTED_KEPT);
        let own = record.and_then(|record| due_at(&record.denial));
        if own.is_none_or(|own| own > forgotten) {
            due.insert(&schema::due_key(forgotten, id), ())?;
        }
        Ok(())
    }

    /// The sequence a row had, unless another has it.
    fn place(
        &mut self,
        log: &impl redb::ReadableTable<u64, &'static [u8; 11]>,
        old: u64,
    ) -> Result<u64, Fault> {
        if log.get(old)?.is_none() {
            return Ok(old);
        }
        self.sequence += 1;
        Ok(self.sequence)
    }
}
