//! Request ids: unique, short, without meaning. A random prefix per core and a counter.

use std::cell::Cell;

use http::HeaderValue;

/// See the module.
pub struct RequestIds {
    prefix: u64,
    next: Cell<u64>,
}

impl RequestIds {
    pub fn new(index: usize) -> Self {
        let mut random = [0; 8];
        // An id need not be secret; without randomness the core's number still tells them apart.
        aws_lc_rs::rand::fill(&mut random).ok();
        let prefix = u64::from_le_bytes(random) ^ index as u64;
        Self { prefix: prefix & 0xFF_FFFF_FFFF, next: Cell::new(0) }
    }

    pub fn next(&self) -> HeaderValue {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let count = self.next.replace(self.next.get().wrapping_add(1));
        let mut text = [b'0'; 16];
        let mut value = (u128::from(self.prefix) << 40) | u128::from(count & 0xFF_FFFF_FFFF);
        for place in text.iter_mut().rev() {
            *place = ALPHABET.get((value & 31) as usize).copied().unwrap_or(b'0');
            value >>= 5;
        }
        let id = HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"));
        unlike_others(id)
    }
}

/// A value that no other message repeats: HTTP/2 keeps it out of its table of headers (RFC 7541 section
/// 6.2.3), where each would push out one that is repeated.
pub fn unlike_others(mut id: HeaderValue) -> HeaderValue {
    id.set_sensitive(true);
    id
}
