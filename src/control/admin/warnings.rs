//! What a caller should know although the denial is made: nobody of that name was seen, it can match
//! nothing, another one covers it, the denylist fills.

use serde::Serialize;

use crate::clock::UnixMs;
use crate::control::people::Reach;
use crate::control::store::Record;
use crate::denylist::{Condition, Denial, Except, Selector, TokenId};

use super::Api;
use super::create::{spelt_out, store_refused};
use super::plan::Plan;
use super::problem::Refused;
use super::record::in_words;
use super::waiting;

/// Something that the caller should know although it was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Warning {
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    pub detail: String,
    /// Names that were seen and are like the one that was not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub close: Vec<String>,
}

impl Warning {
    pub fn new(code: &'static str, pointer: Option<&str>, detail: String) -> Self {
        Self { code, pointer: pointer.map(str::to_owned), detail, close: Vec::new() }
    }
}

/// Of fewer people a share says nothing.
const WIDE_OF_MIN: u64 = 10;

/// Of what was in force before. Asked before the denial is made, which would be found otherwise.
pub(super) fn standing(api: &Api, plan: &Plan) -> Vec<Warning> {
    let mut warnings = Vec::new();
    // A file that cannot be read now must not keep anybody from trying to deny.
    if let Ok(Some(record)) = wider(api, plan) {
        let covering = in_words(&record.denial.selector);
        let detail = format!("{} is in force and covers this: {covering}.", record.denial.id);
        warnings.push(Warning::new("already_covered", None, detail));
    }
    let (count, limit) = (api.store.records(), api.store_limit);
    if is_near(count, limit) {
        let detail = near_limit(count, limit);
        warnings.push(Warning::new("near_limit", None, detail));
    }
    warnings
}

/// All of them. Whom the denial hits is known when the cores have told what they saw up to now.
pub(super) fn warnings(
    api: &Api,
    plan: &Plan,
    reach: Option<Reach>,
    standing: Vec<Warning>,
    now: UnixMs,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let pointer = Some(plan.pointer.as_str());
    if plan.token.as_ref().is_some_and(|token| token.expires_at() <= now) {
        let detail = "The token has expired: it is refused anyway.".to_owned();
        warnings.push(Warning::new("already_expired", pointer, detail));
    } else if plan.kept_until.is_some_and(|until| until <= now) {
        let detail = "Every token that this matches has expired.".to_owned();
        warnings.push(Warning::new("already_expired", Some("/issued_before"), detail));
    }
    if let Some(absent) = claim_absent(api, plan) {
        warnings.push(absent);
    } else if let Some(never) = never_seen(api, plan, reach, now) {
        warnings.push(never);
    }
    warnings.extend(wide(plan, reach));
    warnings.extend(clock_ahead(api, plan));
    let matches_nothing = warnings.iter().any(|warning| warning.code == "claim_absent");
    warnings.extend(refresh_survives(plan).filter(|_| !matches_nothing));
    warnings.extend(standing);
    warnings.extend(waiting::behind(plan.wait, 1));
    warnings
}

/// Registrations take room as denials do.
pub(super) fn near_limit(count: u64, limit: u64) -> String {
    format!("{count} denials and registrations are in force and the limit is {limit}.")
}

/// Four fifths.
pub(super) fn is_near(count: u64, limit: u64) -> bool {
    count >= limit - limit / 5
}

/// A group that is a good part of all who were seen. Of everyone the caller has said so.
fn wide(plan: &Plan, reach: Option<Reach>) -> Option<Warning> {
    let reach = reach.filter(|_| plan.selector != Selector::Issuer)?;
    let of = reach.of.filter(|of| *of >= WIDE_OF_MIN && reach.subjects * 10 >= *of)?;
    let share = reach.subjects.min(of) * 100 / of;
    let detail = format!("Hits {share} % of the users seen ({} of {of}).", reach.subjects.min(of));
    Some(Warning::new("wide", Some(&plan.pointer), detail))
}

/// Tokens that an issuer with a fast clock issued just now carry an `iat` after the cutoff.
fn clock_ahead(api: &Api, plan: &Plan) -> Option<Warning> {
    let Condition::IssuedBefore(_) = plan.condition else { return None };
    let policy = &plan.issuer.policy;
    let ahead = api.people.tally(&policy.id).ahead;
    (ahead > policy.cutoff_skew).then(|| {
        let seconds = ahead.as_millis().div_ceil(1000);
        let detail = format!(
            "Issuer {}'s clock is up to {seconds} s ahead: tokens that it issued in the last \
             {seconds} s may still pass. Set cutoff_skew = \"{seconds}s\" of the issuer, or \
             revoke once more in {seconds} s.",
            policy.name
        );
        Warning::new("clock_ahead", Some("/issued_before"), detail)
    })
}

/// Ending a session's tokens leaves its refresh token, which gets the next one of the same session.
/// Where the gateway renews sessions itself, it does not.
fn refresh_survives(plan: &Plan) -> Option<Warning> {
    let (Selector::Session(_), Condition::IssuedBefore(_)) = (&plan.selector, plan.condition)
    else {
        return None;
    };
    (!plan.issuer.policy.renewed).then(|| {
        let detail = "A refresh token of this session, where the issuer gave one, gets a new token \
                      that passes. To keep the session out: block it.";
        Warning::new("refresh_survives", Some(&plan.pointer), detail.to_owned())
    })
}

/// The issuer's tokens carry no such claim, as far as was seen: the denial can match nothing.
fn claim_absent(api: &Api, plan: &Plan) -> Option<Warning> {
    let policy = &plan.issuer.policy;
    let tally = api.people.tally(&policy.id);
    let (claim, without) = match (&plan.selector, plan.condition) {
        (Selector::Session(_), _) => (policy.claims.session.to_string(), tally.without_session),
        (Selector::Token(TokenId::Jti(_)), _) if plan.token.is_none() => {
            ("jti".to_owned(), tally.without_jti)
        }
        (Selector::Client(_), _) => ("client_id or azp".to_owned(), tally.without_client),
        (Selector::Subject(_), _) if tally.without_subject == tally.sightings => {
            (policy.claims.subject.to_string(), tally.without_subject)
        }
        (Selector::Claim { name, .. }, _) if !tally.with_claim.contains_key(name) => {
            (name.clone(), tally.sightings)
        }
        (_, Condition::VersionBelow(_)) => {
            (policy.claims.version.to_string(), tally.without_version)
        }
        (_, Condition::Always | Condition::IssuedBefore(_)) => return None,
    };
    let pointer = match plan.condition {
        Condition::VersionBelow(_) => "/version_below",
        Condition::Always | Condition::IssuedBefore(_) => plan.pointer.as_str(),
    };
    (tally.sightings > 0 && without == tally.sightings).then(|| {
        let end = match plan.condition {
            Condition::VersionBelow(_) => " Tokens without it are denied.",
            Condition::Always | Condition::IssuedBefore(_) => "",
        };
        let detail = format!(
            "Issuer {}'s tokens carry no {claim}: 0 of {} seen.{end}",
            policy.name, tally.sightings
        );
        Warning::new("claim_absent", Some(pointer), detail)
    })
}

fn never_seen(api: &Api, plan: &Plan, reach: Option<Reach>, now: UnixMs) -> Option<Warning> {
    // Only names that a person types can be mistyped; a token that was handed in is genuine.
    // Seen, but not reached, is not "never seen".
    if reach?.named > 0 || plan.token.is_some() || plan.selector == Selector::Issuer {
        return None;
    }
    let policy = &plan.issuer.policy;
    // Right after the start nobody was seen: that says nothing.
    if api.people.tally(&policy.id).sightings == 0 {
        return None;
    }
    let what = match &plan.selector {
        Selector::Token(_) => "token id".to_owned(),
        Selector::Claim { name, .. } => name.clone(),
        Selector::Session(_)
        | Selector::Subject(_)
        | Selector::Client(_)
        | Selector::Key(_)
        | Selector::Issuer
        | Selector::Registration(_) => plan.selector.kind().as_str().to_owned(),
    };
    let shown = match &plan.selector {
        Selector::Token(TokenId::Jti(id))
        | Selector::Session(id)
        | Selector::Subject(id)
        | Selector::Client(id)
        | Selector::Claim { value: id, .. } => format!(" {id:?}"),
        Selector::Token(TokenId::Digest(_))
        | Selector::Key(_)
        | Selector::Issuer
        | Selector::Registration(_) => String::new(),
    };
    let window = spelt_out(api.people.window(now));
    let detail = format!("No token with {what}{shown} was seen in the last {window}.");
    let mut warning = Warning::new("never_seen", Some(&plan.pointer), detail);
    warning.close = api.people.close(&policy.id, &plan.selector, now);
    Some(warning)
}

/// A denial that stands and leaves this one nothing to do.
fn wider(api: &Api, plan: &Plan) -> Result<Option<Record>, Refused> {
    let issuer = &plan.issuer.policy.id;
    let mut selectors = vec![plan.selector.clone()];
    // A block of the user covers one of their sessions.
    if matches!(plan.selector, Selector::Session(_) | Selector::Token(_)) {
        let subject = match &plan.token {
            Some(token) => token.subject().map(str::to_owned),
            None => api.people.holder(issuer, &plan.selector),
        };
        selectors.extend(subject.map(Selector::Subject));
    }
    if plan.selector != Selector::Issuer {
        selectors.push(Selector::Issuer);
    }
    let by = api.denylist.fingerprinter();
    for selector in selectors {
        // The table knows of each that has anything in force, and asking it is no read of the file.
        if api.denylist.fold(&by.selector(issuer, &selector)).is_empty() {
            continue;
        }
        let same = selector == plan.selector;
        let standing =
            api.store.in_force(issuer, &selector).map_err(|fault| store_refused(api, fault))?;
        let covering = standing.into_iter().find(|record| {
            covers(&record.denial, plan.condition, plan.except.as_ref())
                && !(same && is_same(&record.denial, plan))
        });
        if covering.is_some() {
            return Ok(covering);
        }
    }
    Ok(None)
}

fn is_same(denial: &Denial, plan: &Plan) -> bool {
    denial.condition == plan.condition && denial.except == plan.except
}

/// Does the standing denial deny at least what the condition would, of the same tokens?
fn covers(standing: &Denial, condition: Condition, except: Option<&Except>) -> bool {
    let spares_no_more = standing.except.is_none() || standing.except.as_ref() == except;
    match (standing.condition, condition) {
        // A timed block ends; what it covers now it may not cover then.
        (Condition::Always, _) => standing.ends_at.is_none(),
        (Condition::IssuedBefore(held), Condition::IssuedBefore(asked)) => {
            held >= asked && spares_no_more
        }
        (Condition::VersionBelow(held), Condition::VersionBelow(asked)) => held >= asked,
        (Condition::IssuedBefore(_) | Condition::VersionBelow(_), _) => false,
    }
}
