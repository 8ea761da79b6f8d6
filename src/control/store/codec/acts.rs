//! The binary form of an act of the audit. Its check is made with its sequence, so that a row under
//! the place of another is found.

use crate::clock::UnixMs;
use crate::denylist::{DenialId, canonical};

use super::bytes::{Reader, Row};
use super::{CodecError, VERSION, except_form, read_except};
use crate::control::store::acts::{Act, Deed, What};

/// Numbers of one act at the most.
const COUNTS_MAX: u64 = 16;

/// `taken`: by the guarded clock, which says when it may be forgotten.
pub(in crate::control::store) fn encode(taken: UnixMs, act: &Act) -> Vec<u8> {
    let mut row = Row::of_version(VERSION);
    row.time(taken);
    row.byte(act.deed.code());
    row.time(act.at);
    row.actor(&act.by);
    row.optional(act.denial, |row, id| row.bytes(&id.0));
    row.optional(act.what.as_ref(), what);
    row.optional(act.reason.as_deref(), |row, text| row.bytes(text.as_bytes()));
    row.number(act.counts.len() as u64);
    for (name, count) in &act.counts {
        row.bytes(name.as_bytes());
        row.number(*count);
    }
    row.finish(place(act.sequence))
}

fn what(row: &mut Row, what: &What) {
    row.bytes(&canonical::of_selector(&what.issuer, &what.selector));
    row.condition(what.condition);
    row.optional(what.except.as_ref(), |row, except| {
        row.bytes(&except_form(&what.issuer, except));
    });
    row.optional(what.reference.as_deref(), |row, text| row.bytes(text.as_bytes()));
    row.optional(what.ends_at, Row::time);
}

/// When it was taken, and the act.
pub(in crate::control::store) fn decode(
    sequence: u64,
    row: &[u8],
) -> Result<(UnixMs, Act), CodecError> {
    let mut row = Reader::open(place(sequence), row)?;
    read(sequence, &mut row).filter(|_| row.rest.is_empty()).ok_or(CodecError::Damaged)
}

/// When it was taken, without reading the rest.
pub(in crate::control::store) fn taken(sequence: u64, row: &[u8]) -> Result<UnixMs, CodecError> {
    Reader::open(place(sequence), row)?.time().ok_or(CodecError::Damaged)
}

fn read(sequence: u64, row: &mut Reader<'_>) -> Option<(UnixMs, Act)> {
    let taken = row.time()?;
    let deed = Deed::of_code(row.byte()?)?;
    let at = row.time()?;
    let by = row.actor()?;
    let denial = match row.optional(Reader::bytes)? {
        Some(id) => Some(DenialId(id.try_into().ok()?)),
        None => None,
    };
    let what = row.optional(read_what)?;
    let reason = row.optional(Reader::text)?;
    let count = row.number().filter(|count| *count <= COUNTS_MAX)?;
    let counts = (0..count).map(|_| Some((row.text()?, row.number()?))).collect::<Option<_>>()?;
    Some((taken, Act { sequence, at, deed, by, denial, what, reason, counts }))
}

fn read_what(row: &mut Reader<'_>) -> Option<What> {
    let (issuer, selector) = canonical::read(row.bytes()?)?;
    let condition = row.condition()?;
    let except = match row.optional(Reader::bytes)? {
        Some(form) => Some(read_except(&issuer, form)?),
        None => None,
    };
    let reference = row.optional(Reader::text)?;
    let ends_at = row.optional(Reader::time)?;
    Some(What { issuer, selector, condition, except, reference, ends_at })
}

/// A sequence in the place of an id.
fn place(sequence: u64) -> DenialId {
    let mut id = [0; 10];
    id.iter_mut().zip(sequence.to_be_bytes()).for_each(|(to, from)| *to = from);
    DenialId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denylist::{Actor, Condition, Except, IssuerId, Selector};

    #[test]
    fn an_act_reads_back_as_it_was_written_and_a_damaged_or_moved_one_is_an_error() {
        let what = What {
            issuer: IssuerId::new("https://id.example.com/"),
            selector: Selector::Subject("alice".into()),
            condition: Condition::IssuedBefore(UnixMs(7)),
            except: Some(Except::Session("s-1".into())),
            reference: Some("INC-1".into()),
            ends_at: None,
        };
        let full = Act {
            sequence: 9,
            at: UnixMs(1_795_259_641_211),
            deed: Deed::Denied,
            by: Actor::gateway(),
            denial: Some(DenialId([3; 10])),
            what: Some(what),
            reason: Some("lost laptop".into()),
            counts: Vec::new(),
        };
        let bare = Act {
            deed: Deed::Imported,
            denial: None,
            what: None,
            reason: None,
            counts: vec![("denials".into(), 7), ("lifts".into(), u64::MAX)],
            ..full.clone()
        };
        for act in [full, bare] {
            let row = encode(UnixMs(5), &act);
            assert_eq!(decode(9, &row), Ok((UnixMs(5), act)));
            assert_eq!(taken(9, &row), Ok(UnixMs(5)));
            assert_eq!(decode(8, &row), Err(CodecError::Damaged));
            for at in 0..row.len() {
                let mut damaged = row.clone();
                damaged[at] ^= 1;
                assert!(decode(9, &damaged).is_err());
            }
        }
        for deed in Deed::ALL {
            assert_eq!(Deed::of_code(deed.code()), Some(deed));
        }
    }
}
