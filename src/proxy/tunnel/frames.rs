//! WebSocket frame boundaries (RFC 6455 section 5.2): where a stream of bytes stands between
//! frames. Headers are read, payloads are counted and never looked at.

/// Follows one direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    header: [u8; 14],
    have: usize,
    /// Payload bytes of the current frame that are still to come.
    payload: u64,
    /// A close frame has begun; nothing may follow it (section 5.5.1).
    closing: bool,
}

/// Of a close frame, without the flags (section 11.8).
const CLOSE: u8 = 0x8;

impl Frames {
    /// Nothing of a frame has passed that has not passed whole.
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// A close frame has passed.
    pub fn has_closed(&self) -> bool {
        self.closing && self.at_boundary()
    }

    /// These bytes have passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// How many of these bytes are needed to reach the next boundary; `None` if they do not reach
    /// it. At a boundary: none.
    pub fn to_boundary(&self, bytes: &[u8]) -> Option<usize> {
        let mut ahead = self.clone();
        let mut at = 0;
        while !ahead.at_boundary() {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
            at += ahead.step(rest);
        }
        Some(at)
    }

    /// Takes bytes up to the end of the header, or of the frame.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.payload > 0 {
            let taken = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
            self.payload -= taken as u64;
            return taken;
        }
        let wanted = self.header_bytes() - self.have;
        let taken = wanted.min(bytes.len());
        for (place, byte) in self.header.iter_mut().skip(self.have).zip(bytes.iter().take(taken)) {
            *place = *byte;
        }
        self.have += taken;
        if self.have >= 2 && self.have == self.header_bytes() {
            self.payload = self.payload_bytes();
            self.have = 0;
            let [first, ..] = self.header;
            self.closing |= first & 0xf == CLOSE;
        }
        taken
    }

    /// Length of the header as far as it is known: two bytes tell the rest.
    fn header_bytes(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let [_, second, ..] = self.header;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload_bytes(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.header;
        match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            // The highest bit must be 0 (section 5.2); a peer that sets it counts for itself.
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }
}

/// A close frame (section 5.5.1). `mask`: towards a server (section 5.3).
pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes().get(..123).unwrap_or(reason.as_bytes()));
    let length = u8::try_from(payload.len()).unwrap_or(125);
    let mut frame = vec![0x88, length | if mask.is_some() { 0x80 } else { 0 }];
    if let Some(mask) = mask {
        frame.extend_from_slice(&mask);
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
    }
    frame.append(&mut payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mut bytes = vec![0x82];
        let mask = if masked { 0x80 } else { 0 };
        if length < 126 {
            bytes.push(length as u8 | mask);
        } else if length < 65536 {
            bytes.push(126 | mask);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        } else {
            bytes.push(127 | mask);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
        if masked {
            bytes.extend_from_slice(&[1, 2, 3, 4]);
        }
        bytes.extend(std::iter::repeat_n(7, length));
        bytes
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_are_cut() {
        for length in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
            for masked in [false, true] {
                let bytes = frame(length, masked);
                for chunk in [1, 2, 3, 7, 1000, 100_000] {
                    let mut frames = Frames::default();
                    for (index, part) in bytes.chunks(chunk).enumerate() {
                        frames.pass(part);
                        let end = (index + 1) * chunk >= bytes.len();
                        assert_eq!(frames.at_boundary(), end, "{length} {masked} {chunk} {index}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_way_to_the_boundary_stops_there() {
        let mut frames = Frames::default();
        assert_eq!(frames.to_boundary(b"anything"), Some(0));
        let two = [frame(300, true), frame(5, true)].concat();
        frames.pass(&two[..10]);
        assert_eq!(frames.to_boundary(&two[10..]), Some(308 - 10));
        assert_eq!(frames.to_boundary(&two[10..100]), None);
    }

    #[test]
    fn a_close_frame_reads_back() {
        assert_eq!(close(1008, "revoked", None), b"\x88\x09\x03\xf0revoked");
        let mut frames = Frames::default();
        frames.pass(&frame(5, true));
        frames.pass(&close(1000, "", None)[..3]);
        assert!(!frames.has_closed());
        frames.pass(b"\xe8");
        assert!(frames.has_closed());
        let masked = close(1001, "", Some([1, 2, 3, 4]));
        assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]);
    }
}
