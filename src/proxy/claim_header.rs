//! A claim as a header value. Strings, integers, booleans and arrays of them; everything that
//! could break out of the header or be read as two values is escaped or refused.

use http::HeaderValue;
use serde_json::Value;

/// Longer values are refused.
const BYTES_MAX: usize = 4096;

/// Visible ASCII and inner spaces stay; other characters and `%` become percent-escapes of their
/// UTF-8 bytes, and so does `,`: a comma in the header always stands between the elements of an array. `Ok(None)`
/// where the claim is null or empty; `Err` where it cannot be a header: control characters, objects,
/// too long.
pub fn value(claim: &Value) -> Result<Option<HeaderValue>, ()> {
    let mut text = String::new();
    match claim {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                scalar(element, &mut text)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            scalar(claim, &mut text)?
        }
    }
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > BYTES_MAX {
        return Err(());
    }
    HeaderValue::try_from(text).map(Some).map_err(|_| ())
}

fn scalar(claim: &Value, text: &mut String) -> Result<(), ()> {
    match claim {
        Value::Null => Ok(()),
        Value::Bool(flag) => {
            text.push_str(if *flag { "true" } else { "false" });
            Ok(())
        }
        Value::Number(number) => {
            text.push_str(&number.to_string());
            Ok(())
        }
        Value::String(string) => escape(string, text),
        Value::Array(_) | Value::Object(_) => Err(()),
    }
}

fn escape(string: &str, text: &mut String) -> Result<(), ()> {
    if string.chars().any(char::is_control) || string.len() > BYTES_MAX {
        return Err(());
    }
    let last = string.len().saturating_sub(1);
    for (at, byte) in string.bytes().enumerate() {
        let edge_space = byte == b' ' && (at == 0 || at == last);
        let plain = (byte.is_ascii_graphic() || byte == b' ')
            && !matches!(byte, b'%' | b',')
            && !edge_space;
        if plain {
            text.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            text.push('%');
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(*HEX.get(usize::from(nibble)).unwrap_or(&b'0')));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::value;

    fn text(claim: serde_json::Value) -> Option<String> {
        value(&claim).unwrap().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn ordinary_claims_go_through_unchanged() {
        assert_eq!(text(json!("alice@example.com")).unwrap(), "alice@example.com");
        assert_eq!(text(json!(42)).unwrap(), "42");
        assert_eq!(text(json!(true)).unwrap(), "true");
        assert_eq!(text(json!(["a", "b"])).unwrap(), "a,b");
        assert_eq!(text(json!(null)), None);
    }

    #[test]
    fn what_could_break_out_is_escaped_or_refused() {
        assert_eq!(text(json!("José")).unwrap(), "Jos%C3%A9");
        assert_eq!(text(json!("100%")).unwrap(), "100%25");
        assert_eq!(text(json!(["a,b", "c"])).unwrap(), "a%2Cb,c");
        // One string is one value, whatever stands in it.
        assert_eq!(text(json!("a,b")).unwrap(), "a%2Cb");
        assert_eq!(text(json!(["a,b"])).unwrap(), "a%2Cb");
        assert_eq!(text(json!(" x ")).unwrap(), "%20x%20");
        for bad in [
            json!("a\r\nX-Admin: 1"),
            json!("a\u{0}b"),
            json!({"a": 1}),
            json!([["a"]]),
            json!("x".repeat(5000)),
        ] {
            assert!(value(&bad).is_err(), "{bad}");
        }
    }
}
