//! A browser session as a row. Its id says nothing that the row does not, and is part of the check.

use std::net::IpAddr;

use crate::denylist::{DenialId, IssuerId, Selector, canonical};

use super::super::sessions::{SessionId, SessionRecord};
use super::bytes::{Reader, Row};
use super::{CodecError, VERSION_SESSION};

pub(in super::super) fn encode_session(record: &SessionRecord) -> Vec<u8> {
    let mut row = Row::of_version(VERSION_SESSION);
    row.bytes(record.issuer.as_str().as_bytes());
    row.optional(record.subject.as_deref(), |row, text| row.bytes(text.as_bytes()));
    row.bytes(record.session.as_bytes());
    row.byte(u8::from(record.named_here));
    row.time(record.first_seen);
    row.time(record.last_seen);
    let address = record.address.map(|address| address.to_string());
    row.optional(address.as_deref(), |row, text| row.bytes(text.as_bytes()));
    row.optional(record.user_agent.as_deref(), |row, text| row.bytes(text.as_bytes()));
    row.bytes(&canonical::of_selector(&record.issuer, &Selector::Token(record.token.clone())));
    row.optional(record.issued_at, Row::time);
    row.time(record.expires_at);
    row.time(record.kept_until);
    row.number(record.generation);
    row.finish(checked_by(record.id()))
}

pub(in super::super) fn decode_session(
    id: SessionId,
    row: &[u8],
) -> Result<SessionRecord, CodecError> {
    let mut row = Reader::open_session(checked_by(id), row)?;
    let record = read(&mut row).filter(|_| row.rest.is_empty());
    record.filter(|record| record.id() == id).ok_or(CodecError::Damaged)
}

fn read(row: &mut Reader<'_>) -> Option<SessionRecord> {
    let issuer = IssuerId::new(&row.text()?);
    let subject = row.optional(Reader::text)?;
    let session = row.text()?;
    let named_here = row.byte()? == 1;
    let (first_seen, last_seen) = (row.time()?, row.time()?);
    let address = row.optional(|row| row.text()?.parse::<IpAddr>().ok())?;
    let user_agent = row.optional(Reader::text)?;
    let (of, Selector::Token(token)) = canonical::read(row.bytes()?)? else { return None };
    if of != issuer {
        return None;
    }
    Some(SessionRecord {
        issuer,
        subject,
        session,
        named_here,
        first_seen,
        last_seen,
        address,
        user_agent,
        token,
        issued_at: row.optional(Reader::time)?,
        expires_at: row.time()?,
        kept_until: row.time()?,
        generation: row.number()?,
    })
}

/// The check sum is keyed by ten bytes.
fn checked_by(id: SessionId) -> DenialId {
    let [a, b, c, d, e, f, g, h, i, j, ..] = id.0;
    DenialId([a, b, c, d, e, f, g, h, i, j])
}
