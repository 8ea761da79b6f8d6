//! Where a browser is sent back to after a login or a log-out: a path of this host or nothing. It
//! is read as browsers read it (WHATWG URL): `\` is `/`, tabs and line breaks vanish, two slashes
//! begin a host.

const BYTES_MAX: usize = 2048;

/// The path as it may stand in a `Location`; `None`: not one of ours for certain.
pub fn safe(path: &str) -> Option<&str> {
    let mut bytes = path.bytes();
    let first = bytes.next();
    let second = bytes.next();
    let good = first == Some(b'/')
        && !matches!(second, Some(b'/' | b'\\'))
        && path.len() <= BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    good.then_some(path)
}

/// The parameter of a query, decoded once; the first of its name.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pair = query?.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found == name).then_some(value)
    })?;
    decoded(pair)
}

/// A name or a value of a form.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (digit(rest.next()?)? << 4) | digit(rest.next()?)?,
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A value as it may stand in a query.
pub fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    // C25
    #[test]
    fn only_a_path_of_this_host_is_a_way_back() {
        for good in ["/", "/a", "/a/b?c=d&e=%2F%2F", "/a//b", "/a@b:c", "/.hidden", "/?x=//evil"] {
            assert_eq!(safe(good), Some(good));
        }
        for bad in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/a\\b",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: x=y",
            "/\u{e9}",
        ] {
            assert_eq!(safe(bad), None, "{bad:?}");
        }
        assert_eq!(safe(&format!("/{}", "a".repeat(BYTES_MAX))), None);
    }

    #[test]
    fn a_parameter_is_decoded_once() {
        let of = |query| parameter(Some(query), "return_to");
        assert_eq!(of("return_to=%2Fa%3Fb%3Dc"), Some("/a?b=c".into()));
        assert_eq!(of("x=1&return_to=/a&return_to=/b"), Some("/a".into()));
        assert_eq!(of("return_to=%252F%252Fevil"), Some("%2F%2Fevil".into()));
        assert_eq!(of("return_to=%2"), None);
        assert_eq!(of("return_to=%FF"), None);
        assert_eq!(of("other=/a"), None);
        assert_eq!(
            parameter(Some(&format!("r={}", escaped("/a b?c=d&é"))), "r"),
            Some("/a b?c=d&é".into())
        );
    }
}
