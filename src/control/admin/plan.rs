//! What a body asks to be denied, checked: exactly one selector, exactly one condition, one issuer.
//!
//! Nothing that decides between "log out" and "ban" has a default on `/v1/denials`; `/v1/revoke`
//! and `/v1/block` say it by their name. All faults are reported at once.

use std::sync::Arc;

use serde_json::Value;

use crate::clock::UnixMs;
use crate::denylist::{Condition, Except, IssuerId, Selector, kept_until};
use crate::verify::{Issuer, Signed, Verifier};

use super::condition::{take_condition, take_end, take_except};
use super::members::Members;
use super::near::nearest;
use super::problem::Fault;
use super::selecting;
use super::waiting::{self, Wait};

pub(super) const REASON_CHARS_MAX: usize = 256;
pub(super) const REFERENCE_CHARS_MAX: usize = 128;

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
            Self::Revoke => {
                &["issuer", "except", "reason", "reference", "dry_run", "wait", "wait_timeout"]
            }
            Self::Block => &[
                "issuer",
                "for",
                "ends_in",
                "reason",
                "reference",
                "dry_run",
                "wait",
                "wait_timeout",
            ],
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
                "wait",
                "wait_timeout",
            ],
        }
    }
}

/// What a body is read against.
pub(super) struct World<'a> {
    pub verifier: &'a Verifier,
    pub now: UnixMs,
    /// What `"now"` means in a cutoff, and from when a block's time runs: `now`, unless a file is sent
    /// once more.
    pub as_of: UnixMs,
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
    pub wait: Option<Wait>,
}

impl Plan {
    pub fn read(value: Value, verb: Verb, world: &World<'_>) -> Result<Self, Vec<Fault>> {
        let mut body = Members::of(value, "");
        let (issuer, token_first) = take_issuer_and_token(&mut body, world);
        let selected = selecting::take(&mut body, token_first, issuer.as_deref());
        let condition =
            take_condition(&mut body, verb, selected.as_ref(), issuer.as_deref(), world);
        let except = take_except(&mut body, verb, condition, world);
        let ends_at = take_end(&mut body, verb, condition, world);
        let reason = body.take_prose("reason", REASON_CHARS_MAX).unwrap_or_default();
        let reference = body.take_prose("reference", REFERENCE_CHARS_MAX);
        let dry_run = body.take_bool("dry_run").unwrap_or_default();
        let wait = waiting::take(&mut body);
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
                    &issuer.policy.retention(),
                );
                Ok(Self {
                    kept_until,
                    issuer,
                    selector: selected.selector,
                    pointer: selected.pointer,
                    token: selected.token,
                    condition,
                    except,
                    ends_at,
                    reason,
                    reference,
                    dry_run,
                    wait,
                })
            }
            _ => Err(faults),
        }
    }
}

/// The issuer that is meant, and the token where one was handed in.
pub(super) fn take_issuer_and_token(
    body: &mut Members,
    world: &World<'_>,
) -> (Option<Arc<Issuer>>, Option<Arc<Signed>>) {
    let named = take_issuer(body, world);
    let token = selecting::take_token(body, world);
    (settle_issuer(body, named, token.as_ref(), world), token)
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
                None if known.is_empty() => " None is configured.".to_owned(),
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
            [] => {
                let detail = "No issuer is configured, so no token passes that could be denied.";
                body.fault("issuer", "issuer_missing", detail);
                None
            }
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
