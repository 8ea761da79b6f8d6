//! The Cookie header (RFC 6265 section 4.2): our cookies are found in it and taken out of it; every
//! other byte stays as it was.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// The values of every cookie of this name, as the bytes between `=` and the next `;`.
pub fn values<'h>(header: &'h [u8], name: &str) -> impl Iterator<Item = &'h [u8]> {
    header.split(|&byte| byte == b';').filter_map(move |pair| {
        let (found, value) = split(pair)?;
        (found == name.as_bytes()).then_some(value)
    })
}

/// Every name and value.
pub fn pairs(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|&byte| byte == b';').filter_map(split)
}

/// Takes the cookies that are `ours` out of all Cookie headers.
pub fn strip(headers: &mut HeaderMap, ours: impl Fn(&[u8]) -> bool) {
    let any = headers
        .get_all(COOKIE)
        .iter()
        .any(|header| pairs(header.as_bytes()).any(|(name, _)| ours(name)));
    if !any {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| without_those(value, |name| ours(name)))
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// Does a cookie of this name hide inside another's value? Some backends also end a cookie at a
/// space or a comma (RFC 2965 did), or do not know the quotes that others know.
pub fn hides(header: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    let is_end = |byte: u8| matches!(byte, b' ' | b'\t' | b',' | b'"');
    let begins = |part: &[u8]| {
        part.strip_prefix(name).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
    };
    header.split(|&byte| byte == b';').any(|pair| {
        let pair = pair.trim_ascii();
        let ends = pair.iter().enumerate().filter(|(_, byte)| is_end(**byte));
        ends.map(|(at, _)| pair.get(at + 1..).unwrap_or_default()).any(begins)
    })
}

/// The header without the named cookies: `None` when nothing of it is left. The same value comes
/// back when it holds none of them.
pub fn without(header: &HeaderValue, names: &[String]) -> Option<HeaderValue> {
    without_those(header, |name| names.iter().any(|ours| ours.as_bytes() == name))
}

fn without_those(header: &HeaderValue, is_ours: impl Fn(&[u8]) -> bool) -> Option<HeaderValue> {
    let bytes = header.as_bytes();
    let ours = |pair: &[u8]| split(pair).is_some_and(|(name, _)| is_ours(name));
    if !bytes.split(|&byte| byte == b';').any(ours) {
        return Some(header.clone());
    }
    let mut kept: Vec<u8> = Vec::with_capacity(bytes.len());
    for pair in bytes.split(|&byte| byte == b';').filter(|pair| !ours(pair)) {
        if kept.is_empty() {
            kept.extend_from_slice(pair.trim_ascii_start());
        } else {
            kept.push(b';');
            kept.extend_from_slice(pair);
        }
    }
    if kept.trim_ascii().is_empty() {
        return None;
    }
    // Bytes taken from a valid value at ASCII boundaries are a valid value.
    HeaderValue::from_bytes(&kept).ok()
}

/// Name and value; space around either is not part of it (RFC 6265 section 5.2), and one pair of
/// double quotes around the value is not either.
fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|&byte| byte == b'=')?;
    let (name, rest) = pair.split_at(at);
    let value = rest.get(1..).unwrap_or_default().trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some((name.trim_ascii(), unquoted.unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(header: &str) -> Option<String> {
        let value = HeaderValue::from_str(header).unwrap();
        let names = ["session".to_owned()];
        without(&value, &names).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_our_cookie_leaves_and_the_other_bytes_stay() {
        assert_eq!(strip("a=1; session=x; b=2").unwrap(), "a=1; b=2");
        assert_eq!(strip("session=x; b=2").unwrap(), "b=2");
        assert_eq!(strip("a=1;session=x").unwrap(), "a=1");
        assert_eq!(strip("a=\"1 2\";  b;c=;session=x; =odd").unwrap(), "a=\"1 2\";  b;c=; =odd");
        assert_eq!(strip("session=x"), None);
        assert_eq!(strip("session=x; session=y"), None);
        assert_eq!(strip("a=1;  b=2 ").unwrap(), "a=1;  b=2 ");
        assert_eq!(
            strip("xsession=1; Session=2; session2=3").unwrap(),
            "xsession=1; Session=2; session2=3"
        );
        assert_eq!(strip("a=1; session =x").unwrap(), "a=1");
    }

    #[test]
    fn a_cookie_inside_the_value_of_another_is_seen() {
        for bad in ["a=1, s=x", "a=1 s=x", "a=1,s =x", "a=\"s=x\"", "s=x; a=\"1\",s=y", "s=1 s=2"] {
            assert!(hides(bad.as_bytes(), "s"), "{bad}");
        }
        for good in
            ["s=x", "a=1; s=x", "a=1;\ts=x", "a=/?s=1&s=2", "a=1, ss=x", "a=b, s", "S=a S=b"]
        {
            assert!(!hides(good.as_bytes(), "s"), "{good}");
        }
    }

    #[test]
    fn every_cookie_of_a_name_is_found() {
        let all = |header: &'static str| values(header.as_bytes(), "s").collect::<Vec<_>>();
        assert_eq!(all("a=1; s=x; s=y"), [b"x".as_slice(), b"y"]);
        assert_eq!(all("s=\"x\""), [b"x".as_slice()]);
        assert_eq!(all("S=x; ss=x"), Vec::<&[u8]>::new());
    }
}
