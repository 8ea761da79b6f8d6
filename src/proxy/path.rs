//! Paths are forwarded byte for byte or refused. Where backends are known to read a path in more
//! than one way (`%2F`, `;`, `//`, double escapes), every reading must select the same route.

use std::borrow::Cow;

use super::answer::BadRequest;

/// Refuses what no honest client sends and some backend reads differently: bytes outside ASCII,
/// `\`, escaped control characters, overlong escapes, malformed escapes, dot segments.
pub fn check(path: &str, query: Option<&str>) -> Result<(), BadRequest> {
    if let Some(query) = query {
        // A query is passed on as it is; only bytes that are not URI characters are refused.
        if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadRequest::PathBytes);
        }
    }
    let bytes = path.as_bytes();
    let seen = bytes.iter().fold(0, |seen, &byte| seen | class(byte));
    if seen & REFUSED != 0 {
        return Err(BadRequest::PathBytes);
    }
    if seen & DOT != 0 && has_dot_segment(path) {
        return Err(BadRequest::PathDots);
    }
    if bytes.len() > ODD_BYTES_MAX && (seen & ODD != 0 || path.contains("//")) {
        return Err(BadRequest::PathRoutes);
    }
    if seen & ODD == 0 {
        return Ok(());
    }
    let once = decode(bytes).ok_or(BadRequest::PathEscape)?;
    check_decoded(&once)?;
    if once.contains(&b'%') {
        let twice = decode_leniently(&once);
        check_decoded(&twice)?;
        // Escaped three times: nobody means it, and following it down is work without a bound.
        if decode_leniently(&twice) != twice {
            return Err(BadRequest::PathEscape);
        }
    }
    for reading in readings(path) {
        if has_dot_segment(&reading) {
            return Err(BadRequest::PathDots);
        }
    }
    Ok(())
}

/// Of a path that has more than one reading, or could have: each of them costs, byte by byte.
const ODD_BYTES_MAX: usize = 8 * 1024;

const REFUSED: u8 = 1;
const ODD: u8 = 2;
const DOT: u8 = 4;

/// What a byte of a path asks for. By table: this looks at every byte of every path.
fn class(byte: u8) -> u8 {
    #[expect(clippy::indexing_slicing, reason = "at compile time, below 256")]
    const TABLE: [u8; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let letter = byte as u8;
            table[byte] = match letter {
                b'\\' | b'#' => REFUSED,
                b'%' | b';' => ODD,
                b'.' => DOT,
                _ if letter.is_ascii_graphic() => 0,
                _ => REFUSED,
            };
            byte += 1;
        }
        table
    };
    TABLE.get(usize::from(byte)).copied().unwrap_or(REFUSED)
}

/// Every way in which a backend may read the path, the literal one left out. Empty for all but odd
/// paths.
pub fn readings(path: &str) -> Vec<Cow<'_, str>> {
    let bytes = path.as_bytes();
    let odd = bytes.iter().any(|byte| matches!(byte, b'%' | b';'))
        || bytes.windows(2).any(|two| two == b"//");
    if !odd {
        return Vec::new();
    }
    let once = decoded_text(path);
    let twice = decoded_text(&once);
    let mut all: Vec<Cow<'_, str>> = vec![Cow::Borrowed(path)];
    // A backend that decodes a path and parses it again ends it at an escaped `?` or `#`.
    let cut_short =
        [&once, &twice].map(|text| text.split(['?', '#']).next().unwrap_or_default().to_owned());
    let [once_cut, twice_cut] = cut_short;
    let mut bases = vec![path.to_owned(), once, twice, once_cut, twice_cut];
    bases.sort_unstable();
    bases.dedup();
    for base in bases {
        let cut = without_parameters(&base);
        let decoded = decoded_text(&cut);
        // The same backend may end the path only after it has cut the parameters away.
        for text in [&cut, &decoded] {
            if let Some((ended, _)) = text.split_once(['?', '#']) {
                all.push(Cow::Owned(merge_slashes(ended)));
                all.push(Cow::Owned(ended.to_owned()));
            }
        }
        all.push(Cow::Owned(merge_slashes(&base)));
        all.push(Cow::Owned(merge_slashes(&cut)));
        // A parameter may hold an escaped slash or another escape: decode after cutting, too.
        all.push(Cow::Owned(merge_slashes(&decoded)));
        all.push(Cow::Owned(decoded));
        all.push(Cow::Owned(cut));
        all.push(Cow::Owned(base));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Everyone reads the same segments in it: no empty one, no parameter, and no escape of a byte that
/// parts, ends or escapes something. Other escapes are the backend's.
pub fn has_one_structure(path: &str) -> bool {
    let plain = !path.contains("//") && !path.contains(';');
    plain
        && path.match_indices('%').all(|(at, _)| {
            let escape = path.as_bytes().get(at..at + 3).and_then(decode);
            let parts = |byte: &u8| matches!(byte, b'/' | b';' | b'%' | b'?' | b'#' | b'\\' | b'.');
            escape.is_some_and(|decoded| !decoded.iter().any(parts))
        })
}

fn check_decoded(decoded: &[u8]) -> Result<(), BadRequest> {
    let control = |byte: &u8| byte.is_ascii_control() || *byte == b'\\';
    if decoded.iter().any(control) {
        return Err(BadRequest::PathEscape);
    }
    // Overlong forms are not UTF-8 (RFC 3629 section 3); nor is any other reading of such bytes.
    if std::str::from_utf8(decoded).is_err() {
        return Err(BadRequest::PathEscape);
    }
    Ok(())
}

/// Percent-decoding (RFC 3986 section 2.1); `None` for a malformed escape.
fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(*rest.next()?).to_digit(16)?;
        let low = char::from(*rest.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

/// As most backends decode: a malformed escape stays as it is and those around it are decoded. What
/// a first decoding leaves malformed (`%25zz`) must not hide the rest from us.
pub(super) fn decode_leniently(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        let escape = rest.get(..3).filter(|_| byte == b'%').and_then(decode);
        match escape {
            Some(decoded) => {
                out.extend_from_slice(&decoded);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    out
}

fn decoded_text(path: &str) -> String {
    String::from_utf8(decode_leniently(path.as_bytes())).unwrap_or_else(|_| path.to_owned())
}

/// Each segment up to its first `;` (RFC 3986 section 3.3, as Java servers read it).
fn without_parameters(path: &str) -> String {
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or(""));
    segments.collect::<Vec<_>>().join("/")
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !out.ends_with('/') {
            out.push(letter);
        }
    }
    out
}

fn has_dot_segment(path: &str) -> bool {
    // Windows takes spaces off the end of a name.
    path.split(['/', '\\']).any(|segment| matches!(segment.trim_end_matches(' '), "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::{check, readings};

    #[test]
    fn ordinary_and_signed_paths_pass() {
        for good in [
            "/",
            "/a/b.c",
            "/a%20b",
            "/a/x..%20/%20/b",
            "/group%2Fproject/x",
            "/@scope%2fname",
            "/a;v=1/b",
            "/a//b",
            "/%C3%A9",
            "/.well-known/x",
            "/a..b",
            "/...",
            "/100%25",
            "/what%3F",
            "/~user",
            "/a:b@c!$&'()*+,=",
        ] {
            assert!(check(good, None).is_ok(), "{good}");
        }
    }

    #[test]
    fn paths_with_a_second_meaning_are_refused() {
        for bad in [
            "/a/../b",
            "/a/./b",
            "/..",
            "/a%2e%2e/b/..",
            "/%2e%2e/b",
            "/.%2e/b",
            "/%2e/b",
            "/%2e%2e%2fb",
            "/a/..%20/b",
            "/a/%2e%20%20",
            "/a/.%2520/b",
            "/a/%252e%252e/b",
            "/a/%25252e%25252e/b",
            "/..;/b",
            "/..;x=y/b",
            "/%2e%2e;x/b",
            "/a\\b",
            "/a%5cb",
            "/a%5Cb",
            "/a%255cb",
            "/%00",
            "/%2500",
            "/a%0d%0ab",
            "/%7f",
            "/%c0%af",
            "/%c0%ae%c0%ae/",
            "/%e0%80%af",
            "/%ff",
            "/%",
            "/%2",
            "/%zz",
            "/é",
            "/a;%2f..%2fb",
            "/a%2f..%2fb",
            "/;/../b",
            "/%25zz/%252e%252e/b",
            "/a%25/%252e%252e/b",
            "/%25zz/%255cb",
            "/%252541",
            "/pub/..%3f/x",
            "/pub/..%23",
            "/pub/%252e%252e%253fx",
        ] {
            assert!(check(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_escape_of_escapes_without_end_is_refused_at_the_third() {
        assert!(check("/%2525", None).is_ok());
        assert!(check("/%2525zz/x", None).is_ok());
        assert!(check(&format!("/%{}", "25".repeat(30_000)), None).is_err());
        assert!(check(&"/%2525".repeat(1_000), None).is_ok());
    }

    #[test]
    fn every_reading_of_an_odd_path_is_listed() {
        let all = readings("/pub%2f;x/..%3b/admin");
        assert!(all.iter().any(|reading| reading == "/pub//../admin"), "{all:?}");
        let merged = readings("//admin");
        assert!(merged.iter().any(|reading| reading == "/admin"));
        for twice in ["/%2561dmin", "/%2561dmin;%25zz"] {
            let all = readings(twice);
            assert!(all.iter().any(|reading| reading == "/admin"), "{all:?}");
        }
    }
}
