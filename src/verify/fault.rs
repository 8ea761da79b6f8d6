//! Why a token is not good: one flat enum, so that every reason has one place in the code, in the
//! log and in `explain`.

use std::fmt;
use std::time::Duration;

use crate::clock::UnixMs;
use crate::denylist::IssuerId;
use crate::keys::Algorithm;
use crate::token::FormFault;

/// Why a token is not good. The text of a variant never holds the token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenFault {
    /// The form (RFC 7515, RFC 7519 section 7.2).
    Form(FormFault),
    /// No `iss`, and every issuer asks for it (RFC 7519 section 4.1.1, RFC 9068 section 2.2).
    IssuerMissing,
    /// `iss` is no string (RFC 7519 section 4.1.1).
    IssuerType,
    /// `iss` is none of ours, byte for byte (RFC 8725 section 3.8).
    UnknownIssuer { iss: String },
    /// An `alg` that we do not verify (RFC 8725 section 3.1).
    AlgorithmUnknown { alg: String },
    /// An `alg` that the issuer's list does not have (RFC 8725 section 3.1).
    AlgorithmNotAllowed { algorithm: Algorithm },
    /// The issuer has no keys now: not the token's fault, so 503 and not 401.
    KeysAbsent { issuers: Vec<IssuerId> },
    /// No key of these issuers has the token's `kid` (RFC 7515 section 4.1.4). Perhaps a new key:
    /// refresh. `issued_at` is what the token says, which nobody vouched for. `former`: there was such
    /// a key, and it was taken away.
    UnknownKey { kid: String, issuers: Vec<IssuerId>, issued_at: Option<UnixMs>, former: bool },
    /// The same, and the keys could not be fetched since the token may have been made: it may be of
    /// a key that is not here yet, so 503 and not 401.
    KeyAwaited { kid: String },
    /// The named key is bound to other algorithms (RFC 8725 section 3.1).
    KeyAlgorithm { kid: String, algorithm: Algorithm },
    /// The token names no key, and no key is for its algorithm.
    NoKeyForAlgorithm { algorithm: Algorithm },
    /// RFC 7515 section 5.2 step 8.
    BadSignature,
    /// Genuine, and of another client than the one whose key signed it.
    WrongClient { client: Option<String> },
    /// `typ` is not one that the issuer's tokens have (RFC 8725 section 3.11, RFC 9068 section 4).
    Type { typ: Option<String> },
    /// It tells of an event (RFC 8417 section 2.2), as a logout token does, and grants nothing.
    SecurityEvent,
    /// No `exp` (RFC 9068 section 2.2).
    ExpiryMissing,
    /// RFC 7519 section 4.1.4.
    Expired { at: UnixMs, now: UnixMs },
    /// No `iat`, by which cutoffs know old tokens (RFC 9068 section 2.2).
    IssuedAtMissing,
    /// `iat` is in the future beyond leeway (RFC 7519 section 4.1.6).
    IssuedInFuture { at: UnixMs, now: UnixMs },
    /// `auth_time` is in the future beyond leeway (OpenID Connect Core section 2): it would pass
    /// for a fresh login for too long.
    AuthenticatedInFuture { at: UnixMs, now: UnixMs },
    /// RFC 7519 section 4.1.5.
    NotYetValid { from: UnixMs, now: UnixMs },
    /// `exp` is before `iat`.
    ExpiresBeforeIssued { expires_at: UnixMs, issued_at: UnixMs },
    /// It lives longer than the issuer's `max_lifetime`, so a denial could be forgotten before it
    /// ends.
    LifetimeTooLong { lifetime: Duration, max: Duration },
    /// `exp`, `nbf`, `iat` or `auth_time` is no number of seconds (RFC 7519 section 2,
    /// NumericDate).
    TimeType { claim: &'static str },
    /// Such a claim is negative or beyond the year 9999: milliseconds, as a rule.
    TimeOutOfRange { claim: &'static str },
    /// No `aud` (RFC 9068 section 2.2).
    AudienceMissing,
    /// `aud` is neither a string nor an array of strings (RFC 7519 section 4.1.3).
    AudienceType,
    /// `aud` names none of ours (RFC 7519 section 4.1.3, RFC 8725 section 3.9).
    WrongAudience { audiences: Vec<String> },
    /// A claim that the issuer's policy requires.
    ClaimMissing { claim: String },
    /// A claim that is not of the type it must have.
    ClaimType { claim: String, expected: &'static str },
}

impl TokenFault {
    /// The stable code that client, log and metric share: `token_expired`, `token_not_yet_valid`,
    /// `token_invalid`, or `not_ready` where the token could not be judged.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::KeysAbsent { .. } | Self::KeyAwaited { .. } => "not_ready",
            Self::Form(_)
            | Self::IssuerMissing
            | Self::IssuerType
            | Self::UnknownIssuer { .. }
            | Self::AlgorithmUnknown { .. }
            | Self::AlgorithmNotAllowed { .. }
            | Self::UnknownKey { .. }
            | Self::KeyAlgorithm { .. }
            | Self::NoKeyForAlgorithm { .. }
            | Self::BadSignature
            | Self::WrongClient { .. }
            | Self::Type { .. }
            | Self::SecurityEvent
            | Self::ExpiryMissing
            | Self::IssuedAtMissing
            | Self::IssuedInFuture { .. }
            | Self::AuthenticatedInFuture { .. }
            | Self::ExpiresBeforeIssued { .. }
            | Self::LifetimeTooLong { .. }
            | Self::TimeType { .. }
            | Self::TimeOutOfRange { .. }
            | Self::AudienceMissing
            | Self::AudienceType
            | Self::WrongAudience { .. }
            | Self::ClaimMissing { .. }
            | Self::ClaimType { .. } => "token_invalid",
        }
    }

    /// Nobody who may issue tokens has vouched for it: it may be anything that anybody made up.
    pub fn is_unproven(&self) -> bool {
        matches!(
            self,
            Self::Form(_)
                | Self::IssuerMissing
                | Self::IssuerType
                | Self::UnknownIssuer { .. }
                | Self::AlgorithmUnknown { .. }
                | Self::AlgorithmNotAllowed { .. }
                | Self::UnknownKey { .. }
                | Self::KeyAwaited { .. }
                | Self::KeyAlgorithm { .. }
                | Self::NoKeyForAlgorithm { .. }
                | Self::BadSignature
        )
    }

    /// Nothing was said of it: the keys to judge it by are not here yet.
    pub fn is_unjudged(&self) -> bool {
        matches!(self, Self::KeysAbsent { .. } | Self::KeyAwaited { .. })
    }

    /// The same token may be good in a moment: its key is not known yet, or its time has not come.
    pub fn may_pass_later(&self) -> bool {
        matches!(
            self,
            Self::KeysAbsent { .. }
                | Self::UnknownKey { .. }
                | Self::KeyAwaited { .. }
                | Self::IssuedInFuture { .. }
                | Self::AuthenticatedInFuture { .. }
                | Self::NotYetValid { .. }
        )
    }

    /// The precise reason as a stable word, for logs and for programs that read `explain`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Form(fault) => fault.reason(),
            Self::IssuerMissing => "issuer_missing",
            Self::IssuerType => "issuer_type",
            Self::UnknownIssuer { .. } => "unknown_issuer",
            Self::AlgorithmUnknown { .. } => "algorithm_unknown",
            Self::AlgorithmNotAllowed { .. } => "algorithm_not_allowed",
            Self::KeysAbsent { .. } => "keys_absent",
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeyAwaited { .. } => "key_awaited",
            Self::KeyAlgorithm { .. } => "key_algorithm",
            Self::NoKeyForAlgorithm { .. } => "no_key_for_algorithm",
            Self::BadSignature => "bad_signature",
            Self::WrongClient { .. } => "wrong_client",
            Self::Type { .. } => "wrong_type",
            Self::SecurityEvent => "security_event",
            Self::ExpiryMissing => "exp_missing",
            Self::Expired { .. } => "expired",
            Self::IssuedAtMissing => "iat_missing",
            Self::IssuedInFuture { .. } => "issued_in_future",
            Self::AuthenticatedInFuture { .. } => "authenticated_in_future",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::ExpiresBeforeIssued { .. } => "expires_before_issued",
            Self::LifetimeTooLong { .. } => "lifetime_too_long",
            Self::TimeType { .. } => "time_type",
            Self::TimeOutOfRange { .. } => "time_out_of_range",
            Self::AudienceMissing => "audience_missing",
            Self::AudienceType => "audience_type",
            Self::WrongAudience { .. } => "wrong_audience",
            Self::ClaimMissing { .. } => "claim_missing",
            Self::ClaimType { .. } => "claim_type",
        }
    }

    /// For operators: what was found and what was expected, with names and times, never the token.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}

/// Text out of a token: cut to a length, with nothing that a terminal or a log would act on.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let cut = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{cut}")
}

/// `1 h 57 min`: the two largest units.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {smaller}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => two(minutes, "min", seconds % 60, "s"),
        (0, _, _) => two(hours, "h", minutes, "min"),
        _ => two(days, "d", hours, "h"),
    }
}

fn wrong_client(client: Option<&str>) -> String {
    match client {
        None => "the token names no client, and its key is bound to one".to_owned(),
        Some(client) => format!("the key is not that of client {}", quoted(client)),
    }
}

fn wrong_type(typ: Option<&str>) -> String {
    match typ {
        None => "the token has no typ, which the issuer's tokens must have".to_owned(),
        Some(typ) => format!("typ {} is not accepted from this issuer", quoted(typ)),
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(fault) => fault.fmt(out),
            Self::IssuerMissing => out.write_str("the token has no iss"),
            Self::IssuerType => out.write_str("iss is not a string"),
            Self::UnknownIssuer { iss } => {
                write!(out, "iss {} is no configured issuer", quoted(iss))
            }
            Self::AlgorithmUnknown { alg } => write!(out, "alg {} is not supported", quoted(alg)),
            Self::AlgorithmNotAllowed { algorithm } => {
                write!(out, "alg {} is not among the issuer's algorithms", algorithm.as_str())
            }
            Self::KeysAbsent { .. } => out.write_str("the issuer has no keys to verify with"),
            Self::UnknownKey { kid, .. } => write!(out, "no key has the kid {}", quoted(kid)),
            Self::KeyAwaited { kid } => write!(out, "no key has the kid {} yet", quoted(kid)),
            Self::KeyAlgorithm { kid, algorithm } => {
                write!(out, "the key {} is not for alg {}", quoted(kid), algorithm.as_str())
            }
            Self::NoKeyForAlgorithm { algorithm } => {
                write!(out, "no key is for alg {}", algorithm.as_str())
            }
            Self::BadSignature => out.write_str("the signature does not match the key"),
            Self::WrongClient { client } => out.write_str(&wrong_client(client.as_deref())),
            Self::Type { typ } => out.write_str(&wrong_type(typ.as_deref())),
            Self::SecurityEvent => {
                out.write_str("events makes it a token of an event, as a logout")
            }
            Self::ExpiryMissing => out.write_str("the token has no exp"),
            Self::Expired { at, now } => {
                write!(out, "expired {}, {} ago", at.rfc3339(), span(now.since(*at)))
            }
            Self::IssuedAtMissing => out.write_str("the token has no iat"),
            Self::IssuedInFuture { at, now } => write!(
                out,
                "iat {} is {} in the future: the issuer's clock or ours is wrong",
                at.rfc3339(),
                span(at.since(*now))
            ),
            Self::AuthenticatedInFuture { at, now } => {
                write!(out, "auth_time {} is {} in the future", at.rfc3339(), span(at.since(*now)))
            }
            Self::NotYetValid { from, now } => {
                write!(out, "not valid before {}, in {}", from.rfc3339(), span(from.since(*now)))
            }
            Self::ExpiresBeforeIssued { expires_at, issued_at } => {
                write!(out, "exp {} is before iat {}", expires_at.rfc3339(), issued_at.rfc3339())
            }
            Self::LifetimeTooLong { lifetime, max } => write!(
                out,
                "it lives {}, longer than max_lifetime = {}",
                span(*lifetime),
                span(*max)
            ),
            Self::TimeType { claim } => write!(out, "{claim} is not a number of seconds"),
            Self::TimeOutOfRange { claim } => write!(
                out,
                "{claim} is negative or beyond the year 9999 (milliseconds instead of seconds?)"
            ),
            Self::AudienceMissing => out.write_str("the token has no aud"),
            Self::AudienceType => out.write_str("aud is neither a string nor a list of strings"),
            Self::WrongAudience { audiences } => {
                let found: Vec<_> = audiences.iter().take(4).map(|one| quoted(one)).collect();
                let more = if audiences.len() > 4 { ", …" } else { "" };
                write!(out, "aud is {}{more}, none of the issuer's audiences", found.join(", "))
            }
            Self::ClaimMissing { claim } => write!(out, "the claim {} is missing", quoted(claim)),
            Self::ClaimType { claim, expected } => {
                write!(out, "the claim {} is not {expected}", quoted(claim))
            }
        }
    }
}

impl std::error::Error for TokenFault {}
