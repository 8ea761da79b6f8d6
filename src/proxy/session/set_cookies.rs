//! Cookies that a backend's answer sets: one of them is taken out, the others stay as they are.

use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// The values that the answer sets for this name; the cookie leaves the answer. One that the answer
/// deletes has an empty value.
pub fn take(headers: &mut HeaderMap, name: &str) -> Vec<String> {
    let all: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    let mut taken = Vec::new();
    let left = all.into_iter().filter(|line| match value(line.as_bytes(), name) {
        None => true,
        Some(value) => {
            taken.push(String::from_utf8_lossy(value).into_owned());
            false
        }
    });
    let left: Vec<HeaderValue> = left.collect();
    headers.remove(SET_COOKIE);
    for line in left {
        headers.append(SET_COOKIE, line);
    }
    taken
}

/// The value that a line sets for this name (RFC 6265 section 5.2: up to the first `;`, the name up to
/// the first `=`, white space around both aside; quotes are no part of a token).
fn value<'l>(line: &'l [u8], name: &str) -> Option<&'l [u8]> {
    let pair = line.split(|byte| *byte == b';').next()?;
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (found, value) = pair.split_at_checked(at)?;
    let value = value.get(1..)?.trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    (found.trim_ascii() == name.as_bytes()).then_some(unquoted.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_leaves_and_the_others_stay_byte_for_byte() {
        let mut headers = HeaderMap::new();
        let lines = ["a=1; Path=/", " token = \"x.y\" ; HttpOnly", "tokens=2", "b==; Max-Age=0"];
        for line in lines {
            headers.append(SET_COOKIE, HeaderValue::from_str(line).unwrap());
        }
        assert_eq!(take(&mut headers, "token"), ["x.y"]);
        let left: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, [lines[0], lines[2], lines[3]]);
        assert_eq!(take(&mut headers, "b"), ["="]);
        assert_eq!(take(&mut headers, "none"), Vec::<String>::new());
        assert_eq!(headers.get_all(SET_COOKIE).iter().count(), 2);
    }
}
