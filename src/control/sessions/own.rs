//! A person's own sessions: seen and ended by their owner, and by nobody else.

use crate::clock::UnixMs;
use crate::desk::{By, DeskFault, EndOne, Gone, Own, OwnSession};

use super::{Record, Sessions, told};

impl Sessions {
    /// The one used last first. None of a token that says no subject.
    pub(super) fn list(&self, own: &Own) -> Result<Vec<OwnSession>, DeskFault> {
        let shown = |record: Record| OwnSession {
            id: record.id().text(),
            current: is_current(own, &record),
            first_seen: record.first_seen,
            last_seen: record.last_seen,
            address: record.address,
            user_agent: record.user_agent,
        };
        Ok(self.records_of(own)?.into_iter().map(shown).collect())
    }

    pub(super) async fn end_one(&self, own: &Own, one: &EndOne) -> Result<Gone, DeskFault> {
        let mut records = self.records_of(own)?.into_iter();
        let Some(record) = records.find(|record| record.id().text() == one.id) else {
            return Ok(Gone::Absent);
        };
        let gone = if is_current(own, &record) { Gone::Current } else { Gone::Other };
        let end = record.end(By::Holder(one.address), "ended by its owner".into());
        self.end(&[end]).await.map_err(|fault| told(&fault))?;
        Ok(gone)
    }

    fn records_of(&self, own: &Own) -> Result<Vec<Record>, DeskFault> {
        let Some(subject) = own.signed.subject() else { return Ok(Vec::new()) };
        let issuer = &own.signed.policy().id;
        let found = self.records.of_subject(issuer, subject, UnixMs::now());
        found.map_err(|fault| told(&fault))
    }
}

fn is_current(own: &Own, record: &Record) -> bool {
    match own.signed.session() {
        Some(session) => record.session == session,
        None => {
            let named = own.named_here.as_deref() == Some(&record.session);
            record.named_here && (named || record.token == *own.signed.token_id())
        }
    }
}
