//! The `traceparent` header (W3C Trace Context, section 3.2), read strictly and written anew.

use std::cell::Cell;
use std::fmt;
use std::hash::Hasher as _;

use http::HeaderValue;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceId([u8; 16]);

/// 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanId([u8; 8]);

/// What a caller sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    pub trace: TraceId,
    pub span: SpanId,
    pub sampled: bool,
}

impl Parent {
    /// `00-<32 hex>-<16 hex>-<2 hex>`; a later version may have more behind (section 3.2.4).
    /// `None`: it is to be ignored, and a new trace begins.
    pub fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split('-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let trace = TraceId(hex(parts.next()?)?);
        let span = SpanId(hex(parts.next()?)?);
        let flags: [u8; 1] = hex(parts.next()?)?;
        let ends = parts.next().is_none();
        let known = match version {
            [0] => ends,
            [0xFF] => false,
            _ => true,
        };
        let sampled = flags.first().is_some_and(|flags| flags & 1 == 1);
        let good = known && trace.0 != [0; 16] && span.0 != [0; 8];
        good.then_some(Self { trace, span, sampled })
    }
}

/// Exactly `N` bytes in lower-case hexadecimal.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

/// What the upstream gets: our span is its parent.
pub fn header(trace: &TraceId, span: &SpanId) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("00-{trace}-{span}-01")).ok()
}

impl fmt::Display for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A core's source of ids: a keyed hash of a counter, so that none comes twice and none is free of
/// randomness.
pub(super) struct Ids {
    key: [u8; 16],
    next: Cell<u64>,
}

impl Ids {
    pub fn random() -> Self {
        let mut key = [0; 16];
        // An id need not be secret; without randomness the clock and the address space tell apart.
        if aws_lc_rs::rand::fill(&mut key).is_err() {
            key = (u128::from(std::process::id()) << 64
                | u128::from(crate::clock::UnixMs::now().0.unsigned_abs()))
            .to_le_bytes();
        }
        Self { key, next: Cell::new(0) }
    }

    pub fn trace(&self) -> TraceId {
        TraceId(self.hash())
    }

    pub fn span(&self) -> SpanId {
        let [a, b, c, d, e, f, g, h, ..] = self.hash();
        SpanId([a, b, c, d, e, f, g, h])
    }

    fn hash(&self) -> [u8; 16] {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u64(self.next.replace(self.next.get().wrapping_add(1)));
        let bytes = hasher.finish128().as_bytes();
        // All zero means "no id"; one chance in 2^64 is no reason for a broken trace.
        if bytes.first_chunk::<8>() == Some(&[0; 8]) { [1; 16] } else { bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_standard_says_and_its_near_misses_are_ignored() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = |text: &str| Parent::read(text.as_bytes());
        assert!(read(good).is_some_and(|parent| parent.sampled));
        assert!(read(&good.replace("-01", "-00")).is_some_and(|parent| !parent.sampled));
        assert!(read(&good.replacen("00", "cc", 1)).is_some());
        assert!(read(&format!("{}-what-the-future", good.replacen("00", "cc", 1))).is_some());
        for bad in [
            format!("{good}-x"),
            good.replacen("00", "ff", 1),
            good.to_uppercase(),
            good.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            good.replace("b7ad6b7169203331", "0000000000000000"),
            good.replace("b7ad", "b7a"),
            good.replace('-', "_"),
            String::new(),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_differ_from_each_other_and_from_another_cores() {
        let (one, two) = (Ids::random(), Ids::random());
        let all: std::collections::HashSet<String> =
            (0..1000).flat_map(|_| [one.trace().to_string(), two.trace().to_string()]).collect();
        assert_eq!(all.len(), 2000);
        assert_ne!(one.span(), one.span());
    }
}
