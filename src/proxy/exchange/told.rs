//! What strangers say, as it is remembered and written: bounded, and harmless to a log and a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, Method};

use crate::proxy::headers::X_REQUEST_ID;

const PATH_BYTES_REMEMBERED: usize = 2048;
const METHOD_BYTES_REMEMBERED: usize = 32;

/// An id that a trusted proxy gave: visible, short, without what a log or a header could trip over.
pub(super) fn offered_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(&X_REQUEST_ID)?;
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let bytes = value.as_bytes();
    let fits = (1..=128).contains(&bytes.len()) && bytes.iter().all(good);
    fits.then(|| value.clone())
}

/// What is written of a path: a byte that is not visible ASCII, which only a refused path can hold,
/// becomes an escape. A terminal that shows a log obeys U+009B and U+202E.
pub(super) fn printable(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(path);
    }
    let mut text = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text)
}

/// The beginning of a path. Thousands of refusals are remembered, and a stranger chooses how long
/// their paths are.
pub(super) fn remembered_path(path: &str) -> &str {
    path.get(..PATH_BYTES_REMEMBERED).unwrap_or(path)
}

/// A method may be as long as a head; none that exists is.
pub(super) fn remembered_method(method: &Method) -> Method {
    let long = method.as_str().as_bytes().get(..METHOD_BYTES_REMEMBERED);
    long.and_then(|start| Method::from_bytes(start).ok()).unwrap_or_else(|| method.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_a_refusal_is_bounded_and_the_usual_is_whole() {
        assert_eq!(remembered_path("/a/b"), "/a/b");
        let long = "/".repeat(60_000);
        assert_eq!(remembered_path(&long).len(), PATH_BYTES_REMEMBERED);
        assert_eq!(remembered_method(&Method::DELETE), Method::DELETE);
        let long = Method::from_bytes("M".repeat(60_000).as_bytes()).unwrap();
        assert_eq!(remembered_method(&long).as_str().len(), METHOD_BYTES_REMEMBERED);
    }

    #[test]
    fn a_path_that_steers_terminals_is_written_in_escapes_and_others_as_they_are() {
        assert!(matches!(printable("/a%20b;c"), Cow::Borrowed("/a%20b;c")));
        assert_eq!(printable("/\u{9b}2J\u{202e}\u{7f}é"), "/%C2%9B2J%E2%80%AE%7F%C3%A9");
    }
}
