//! Taking back all that stands of one selector: the ids are found and lifted in one transaction, so
//! that nothing which is denied meanwhile is taken back with them.

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::store::{Filter, Matching, Record};
use crate::denylist::{ConditionKind, IssuerId, Selector};

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::{STORE_TIMEOUT, store_refused};
use super::event;
use super::members::Members;
use super::plan::{REASON_CHARS_MAX, World, take_issuer_and_token};
use super::problem::Refused;
use super::record::{RecordJson, SelectorJson, View};
use super::selecting;
use super::undo::denied_by;
use super::warnings::Warning;

/// Denials that one call takes back: whoever has more repeats it.
const MOST: usize = 1_000;

const CONDITIONS: [ConditionKind; 3] =
    [ConditionKind::Always, ConditionKind::IssuedBefore, ConditionKind::VersionBelow];

#[derive(Serialize)]
struct Undone {
    issuer: String,
    #[serde(flatten)]
    selector: SelectorJson,
    /// Ids, newest first.
    ids: Vec<String>,
    denials: Vec<RecordJson>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct DryRun {
    dry_run: bool,
    issuer: String,
    #[serde(flatten)]
    selector: SelectorJson,
    /// What would be taken back.
    ids: Vec<String>,
    warnings: Vec<Warning>,
}

struct Asked {
    issuer: IssuerId,
    name: String,
    selector: Selector,
    condition: Option<ConditionKind>,
    reason: Option<String>,
    dry_run: bool,
}

/// `POST /v1/undo`.
pub(super) async fn undo_matching(
    api: &Api,
    caller: &Caller,
    body: Value,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Operator, "undo")?;
    let asked = read(api, caller, body, now)?;
    if asked.selector == Selector::Issuer && !asked.dry_run {
        caller.must_be(Role::Admin, "undo a denial of everyone")?;
    }
    let selector = SelectorJson::of(&asked.selector);
    if asked.dry_run {
        let would = standing(api, &asked)?;
        let ids: Vec<String> = would.iter().map(|record| record.denial.id.to_string()).collect();
        let warnings = denied_by(api, &asked.issuer, &asked.selector, &ids)?;
        let issuer = asked.name;
        let answer = DryRun { dry_run: true, issuer, selector, ids, warnings };
        return Answer::json(StatusCode::OK, &answer);
    }
    let which = Matching {
        issuer: asked.issuer.clone(),
        selector: asked.selector.clone(),
        condition: asked.condition,
        most: MOST,
    };
    let lift = api.store.lift_matching(which, asked.reason, caller.actor());
    let lifted = match tokio::time::timeout(STORE_TIMEOUT, lift).await {
        Ok(lifted) => lifted.map_err(|fault| store_refused(api, fault))?,
        Err(_) => return Err(Refused::StoreSlow),
    };
    lifted.iter().for_each(|record| event::undone(api, caller, record));
    let verifier = api.verifier();
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let undone = Undone {
        issuer: asked.name,
        selector,
        ids: lifted.iter().map(|record| record.denial.id.to_string()).collect(),
        denials: lifted.iter().map(|record| view.record(record)).collect(),
        warnings: denied_by(api, &asked.issuer, &asked.selector, &[])?,
    };
    Answer::json(StatusCode::OK, &undone)
}

fn standing(api: &Api, asked: &Asked) -> Result<Vec<Record>, Refused> {
    let filter = Filter {
        issuer: Some(asked.issuer.clone()),
        selector: Some(asked.selector.clone()),
        registrations: false,
        limit: MOST,
        ..Filter::default()
    };
    let mut page = api.store.list(&filter).map_err(|fault| store_refused(api, fault))?.records;
    page.retain(|record| asked.condition.is_none_or(|kind| record.denial.condition.kind() == kind));
    Ok(page)
}

fn read(api: &Api, caller: &Caller, body: Value, now: UnixMs) -> Result<Asked, Refused> {
    let verifier = api.verifier();
    let allowed = caller.issuers.as_deref();
    let world = World { verifier: &verifier, now, as_of: now, allowed };
    let mut body = Members::of(body, "");
    let (issuer, token) = take_issuer_and_token(&mut body, &world);
    let selected = selecting::take(&mut body, token, issuer.as_deref());
    let condition = take_condition(&mut body);
    let reason = body.take_prose("reason", REASON_CHARS_MAX);
    let dry_run = body.take_bool("dry_run").unwrap_or_default();
    let known =
        [&["issuer", "condition", "reason", "dry_run"][..], &selecting::MEMBERS[..]].concat();
    let mut faults = body.finish(&known);
    if faults.iter().any(super::problem::Fault::is_misspelling) {
        faults.retain(|fault| fault.code != "selector_missing");
    }
    let (Some(issuer), Some(selected), true) = (issuer, selected, faults.is_empty()) else {
        return Err(Refused::InvalidBody(faults));
    };
    let name = issuer.policy.name.clone();
    if !caller.may_act_on(&name) {
        return Err(Refused::IssuerNotAllowed { issuer: name });
    }
    let (issuer, selector) = (issuer.policy.id.clone(), selected.selector);
    Ok(Asked { issuer, name, selector, condition, reason, dry_run })
}

fn take_condition(body: &mut Members) -> Option<ConditionKind> {
    let value = body.take("condition")?;
    let said = value.as_str().unwrap_or_default();
    let found = CONDITIONS.into_iter().find(|kind| kind.as_str() == said);
    if found.is_none() {
        let detail = "Expected always, issued_before or version_below; leave it out for all.";
        body.fault("condition", "unknown_condition", detail);
    }
    found
}
