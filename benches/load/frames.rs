//! WebSocket frames as far as an echo needs them. Clients mask with zeros, so that a payload is the
//! same on both sides of the mask and nobody's time goes into it.

use bytes::{Buf, BufMut, BytesMut};

pub const TEXT: u8 = 0x81;
pub const CLOSE: u8 = 0x88;

/// A frame: its first byte and its payload.
pub struct Frame {
    pub first: u8,
    pub payload: BytesMut,
}

/// The next whole frame, if there is one.
pub fn take(buffer: &mut BytesMut) -> Option<Frame> {
    let (&first, &second) = (buffer.first()?, buffer.get(1)?);
    let (mut at, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let length = usize::try_from(length).expect("a frame that fits in memory");
    let mask: Option<[u8; 4]> = match second & 0x80 {
        0 => None,
        _ => Some(buffer.get(at..at + 4)?.try_into().ok()?),
    };
    at += if mask.is_some() { 4 } else { 0 };
    if buffer.len() < at + length {
        buffer.reserve(at + length - buffer.len());
        return None;
    }
    buffer.advance(at);
    let mut payload = buffer.split_to(length);
    if let Some(mask) = mask.filter(|mask| *mask != [0; 4]) {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    Some(Frame { first, payload })
}

/// Appends a frame; a client's is masked.
pub fn put(out: &mut BytesMut, first: u8, payload: &[u8], masked: bool) {
    let bit = if masked { 0x80 } else { 0 };
    out.put_u8(first);
    match payload.len() {
        short @ 0..126 => out.put_u8(bit | u8::try_from(short).unwrap()),
        middle @ 126..65_536 => {
            out.put_u8(bit | 126);
            out.put_u16(u16::try_from(middle).unwrap());
        }
        long => {
            out.put_u8(bit | 127);
            out.put_u64(long as u64);
        }
    }
    if masked {
        out.put_slice(&[0; 4]);
    }
    out.put_slice(payload);
}
