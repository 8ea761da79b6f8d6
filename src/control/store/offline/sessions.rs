//! Browser sessions of a store that no process has open: do their indexes say what they say, and
//! into a new file with those that can be read. They deny nothing, so that one that is lost costs a
//! line in somebody's list and a login.

use redb::ReadableTableMetadata as _;
use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _};

use super::super::codec;
use super::super::rows::Fault;
use super::super::schema;
use super::super::sessions::{SessionId, SessionRecord, SessionRows, keys, present};
use super::ROWS;
use super::check::Checked;

pub(super) fn check(
    transaction: &ReadTransaction,
    index_key: &[u8; 16],
    checked: &mut Checked,
) -> Result<(), Fault> {
    let Some(sessions) = present(transaction.open_table(schema::SESSIONS))? else {
        return Ok(());
    };
    let by_subject = transaction.open_table(schema::SESSIONS_BY_SUBJECT)?;
    let due = transaction.open_table(schema::SESSIONS_DUE)?;
    let mut with_subject = 0;
    for entry in sessions.iter()? {
        let (id, row) = entry?;
        let id = SessionId(*id.value());
        checked.sessions += 1;
        let record = match codec::decode_session(id, row.value()) {
            Ok(record) => record,
            Err(error) => {
                checked.wrong(format!("the session {} cannot be read: {error}", id.text()));
                continue;
            }
        };
        let (subject, end) = keys(&record, index_key);
        let by_subject = match subject {
            Some(key) => by_subject.get(&key)?.is_some(),
            None => true,
        };
        with_subject += u64::from(subject.is_some());
        let indexed = by_subject && due.get(&end)?.is_some();
        checked.expect(indexed, || format!("the session {} is not in its index", id.text()));
    }
    let (subjects, ends, all) = (by_subject.len()?, due.len()?, checked.sessions);
    checked.expect(subjects == with_subject && ends == all, || {
        format!(
            "the indexes of {all} sessions have {subjects} entries by subject and {ends} by end"
        )
    });
    Ok(())
}

/// Copies what can be read; how many.
pub(super) fn copy(from: &Database, to: &Database, index_key: &[u8; 16]) -> Result<u64, Fault> {
    let transaction = from.begin_read()?;
    let Some(sessions) = present(transaction.open_table(schema::SESSIONS))? else {
        return Ok(0);
    };
    let mut waiting = Vec::new();
    let mut copied = 0;
    for entry in sessions.iter()? {
        let (id, row) = entry?;
        waiting.extend(codec::decode_session(SessionId(*id.value()), row.value()).ok());
        if waiting.len() >= ROWS {
            copied += write(to, &mut waiting, index_key)?;
        }
    }
    Ok(copied + write(to, &mut waiting, index_key)?)
}

fn write(
    to: &Database,
    waiting: &mut Vec<SessionRecord>,
    index_key: &[u8; 16],
) -> Result<u64, Fault> {
    let count = waiting.len() as u64;
    let transaction = to.begin_write()?;
    {
        let mut rows = SessionRows::open(&transaction, index_key)?;
        waiting.drain(..).try_for_each(|record| rows.put(&record))?;
    }
    transaction.commit()?;
    Ok(count)
}
