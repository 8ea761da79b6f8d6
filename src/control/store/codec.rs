//! The binary form of records on disk. A version byte first, a check of the whole at the end: a
//! row that was written by a later format or damaged is an error that says so, never a guess.

pub(super) mod acts;
mod bytes;
mod session;

use crate::denylist::{Condition, Denial, DenialId, Except, IssuerId, Lift, Selector, canonical};

use self::bytes::{Reader, Row};

pub(super) use self::session::{decode_session, encode_session};

const VERSION: u8 = 1;
/// A record that lets pass rather than denies: a program that does not know of such must not take it
/// for a denial, nor drop it.
const VERSION_REGISTRATION: u8 = 2;
/// A browser session, which is in tables of its own.
const VERSION_SESSION: u8 = 3;
const CHECK_BYTES: usize = 4;

/// Why a row cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CodecError {
    /// Written by a later version of the program.
    Version(u8),
    /// Not what was written.
    Damaged,
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(
                out,
                "a record is of format {version}, this program knows {VERSION_REGISTRATION}: \
                 use the version that wrote it, or a later one"
            ),
            Self::Damaged => out.write_str("a record is damaged"),
        }
    }
}

/// A denial with its place in the log.
pub(super) fn encode_denial(sequence: u64, denial: &Denial) -> Vec<u8> {
    let mut row = match denial.selector {
        Selector::Registration(_) => Row::of_version(VERSION_REGISTRATION),
        Selector::Token(_)
        | Selector::Session(_)
        | Selector::Subject(_)
        | Selector::Client(_)
        | Selector::Key(_)
        | Selector::Claim { .. }
        | Selector::Issuer => Row::of_version(VERSION),
    };
    row.number(sequence);
    row.bytes(&canonical::of_selector(&denial.issuer, &denial.selector));
    row.condition(denial.condition);
    row.optional(denial.except.as_ref(), |row, except| {
        row.bytes(&except_form(&denial.issuer, except));
    });
    row.time(denial.created_at);
    row.optional(denial.kept_until, Row::time);
    row.optional(denial.ends_at, Row::time);
    row.bytes(denial.reason.as_bytes());
    row.optional(denial.reference.as_deref(), |row, text| row.bytes(text.as_bytes()));
    row.actor(&denial.created_by);
    row.finish(denial.id)
}

pub(super) fn decode_denial(id: DenialId, row: &[u8]) -> Result<(u64, Denial), CodecError> {
    let mut row = Reader::open(id, row)?;
    read_denial(id, &mut row).filter(|_| row.rest.is_empty()).ok_or(CodecError::Damaged)
}

/// What the hot table needs of a denial, without copying its texts.
pub(super) struct Hot<'r> {
    pub(super) form: &'r [u8],
    pub(super) condition: Condition,
    pub(super) except: Option<&'r [u8]>,
}

pub(super) fn decode_hot(id: DenialId, row: &[u8]) -> Result<Hot<'_>, CodecError> {
    let mut row = Reader::open(id, row)?;
    let mut read = || {
        row.number()?;
        let form = row.bytes()?;
        let condition = row.condition()?;
        let except = row.optional(Reader::bytes)?;
        Some(Hot { form, condition, except })
    };
    read().ok_or(CodecError::Damaged)
}

fn read_denial(id: DenialId, row: &mut Reader<'_>) -> Option<(u64, Denial)> {
    let sequence = row.number()?;
    let (issuer, selector) = canonical::read(row.bytes()?)?;
    let condition = row.condition()?;
    let except = match row.optional(Reader::bytes)? {
        Some(form) => Some(read_except(&issuer, form)?),
        None => None,
    };
    let denial = Denial {
        id,
        issuer,
        selector,
        condition,
        except,
        created_at: row.time()?,
        kept_until: row.optional(Reader::time)?,
        ends_at: row.optional(Reader::time)?,
        reason: row.text()?,
        reference: row.optional(Reader::text)?,
        created_by: row.actor()?,
    };
    Some((sequence, denial))
}

pub(super) fn encode_lift(sequence: u64, lift: &Lift) -> Vec<u8> {
    let mut row = Row::of_version(VERSION);
    row.number(sequence);
    row.time(lift.at);
    row.optional(lift.reason.as_deref(), |row, text| row.bytes(text.as_bytes()));
    row.actor(&lift.by);
    row.finish(lift.denial)
}

pub(super) fn decode_lift(id: DenialId, row: &[u8]) -> Result<(u64, Lift), CodecError> {
    let mut row = Reader::open(id, row)?;
    let mut read = || {
        let sequence = row.number()?;
        let lift = Lift {
            denial: id,
            at: row.time()?,
            reason: row.optional(Reader::text)?,
            by: row.actor()?,
        };
        row.rest.is_empty().then_some((sequence, lift))
    };
    read().ok_or(CodecError::Damaged)
}

fn except_form(issuer: &IssuerId, except: &Except) -> Vec<u8> {
    let selector = match except {
        Except::Session(session) => Selector::Session(session.clone()),
        Except::Token(token) => Selector::Token(token.clone()),
    };
    canonical::of_selector(issuer, &selector)
}

fn read_except(issuer: &IssuerId, form: &[u8]) -> Option<Except> {
    let (of, selector) = canonical::read(form)?;
    match selector {
        Selector::Session(session) if of == *issuer => Some(Except::Session(session)),
        Selector::Token(token) if of == *issuer => Some(Except::Token(token)),
        Selector::Session(_)
        | Selector::Token(_)
        | Selector::Subject(_)
        | Selector::Client(_)
        | Selector::Key(_)
        | Selector::Claim { .. }
        | Selector::Issuer
        | Selector::Registration(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::bytes::check;
    use super::*;
    use crate::clock::UnixMs;
    use crate::denylist::{Actor, TokenId, Via};

    fn full() -> Denial {
        Denial {
            id: DenialId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            issuer: IssuerId::new("https://id.example.com/"),
            selector: Selector::Claim { name: "tenant".into(), value: "é\0".into() },
            condition: Condition::IssuedBefore(UnixMs(-1)),
            except: Some(Except::Token(TokenId::Digest([3; 32]))),
            created_at: UnixMs(1_795_259_641_211),
            kept_until: Some(UnixMs(i64::MAX)),
            ends_at: Some(UnixMs(0)),
            reason: "lost \u{1f4bb}".into(),
            reference: Some(String::new()),
            created_by: Actor {
                name: "dana".into(),
                role: "admin".into(),
                via: Via::Import,
                address: Some("::1".into()),
            },
        }
    }

    fn bare() -> Denial {
        Denial {
            selector: Selector::Issuer,
            condition: Condition::VersionBelow(u64::MAX),
            except: None,
            kept_until: None,
            ends_at: None,
            reference: None,
            ..full()
        }
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let always = Denial { condition: Condition::Always, ..bare() };
        let registration = Except::Session("s-1".into());
        let registration =
            Denial { selector: Selector::Registration(registration), ..always.clone() };
        for denial in [full(), bare(), always, registration] {
            let row = encode_denial(u64::MAX, &denial);
            assert_eq!(decode_denial(denial.id, &row), Ok((u64::MAX, denial.clone())));
            let hot = decode_hot(denial.id, &row).unwrap();
            assert_eq!(hot.form, canonical::of_selector(&denial.issuer, &denial.selector));
            assert_eq!(
                (hot.condition, hot.except.is_some()),
                (denial.condition, denial.except.is_some())
            );
        }
        for reason in [None, Some("false alarm".to_owned())] {
            let lift = Lift { denial: full().id, at: UnixMs(7), reason, by: full().created_by };
            assert_eq!(decode_lift(lift.denial, &encode_lift(9, &lift)), Ok((9, lift)));
        }
    }

    #[test]
    fn a_damaged_row_a_foreign_one_and_one_of_a_later_format_are_errors() {
        let denial = full();
        let row = encode_denial(1, &denial);
        for place in 0..row.len() {
            let mut damaged = row.clone();
            damaged[place] ^= 1;
            assert_eq!(decode_denial(denial.id, &damaged), Err(CodecError::Damaged));
            assert_eq!(decode_denial(denial.id, &row[..place]), Err(CodecError::Damaged));
        }
        assert_eq!(decode_denial(DenialId([0; 10]), &row), Err(CodecError::Damaged));
        let mut later = row[..row.len() - CHECK_BYTES].to_vec();
        later[0] = VERSION_REGISTRATION + 1;
        later.extend(check(denial.id, &later));
        assert_eq!(decode_denial(denial.id, &later), Err(CodecError::Version(3)));
        assert!(CodecError::Version(3).to_string().contains("format 3"));
        // Well checked and yet not a record: something follows it.
        let mut longer = row[..row.len() - CHECK_BYTES].to_vec();
        longer.push(0);
        longer.extend(check(denial.id, &longer));
        assert_eq!(decode_denial(denial.id, &longer), Err(CodecError::Damaged));
    }
}
