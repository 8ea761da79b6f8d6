//! An answer out of the bytes of a server alone, without a connection: for the differential test and
//! the fuzz target.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::WireFault;
use super::chunked::Piece;
use super::framing::{End, Framing};
use super::head::Heads;

/// What a server said.
#[derive(PartialEq, Eq, Debug)]
pub struct Said {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
    /// How many bytes came behind it.
    pub behind: usize,
    /// The connection would be used again, if none had.
    pub keep_alive: bool,
}

/// Reads what comes in these pieces until the server closes.
pub fn read<'b>(
    method: &Method,
    mut pieces: impl Iterator<Item = &'b [u8]>,
) -> Result<Said, WireFault> {
    let (mut ahead, mut heads) = (Bytes::new(), Heads::default());
    let mut more = |ahead: &mut Bytes| {
        let piece = pieces.next().ok_or(WireFault::Closed)?;
        *ahead = Bytes::from([&**ahead, piece].concat());
        Ok::<(), WireFault>(())
    };
    let (head, mut framing) = loop {
        let Some(head) = heads.take(&mut ahead)? else {
            more(&mut ahead)?;
            continue;
        };
        if let Some(framing) = Framing::of(&head, method)? {
            break (head, framing);
        }
    };
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    match &mut framing.end {
        End::Switch => {}
        End::Close => {
            while more(&mut ahead).is_ok() {}
            body = std::mem::take(&mut ahead).to_vec();
        }
        End::Length(length) => {
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            while ahead.len() < length {
                more(&mut ahead)?;
            }
            body = ahead.split_to(length).to_vec();
        }
        End::Chunked(chunked) => loop {
            match chunked.next(&mut ahead)? {
                None => more(&mut ahead)?,
                Some(Piece::Data(data)) => {
                    body.extend_from_slice(&data);
                    chunked.is_over(&mut ahead);
                }
                Some(Piece::Trailers(found)) => trailers = found,
                Some(Piece::End) => break,
            }
        },
    }
    while more(&mut ahead).is_ok() {}
    let (parts, ()) = head.into_parts();
    let (status, headers) = (parts.status, parts.headers);
    let (behind, keep_alive) = (ahead.len(), framing.keep_alive);
    Ok(Said { status, headers, body, trailers, behind, keep_alive })
}
