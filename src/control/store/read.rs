//! Reads: each in a read transaction of its own, from any thread, beside the writer.

use redb::{ReadTransaction, ReadableDatabase as _};

use crate::denylist::{Denial, DenialId, IssuerId, Selector, SelectorKind, canonical};

use super::index::SelectorHash;
use super::rows::{self, Fault};
use super::schema::{self, Logged};
use super::{Change, Filter, Page, Record, Store, StoreError, codec};

/// Rows that one call looks at: a filter that matches little gives short pages, not a long wait.
const SCAN_MAX: usize = 100_000;
/// Records in force of one selector that are looked at to say what denies a token: the index has
/// the strictest first.
pub(super) const IN_FORCE_MAX: usize = 256;
/// Records of one prefix that are looked at.
const PREFIX_MAX: usize = 10_000;
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 10_000;

impl Store {
    pub fn find(&self, id: DenialId) -> Result<Option<Record>, StoreError> {
        self.read(|transaction| {
            let records = transaction.open_table(schema::RECORDS)?;
            rows::record(&records, &transaction.open_table(schema::LIFTS)?, id)
        })
    }

    /// Records that count and whose written id begins with `prefix` (with or without `dn_`); at most
    /// two, which is enough to know that it is not unique. Of a prefix that very many have, not all
    /// are looked at: then it is no name for any of them, and the answer has two.
    pub fn find_by_prefix(
        &self,
        prefix: &str,
        counts: impl Fn(&Denial) -> bool,
    ) -> Result<Vec<Record>, StoreError> {
        let Some((low, high)) = DenialId::range_of_prefix(prefix) else { return Ok(Vec::new()) };
        self.read(|transaction| {
            let records = transaction.open_table(schema::RECORDS)?;
            let lifts = transaction.open_table(schema::LIFTS)?;
            let mut found: Vec<Record> = Vec::new();
            for (looked, entry) in records.range::<&[u8; 10]>(&low.0..=&high.0)?.enumerate() {
                let id = DenialId(*entry?.0.value());
                let record = rows::record(&records, &lifts, id)?.ok_or(Fault::Missing(id))?;
                if counts(&record.denial) {
                    found.push(record);
                }
                if looked == PREFIX_MAX {
                    found.extend(found.first().cloned());
                }
                if found.len() >= 2 || looked == PREFIX_MAX {
                    break;
                }
            }
            found.truncate(2);
            Ok(found)
        })
    }

    /// Newest first. A page may be short although more follow: only an absent `next` is the end.
    /// A `limit` of 0 is the default of 50.
    pub fn list(&self, filter: &Filter) -> Result<Page, StoreError> {
        self.read(|transaction| match (&filter.issuer, &filter.selector) {
            (Some(issuer), Some(selector)) => {
                self.list_of_selector(transaction, filter, issuer, selector)
            }
            (_, None) | (None, _) => list_by_log(transaction, filter),
        })
    }

    /// Unlifted records of one selector: of many the strictest, at most [`IN_FORCE_MAX`], newest first.
    pub fn in_force(
        &self,
        issuer: &IssuerId,
        selector: &Selector,
    ) -> Result<Vec<Record>, StoreError> {
        self.read(|transaction| {
            let mut found = self.of_selector(transaction, issuer, selector, false, IN_FORCE_MAX)?;
            found.sort_unstable_by_key(|record| std::cmp::Reverse(record.sequence));
            Ok(found)
        })
    }

    /// Changes after a sequence, oldest first, at most so many: for export and for links. A change
    /// whose record was forgotten since is left out. Ask again from the last sequence until the
    /// answer is empty.
    pub fn changes_after(
        &self,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Change)>, StoreError> {
        self.read(|transaction| {
            let log = transaction.open_table(schema::LOG)?;
            let records = transaction.open_table(schema::RECORDS)?;
            let lifts = transaction.open_table(schema::LIFTS)?;
            let rows = log.range(sequence.saturating_add(1)..)?.take(limit.min(LIMIT_MAX));
            rows.map(|entry| {
                let (sequence, row) = entry?;
                let change = match logged(row.value())? {
                    Logged::Denied(id) => {
                        let row = records.get(&id.0)?.ok_or(Fault::Missing(id))?;
                        Change::Denied(codec::decode_denial(id, row.value())?.1)
                    }
                    Logged::Lifted(id) => {
                        let row = lifts.get(&id.0)?.ok_or(Fault::Missing(id))?;
                        Change::Lifted(codec::decode_lift(id, row.value())?.1)
                    }
                };
                Ok((sequence.value(), change))
            })
            .collect()
        })
    }

    fn list_of_selector(
        &self,
        transaction: &ReadTransaction,
        filter: &Filter,
        issuer: &IssuerId,
        selector: &Selector,
    ) -> Result<Page, Fault> {
        let most = usize::MAX;
        let mut found =
            self.of_selector(transaction, issuer, selector, filter.with_lifted, most)?;
        found.retain(|record| {
            filter.before.is_none_or(|before| record.sequence < before) && filter.takes(record)
        });
        found.sort_unstable_by_key(|record| std::cmp::Reverse(record.sequence));
        let more = found.len() > filter.page_size();
        found.truncate(filter.page_size());
        let next = found.last().map(|record| record.sequence).filter(|_| more);
        Ok(Page { records: found, next })
    }

    fn of_selector(
        &self,
        transaction: &ReadTransaction,
        issuer: &IssuerId,
        selector: &Selector,
        with_lifted: bool,
        most: usize,
    ) -> Result<Vec<Record>, Fault> {
        let records = transaction.open_table(schema::RECORDS)?;
        let lifts = transaction.open_table(schema::LIFTS)?;
        let by_selector = transaction.open_table(schema::BY_SELECTOR)?;
        let form = canonical::of_selector(issuer, selector);
        let hash = SelectorHash::of(&form, &self.handle.shared.index_key);
        let range = if with_lifted { hash.all() } else { hash.in_force() };
        let mut found = Vec::new();
        for id in rows::indexed(&by_selector, &range, most)? {
            let record = rows::record(&records, &lifts, id)?.ok_or(Fault::Missing(id))?;
            // Another selector may have the same hash.
            if record.denial.selector == *selector && record.denial.issuer == *issuer {
                found.push(record);
            }
        }
        Ok(found)
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let database = self.handle.shared.database.read();
        let done = match &*database {
            Some(database) => {
                database.begin_read().map_err(Fault::from).and_then(|open| read(&open))
            }
            None => Err(Fault::Closed),
        };
        done.map_err(StoreError::from)
    }
}

fn list_by_log(transaction: &ReadTransaction, filter: &Filter) -> Result<Page, Fault> {
    let log = transaction.open_table(schema::LOG)?;
    let records = transaction.open_table(schema::RECORDS)?;
    let lifts = transaction.open_table(schema::LIFTS)?;
    let mut page = Page { records: Vec::new(), next: None };
    let mut last = 0;
    for (looked, entry) in log.range(..filter.before.unwrap_or(u64::MAX))?.rev().enumerate() {
        if looked == SCAN_MAX || page.records.len() == filter.page_size() {
            page.next = Some(last);
            break;
        }
        let (sequence, row) = entry?;
        last = sequence.value();
        let Logged::Denied(id) = logged(row.value())? else { continue };
        let record = rows::record(&records, &lifts, id)?.ok_or(Fault::Missing(id))?;
        if filter.takes(&record) {
            page.records.push(record);
        }
    }
    Ok(page)
}

fn logged(row: &[u8; 11]) -> Result<Logged, Fault> {
    Logged::from_bytes(row).ok_or(Fault::Record(codec::CodecError::Damaged))
}

impl Filter {
    fn page_size(&self) -> usize {
        if self.limit == 0 { LIMIT_DEFAULT } else { self.limit.min(LIMIT_MAX) }
    }

    fn takes(&self, record: &Record) -> bool {
        let denial = &record.denial;
        let wanted = |text: &str| denial.reason.to_lowercase().contains(&text.to_lowercase());
        (self.with_lifted || record.lift.is_none())
            && (denial.selector.kind() == SelectorKind::Registration) == self.registrations
            && self.issuer.as_ref().is_none_or(|issuer| denial.issuer == *issuer)
            && self.selector.as_ref().is_none_or(|selector| denial.selector == *selector)
            && self.kind.is_none_or(|kind| denial.selector.kind() == kind)
            && self.created_by.as_ref().is_none_or(|name| denial.created_by.name == *name)
            && self.reason_contains.as_deref().is_none_or(wanted)
            && self.reference.is_none() | (self.reference == denial.reference)
            && self.since.is_none_or(|since| denial.created_at >= since)
    }
}
