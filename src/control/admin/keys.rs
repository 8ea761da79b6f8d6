//! Keys of the issuers: what is in force, where it came from, and a fetch on demand.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::Role;
use crate::control::keys::SourceReport;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::members::Members;
use super::problem::Refused;

/// Longer than any fetch may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(65);

#[derive(Serialize)]
struct Keys {
    items: Vec<SourceReport>,
}

/// `GET /v1/keys`.
pub(super) fn keys(api: &Api, caller: &Caller) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see keys")?;
    answer(api, caller)
}

fn answer(api: &Api, caller: &Caller) -> Result<Answer, Refused> {
    let mut items = api.keys.report();
    items.retain(|item| caller.may_act_on(&item.issuer));
    Answer::json(StatusCode::OK, &Keys { items })
}

/// `POST /v1/keys/refresh` with `{"issuer": "main"}`, or without: all that are fetched. Answers as
/// [`keys`] does when the fetches have ended, well or not.
pub(super) async fn refresh(
    api: &Api,
    caller: &Caller,
    body: Option<Value>,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Operator, "refresh keys")?;
    let mut members = Members::of(body.unwrap_or_else(|| Value::Object(Map::new())), "");
    let issuer = members.take_identifier("issuer");
    let mut sources = api.keys.fetched(issuer.as_deref());
    sources.retain(|source| caller.may_act_on(&source.name));
    if issuer.is_some() && sources.is_empty() {
        members.fault("issuer", "not_fetched", "No issuer of this name has keys that are fetched.");
    }
    let faults = members.finish(&["issuer"]);
    if !faults.is_empty() {
        return Err(Refused::InvalidBody(faults));
    }
    let all = async {
        let fetching: Vec<_> = sources
            .into_iter()
            .map(|source| tokio::spawn(async move { source.refresh_now().await }))
            .collect();
        for one in fetching {
            // One that panicked shows in the answer as it is.
            one.await.ok();
        }
    };
    // What has not ended by then shows in the answer as it is.
    tokio::time::timeout(REFRESH_TIMEOUT, all).await.ok();
    answer(api, caller)
}
