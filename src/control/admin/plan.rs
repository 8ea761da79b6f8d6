//! What a body asks to be denied, checked: exactly one selector, exactly one condition, one issuer.
//!
//! Nothing that decides between "log out" and "ban" has a default on `/v1/denials`; `/v1/revoke`
//! and `/v1/block` say it by their name. All faults are reported at once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::UnixMs;
use crate::denylist::{Condition, Except, IssuerId, Retention, Selector, TokenId, kept_until};
use crate::verify::{Issuer, Policy, Signed, Verifier};

use super::members::Members;
use super::moment::{Moment, read_duration};
use super::near::nearest;
use super::problem::Fault;
use super::selecting::{self, Selected};

const REASON_CHARS_MAX: usize = 256;
const REFERENCE_CHARS_MAX: usize = 128;

const CONDITIONS: [&str; 3] = ["always", "issued_before", "version_below"];

/// Which path was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    /// End what exists now.
    Revoke,
    /// Keep out.
    Block,
    /// The body says it.
    Deny,
}

impl Verb {
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Revoke => &["issuer", "except", "reason", "reference", "dry_run"],
            Self::Block => &["issuer", "for", "ends_in", "reason", "reference", "dry_run"],
            Self::Deny => &[
                "issuer",
                "always",
                "issued_before",
                "version_below",
                "except",
                "for",
                "ends_in",
                "reason",
                "reference",
                "dry_run",
            ],
        }
    }
}

/// What a body is read against.
pub(super) struct World<'a> {
    pub verifier: &'a Verifier,
    pub now: UnixMs,
    /// Issuers by name that the caller may know of; `None`: all.
    pub allowed: Option<&'a [String]>,
}

/// A denial that can be made.
pub(super) struct Plan {
    pub issuer: Arc<Issuer>,
    pub selector: Selector,
    /// The member that named it, for warnings.
    pub pointer: String,
    /// The token itself, where that is what was named.
    pub token: Option<Arc<Signed>>,
    pub condition: Condition,
    pub except: Option<Except>,
    pub kept_until: Option<UnixMs>,
    pub ends_at: Option<UnixMs>,
    pub reason: String,
    pub reference: Option<String>,
    pub dry_run: bool,
}

impl Plan {
    pub fn read(value: Value, verb: Verb, world: &World<'_>) -> Result<Self, Vec<Fault>> {
        let mut body = Members::of(value, "");
        let named = take_issuer(&mut body, world);
        let token_first = selecting::take_token(&mut body, world);
        let issuer = settle_issuer(&mut body, named, token_first.as_ref(), world);
        let selected = selecting::take(&mut body, token_first, issuer.as_deref());
        let condition =
            take_condition(&mut body, verb, selected.as_ref(), issuer.as_deref(), world);
        let except = take_except(&mut body, verb, condition, world);
        let ends_in = take_ends_in(&mut body, verb, condition);
        let reason = body.take_prose("reason", REASON_CHARS_MAX).unwrap_or_default();
        let reference = body.take_prose("reference", REFERENCE_CHARS_MAX);
        let dry_run = body.take_bool("dry_run").unwrap_or_default();
        let known = [verb.members(), &selecting::MEMBERS].concat();
        let mut faults = body.finish(&known);
        // Whoever wrote `issued_befor` gave a condition: one fault, not two.
        if faults.iter().any(Fault::is_misspelling) {
            faults.retain(|fault| !matches!(fault.code, "condition_missing" | "selector_missing"));
        }
        match (issuer, selected, condition) {
            (Some(issuer), Some(selected), Some(condition)) if faults.is_empty() => {
                let kept_until = kept_until(
                    &selected.selector,
                    condition,
                    world.now,
                    selected.token.as_ref().map(|token| token.expires_at()),
                    &retention(&issuer.policy),
                );
                Ok(Self {
                    kept_until,
                    issuer,
                    selector: selected.selector,
                    pointer: selected.pointer,
                    token: selected.token,
                    condition,
                    except,
                    ends_at: ends_in.map(|span| world.now.plus(span)),
                    reason,
                    reference,
                    dry_run,
                })
            }
            _ => Err(faults),
        }
    }
}

fn retention(policy: &Policy) -> Retention {
    Retention {
        max_lifetime: policy.max_lifetime,
        session_lifetime_max: policy.session_lifetime_max,
        // The gateway renews no sessions itself.
        renewed: false,
        leeway: policy.leeway,
        iat_optional: policy.missing.iat,
    }
}

/// What the body says of the issuer.
enum NamedIssuer {
    Found(Arc<Issuer>),
    Absent,
    /// Its fault is noted.
    Wrong,
}

fn take_issuer(body: &mut Members, world: &World<'_>) -> NamedIssuer {
    if !body.has("issuer") {
        return NamedIssuer::Absent;
    }
    let Some(name) = body.take_identifier("issuer") else { return NamedIssuer::Wrong };
    match world.verifier.issuers().iter().find(|issuer| issuer.policy.name == name) {
        Some(issuer) => NamedIssuer::Found(Arc::clone(issuer)),
        None => {
            let shown: String = name.chars().take(64).collect();
            let known = known_issuers(world);
            let meant = match nearest(&shown, &known) {
                Some(meant) => format!(" Did you mean {meant}?"),
                None => format!(" Known: {}.", known.join(", ")),
            };
            body.fault("issuer", "unknown_issuer", format!("No issuer is named {shown:?}.{meant}"));
            NamedIssuer::Wrong
        }
    }
}

fn known_issuers<'a>(world: &World<'a>) -> Vec<&'a str> {
    let names = world.verifier.issuers().iter().map(|issuer| issuer.policy.name.as_str());
    names
        .filter(|name| world.allowed.is_none_or(|allowed| allowed.iter().any(|one| one == name)))
        .collect()
}

/// The issuer as named, or the token's own, or the only one there is.
fn settle_issuer(
    body: &mut Members,
    named: NamedIssuer,
    token: Option<&Arc<Signed>>,
    world: &World<'_>,
) -> Option<Arc<Issuer>> {
    let of_token = token.map(|token| &token.policy().id);
    let found = |id: &IssuerId| {
        world.verifier.issuers().iter().find(|issuer| issuer.policy.id == *id).map(Arc::clone)
    };
    match (named, of_token) {
        (NamedIssuer::Found(issuer), Some(id)) if issuer.policy.id != *id => {
            body.fault("issuer", "issuer_mismatch", "The token is of another issuer.");
            None
        }
        (NamedIssuer::Found(issuer), _) => Some(issuer),
        (NamedIssuer::Absent, Some(id)) => found(id),
        (NamedIssuer::Wrong, _) => None,
        (NamedIssuer::Absent, None) => match world.verifier.issuers() {
            [only] => Some(Arc::clone(only)),
            // A token whose fault is noted would have said it.
            _ if body.faults.iter().any(|fault| fault.pointer == "/token") => None,
            _ => {
                let known = known_issuers(world).join(", ");
                let detail = format!("Several issuers are configured; say which: {known}.");
                body.fault("issuer", "issuer_missing", detail);
                None
            }
        },
    }
}

fn take_condition(
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
        (Verb::Revoke, []) => issuer.map(|issuer| Condition::IssuedBefore(next(issuer, world.now))),
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
                .and_then(|moment| cutoff(moment, issuer, world.now, &pointer));
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
    now: UnixMs,
    pointer: &str,
) -> Result<Option<UnixMs>, Fault> {
    let Some(issuer) = issuer else { return Ok(None) };
    let latest = now.plus(Duration::from_secs(1)).plus(issuer.policy.cutoff_skew);
    match moment {
        Moment::Now => Ok(Some(next(issuer, now))),
        Moment::At(at) if at <= latest => Ok(Some(at)),
        Moment::At(_) | Moment::In(_) => Err(Fault::new(
            pointer,
            "in_the_future",
            "A cutoff in the future would refuse tokens that are not issued yet. To keep \
             somebody out for a time, block with \"for\".",
        )),
    }
}

fn take_except(
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

fn take_ends_in(body: &mut Members, verb: Verb, condition: Option<Condition>) -> Option<Duration> {
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
    match read_duration(&value, &body.pointer(name)) {
        Ok(span) => Some(span),
        Err(fault) => {
            body.faults.push(fault);
            None
        }
    }
}
