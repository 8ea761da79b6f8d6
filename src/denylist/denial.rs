//! The records: an immutable denial, and the tombstone that takes it back.

use crate::clock::UnixMs;

use super::{Condition, Except, IssuerId, Selector};

/// Unique id of a denial: 80 bits, the first 44 the creation time in milliseconds, so ids sort by
/// time. Written `dn_` and 16 characters of Crockford's base 32, lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DenialId(pub [u8; 10]);

impl DenialId {
    /// Characters after the `dn_`.
    const CHARS: usize = 16;

    /// The creation time in the id's first 44 bits.
    pub fn created_at(self) -> UnixMs {
        UnixMs(i64::try_from(self.bits() >> 36).unwrap_or(i64::MAX))
    }

    /// The lowest and highest ids whose written form begins with `prefix` (`dn_` may be left out);
    /// `None` when no id is written so.
    pub fn range_of_prefix(prefix: &str) -> Option<(Self, Self)> {
        let digits = prefix
            .strip_prefix("dn_")
            .or_else(|| prefix.strip_prefix("DN_"))
            .unwrap_or(prefix)
            .as_bytes();
        if digits.len() > Self::CHARS {
            return None;
        }
        let mut bits = 0_u128;
        for digit in digits {
            bits = bits << 5 | u128::from(crockford_value(*digit)?);
        }
        let open = 5 * (Self::CHARS - digits.len());
        let low = bits << open;
        Some((Self::from_bits(low), Self::from_bits(low | ((1 << open) - 1))))
    }

    fn bits(self) -> u128 {
        self.0.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    }

    fn from_bits(bits: u128) -> Self {
        let [_, _, _, _, _, _, id @ ..] = bits.to_be_bytes();
        Self(id)
    }
}

impl std::fmt::Display for DenialId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = self.bits();
        let digits: [u8; Self::CHARS] = std::array::from_fn(|place| {
            let digit = usize::try_from(bits >> (5 * (Self::CHARS - 1 - place)) & 31).unwrap_or(0);
            CROCKFORD.get(digit).copied().unwrap_or(b'0')
        });
        // Written at once: a text of its own for each digit is what a busy admin API would notice.
        out.write_str("dn_")?;
        out.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

/// The text is not the written form of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAnId;

impl std::fmt::Display for NotAnId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an id is dn_ and 16 letters or digits, for example dn_0c4kq7t2m9xa5v3e")
    }
}

impl std::error::Error for NotAnId {}

impl std::str::FromStr for DenialId {
    type Err = NotAnId;

    /// Reads what `Display` writes, in either case, and what people misread: `o` is 0, `i` and `l`
    /// are 1. The `dn_` is required.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != 3 + Self::CHARS || !(text.starts_with("dn_") || text.starts_with("DN_")) {
            return Err(NotAnId);
        }
        Self::range_of_prefix(text).map(|(id, _)| id).ok_or(NotAnId)
    }
}

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn crockford_value(digit: u8) -> Option<u8> {
    let digit = match digit.to_ascii_lowercase() {
        b'o' => b'0',
        b'i' | b'l' => b'1',
        other => other,
    };
    CROCKFORD.iter().position(|known| *known == digit).and_then(|at| u8::try_from(at).ok())
}

/// Makes ids that rise strictly inside a process, also within one millisecond and when the wall
/// clock steps back. The 36 bits after the time begin at random, so that replicas do not meet.
#[derive(Debug)]
pub struct IdSource {
    last: u128,
    /// Drawn ahead: a call of the system's generator costs as much as writing a row.
    random: [u8; Self::AHEAD],
    used: usize,
}

impl Default for IdSource {
    fn default() -> Self {
        Self { last: 0, random: [0; Self::AHEAD], used: Self::AHEAD }
    }
}

impl IdSource {
    const AHEAD: usize = 512;

    pub fn next(&mut self, now: UnixMs) -> DenialId {
        let now_ms = u128::try_from(now.0).unwrap_or(0) & ((1 << 44) - 1);
        let random = u128::from(self.random() >> 28);
        let fresh = now_ms << 36 | random;
        // Within a millisecond a small random step: room for 65,000 ids in the mean, and beyond
        // that the time runs ahead by one.
        self.last = if now_ms > self.last >> 36 { fresh } else { self.last + 1 + (random >> 17) };
        DenialId::from_bits(self.last)
    }

    fn random(&mut self) -> u64 {
        if self.used >= Self::AHEAD {
            // Randomness only keeps replicas apart; without it ids are still unique in this process.
            let _ = aws_lc_rs::rand::fill(&mut self.random);
            self.used = 0;
        }
        let rest = self.random.get(self.used..).and_then(|rest| rest.first_chunk());
        self.used += size_of::<u64>();
        rest.copied().map_or(0, u64::from_be_bytes)
    }
}

/// By which door a change came in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Via {
    Api,
    Cli,
    Dashboard,
    Import,
    /// The gateway itself: a timed block that ended, a log-out that a wider one took the place of.
    Gateway,
}

impl Via {
    /// The metrics' label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Dashboard => "dashboard",
            Self::Import => "import",
            Self::Gateway => "gateway",
        }
    }
}

/// Who made a change, for the audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// Name of the admin credential, or `uid 1000` for a unix-socket peer.
    pub name: String,
    pub role: String,
    pub via: Via,
    /// Peer address, absent for a unix socket.
    pub address: Option<String>,
}

impl Actor {
    /// The role of whoever ends their own access.
    const SELF: &str = "self";
    const SUBJECT: &str = "subject ";

    /// The person whom a token names; of one that names nobody, whoever held it.
    pub fn holder(subject: Option<&str>, address: Option<String>) -> Self {
        let name = match subject {
            Some(subject) => format!("{}{subject}", Self::SUBJECT),
            None => Self::SELF.to_owned(),
        };
        Self { name, role: Self::SELF.to_owned(), via: Via::Api, address }
    }

    /// The gateway itself: nobody asked for it.
    pub fn gateway() -> Self {
        let name = Via::Gateway.as_str().to_owned();
        Self { role: name.clone(), name, via: Via::Gateway, address: None }
    }

    /// The person, where this is one who ended their own access.
    pub fn person(&self) -> Option<&str> {
        (self.role == Self::SELF).then(|| self.name.strip_prefix(Self::SUBJECT)).flatten()
    }
}

/// An immutable record: these tokens of this issuer are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    pub id: DenialId,
    pub issuer: IssuerId,
    pub selector: Selector,
    pub condition: Condition,
    /// Only with [`Condition::IssuedBefore`].
    pub except: Option<Except>,
    pub created_at: UnixMs,
    /// When the record may be forgotten because no token can match it any more, leeway included;
    /// `None`: until lifted.
    pub kept_until: Option<UnixMs>,
    /// When a timed block ends by itself; only with [`Condition::Always`].
    pub ends_at: Option<UnixMs>,
    pub reason: String,
    pub reference: Option<String>,
    pub created_by: Actor,
}

/// The tombstone of a denial. It may be known before the denial it names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lift {
    pub denial: DenialId,
    pub at: UnixMs,
    pub reason: Option<String>,
    pub by: Actor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_in_either_case_and_nothing_else_does() {
        let id = IdSource::default().next(UnixMs(1_795_259_641_211));
        let text = id.to_string();
        assert_eq!(text.len(), 19);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        assert_eq!(id.created_at(), UnixMs(1_795_259_641_211));
        for bad in [&text[3..], &text[..18], &format!("{text}0"), "dn_000000000000000u", ""] {
            assert_eq!(bad.parse::<DenialId>(), Err(NotAnId), "{bad}");
        }
    }

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_steps_back() {
        let mut source = IdSource::default();
        let mut last = source.next(UnixMs(1_000));
        for turn in 0..100_000 {
            let next = source.next(UnixMs(if turn % 3 == 0 { 1_000 } else { 900 }));
            assert!(next > last);
            assert!(next.to_string() > last.to_string(), "the text sorts as the id does");
            last = next;
        }
    }

    #[test]
    fn a_prefix_covers_its_ids_and_no_others() {
        let id = IdSource::default().next(UnixMs(1_795_259_641_211));
        let text = id.to_string();
        for length in 0..=16 {
            let (low, high) = DenialId::range_of_prefix(&text[..3 + length]).unwrap();
            assert!(low <= id && id <= high);
            assert_eq!(DenialId::range_of_prefix(&text[3..3 + length]), Some((low, high)));
        }
        let (low, high) = DenialId::range_of_prefix("dn_zz").unwrap();
        assert!(id < low && low < high);
        assert_eq!(DenialId::range_of_prefix("dn_u"), None);
        assert_eq!(DenialId::range_of_prefix("dn_00000000000000000"), None);
    }
}
