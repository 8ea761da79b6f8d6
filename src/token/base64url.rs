//! Strict base64url (RFC 7515 section 2): no padding, no other alphabet, no stray bits. One byte
//! string has one spelling, so a token that was denied cannot come back spelled differently.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Why a text is not canonical base64url.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base64Fault {
    /// `=` (RFC 7515 section 2 omits it).
    Padded,
    /// A character outside `A–Z a–z 0–9 - _`: `+`, `/`, white space, a line break (RFC 4648
    /// section 3.3).
    Alphabet,
    /// A length that no byte string has.
    Length,
    /// The last character carries bits that belong to no byte (RFC 4648 section 3.5).
    StrayBits,
}

pub fn decode(text: &str) -> Result<Vec<u8>, Base64Fault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| fault(text))
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Is this the one spelling of some byte string? Decodes into a buffer on the stack first, which
/// holds every signature but the longest RSA ones.
pub fn is_canonical(text: &str) -> Result<(), Base64Fault> {
    let mut buffer = [0_u8; 520];
    if text.len() <= 690 {
        URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).map(|_| ()).map_err(|_| fault(text))
    } else {
        decode(text).map(|_| ())
    }
}

/// Which rule a text breaks that the decoder refused.
fn fault(text: &str) -> Base64Fault {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match text.bytes().find(|byte| !known(*byte)) {
        Some(b'=') => Base64Fault::Padded,
        Some(_) => Base64Fault::Alphabet,
        None if text.len() % 4 == 1 => Base64Fault::Length,
        None => Base64Fault::StrayBits,
    }
}

impl std::fmt::Display for Base64Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Padded => "is padded with =",
            Self::Alphabet => "has a character that base64url does not have",
            Self::Length => "has a length that base64url cannot have",
            Self::StrayBits => "has stray bits after its last byte",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_spelling_decodes_and_every_other_is_refused() {
        assert_eq!(decode("AQID_-8").unwrap(), [1, 2, 3, 255, 239]);
        assert_eq!(decode("AQ").unwrap(), [1]);
        for (text, expected) in [
            ("AQ==", Base64Fault::Padded),
            ("AQ=", Base64Fault::Padded),
            ("AQID/+8", Base64Fault::Alphabet),
            ("AQ ", Base64Fault::Alphabet),
            ("A\nQ", Base64Fault::Alphabet),
            ("AQé", Base64Fault::Alphabet),
            ("AQIDA", Base64Fault::Length),
            ("AR", Base64Fault::StrayBits),
        ] {
            assert_eq!(decode(text), Err(expected), "{text:?}");
            assert_eq!(is_canonical(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn the_stack_buffer_and_the_heap_say_the_same_of_every_length() {
        for bytes in [0, 1, 2, 3, 64, 256, 510, 515, 516, 517, 518, 519, 520, 1024] {
            let text = encode(&vec![0xa5; bytes]);
            assert_eq!(is_canonical(&text), Ok(()), "{bytes}");
            assert_eq!(decode(&text).unwrap().len(), bytes);
        }
    }
}
