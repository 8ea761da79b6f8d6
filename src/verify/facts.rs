//! What a token's claims say, read once into exact types. A claim of the wrong type is a fault,
//! never an absent claim; only a version is otherwise. No time is compared and nothing is decided here.

use serde_json::{Number, Value};

use crate::clock::UnixMs;
use crate::token::{ClaimPath, Claims};

use super::fault::TokenFault;
use super::issuer::Policy;

/// 9999-12-31T23:59:59Z. What is beyond it is milliseconds, or nonsense.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Values that one token may have in its indexed claims: each is a probe of the denylist on every
/// request.
const INDEXED_VALUES_MAX: usize = 256;

/// The numeric dates (RFC 7519 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Times {
    pub issued_at: Option<UnixMs>,
    pub expires_at: UnixMs,
    pub not_before: Option<UnixMs>,
    pub auth_time: Option<UnixMs>,
}

impl Times {
    pub fn read(claims: &Claims) -> Result<Self, TokenFault> {
        Ok(Self {
            expires_at: numeric_date(claims, "exp")?.ok_or(TokenFault::ExpiryMissing)?,
            issued_at: numeric_date(claims, "iat")?,
            not_before: numeric_date(claims, "nbf")?,
            auth_time: numeric_date(claims, "auth_time")?,
        })
    }
}

/// `iat` as a token says it whose signature has not been verified: a hint, for want of better.
pub(super) fn said_to_be_issued_at(claims: &Claims) -> Option<UnixMs> {
    numeric_date(claims, "iat").ok().flatten()
}

fn numeric_date(claims: &Claims, claim: &'static str) -> Result<Option<UnixMs>, TokenFault> {
    match claims.member(claim) {
        None => Ok(None),
        Some(Value::Number(number)) => instant(number, claim).map(Some),
        Some(
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
        ) => Err(TokenFault::TimeType { claim }),
    }
}

fn instant(number: &Number, claim: &'static str) -> Result<UnixMs, TokenFault> {
    let out_of_range = TokenFault::TimeOutOfRange { claim };
    if let Some(seconds) = number.as_i64() {
        let inside = (0..=SECONDS_MAX).contains(&seconds);
        return if inside { Ok(UnixMs::from_secs(seconds)) } else { Err(out_of_range) };
    }
    match number.as_f64() {
        // Rounded down: an earlier `exp` ends sooner, an earlier `iat` is cut off sooner.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "both ends of the range are exact in a double and fit an i64"
        )]
        Some(seconds) if (0.0..=SECONDS_MAX as f64).contains(&seconds) => {
            Ok(UnixMs((seconds * 1000.0).floor() as i64))
        }
        Some(_) | None => Err(out_of_range),
    }
}

/// `aud`; empty where it is absent.
pub(super) fn audiences(claims: &Claims) -> Result<Vec<String>, TokenFault> {
    match claims.member("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(many)) => many
            .iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or(TokenFault::AudienceType))
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Err(TokenFault::AudienceType)
        }
    }
}

/// Names are bounded, so that a denial cannot be made to fill the memory. A longer one in a token is
/// refused: no denial could hold it. OpenID Connect (Core, section 2) allows `sub` 255 of them.
pub const IDENTIFIER_BYTES_MAX: usize = 1024;

/// What denials and people know a token by: each can be named in a denial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Names {
    pub subject: Option<String>,
    pub session: Option<String>,
    pub client: Option<String>,
    pub jti: Option<String>,
    pub version: Option<u64>,
    /// Indexed claims: position in the policy's list, and value.
    pub indexed: Vec<(usize, String)>,
    pub scopes: Vec<String>,
    pub display: Option<String>,
}

impl Names {
    pub fn read(claims: &Claims, policy: &Policy) -> Result<Self, TokenFault> {
        let names = &policy.claims;
        Ok(Self {
            subject: identifier(claims, &names.subject)?,
            session: identifier(claims, &names.session)?,
            client: first_identifier(claims, &names.client)?,
            jti: identifier(claims, &ClaimPath::Name("jti".to_owned()))?,
            version: version(claims, &names.version),
            indexed: indexed(claims, policy)?,
            scopes: scopes(claims)?,
            display: policy.display.as_ref().and_then(|path| shown(path.find(claims)?)),
        })
    }
}

fn first_identifier(claims: &Claims, paths: &[ClaimPath]) -> Result<Option<String>, TokenFault> {
    for path in paths {
        if let Some(found) = identifier(claims, path)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn identifier(claims: &Claims, path: &ClaimPath) -> Result<Option<String>, TokenFault> {
    path.find(claims).map_or(Ok(None), |value| identifier_of(path, value))
}

/// `None` where it is empty: that names nobody, and two tokens that both have it are not one. What no
/// denial could name is refused, else whoever chooses their own name could not be kept out by it.
fn identifier_of(path: &ClaimPath, value: &Value) -> Result<Option<String>, TokenFault> {
    let wrong = |expected| TokenFault::ClaimType { claim: path.to_string(), expected };
    let text = shown(value).ok_or_else(|| wrong("a string or an integer"))?;
    if text.len() > IDENTIFIER_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(wrong("what a denial could name: at most 1024 bytes, no control characters"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A string as it is, an integer in decimal; nothing else names anything. `1.0` and `1e3` are no
/// integers: another parser might spell them otherwise.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// Anything but a non-negative integer is no version. Issuers put versions of their own format into
/// `ver` ("2.0"), and a token without a version is hit by every denial by version.
fn version(claims: &Claims, path: &ClaimPath) -> Option<u64> {
    path.find(claims)?.as_u64()
}

fn indexed(claims: &Claims, policy: &Policy) -> Result<Vec<(usize, String)>, TokenFault> {
    let mut values = Vec::new();
    for (index, (_, path)) in policy.claims.indexed.iter().enumerate() {
        match path.find(claims) {
            None => {}
            Some(Value::Array(many)) => {
                for one in many {
                    values.extend(identifier_of(path, one)?.map(|value| (index, value)));
                }
            }
            Some(one) => values.extend(identifier_of(path, one)?.map(|value| (index, value))),
        }
        if values.len() > INDEXED_VALUES_MAX {
            return Err(TokenFault::ClaimType {
                claim: path.to_string(),
                expected: "at most 256 values (all indexed claims together)",
            });
        }
    }
    Ok(values)
}

/// `scope` (RFC 8693 section 4.2, RFC 9068 section 2.2.3), else `scp`; a string separated by
/// spaces, or an array of strings.
fn scopes(claims: &Claims) -> Result<Vec<String>, TokenFault> {
    let Some((claim, value)) =
        ["scope", "scp"].into_iter().find_map(|claim| Some((claim, claims.member(claim)?)))
    else {
        return Ok(Vec::new());
    };
    let wrong = || TokenFault::ClaimType {
        claim: claim.to_owned(),
        expected: "a string or a list of strings",
    };
    match value {
        Value::String(list) => {
            Ok(list.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect())
        }
        Value::Array(many) => {
            many.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    }
}
