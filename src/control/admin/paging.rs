//! Pages of a list, the same for every list: `cursor` is where the last page ended, `limit` how long
//! the next may be. A cursor fits only the list that it came from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::Refused;
use super::query::Query;

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 1000;

/// What a query says of the page that it wants.
pub(super) struct Paging {
    /// Where the last one ended.
    pub from: Option<u64>,
    limit: Option<usize>,
    list: Digest,
}

/// Of all parameters that say which list it is.
type Digest = [u8; 6];

impl Paging {
    /// Takes `cursor` and `limit` out of a query, which was read from this text.
    pub fn take(query: &mut Query, text: &str) -> Result<Self, Refused> {
        let list = digest(text);
        let from = query.take("cursor").map(|cursor| place(&cursor, list)).transpose()?;
        Ok(Self { from, limit: query.take_limit(), list })
    }

    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX)
    }

    /// Of a stream, which has no end of its own.
    pub fn limit_of_stream(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    /// What leads to the page behind this place.
    pub fn cursor(&self, place: u64) -> String {
        let mut bytes = place.to_be_bytes().to_vec();
        bytes.extend(self.list);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn place(cursor: &str, list: Digest) -> Result<u64, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Refused::InvalidCursor)?;
    match bytes.split_first_chunk::<8>() {
        Some((place, of)) if of == list => Ok(u64::from_be_bytes(*place)),
        Some(_) | None => Err(Refused::InvalidCursor),
    }
}

/// In any order.
fn digest(query: &str) -> Digest {
    let mut pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(|pair| !pair.starts_with("cursor=") && !pair.starts_with("limit="))
        .collect();
    pairs.sort_unstable();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pairs.join("&").as_bytes());
    let mut short = Digest::default();
    short.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    short
}
