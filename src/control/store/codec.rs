//! The binary form of records on disk. A version byte first, a check of the whole at the end: a
//! row that was written by a later format or damaged is an error that says so, never a guess.

use siphasher::sip::SipHasher24;

use crate::clock::UnixMs;
use crate::denylist::{
    Actor, Condition, Denial, DenialId, Except, IssuerId, Lift, Selector, Via, canonical,
};

const VERSION: u8 = 1;
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
                "a record is of format {version}, this program knows {VERSION}: \
                 use the version that wrote it, or a later one"
            ),
            Self::Damaged => out.write_str("a record is damaged"),
        }
    }
}

/// A denial with its place in the log.
pub(super) fn encode_denial(sequence: u64, denial: &Denial) -> Vec<u8> {
    let mut row = Row::new();
    row.number(sequence);
    row.bytes(&canonical::of_selector(&denial.issuer, &denial.selector));
    match denial.condition {
        Condition::Always => row.byte(0),
        Condition::IssuedBefore(before) => {
            row.byte(1);
            row.time(before);
        }
        Condition::VersionBelow(version) => {
            row.byte(2);
            row.number(version);
        }
    }
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
    let mut row = Row::new();
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
        | Selector::Issuer => None,
    }
}

/// Damage is found, a row under the id of another too. An attacker is not kept out: who can write
/// the file owns it.
fn check(id: DenialId, row: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, e, f, g, h, i, j] = id.0;
    let key = (
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes([i, j, 0, 0, 0, 0, 0, 0]),
    );
    let [check @ .., _, _, _, _] = SipHasher24::new_with_keys(key.0, key.1).hash(row).to_le_bytes();
    check
}

/// A row being written. Numbers are LEB128, texts carry their length.
struct Row(Vec<u8>);

impl Row {
    fn new() -> Self {
        let mut row = Vec::with_capacity(192);
        row.push(VERSION);
        Self(row)
    }

    fn finish(mut self, id: DenialId) -> Vec<u8> {
        let check = check(id, &self.0);
        self.0.extend_from_slice(&check);
        self.0
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }

    fn time(&mut self, time: UnixMs) {
        self.0.extend_from_slice(&time.0.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.byte(0),
            Some(value) => {
                self.byte(1);
                write(self, value);
            }
        }
    }

    fn actor(&mut self, actor: &Actor) {
        self.bytes(actor.name.as_bytes());
        self.bytes(actor.role.as_bytes());
        self.byte(match actor.via {
            Via::Api => 0,
            Via::Cli => 1,
            Via::Dashboard => 2,
            Via::Import => 3,
            Via::Gateway => 4,
        });
        self.optional(actor.address.as_deref(), |row, text| row.bytes(text.as_bytes()));
    }
}

struct Reader<'r> {
    rest: &'r [u8],
}

impl<'r> Reader<'r> {
    /// Checks version and check sum.
    fn open(id: DenialId, row: &'r [u8]) -> Result<Self, CodecError> {
        let (body, sum) = row.split_last_chunk::<CHECK_BYTES>().ok_or(CodecError::Damaged)?;
        if check(id, body) != *sum {
            return Err(CodecError::Damaged);
        }
        match body.split_first() {
            Some((&VERSION, rest)) => Ok(Self { rest }),
            Some((&version, _)) => Err(CodecError::Version(version)),
            None => Err(CodecError::Damaged),
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && part > 1 {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn time(&mut self) -> Option<UnixMs> {
        let (time, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(UnixMs(i64::from_le_bytes(*time)))
    }

    fn bytes(&mut self) -> Option<&'r [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// The outer `None`: not readable.
    #[expect(clippy::option_option, reason = "absent and unreadable are different things here")]
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    fn condition(&mut self) -> Option<Condition> {
        match self.byte()? {
            0 => Some(Condition::Always),
            1 => self.time().map(Condition::IssuedBefore),
            2 => self.number().map(Condition::VersionBelow),
            _ => None,
        }
    }

    fn actor(&mut self) -> Option<Actor> {
        let name = self.text()?;
        let role = self.text()?;
        let via = match self.byte()? {
            0 => Via::Api,
            1 => Via::Cli,
            2 => Via::Dashboard,
            3 => Via::Import,
            4 => Via::Gateway,
            _ => return None,
        };
        Some(Actor { name, role, via, address: self.optional(Self::text)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denylist::TokenId;

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
        for denial in [full(), bare(), Denial { condition: Condition::Always, ..bare() }] {
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
        later[0] = VERSION + 1;
        later.extend(check(denial.id, &later));
        assert_eq!(decode_denial(denial.id, &later), Err(CodecError::Version(VERSION + 1)));
        assert!(CodecError::Version(2).to_string().contains("format 2"));
        // Well checked and yet not a record: something follows it.
        let mut longer = row[..row.len() - CHECK_BYTES].to_vec();
        longer.push(0);
        longer.extend(check(denial.id, &longer));
        assert_eq!(decode_denial(denial.id, &longer), Err(CodecError::Damaged));
    }
}
