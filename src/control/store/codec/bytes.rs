//! Rows as bytes: version, body, check. Numbers are LEB128, times eight bytes, texts carry their
//! length.

use siphasher::sip::SipHasher24;

use crate::clock::UnixMs;
use crate::denylist::{Actor, Condition, DenialId, Via};

use super::{CHECK_BYTES, CodecError, VERSION, VERSION_REGISTRATION, VERSION_SESSION};

/// Damage is found, a row under the id of another too. An attacker is not kept out: who can write
/// the file owns it.
pub(super) fn check(id: DenialId, row: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, e, f, g, h, i, j] = id.0;
    let key = (
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes([i, j, 0, 0, 0, 0, 0, 0]),
    );
    let [check @ .., _, _, _, _] = SipHasher24::new_with_keys(key.0, key.1).hash(row).to_le_bytes();
    check
}

/// A row being written. Numbers are LEB128, texts carry their length.
pub(super) struct Row(Vec<u8>);

impl Row {
    pub(super) fn of_version(version: u8) -> Self {
        let mut row = Vec::with_capacity(192);
        row.push(version);
        Self(row)
    }

    pub(super) fn finish(mut self, id: DenialId) -> Vec<u8> {
        let check = check(id, &self.0);
        self.0.extend_from_slice(&check);
        self.0
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }

    pub(super) fn time(&mut self, time: UnixMs) {
        self.0.extend_from_slice(&time.0.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.byte(0),
            Some(value) => {
                self.byte(1);
                write(self, value);
            }
        }
    }

    pub(super) fn condition(&mut self, condition: Condition) {
        match condition {
            Condition::Always => self.byte(0),
            Condition::IssuedBefore(before) => {
                self.byte(1);
                self.time(before);
            }
            Condition::VersionBelow(version) => {
                self.byte(2);
                self.number(version);
            }
        }
    }

    pub(super) fn actor(&mut self, actor: &Actor) {
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

pub(super) struct Reader<'r> {
    pub(super) rest: &'r [u8],
}

impl<'r> Reader<'r> {
    /// Checks version and check sum.
    pub(super) fn open(id: DenialId, row: &'r [u8]) -> Result<Self, CodecError> {
        match Self::checked(id, row)? {
            (VERSION | VERSION_REGISTRATION, rest) => Ok(Self { rest }),
            (version, _) => Err(CodecError::Version(version)),
        }
    }

    /// Of a row that is neither a record nor a tombstone.
    pub(super) fn open_session(id: DenialId, row: &'r [u8]) -> Result<Self, CodecError> {
        match Self::checked(id, row)? {
            (VERSION_SESSION, rest) => Ok(Self { rest }),
            (version, _) => Err(CodecError::Version(version)),
        }
    }

    fn checked(id: DenialId, row: &'r [u8]) -> Result<(u8, &'r [u8]), CodecError> {
        let (body, sum) = row.split_last_chunk::<CHECK_BYTES>().ok_or(CodecError::Damaged)?;
        if check(id, body) != *sum {
            return Err(CodecError::Damaged);
        }
        body.split_first().map(|(version, rest)| (*version, rest)).ok_or(CodecError::Damaged)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
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

    pub(super) fn time(&mut self) -> Option<UnixMs> {
        let (time, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(UnixMs(i64::from_le_bytes(*time)))
    }

    pub(super) fn bytes(&mut self) -> Option<&'r [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// The outer `None`: not readable.
    #[expect(clippy::option_option, reason = "absent and unreadable are different things here")]
    pub(super) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    pub(super) fn condition(&mut self) -> Option<Condition> {
        match self.byte()? {
            0 => Some(Condition::Always),
            1 => self.time().map(Condition::IssuedBefore),
            2 => self.number().map(Condition::VersionBelow),
            _ => None,
        }
    }

    pub(super) fn actor(&mut self) -> Option<Actor> {
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
