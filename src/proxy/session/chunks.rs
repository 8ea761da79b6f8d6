//! A value that is too long for one cookie, in several. `NAME` holds a whole value; `NAME-1` to
//! `NAME-n` hold its parts, each as `n~part`. Every part says how many there are, so that parts of
//! two values are never put together: anything that is not exactly one whole value is none.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;

use crate::proxy::cookie;

/// Browsers keep 4096 bytes of name, value and attributes; some count more strictly.
const PART_BYTES: usize = 3600;
/// A token of 16 KiB, sealed, takes six.
pub const PARTS_MAX: usize = 8;

/// What the request brings under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Brought<'h> {
    Nothing,
    Value(Cow<'h, str>),
    /// Parts that do not belong together, or a name twice.
    Broken,
}

/// Name and value of each cookie for this value; `None`: it is too long.
pub fn split(name: &str, value: &str) -> Option<Vec<(String, String)>> {
    if value.len() <= PART_BYTES {
        return Some(vec![(name.to_owned(), value.to_owned())]);
    }
    let parts: Vec<&[u8]> = value.as_bytes().chunks(PART_BYTES).collect();
    if parts.len() > PARTS_MAX {
        return None;
    }
    let count = parts.len();
    let named = parts.iter().enumerate().map(|(at, part)| {
        // Values are ASCII: base64url and dots.
        (part_name(name, at + 1), format!("{count}~{}", String::from_utf8_lossy(part)))
    });
    Some(named.collect())
}

pub fn part_name(name: &str, number: usize) -> String {
    format!("{name}-{number}")
}

/// Is this cookie the value under that name, or a part of it?
pub fn belongs(cookie: &[u8], name: &str) -> bool {
    let Some(rest) = cookie.strip_prefix(name.as_bytes()) else { return false };
    match rest {
        [] => true,
        [b'-', digit] => (b'1'..=b'0' + PARTS_MAX as u8).contains(digit),
        _ => false,
    }
}

/// Puts together what the request brings under a name.
pub fn join<'h>(headers: &'h HeaderMap, name: &str) -> Brought<'h> {
    let mut whole: Option<&[u8]> = None;
    let mut parts: [Option<&[u8]>; PARTS_MAX] = [None; PARTS_MAX];
    let mut any_part = false;
    for header in headers.get_all(COOKIE) {
        for (found, value) in cookie::pairs(header.as_bytes()) {
            if !belongs(found, name) {
                continue;
            }
            let place = match found.len() == name.len() {
                true => Some(&mut whole),
                false => {
                    any_part = true;
                    let number = found.last().map_or(0, |digit| usize::from(digit - b'1'));
                    parts.get_mut(number)
                }
            };
            let Some(place) = place else { return Brought::Broken };
            if place.replace(value).is_some() {
                return Brought::Broken;
            }
        }
    }
    // An empty cookie is what a deleted one looks like to some clients.
    let whole = whole.filter(|value| !value.is_empty());
    match (whole, any_part) {
        (None, false) => Brought::Nothing,
        (Some(value), false) => match std::str::from_utf8(value) {
            Ok(value) => Brought::Value(Cow::Borrowed(value)),
            Err(_) => Brought::Broken,
        },
        (None, true) => together(&parts).map_or(Brought::Broken, |v| Brought::Value(Cow::Owned(v))),
        (Some(_), true) => Brought::Broken,
    }
}

/// The values of all cookies of exactly this name.
pub fn wholes<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| cookie::pairs(line.as_bytes()));
    let own = pairs.filter(|(found, _)| *found == name.as_bytes());
    let texts = own.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    texts.filter(|text| !text.is_empty()).collect()
}

fn together(parts: &[Option<&[u8]>; PARTS_MAX]) -> Option<String> {
    let count = parts.iter().flatten().count();
    let mut value = String::new();
    for (at, part) in parts.iter().enumerate() {
        match (at < count, part) {
            (true, Some(part)) => {
                let (said, text) = std::str::from_utf8(part).ok()?.split_once('~')?;
                if said != count.to_string() {
                    return None;
                }
                value.push_str(text);
            }
            (false, None) => {}
            (true, None) | (false, Some(_)) => return None,
        }
    }
    (count > 1).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn joined(cookies: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookies).unwrap());
        match join(&headers, "s") {
            Brought::Nothing => None,
            Brought::Value(value) => Some(value.into_owned()),
            Brought::Broken => Some("BROKEN".to_owned()),
        }
    }

    #[test]
    fn a_value_comes_back_whole_in_whatever_order_its_parts_come() {
        for length in [1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 20_000] {
            let value: String = (0..length).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
            let mut cookies: Vec<String> = split("s", &value)
                .unwrap()
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            assert!(cookies.iter().all(|cookie| cookie.len() < 3700));
            assert_eq!(joined(&cookies.join("; ")).unwrap(), value);
            cookies.reverse();
            assert_eq!(joined(&format!("a=1; {}; b=2", cookies.join("; "))).unwrap(), value);
        }
        assert_eq!(split("s", &"x".repeat(PART_BYTES * PARTS_MAX + 1)), None);
    }

    #[test]
    fn anything_but_exactly_one_value_is_none() {
        assert_eq!(joined("a=1"), None);
        assert_eq!(joined("s="), None);
        assert_eq!(joined("s=x").unwrap(), "x");
        assert_eq!(joined("s-1=2~a; s-2=2~b").unwrap(), "ab");
        for broken in [
            "s=x; s=x",
            "s=x; s-1=1~y",
            "s-1=2~a",
            "s-2=2~b",
            "s-1=1~a",
            "s-1=2~a; s-2=3~b",
            "s-1=2~a; s-2=2~b; s-3=2~c",
            "s-1=3~a; s-3=3~c; s-2=2~b",
            "s-1=2~a; s-2=2~b; s-2=2~b",
            "s-1=2~a; s-2=b",
            "s-1=02~a; s-2=02~b",
        ] {
            assert_eq!(joined(broken).unwrap(), "BROKEN", "{broken}");
        }
        // Not ours: another name.
        for other in ["s-9=2~a", "s-0=2~a", "s-12=2~a", "ss=x", "S=x"] {
            assert_eq!(joined(other), None, "{other}");
        }
    }
}
