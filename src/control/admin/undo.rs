//! Taking a denial back. Repeating it answers the same; a newer denial of the same tokens stands.

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::config::Role;
use crate::control::store::Record;
use crate::denylist::{IssuerId, Selector};

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::{STORE_TIMEOUT, store_refused};
use super::event;
use super::list;
use super::members::Members;
use super::problem::Refused;
use super::record::{RecordJson, View, in_words};
use super::warnings::Warning;

const REASON_CHARS_MAX: usize = 256;

#[derive(Serialize)]
struct Undone {
    #[serde(flatten)]
    record: RecordJson,
    warnings: Vec<Warning>,
}

/// `body`: `{"reason": …}` or nothing.
pub(super) async fn undo(
    api: &Api,
    caller: &Caller,
    id: &str,
    body: Option<Value>,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Operator, "undo")?;
    let reason = reason_of(body)?;
    let verifier = api.verifier();
    let mut record = list::denial(api, caller, &verifier, id)?;
    if record.denial.selector == Selector::Issuer {
        caller.must_be(Role::Admin, "undo a denial of everyone")?;
    }
    if record.lift.is_none() {
        let lift = api.store.lift(vec![record.denial.id], reason, caller.actor());
        let lifted = match tokio::time::timeout(STORE_TIMEOUT, lift).await {
            Ok(lifted) => lifted.map_err(|fault| store_refused(api, fault))?,
            Err(_) => return Err(Refused::StoreSlow),
        };
        // Purged in between: then nothing is denied by it either.
        let gone = || Refused::NoSuchDenial { id: record.denial.id.to_string() };
        record = lifted.into_iter().next().ok_or_else(gone)?;
        event::undone(api, caller, &record);
    }
    let warnings = still_denied(api, &record)?;
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    Answer::json(StatusCode::OK, &Undone { record: view.record(&record), warnings })
}

/// The body's `reason`; no body has none.
pub(super) fn reason_of(body: Option<Value>) -> Result<Option<String>, Refused> {
    let Some(body) = body else { return Ok(None) };
    let mut body = Members::of(body, "");
    let reason = body.take_prose("reason", REASON_CHARS_MAX);
    let faults = body.finish(&["reason"]);
    if faults.is_empty() { Ok(reason) } else { Err(Refused::InvalidBody(faults)) }
}

/// The same tokens are matched by others.
fn still_denied(api: &Api, record: &Record) -> Result<Vec<Warning>, Refused> {
    denied_by(api, &record.denial.issuer, &record.denial.selector, &[])
}

/// Ids that a warning names.
const NAMED_MAX: usize = 5;

/// Denials in force of a selector, but for some, as a warning.
pub(super) fn denied_by(
    api: &Api,
    issuer: &IssuerId,
    selector: &Selector,
    but_for: &[String],
) -> Result<Vec<Warning>, Refused> {
    let mut selectors = vec![selector.clone()];
    if *selector != Selector::Issuer {
        selectors.push(Selector::Issuer);
    }
    let mut ids = Vec::new();
    for selector in &selectors {
        let standing =
            api.store.in_force(issuer, selector).map_err(|fault| store_refused(api, fault))?;
        let standing = standing.iter().map(|standing| standing.denial.id.to_string());
        ids.extend(standing.filter(|id| !but_for.contains(id)));
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let more = ids.len().saturating_sub(NAMED_MAX);
    ids.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what = in_words(selector);
    let detail = format!("{what} is still matched by {}{more}.", ids.join(", "));
    Ok(vec![Warning::new("still_denied", None, detail)])
}
