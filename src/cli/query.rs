//! What people typed, made part of a URL.

use std::fmt::Write as _;

/// Sees to it that what was typed as an id stays one segment of the path.
pub fn path_segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `name=value&…` with every value escaped.
pub fn query(members: &[(&'static str, String)]) -> String {
    let pairs: Vec<String> =
        members.iter().map(|(name, value)| format!("{name}={}", path_segment(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_of_the_path() {
        assert_eq!(path_segment("dn_4kq7"), "dn_4kq7");
        assert_eq!(path_segment("../revoke?x#"), "%2E%2E%2Frevoke%3Fx%23");
    }

    #[test]
    fn a_value_cannot_add_a_member() {
        assert_eq!(query(&[("subject", "a&state=all".to_owned())]), "subject=a%26state%3Dall");
    }
}
