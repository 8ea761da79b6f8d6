//! Making a denial: check, warn, write, answer. The answer is sent when the denial is on disk and
//! in force.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::people::Reach;
use crate::control::store::{NewDenial, StoreError};
use crate::denylist::{Condition, Denial, Selector};

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::event;
use super::plan::{Plan, Verb, World};
use super::problem::Refused;
use super::record::{ConditionJson, RecordJson, SelectorJson, View};
use super::streams;
use super::warnings::{Warning, standing, warnings};

/// Longer than any disk should take. A denial that is under way is not taken back by this.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// When, and from which address, one of these was last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_from: Option<String>,
    /// Open streams that it ended here; absent where a core was too busy to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams_cut: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    streams_by_kind: BTreeMap<&'static str, u64>,
    /// From when on a newly issued token passes; absent where none will.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_pass_from: Option<String>,
}

/// Of this store there is one replica.
#[derive(Serialize)]
struct Replicas {
    applied: u32,
    known: u32,
    /// Until it was on disk and in force.
    waited_ms: u64,
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
    would: Would,
    warnings: Vec<Warning>,
}

/// At least so much.
#[derive(Serialize)]
pub(super) struct Would {
    /// These three: absent when people are off, or were not counted for the many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subjects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_seen: Option<u64>,
    /// Open here; absent where a core was too busy to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<u64>,
}

pub(super) async fn create(
    api: &Api,
    caller: &Caller,
    verb: Verb,
    body: Value,
    now: UnixMs,
) -> Result<Answer, Refused> {
    let verifier = api.verifier();
    let allowed = caller.issuers.as_deref();
    let world = World { verifier: &verifier, now, as_of: now, allowed };
    let plan = planned(caller, verb, body, &world)?;
    if plan.dry_run {
        return Answer::json(StatusCode::OK, &dry_run(api, &plan, now).await);
    }
    let standing = standing(api, &plan);
    let denial = denial(&plan, caller);
    let began = Instant::now();
    let accepted = match tokio::time::timeout(STORE_TIMEOUT, api.store.deny(denial)).await {
        Ok(accepted) => accepted.map_err(|fault| store_refused(api, fault))?,
        Err(_) => return Err(Refused::StoreSlow),
    };
    let id = accepted.record.denial.id.to_string();
    let took = began.elapsed();
    // It is in force: what is said of it may wait for the cores, and for a walk over everybody.
    let ended = streams::ended_by(api, &plan.issuer.policy.id, &plan.selector, began);
    let (ended, ()) = tokio::join!(ended, api.observed.up_to_now());
    let reach = reach(api, &plan, now);
    let seen = reach.map(|reach| reach.tokens);
    let last = reach.and_then(|reach| reach.last);
    let streams_cut = ended.map(|ended| ended.iter().sum());
    event::denied(api, caller, (verb, &plan), (&accepted, took), (seen, streams_cut));
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let created = Created {
        record: view.record(&accepted.record),
        already: accepted.already,
        outcome: OutcomeJson {
            durable: true,
            replicas: Replicas { applied: 1, known: 1, waited_ms: milliseconds(took) },
            tokens_seen: seen,
            last_seen_at: last.map(|(at, _)| at.rfc3339()),
            last_seen_from: last.and_then(|(_, from)| from).map(|from| from.to_string()),
            streams_cut,
            streams_by_kind: streams::by_kind(ended.unwrap_or_default()),
            tokens_pass_from: match accepted.record.denial.condition {
                Condition::IssuedBefore(at) => {
                    (!stays_denied(api, &accepted.record.denial)).then(|| at.rfc3339())
                }
                Condition::Always | Condition::VersionBelow(_) => None,
            },
        },
        warnings: warnings(api, &plan, reach, standing, now),
    };
    let status = if accepted.already { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = Answer::json(status, &created)?;
    answer.location = Some(format!("/v1/denials/{id}"));
    Ok(answer)
}

/// Another denial keeps out whoever this one lets in again.
fn stays_denied(api: &Api, denial: &Denial) -> bool {
    let by = api.denylist.fingerprinter();
    [&denial.selector, &Selector::Issuer]
        .into_iter()
        .any(|selector| api.denylist.fold(&by.selector(&denial.issuer, selector)).always)
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What the body asks for, where this caller may have it.
pub(super) fn planned(
    caller: &Caller,
    verb: Verb,
    body: Value,
    world: &World<'_>,
) -> Result<Plan, Refused> {
    caller.must_be(Role::Revoker, "deny tokens")?;
    let plan = Plan::read(body, verb, world).map_err(Refused::InvalidDenial)?;
    let issuer = &plan.issuer.policy.name;
    if !caller.may_act_on(issuer) {
        return Err(Refused::IssuerNotAllowed { issuer: issuer.clone() });
    }
    if plan.selector == Selector::Issuer && !plan.dry_run {
        caller.must_be(Role::Admin, "deny everyone")?;
    }
    Ok(plan)
}

pub(super) fn denial(plan: &Plan, caller: &Caller) -> NewDenial {
    NewDenial {
        issuer: plan.issuer.policy.id.clone(),
        selector: plan.selector.clone(),
        condition: plan.condition,
        except: plan.except.clone(),
        kept_until: plan.kept_until,
        ends_at: plan.ends_at,
        reason: plan.reason.clone(),
        reference: plan.reference.clone(),
        created_by: caller.actor(),
    }
}

/// Whom it hits, of those whom the cores have told of.
pub(super) fn reach(api: &Api, plan: &Plan, now: UnixMs) -> Option<Reach> {
    let (issuer, except) = (&plan.issuer.policy.id, plan.except.as_ref());
    api.people.reach(issuer, &plan.selector, plan.condition, except, now)
}

async fn dry_run(api: &Api, plan: &Plan, now: UnixMs) -> DryRun {
    let (streams, ()) = tokio::join!(streams::would_end(api, plan), api.observed.up_to_now());
    let reach = reach(api, plan, now);
    DryRun {
        dry_run: true,
        issuer: plan.issuer.policy.name.clone(),
        selector: SelectorJson::of(&plan.selector),
        condition: ConditionJson::of(plan.condition),
        ends_at: plan.ends_at.or(plan.kept_until).map(UnixMs::rfc3339),
        would: Would::of(reach, streams),
        warnings: warnings(api, plan, reach, standing(api, plan), now),
    }
}

impl Would {
    pub fn of(reach: Option<Reach>, streams: Option<u64>) -> Self {
        Self {
            window: reach.map(|reach| in_units(reach.window)),
            subjects: reach.map(|reach| reach.subjects),
            tokens_seen: reach.map(|reach| reach.tokens),
            streams,
        }
    }
}

pub(super) fn store_refused(api: &Api, fault: StoreError) -> Refused {
    match fault {
        StoreError::Full { limit, reserved } => {
            Refused::DenylistFull { limit, in_force: api.store.records(), reserved }
        }
        StoreError::NoSpace(why) => {
            tracing::error!(target: "portcullis::admin", why, "the store's disk is full");
            Refused::DiskFull
        }
        StoreError::Disk(why) | StoreError::Open(why) => {
            tracing::error!(target: "portcullis::admin", why, "the store failed");
            Refused::StoreFailed("The store could not write it; the log says why.".to_owned())
        }
        StoreError::Closed => Refused::NotReady,
    }
}

/// `24h`, `12m`, `40s`.
pub(super) fn in_units(span: Duration) -> String {
    let (number, unit, _) = units(span);
    format!("{number}{unit}")
}

/// The same in a sentence: `24 h`.
pub(super) fn spelt_out(span: Duration) -> String {
    let (number, _, unit) = units(span);
    format!("{number} {unit}")
}

fn units(span: Duration) -> (u64, &'static str, &'static str) {
    match span.as_secs() {
        seconds if seconds < 120 => (seconds, "s", "s"),
        seconds if seconds < 7_200 => (seconds / 60, "m", "min"),
        seconds => (seconds / 3_600, "h", "h"),
    }
}
