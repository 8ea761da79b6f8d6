//! When the tokens that a body names are denied: always, by when they were issued, by version. And
//! what belongs to one of these only: what a cutoff spares, when a block ends.

use std::time::Duration;

use crate::clock::UnixMs;
use crate::denylist::{Condition, Except, Selector, TokenId};
use crate::verify::Issuer;

use super::members::Members;
use super::moment::{Moment, read_duration};
use super::plan::{Verb, World};
use super::problem::Fault;
use super::selecting::{self, Selected};

const CONDITIONS: [&str; 3] = ["always", "issued_before", "version_below"];

pub(super) fn take_condition(
    body: &mut Members,
    verb: Verb,
    selected: Option<&Selected>,
    issuer: Option<&Issuer>,
    world: &World<'_>,
) -> Option<Condition> {
    let is_token = selected.is_some_and(|selected| matches!(selected.selector, Selector::Token(_)));
    let said: Vec<&str> = CONDITIONS.into_iter().filter(|name| body.has(name)).collect();
    match (verb, said.as_slice()) {
        (Verb::Block, []) => Some(Condition::Always),
        (Verb::Revoke, []) if is_token => Some(Condition::Always),
        (Verb::Revoke, []) => {
            issuer.map(|issuer| Condition::IssuedBefore(next(issuer, world.as_of)))
        }
        (Verb::Revoke | Verb::Block, several) => {
            for name in several {
                body.take(name);
                let detail = "This path says the condition by its name; to choose one, call \
                              /v1/denials.";
                body.fault(name, "condition_not_here", detail);
            }
            None
        }
        (Verb::Deny, []) if is_token => Some(Condition::Always),
        (Verb::Deny, []) => {
            // Where there is no selector, that is the fault to see first.
            if selected.is_some() {
                let detail = "Say what to do: \"always\": true keeps out until undone, \
                              \"issued_before\": \"now\" ends what exists and lets them log in \
                              again, \"version_below\": N ends older versions.";
                body.faults.push(Fault::new("", "condition_missing", detail));
            }
            None
        }
        (Verb::Deny, [only]) => read_condition(body, only, issuer, world),
        (Verb::Deny, several) => {
            for name in several {
                body.take(name);
            }
            let detail = format!("Exactly one condition: {} are there.", several.join(" and "));
            body.faults.push(Fault::new("", "condition_ambiguous", detail));
            None
        }
    }
}

fn read_condition(
    body: &mut Members,
    name: &str,
    issuer: Option<&Issuer>,
    world: &World<'_>,
) -> Option<Condition> {
    match name {
        "always" => body.take_true(name).map(|()| Condition::Always),
        "issued_before" => {
            let value = body.take(name)?;
            let pointer = body.pointer(name);
            let cutoff = Moment::read(&value, &pointer)
                .and_then(|moment| cutoff(moment, issuer, world, &pointer));
            match cutoff {
                Ok(at) => at.map(Condition::IssuedBefore),
                Err(fault) => {
                    body.faults.push(fault);
                    None
                }
            }
        }
        _ => {
            let version = body.take(name)?.as_u64().filter(|number| *number > 0);
            if version.is_none() {
                body.fault(name, "wrong_type", "Expected a whole number of at least 1.");
            }
            version.map(Condition::VersionBelow)
        }
    }
}

/// The first full second that lies after every token issued so far (an `iat` is in seconds).
fn next(issuer: &Issuer, now: UnixMs) -> UnixMs {
    UnixMs::from_secs(now.secs().saturating_add(1)).plus(issuer.policy.cutoff_skew)
}

/// A cutoff in the future would be a ban until then: tokens issued after it was made would fail.
fn cutoff(
    moment: Moment,
    issuer: Option<&Issuer>,
    world: &World<'_>,
    pointer: &str,
) -> Result<Option<UnixMs>, Fault> {
    let Some(issuer) = issuer else { return Ok(None) };
    let latest = world.now.plus(Duration::from_secs(1)).plus(issuer.policy.cutoff_skew);
    match moment {
        Moment::Now => Ok(Some(next(issuer, world.as_of))),
        Moment::At(at) if at <= latest => Ok(Some(at)),
        Moment::At(_) | Moment::In(_) => Err(Fault::new(
            pointer,
            "in_the_future",
            "A cutoff in the future would refuse tokens that are not issued yet. To keep \
             somebody out for a time, block with \"for\".",
        )),
    }
}

pub(super) fn take_except(
    body: &mut Members,
    verb: Verb,
    condition: Option<Condition>,
    world: &World<'_>,
) -> Option<Except> {
    if verb == Verb::Block || !body.has("except") {
        return None;
    }
    let value = body.take("except")?;
    let is_cutoff = matches!(condition, Some(Condition::IssuedBefore(_)));
    if condition.is_some() && !is_cutoff {
        let detail = "Only issued_before can spare a session or a token.";
        body.fault("except", "except_not_here", detail);
        return None;
    }
    let mut inner = Members::of(value, "/except");
    let token = selecting::take_token(&mut inner, world).map(|token| token.token_id().clone());
    let jti = inner.take_identifier("jti").map(TokenId::Jti);
    let session = inner.take_identifier("session").map(Except::Session);
    let mut said: Vec<Except> =
        token.into_iter().chain(jti).map(Except::Token).chain(session).collect();
    let had_fault = !inner.faults.is_empty();
    let mut faults = inner.finish(&["session", "jti", "token"]);
    body.faults.append(&mut faults);
    if said.len() != 1 {
        if !had_fault {
            let detail = "Exactly one of session, jti and token.";
            body.fault("except", "except_ambiguous", detail);
        }
        return None;
    }
    said.pop()
}

/// When a block ends by itself.
pub(super) fn take_end(
    body: &mut Members,
    verb: Verb,
    condition: Option<Condition>,
    world: &World<'_>,
) -> Option<UnixMs> {
    if verb == Verb::Revoke {
        return None;
    }
    let name = match (body.has("for"), body.has("ends_in")) {
        (false, false) => return None,
        (true, true) => {
            body.take("ends_in");
            body.fault("ends_in", "duration_ambiguous", "for and ends_in say the same: give one.");
            "for"
        }
        (true, false) => "for",
        (false, true) => "ends_in",
    };
    let value = body.take(name)?;
    if condition.is_some_and(|condition| condition != Condition::Always) {
        let detail = "Only a block ends after a time; a cutoff is forgotten by itself.";
        body.fault(name, "duration_not_here", detail);
        return None;
    }
    let ends_at = match read_duration(&value, &body.pointer(name)) {
        Ok(span) => world.as_of.plus(span),
        Err(fault) => {
            body.faults.push(fault);
            return None;
        }
    };
    if ends_at <= world.now {
        let detail = format!("Counted from as_of, it was over at {}.", ends_at.rfc3339());
        body.fault(name, "already_over", detail);
        return None;
    }
    Some(ends_at)
}
