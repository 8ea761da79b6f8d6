//! The compact serialization (RFC 7515 section 7.1), parsed strictly: what passes here is one
//! token in the one way it can be spelled. Nothing is verified.

use serde_json::{Map, Value};

use super::base64url::{self, Base64Fault};
use super::json::{self, JsonFault};
use super::{Claims, FormFault, Part};

/// The longest token that is looked at: cookies end at 4 KiB, headers of most servers at 8.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The longest key id: it is a name, not a document (or a path, or a query).
pub const KID_BYTES_MAX: usize = 256;

/// The JOSE header members that we read (RFC 7515 section 4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub alg: String,
    pub kid: Option<String>,
    pub typ: Option<String>,
}

/// A token in compact form whose spelling is canonical. Not verified.
pub struct Compact<'t> {
    /// `header.payload`, what the signature covers.
    pub signing_input: &'t str,
    pub header: Header,
    pub claims: Claims,
    /// The signature's base64url text.
    pub signature: &'t str,
}

impl<'t> Compact<'t> {
    pub fn parse(token: &'t str) -> Result<Self, FormFault> {
        check_length(token)?;
        if token.trim_start().starts_with('{') {
            return Err(FormFault::JsonSerialization);
        }
        let (header, payload, signature) = split(token)?;
        let parsed = Header::parse(&decode(Part::Header, header)?)?;
        let claims = decode(Part::Claims, payload)?;
        if signature.is_empty() {
            return Err(FormFault::EmptyPart(Part::Signature));
        }
        base64url::is_canonical(signature)
            .map_err(|fault| FormFault::base64(Part::Signature, fault))?;
        let claims = json::object(&claims).map_err(|fault| FormFault::json(Part::Claims, fault))?;
        Ok(Self {
            signing_input: token.get(..header.len() + 1 + payload.len()).unwrap_or_default(),
            header: parsed,
            claims: Claims(claims),
            signature,
        })
    }

    /// SHA-256 of the signing input: the name of a token without `jti`. The signature is not part
    /// of it, since ECDSA has two for each message.
    pub fn signing_digest(&self) -> [u8; 32] {
        super::sha256(self.signing_input.as_bytes())
    }
}

/// Whether it is short enough to be looked at.
pub(crate) fn check_length(token: &str) -> Result<(), FormFault> {
    match token.len() {
        0..=TOKEN_BYTES_MAX => Ok(()),
        bytes => Err(FormFault::TooLong { bytes }),
    }
}

/// Without the token itself.
impl std::fmt::Debug for Compact<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Compact").field("header", &self.header).finish_non_exhaustive()
    }
}

fn split(token: &str) -> Result<(&str, &str, &str), FormFault> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None, None, None) => {
            Ok((header, payload, signature))
        }
        (Some(_), Some(_), Some(_), Some(_), Some(_), None) => Err(FormFault::Encrypted),
        _ => Err(FormFault::NotThreeParts { parts: token.split('.').count() }),
    }
}

fn decode(part: Part, text: &str) -> Result<Vec<u8>, FormFault> {
    if text.is_empty() {
        return Err(FormFault::EmptyPart(part));
    }
    base64url::decode(text).map_err(|fault| FormFault::base64(part, fault))
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, FormFault> {
        let mut members =
            json::object(bytes).map_err(|fault| FormFault::json(Part::Header, fault))?;
        let alg = match members.remove("alg") {
            Some(Value::String(alg)) => alg,
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            ) => {
                return Err(FormFault::MemberType("alg"));
            }
            None => return Err(FormFault::AlgMissing),
        };
        if alg.eq_ignore_ascii_case("none") {
            return Err(FormFault::AlgNone);
        }
        refuse_members(&members)?;
        let kid = string(&mut members, "kid")?;
        if let Some(kid) = kid.as_ref().filter(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(FormFault::KidTooLong { bytes: kid.len() });
        }
        Ok(Self { alg, kid, typ: string(&mut members, "typ")? })
    }
}

/// Header members that change what a signature covers or bring their own key.
fn refuse_members(members: &Map<String, Value>) -> Result<(), FormFault> {
    for (name, fault) in [
        ("crit", FormFault::Critical),
        ("b64", FormFault::Unencoded),
        ("zip", FormFault::Compressed),
        ("enc", FormFault::Encrypted),
        ("jku", FormFault::KeyInHeader("jku")),
        ("jwk", FormFault::KeyInHeader("jwk")),
        ("x5u", FormFault::KeyInHeader("x5u")),
    ] {
        if members.contains_key(name) {
            return Err(fault);
        }
    }
    Ok(())
}

fn string(
    members: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, FormFault> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(FormFault::MemberType(name)),
    }
}

impl FormFault {
    fn base64(part: Part, fault: Base64Fault) -> Self {
        match fault {
            Base64Fault::Padded => Self::Padded(part),
            Base64Fault::Alphabet => Self::Alphabet(part),
            Base64Fault::Length => Self::Length(part),
            Base64Fault::StrayBits => Self::StrayBits(part),
        }
    }

    fn json(part: Part, fault: JsonFault) -> Self {
        match fault {
            JsonFault::Syntax => Self::NotJson(part),
            JsonFault::NotObject => Self::NotObject(part),
            JsonFault::DuplicateMember => Self::DuplicateMember(part),
            JsonFault::TooDeep => Self::TooDeep(part),
        }
    }
}
