//! A body in chunks (RFC 9112 section 7.1), piece by piece as it comes.

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Status, parse_headers};

use super::WireFault;

/// A size with its extensions, which say nothing to us.
const SIZE_BYTES_MAX: usize = 4 * 1024;
const TRAILER_BYTES_MAX: usize = 16 * 1024;
const TRAILERS_MAX: usize = 100;

/// What is read next.
#[derive(Default, Debug)]
pub enum Chunked {
    #[default]
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The line's end behind a chunk.
    DataEnd,
    Trailers,
    Over,
}

/// What has come.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

impl Chunked {
    /// The next piece; `None`: more has to come first.
    pub fn next(&mut self, ahead: &mut Bytes) -> Result<Option<Piece>, WireFault> {
        loop {
            match self {
                Self::Size => {
                    let Some((length, size)) = size(ahead)? else {
                        within(ahead.len(), SIZE_BYTES_MAX)?;
                        return Ok(None);
                    };
                    within(length, SIZE_BYTES_MAX)?;
                    ahead.advance(length);
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                }
                Self::Data(_) if ahead.is_empty() => return Ok(None),
                Self::Data(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let data = ahead.split_to(most.min(ahead.len()));
                    *left -= data.len() as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Some(Piece::Data(data)));
                }
                Self::DataEnd => match ahead.get(..2) {
                    Some(b"\r\n") => {
                        ahead.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(WireFault::Malformed("a chunk that does not end")),
                    None => return Ok(None),
                },
                Self::Trailers => {
                    let Some((length, trailers)) = trailers(ahead)? else {
                        within(ahead.len(), TRAILER_BYTES_MAX)?;
                        return Ok(None);
                    };
                    within(length, TRAILER_BYTES_MAX)?;
                    ahead.advance(length);
                    *self = Self::Over;
                    if !trailers.is_empty() {
                        return Ok(Some(Piece::Trailers(trailers)));
                    }
                }
                Self::Over => return Ok(Some(Piece::End)),
            }
        }
    }

    /// Steps over what comes behind a chunk where it is here already, so that who took the last chunk
    /// knows that it was the last.
    pub fn is_over(&mut self, ahead: &mut Bytes) -> bool {
        const LAST: &[u8] = b"\r\n0\r\n\r\n";
        if matches!(self, Self::DataEnd) && ahead.starts_with(LAST) {
            ahead.advance(LAST.len());
            *self = Self::Over;
        }
        matches!(self, Self::Over)
    }
}

fn within(length: usize, most: usize) -> Result<(), WireFault> {
    if length > most { Err(WireFault::Malformed("too much between chunks")) } else { Ok(()) }
}

/// The length of a line that says a chunk's size, and the size. Extensions say nothing to us.
fn size(ahead: &[u8]) -> Result<Option<(usize, u64)>, WireFault> {
    const MALFORMED: WireFault = WireFault::Malformed("no size of a chunk");
    let Some(end) = ahead.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    let line = ahead.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(MALFORMED)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extensions) = line.split_at(digits);
    // Some servers fill the line with spaces.
    let clean = extensions.trim_ascii_start().first().is_none_or(|&byte| byte == b';');
    if !clean || extensions.contains(&b'\r') {
        return Err(MALFORMED);
    }
    let digits = str::from_utf8(digits).map_err(|_| MALFORMED)?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| MALFORMED)?;
    Ok(Some((end + 1, size)))
}

fn trailers(ahead: &Bytes) -> Result<Option<(usize, HeaderMap)>, WireFault> {
    const MALFORMED: WireFault = WireFault::Malformed("trailers that are none");
    let mut fields = [EMPTY_HEADER; TRAILERS_MAX];
    let parsed = parse_headers(ahead, &mut fields).map_err(|_| MALFORMED)?;
    let Status::Complete((length, fields)) = parsed else { return Ok(None) };
    // A line ends with CR and LF, or two readers see different lines.
    let lines = ahead.get(..length).unwrap_or_default();
    if lines.split_inclusive(|&byte| byte == b'\n').any(|line| !line.ends_with(b"\r\n")) {
        return Err(MALFORMED);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| MALFORMED)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| MALFORMED)?;
        trailers.append(name, value);
    }
    Ok(Some((length, trailers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body comes to whose bytes come in pieces of this size: its data, its trailers, whether it
    /// ended, and what is left.
    fn read(text: &[u8], step: usize) -> Result<(Vec<u8>, HeaderMap, bool, Vec<u8>), WireFault> {
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        let (mut chunked, mut ahead) = (Chunked::default(), Bytes::new());
        let mut coming = text.chunks(step);
        loop {
            match chunked.next(&mut ahead)? {
                Some(Piece::Data(bytes)) => {
                    data.extend_from_slice(&bytes);
                    chunked.is_over(&mut ahead);
                }
                Some(Piece::Trailers(found)) => trailers = found,
                Some(Piece::End) => {
                    let rest = coming.flatten().copied();
                    let left = ahead.iter().copied().chain(rest).collect();
                    return Ok((data, trailers, true, left));
                }
                None => {
                    let Some(more) = coming.next() else {
                        return Ok((data, trailers, false, ahead.to_vec()));
                    };
                    ahead = Bytes::from([&*ahead, more].concat());
                }
            }
        }
    }

    #[test]
    fn chunks_come_out_whole_however_they_come_in() {
        let text = b"3  \r\nabc\r\n1;ext=\"x\"\r\nd\r\n0A\r\n0123456789\r\n0\r\n\r\nHTTP/1.1";
        for step in 1..=text.len() {
            let (data, trailers, ended, left) = read(text, step).unwrap();
            assert_eq!(data, b"abcd0123456789", "{step}");
            assert_eq!((trailers.len(), ended, left), (0, true, b"HTTP/1.1".to_vec()), "{step}");
        }
    }

    #[test]
    fn trailers_follow_the_last_chunk() {
        let text = b"1\r\na\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n";
        for step in 1..=text.len() {
            let (data, trailers, ended, left) = read(text, step).unwrap();
            assert_eq!((data, ended, left.len()), (b"a".to_vec(), true, 0));
            assert_eq!((trailers.len(), &trailers["x-b"]), (2, &HeaderValue::from_static("2")));
        }
    }

    #[test]
    fn what_breaks_off_never_ends() {
        let text = b"3\r\nabc\r\n0\r\n\r\n";
        for length in 0..text.len() {
            assert!(!read(&text[..length], 1).unwrap().2, "{length}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x1\r\na",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "11111111111111111\r\n",
            "1\na\r\n",
            ";\r\n",
            "1 1\r\na",
            "1;\r\r\na",
            "+1\r\na",
            "0\r\n x: 1\r\n\r\n",
            "0\r\nx\r\n\r\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx: y\r\n\n",
            "0\r\n\n",
        ] {
            assert!(read(text.as_bytes(), 1).is_err(), "{text:?}");
        }
        let long = |count: usize| format!("1;{}", "x".repeat(count));
        assert!(read(long(SIZE_BYTES_MAX - 16).as_bytes(), 64).is_ok());
        assert!(read(long(SIZE_BYTES_MAX).as_bytes(), 64).is_err());
        let many = |count: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(read(many(TRAILERS_MAX).as_bytes(), 64).is_ok());
        assert!(read(many(TRAILERS_MAX + 1).as_bytes(), 64).is_err());
        assert!(read(format!("0\r\na: {}", "b".repeat(TRAILER_BYTES_MAX)).as_bytes(), 64).is_err());
    }
}
