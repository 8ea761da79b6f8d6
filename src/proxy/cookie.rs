//! The Cookie header (RFC 6265 section 4.2): our cookies are found in it and taken out of it; every
//! other byte stays as it was.

use http::HeaderValue;

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

/// Where some backends end a cookie.
fn is_end(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b',' | b'"')
}

/// Bytes that one byte of a name takes at the most when it is escaped.
const ESCAPED: usize = 3;

/// Does a cookie of this name hide inside another's value? Some backends also end a cookie at a
/// space or a comma (RFC 2965 did), or do not know the quotes that others know.
pub fn hides(header: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    let begins = |part: &[u8]| {
        part.strip_prefix(name).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
    };
    header.split(|&byte| byte == b';').any(|pair| {
        let pair = pair.trim_ascii();
        let ends = pair.iter().enumerate().filter(|(_, byte)| is_end(**byte));
        ends.map(|(at, _)| pair.get(at + 1..).unwrap_or_default()).any(begins)
    })
}

/// The header without the named cookies, without what backends take for one of them, and without the
/// cookies in whose values one of them hides: `None` when nothing of it is left. The same value comes
/// back when it holds none of these. The one that is `kept` stays, spelt exactly so.
pub fn without(header: &HeaderValue, names: &[String], kept: Option<&str>) -> Option<HeaderValue> {
    let bytes = header.as_bytes();
    let goes = |pair: &[u8]| {
        let is_kept =
            split(pair).is_some_and(|(name, _)| kept.is_some_and(|kept| kept.as_bytes() == name));
        names.iter().any(|ours| (!is_kept && looks_like(pair, ours)) || hides_alike(pair, ours))
    };
    if !bytes.split(|&byte| byte == b';').any(goes) {
        return Some(header.clone());
    }
    let mut left: Vec<u8> = Vec::with_capacity(bytes.len());
    for pair in bytes.split(|&byte| byte == b';').filter(|pair| !goes(pair)) {
        if left.is_empty() {
            left.extend_from_slice(pair.trim_ascii_start());
        } else {
            left.push(b';');
            left.extend_from_slice(pair);
        }
    }
    if left.trim_ascii().is_empty() {
        return None;
    }
    // Bytes taken from a valid value at ASCII boundaries are a valid value.
    HeaderValue::from_bytes(&left).ok()
}

/// Like [`hides`], for whatever some backend takes for that name.
fn hides_alike(pair: &[u8], name: &str) -> bool {
    let pair = pair.trim_ascii();
    let ends = pair.iter().enumerate().filter(|(_, byte)| is_end(**byte));
    ends.map(|(at, _)| pair.get(at + 1..).unwrap_or_default()).any(|rest| {
        // No longer than such a name can be: work is bounded by the header's length.
        let near = rest.get(..name.len() * ESCAPED + 2).unwrap_or(rest);
        near.contains(&b'=') && !near.starts_with(b"=") && looks_like(near, name)
    })
}

/// Would some backend take this pair for the cookie of that name? PHP decodes escapes in names and
/// reads `.`, space and `[` as `_`; ASP.NET knows no case; some take a first `=` for nothing.
fn looks_like(pair: &[u8], name: &str) -> bool {
    let pair = pair.trim_ascii();
    let nameless = pair.iter().take_while(|byte| matches!(byte, b'=' | b' ' | b'\t')).count();
    let pair = pair.get(nameless..).unwrap_or_default();
    let found = pair.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
    let found = found.strip_prefix(b"\"").unwrap_or(found);
    let found = found.strip_suffix(b"\"").unwrap_or(found);
    if found.len() > name.len() * ESCAPED {
        return false;
    }
    let plain = |byte: u8| match byte {
        b'.' | b' ' | b'[' | b'+' => b'_',
        other => other.to_ascii_lowercase(),
    };
    let once = super::path::decode_leniently(found);
    once.len() == name.len() && once.iter().zip(name.bytes()).all(|(a, b)| plain(*a) == plain(b))
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
        without(&value, &names, None).map(|value| value.to_str().unwrap().to_owned())
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
            strip("xsession=1; sessio=2; session2=3").unwrap(),
            "xsession=1; sessio=2; session2=3"
        );
        assert_eq!(strip("a=1; session =x").unwrap(), "a=1");
    }

    #[test]
    fn what_some_backend_takes_for_our_cookie_leaves_too() {
        let names = ["my_session".to_owned()];
        let strip = |header: &str| {
            let value = HeaderValue::from_str(header).unwrap();
            without(&value, &names, None).map(|value| value.to_str().unwrap().to_owned())
        };
        for odd in [
            "My_Session=x",
            "my.session=x",
            "my session=x",
            "my[session=x",
            "my%5Fsession=x",
            "%6dy_session=x",
            "=my_session=x",
            " = my_session=x",
            "\"my_session\"=x",
            "my_session",
            "b=1 my_session=x",
            "b=\"my_session=x\"",
            "b=1,my_session=x",
            "b=1 My%5Fsession=x",
        ] {
            assert_eq!(strip(&format!("a=1; {odd}")).as_deref(), Some("a=1"), "{odd}");
        }
        for other in ["a=1; mysession=x", "a=1; my-session=x", "a=my_session", "a=/?my_session=x"] {
            assert_eq!(strip(other).as_deref(), Some(other));
        }
        let value = HeaderValue::from_static("my_session=x; My_Session=y");
        let kept = without(&value, &names, Some("my_session")).unwrap();
        assert_eq!(kept, "my_session=x");
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
