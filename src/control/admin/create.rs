//! Making a denial: check, warn, write, answer. The answer is sent when the denial is on disk and
//! in force.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::people::Reach;
use crate::control::store::{NewDenial, Record, StoreError};
use crate::denylist::{Condition, Denial, Except, Selector, TokenId};

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::plan::{Plan, Verb, World};
use super::problem::Refused;
use super::record::{ConditionJson, RecordJson, SelectorJson, View, in_words};

/// Longer than any disk should take. A denial that is under way is not taken back by this.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(20);

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

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    record: RecordJson,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
    outcome: OutcomeJson,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct OutcomeJson {
    durable: bool,
    replicas: Replicas,
    /// At least so many; absent when people are off, or were not counted for the many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_seen: Option<u64>,
    /// From when on a newly issued token passes; absent where none will.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_pass_from: Option<String>,
}

/// Of this store there is one replica.
#[derive(Serialize)]
struct Replicas {
    applied: u32,
    known: u32,
}

#[derive(Serialize)]
struct DryRun {
    dry_run: bool,
    issuer: String,
    #[serde(flatten)]
    selector: SelectorJson,
    #[serde(flatten)]
    condition: ConditionJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    /// Absent when people are off, or were not counted for the many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<Would>,
    warnings: Vec<Warning>,
}

/// At least so much.
#[derive(Serialize)]
struct Would {
    window: String,
    subjects: u64,
    tokens_seen: u64,
}

pub(super) async fn create(
    api: &Api,
    caller: &Caller,
    verb: Verb,
    body: Value,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Revoker, "deny tokens")?;
    let verifier = api.verifier();
    let world = World { verifier: &verifier, now, allowed: caller.issuers.as_deref() };
    let plan = Plan::read(body, verb, &world).map_err(Refused::InvalidDenial)?;
    let issuer = &plan.issuer.policy;
    if !caller.may_act_on(&issuer.name) {
        return Err(Refused::IssuerNotAllowed { issuer: issuer.name.clone() });
    }
    let reach =
        api.people.reach(&issuer.id, &plan.selector, plan.condition, plan.except.as_ref(), now);
    let warnings = warnings(api, &plan, reach, now)?;
    if plan.dry_run {
        return Answer::json(StatusCode::OK, &dry_run(&plan, reach, warnings));
    }
    if plan.selector == Selector::Issuer {
        caller.must_be(Role::Admin, "deny everyone")?;
    }
    let denial = NewDenial {
        issuer: issuer.id.clone(),
        selector: plan.selector.clone(),
        condition: plan.condition,
        except: plan.except.clone(),
        kept_until: plan.kept_until,
        ends_at: plan.ends_at,
        reason: plan.reason.clone(),
        reference: plan.reference.clone(),
        created_by: caller.actor(),
    };
    let accepted = match tokio::time::timeout(STORE_TIMEOUT, api.store.deny(denial)).await {
        Ok(accepted) => accepted.map_err(|fault| store_refused(api, fault))?,
        Err(_) => return Err(Refused::StoreSlow),
    };
    let id = accepted.record.denial.id.to_string();
    // Neither the identifier nor the reason: who is denied is in the record, not in every log.
    tracing::info!(
        target: "portcullis::admin",
        by = caller.name,
        denial = id,
        issuer = issuer.name,
        selector = plan.selector.kind().as_str(),
        already = accepted.already,
        "denied"
    );
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let created = Created {
        record: view.record(&accepted.record),
        already: accepted.already,
        outcome: OutcomeJson {
            durable: true,
            replicas: Replicas { applied: 1, known: 1 },
            tokens_seen: reach.map(|reach| reach.tokens),
            tokens_pass_from: match accepted.record.denial.condition {
                Condition::IssuedBefore(at) => Some(at.rfc3339()),
                Condition::Always | Condition::VersionBelow(_) => None,
            },
        },
        warnings,
    };
    let status = if accepted.already { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = Answer::json(status, &created)?;
    answer.location = Some(format!("/v1/denials/{id}"));
    Ok(answer)
}

fn dry_run(plan: &Plan, reach: Option<Reach>, warnings: Vec<Warning>) -> DryRun {
    DryRun {
        dry_run: true,
        issuer: plan.issuer.policy.name.clone(),
        selector: SelectorJson::of(&plan.selector),
        condition: ConditionJson::of(plan.condition),
        ends_at: plan.ends_at.or(plan.kept_until).map(UnixMs::rfc3339),
        would: reach.map(|reach| Would {
            window: in_units(reach.window),
            subjects: reach.subjects,
            tokens_seen: reach.tokens,
        }),
        warnings,
    }
}

pub(super) fn store_refused(api: &Api, fault: StoreError) -> Refused {
    match fault {
        StoreError::Full { limit } => Refused::DenylistFull { limit, in_force: api.store.count() },
        StoreError::Disk(why) | StoreError::Open(why) => {
            tracing::error!(target: "portcullis::admin", why, "the store failed");
            Refused::StoreFailed("The store could not write it; the log says why.".to_owned())
        }
        StoreError::Closed => Refused::NotReady,
    }
}

fn warnings(
    api: &Api,
    plan: &Plan,
    reach: Option<Reach>,
    now: UnixMs,
) -> Result<Vec<Warning>, Refused> {
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
    if let Some(record) = wider(api, plan)? {
        warnings.push(Warning::new(
            "already_covered",
            None,
            format!(
                "{} is in force and covers this: {}.",
                record.denial.id,
                in_words(&record.denial.selector)
            ),
        ));
    }
    let (count, limit) = (api.store.count(), api.store_limit);
    if is_near(count, limit) {
        let detail = format!("{count} denials are in force and the limit is {limit}.");
        warnings.push(Warning::new("near_limit", None, detail));
    }
    Ok(warnings)
}

/// Four fifths.
pub(super) fn is_near(count: u64, limit: u64) -> bool {
    count >= limit - limit / 5
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
        | Selector::Issuer => plan.selector.kind().as_str().to_owned(),
    };
    let shown = match &plan.selector {
        Selector::Token(TokenId::Jti(id))
        | Selector::Session(id)
        | Selector::Subject(id)
        | Selector::Client(id)
        | Selector::Claim { value: id, .. } => format!(" {id:?}"),
        Selector::Token(TokenId::Digest(_)) | Selector::Key(_) | Selector::Issuer => String::new(),
    };
    let window = in_units(api.people.window(now));
    let detail = format!("No token with {what}{shown} was seen in the last {window}.");
    let mut warning = Warning::new("never_seen", Some(&plan.pointer), detail);
    warning.close = api.people.close(&policy.id, &plan.selector, now);
    Some(warning)
}

/// A denial that stands and leaves this one nothing to do.
fn wider(api: &Api, plan: &Plan) -> Result<Option<Record>, Refused> {
    let issuer = &plan.issuer.policy.id;
    let mut selectors = vec![plan.selector.clone()];
    if plan.selector != Selector::Issuer {
        selectors.push(Selector::Issuer);
    }
    for selector in selectors {
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

/// `24h`, `12m`, `40s`.
pub(super) fn in_units(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds < 120 => format!("{seconds}s"),
        seconds if seconds < 7_200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3_600),
    }
}
