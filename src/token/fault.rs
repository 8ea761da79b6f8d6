//! What can be wrong with a token's form: one variant per rule. Its texts never hold the token.

use std::fmt;

use super::compact::{KID_BYTES_MAX, TOKEN_BYTES_MAX};
use super::json::DEPTH_MAX;

/// A part of the compact form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Header,
    Claims,
    Signature,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        }
    }
}

/// What is wrong with the form. One variant per rule, each with its RFC clause in its docs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FormFault {
    /// Longer than [`TOKEN_BYTES_MAX`].
    TooLong { bytes: usize },
    /// Not `header.claims.signature` (RFC 7515 section 7.1): an opaque token has one part.
    NotThreeParts { parts: usize },
    /// A part is empty; an empty signature is an unsecured token (RFC 7515 appendix A.5).
    EmptyPart(Part),
    /// The JSON serialization (RFC 7515 section 7.2), which JWTs never use (RFC 7519 section 1).
    JsonSerialization,
    /// A JWE (RFC 7516): five parts, or a header with `enc`.
    Encrypted,
    /// Base64url with `=` (RFC 7515 section 2).
    Padded(Part),
    /// Not the base64url alphabet: `+`, `/`, white space (RFC 4648 section 5).
    Alphabet(Part),
    /// A length that base64url cannot have.
    Length(Part),
    /// Bits after the last byte: another spelling of the same token (RFC 4648 section 3.5).
    StrayBits(Part),
    /// Not JSON, not UTF-8, or a number out of range (RFC 7515 section 5.2 step 2, RFC 7519
    /// section 7.2).
    NotJson(Part),
    /// JSON, but no object (RFC 7515 section 4, RFC 7519 section 7.2).
    NotObject(Part),
    /// A member twice (RFC 7515 section 4, RFC 7519 section 4).
    DuplicateMember(Part),
    /// Objects in objects beyond [`DEPTH_MAX`].
    TooDeep(Part),
    /// No `alg` (RFC 7515 section 4.1.1).
    AlgMissing,
    /// `none` in any case (RFC 8725 section 3.2).
    AlgNone,
    /// A header member of the wrong type (RFC 7515 section 4.1).
    MemberType(&'static str),
    /// Longer than [`KID_BYTES_MAX`].
    KidTooLong { bytes: usize },
    /// `crit`: we understand no extension, so it must be refused (RFC 7515 section 4.1.11).
    Critical,
    /// `b64`: an unencoded payload (RFC 7797 section 6 requires `crit` beside it).
    Unencoded,
    /// `zip`: compression belongs to JWE (RFC 7516 section 4.1.3).
    Compressed,
    /// `jku`, `jwk` or `x5u`: a token must not bring its own key (RFC 8725 sections 3.9, 3.10).
    KeyInHeader(&'static str),
}

impl FormFault {
    /// A stable word for logs and tests.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::NotThreeParts { .. } => "not_three_parts",
            Self::EmptyPart(_) => "empty_part",
            Self::JsonSerialization => "json_serialization",
            Self::Encrypted => "encrypted",
            Self::Padded(_) => "padded",
            Self::Alphabet(_) => "alphabet",
            Self::Length(_) => "length",
            Self::StrayBits(_) => "stray_bits",
            Self::NotJson(_) => "not_json",
            Self::NotObject(_) => "not_object",
            Self::DuplicateMember(_) => "duplicate_member",
            Self::TooDeep(_) => "too_deep",
            Self::AlgMissing => "alg_missing",
            Self::AlgNone => "alg_none",
            Self::MemberType(_) => "member_type",
            Self::KidTooLong { .. } => "kid_too_long",
            Self::Critical => "crit",
            Self::Unencoded => "unencoded",
            Self::Compressed => "compressed",
            Self::KeyInHeader(_) => "key_in_header",
        }
    }
}

impl fmt::Display for FormFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(out, "the token has {bytes} bytes, more than {TOKEN_BYTES_MAX}")
            }
            Self::NotThreeParts { parts: 1 } => {
                out.write_str("not a JWT: no dots, so perhaps an opaque token")
            }
            Self::NotThreeParts { parts } => {
                write!(out, "not a signed JWT: {parts} parts instead of three")
            }
            Self::EmptyPart(part) => write!(out, "the {} is empty", part.as_str()),
            Self::JsonSerialization => {
                out.write_str("JSON instead of the compact form header.claims.signature")
            }
            Self::Encrypted => out.write_str("an encrypted token (JWE) instead of a signed one"),
            Self::Padded(part) => write!(out, "the {} is padded with =", part.as_str()),
            Self::Alphabet(part) => {
                write!(out, "the {} has a character that base64url does not have", part.as_str())
            }
            Self::Length(part) => {
                write!(out, "the {} has a length that base64url cannot have", part.as_str())
            }
            Self::StrayBits(part) => {
                write!(out, "the {} has stray bits after its last byte", part.as_str())
            }
            Self::NotJson(part) => write!(out, "the {} is not JSON", part.as_str()),
            Self::NotObject(part) => write!(out, "the {} is not a JSON object", part.as_str()),
            Self::DuplicateMember(part) => {
                write!(out, "the {} has a JSON member twice", part.as_str())
            }
            Self::TooDeep(part) => {
                write!(out, "the {} is nested deeper than {DEPTH_MAX} levels", part.as_str())
            }
            Self::AlgMissing => out.write_str("the header has no alg"),
            Self::AlgNone => out.write_str("alg none: the token is not signed"),
            Self::MemberType(name) => write!(out, "{name} in the header is not a string"),
            Self::KidTooLong { bytes } => {
                write!(out, "kid has {bytes} bytes, more than {KID_BYTES_MAX}")
            }
            Self::Critical => out.write_str("crit in the header names an extension we do not know"),
            Self::Unencoded => out.write_str("b64 in the header: unencoded payloads are refused"),
            Self::Compressed => out.write_str("zip in the header: compressed tokens are refused"),
            Self::KeyInHeader(name) => {
                write!(out, "{name} in the header: a token must not bring its own key")
            }
        }
    }
}

impl std::error::Error for FormFault {}
