//! Every rule about claims that is asked on every request, each with its RFC clause. `verify` and
//! `explain` walk the same rules: the one stops at the first fault, the other shows them all.

use serde_json::Value;

use crate::clock::UnixMs;
use crate::token::Claims;

use super::facts::Times;
use super::fault::TokenFault;
use super::issuer::Policy;
use super::signed::Signed;

/// All rules at `now`.
pub(super) fn check(signed: &Signed, now: UnixMs) -> Result<(), TokenFault> {
    let policy = signed.policy();
    typ(signed.typ.as_deref(), policy)?;
    no_event(&signed.claims)?;
    audience(&signed.audiences, policy)?;
    TIME_RULES.iter().try_for_each(|rule| rule(&signed.times, policy, now))?;
    required(&signed.claims, policy)
}

/// What a token that passed must still say under another policy of its issuer, for as long as what
/// it opened lasts. That it has not expired is asked elsewhere.
pub(super) fn still(signed: &Signed, now: UnixMs) -> Result<(), TokenFault> {
    let policy = signed.policy();
    typ(signed.typ.as_deref(), policy)?;
    audience(&signed.audiences, policy)?;
    let expiry: TimeRule = not_expired;
    TIME_RULES
        .iter()
        .filter(|rule| !std::ptr::fn_addr_eq(**rule, expiry))
        .try_for_each(|rule| rule(&signed.times, policy, now))?;
    required(&signed.claims, policy)
}

/// `typ` (RFC 8725 section 3.11): what was made for another purpose is no access token, be it a
/// logout token, a security event or a DPoP proof.
pub(super) fn typ(typ: Option<&str>, policy: &Policy) -> Result<(), TokenFault> {
    let accepted = match (typ, policy.types.as_slice()) {
        (None, []) => true,
        (None, _) => false,
        (Some(typ), []) => ["jwt", "at+jwt"].iter().any(|known| same_media_type(typ, known)),
        (Some(typ), types) => types.iter().any(|known| same_media_type(typ, known)),
    };
    if accepted { Ok(()) } else { Err(TokenFault::Type { typ: typ.map(str::to_owned) }) }
}

/// A security event token is no access token, also where it has no `typ`: `events` is what makes it one
/// (RFC 8417 section 2.2, OpenID Connect Back-Channel Logout section 2.4).
pub(super) fn no_event(claims: &Claims) -> Result<(), TokenFault> {
    match claims.member("events") {
        Some(Value::Object(_)) => Err(TokenFault::SecurityEvent),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )
        | None => Ok(()),
    }
}

/// RFC 7515 section 4.1.9: any case, and `application/` may be left out.
pub(super) fn same_media_type(one: &str, other: &str) -> bool {
    fn bare(text: &str) -> &str {
        const PREFIX: &str = "application/";
        match text.split_at_checked(PREFIX.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(PREFIX) => rest,
            Some(_) | None => text,
        }
    }
    bare(one).eq_ignore_ascii_case(bare(other))
}

/// `aud` (RFC 7519 section 4.1.3): one of ours, byte for byte.
pub(super) fn audience(audiences: &[String], policy: &Policy) -> Result<(), TokenFault> {
    if audiences.is_empty() {
        return if policy.missing.aud { Ok(()) } else { Err(TokenFault::AudienceMissing) };
    }
    // Without a configured audience there is nothing to compare with; the config allows that only
    // for an issuer that says its tokens lack `aud`.
    if policy.audiences.is_empty() && policy.missing.aud {
        return Ok(());
    }
    if audiences.iter().any(|one| policy.audiences.contains(one)) {
        Ok(())
    } else {
        Err(TokenFault::WrongAudience { audiences: audiences.to_vec() })
    }
}

pub(super) type TimeRule = fn(&Times, &Policy, UnixMs) -> Result<(), TokenFault>;

/// In the order in which they are reported. What is wrong with the token for good comes before
/// what time will change, so that `token_expired` is only said of a token that was good once.
pub(super) const TIME_RULES: [TimeRule; 7] = [
    issued_at_present,
    expires_after_issued,
    lifetime_bounded,
    issued_in_the_past,
    authenticated_in_the_past,
    already_valid,
    not_expired,
];

/// RFC 9068 section 2.2; cutoffs need it.
fn issued_at_present(times: &Times, policy: &Policy, _now: UnixMs) -> Result<(), TokenFault> {
    if times.issued_at.is_some() || policy.missing.iat {
        Ok(())
    } else {
        Err(TokenFault::IssuedAtMissing)
    }
}

fn expires_after_issued(times: &Times, _: &Policy, _now: UnixMs) -> Result<(), TokenFault> {
    match times.issued_at {
        Some(issued_at) if times.expires_at < issued_at => {
            Err(TokenFault::ExpiresBeforeIssued { expires_at: times.expires_at, issued_at })
        }
        Some(_) | None => Ok(()),
    }
}

/// A denial is kept for `max_lifetime`; a token that lives longer could outlive it. Without `iat`
/// what is left of its life is measured.
fn lifetime_bounded(times: &Times, policy: &Policy, now: UnixMs) -> Result<(), TokenFault> {
    let lifetime = times.expires_at.since(times.issued_at.unwrap_or(now));
    let older = policy.lifetime_marks.iter().filter(|mark| {
        // Without `iat` no denial is forgotten by age.
        times.issued_at.is_some_and(|issued_at| issued_at < mark.issued_before)
    });
    let max = older.fold(policy.max_lifetime, |max, mark| max.min(mark.max_lifetime));
    if lifetime <= max { Ok(()) } else { Err(TokenFault::LifetimeTooLong { lifetime, max }) }
}

/// RFC 7519 section 4.1.6. A token from the future would outlive the cutoffs of today.
fn issued_in_the_past(times: &Times, policy: &Policy, now: UnixMs) -> Result<(), TokenFault> {
    match times.issued_at {
        Some(at) if at > now.plus(policy.leeway) => Err(TokenFault::IssuedInFuture { at, now }),
        Some(_) | None => Ok(()),
    }
}

/// OpenID Connect Core section 2: `auth_time` is when it happened.
fn authenticated_in_the_past(
    times: &Times,
    policy: &Policy,
    now: UnixMs,
) -> Result<(), TokenFault> {
    match times.auth_time {
        Some(at) if at > now.plus(policy.leeway) => {
            Err(TokenFault::AuthenticatedInFuture { at, now })
        }
        Some(_) | None => Ok(()),
    }
}

/// RFC 7519 section 4.1.5: not before `nbf`.
fn already_valid(times: &Times, policy: &Policy, now: UnixMs) -> Result<(), TokenFault> {
    match times.not_before {
        Some(from) if from > now.plus(policy.leeway) => Err(TokenFault::NotYetValid { from, now }),
        Some(_) | None => Ok(()),
    }
}

/// RFC 7519 section 4.1.4: "on or after" `exp` it must not be accepted.
fn not_expired(times: &Times, policy: &Policy, now: UnixMs) -> Result<(), TokenFault> {
    let at = times.expires_at;
    if now >= at.plus(policy.leeway) { Err(TokenFault::Expired { at, now }) } else { Ok(()) }
}

/// Claims that the policy requires; `null` is not there.
pub(super) fn required(claims: &Claims, policy: &Policy) -> Result<(), TokenFault> {
    match policy.required.iter().find(|path| path.find(claims).is_none_or(|value| value.is_null()))
    {
        Some(path) => Err(TokenFault::ClaimMissing { claim: path.to_string() }),
        None => Ok(()),
    }
}
