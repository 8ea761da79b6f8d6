//! Sessions within a write transaction: the row, and its two indexes with it.

use redb::{ReadableTable, ReadableTableMetadata as _, Table, WriteTransaction};

use crate::clock::UnixMs;
use crate::denylist::{IssuerId, Selector, canonical};

use super::super::codec;
use super::super::index::SelectorHash;
use super::super::rows::Fault;
use super::super::schema;
use super::{ALL_MAX, Advance, Advanced, OF_SUBJECT_MAX, SessionId, SessionRecord};

/// The tables of one write transaction.
pub(in super::super) struct SessionRows<'t> {
    sessions: Table<'t, &'static [u8; 20], &'static [u8]>,
    by_subject: Table<'t, &'static [u8; 28], ()>,
    due: Table<'t, &'static [u8; 28], ()>,
    index_key: &'t [u8; 16],
    changed: bool,
}

impl<'t> SessionRows<'t> {
    pub(in super::super) fn open(
        transaction: &'t WriteTransaction,
        index_key: &'t [u8; 16],
    ) -> Result<Self, Fault> {
        Ok(Self {
            sessions: transaction.open_table(schema::SESSIONS)?,
            by_subject: transaction.open_table(schema::SESSIONS_BY_SUBJECT)?,
            due: transaction.open_table(schema::SESSIONS_DUE)?,
            index_key,
            changed: false,
        })
    }

    pub(in super::super) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn begin(&mut self, mut record: SessionRecord) -> Result<SessionRecord, Fault> {
        match self.find(record.id())? {
            Some(known) => {
                record.first_seen = known.first_seen;
                record.generation = known.generation.saturating_add(1);
            }
            None => self.make_room(&record)?,
        }
        self.put(&record)?;
        Ok(record)
    }

    pub(super) fn advance(&mut self, id: SessionId, to: &Advance) -> Result<Advanced, Fault> {
        let Some(mut record) = self.find(id)? else { return Ok(Advanced::Unknown) };
        if record.generation != to.from {
            return Ok(Advanced::Otherwise(record));
        }
        record.generation = record.generation.saturating_add(1);
        record.token = to.token.clone();
        record.issued_at = to.issued_at;
        record.expires_at = to.expires_at;
        record.kept_until = record.kept_until.max(to.expires_at);
        record.last_seen = record.last_seen.max(to.now);
        record.address = to.address.or(record.address);
        self.put(&record)?;
        Ok(Advanced::Done(record))
    }

    pub(super) fn touch(&mut self, id: SessionId, at: UnixMs) -> Result<(), Fault> {
        let Some(mut record) = self.find(id)? else { return Ok(()) };
        record.last_seen = record.last_seen.max(at);
        self.put(&record)
    }

    pub(super) fn forget(&mut self, id: SessionId) -> Result<(), Fault> {
        if let Some(record) = self.find(id)? {
            self.unindex(&record)?;
        }
        self.changed |= self.sessions.remove(&id.0)?.is_some();
        Ok(())
    }

    /// Forgets what is due at `clock`, no more than `most`.
    pub(super) fn purge(&mut self, clock: UnixMs, most: usize) -> Result<(), Fault> {
        let end = due_key(clock, SessionId([0xff; 20]));
        let due = self.due.range::<&[u8; 28]>(&[0; 28]..=&end)?.take(most);
        let due: Vec<[u8; 28]> =
            due.map(|entry| Ok(*entry?.0.value())).collect::<Result<_, Fault>>()?;
        for key in due {
            let id = id_of(&key);
            // A row that could not be read leaves a time behind that is not that of the next one.
            if self.find(id)?.is_none_or(|record| record.kept_until <= clock) {
                self.forget(id)?;
            }
            self.due.remove(&key)?;
            self.changed = true;
        }
        Ok(())
    }

    /// Puts a row and its index, in the place of the one that was there.
    pub(in super::super) fn put(&mut self, record: &SessionRecord) -> Result<(), Fault> {
        let id = record.id();
        if let Some(known) = self.find(id)? {
            self.unindex(&known)?;
        }
        self.sessions.insert(&id.0, codec::encode_session(record).as_slice())?;
        let (by_subject, due) = keys(record, self.index_key);
        if let Some(key) = by_subject {
            self.by_subject.insert(&key, ())?;
        }
        self.due.insert(&due, ())?;
        self.changed = true;
        Ok(())
    }

    fn unindex(&mut self, record: &SessionRecord) -> Result<(), Fault> {
        let (by_subject, due) = keys(record, self.index_key);
        if let Some(key) = by_subject {
            self.by_subject.remove(&key)?;
        }
        self.due.remove(&due)?;
        Ok(())
    }

    fn find(&self, id: SessionId) -> Result<Option<SessionRecord>, Fault> {
        let row = self.sessions.get(&id.0)?;
        Ok(row.and_then(|row| codec::decode_session(id, row.value()).ok()))
    }

    /// For one more of this person, and in all.
    fn make_room(&mut self, record: &SessionRecord) -> Result<(), Fault> {
        if let Some(subject) = &record.subject {
            let of = (&record.issuer, subject.as_str());
            let mut own = of_subject(&self.by_subject, &self.sessions, of, self.index_key)?;
            own.sort_unstable_by_key(|own| (own.last_seen, own.generation));
            let beyond = (own.len() + 1).saturating_sub(OF_SUBJECT_MAX);
            own.iter().take(beyond).try_for_each(|oldest| self.forget(oldest.id()))?;
        }
        if self.sessions.len()? >= ALL_MAX {
            let next = self.due.first()?.map(|(key, _)| *key.value());
            if let Some(key) = next {
                self.forget(id_of(&key))?;
                self.due.remove(&key)?;
            }
        }
        Ok(())
    }
}

/// Readable rows of a person.
pub(super) fn of_subject(
    index: &impl ReadableTable<&'static [u8; 28], ()>,
    sessions: &impl ReadableTable<&'static [u8; 20], &'static [u8]>,
    (issuer, subject): (&IssuerId, &str),
    index_key: &[u8; 16],
) -> Result<Vec<SessionRecord>, Fault> {
    let (low, high) = ([0; 20], [0xff; 20]);
    let key = |id| subject_key(issuer, subject, SessionId(id), index_key);
    let mut found = Vec::new();
    for entry in index.range::<&[u8; 28]>(&key(low)..=&key(high))? {
        let id = id_of(entry?.0.value());
        let Some(row) = sessions.get(&id.0)? else { continue };
        let record = codec::decode_session(id, row.value()).ok();
        // Another subject may have the same hash.
        let theirs = |record: &SessionRecord| {
            record.issuer == *issuer && record.subject.as_deref() == Some(subject)
        };
        found.extend(record.filter(theirs));
    }
    Ok(found)
}

/// Where the indexes have a session: below its subject, and by its end.
pub(in super::super) fn keys(
    record: &SessionRecord,
    index_key: &[u8; 16],
) -> (Option<[u8; 28]>, [u8; 28]) {
    let id = record.id();
    let of_subject = |subject: &String| subject_key(&record.issuer, subject, id, index_key);
    (record.subject.as_ref().map(of_subject), due_key(record.kept_until, id))
}

fn subject_key(issuer: &IssuerId, subject: &str, id: SessionId, index_key: &[u8; 16]) -> [u8; 28] {
    let form = canonical::of_selector(issuer, &Selector::Subject(subject.to_owned()));
    joined(SelectorHash::of(&form, index_key).0, id)
}

fn due_key(at: UnixMs, id: SessionId) -> [u8; 28] {
    joined(u64::try_from(at.0).unwrap_or(0).to_be_bytes(), id)
}

pub(super) fn due_at(key: &[u8; 28]) -> UnixMs {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    let at = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    UnixMs(i64::try_from(at).unwrap_or(i64::MAX))
}

fn joined(first: [u8; 8], id: SessionId) -> [u8; 28] {
    let mut key = [0; 28];
    key.iter_mut().zip(first.iter().chain(&id.0)).for_each(|(to, from)| *to = *from);
    key
}

fn id_of(key: &[u8; 28]) -> SessionId {
    let [_, _, _, _, _, _, _, _, id @ ..] = *key;
    SessionId(id)
}
