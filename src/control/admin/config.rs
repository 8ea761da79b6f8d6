//! `GET /v1/config`: what is in force, with secrets masked, and what the last reload did.
//! `POST /v1/config/reload`: reads the file again, all or nothing.

use http::StatusCode;
use serde_json::{Value, json};

use crate::config::Role;
use crate::control::config::{ReloadFault, Reloaded, Standing, Trigger};
use crate::control::store::Deed;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::noted;
use super::problem::{Fault, Refused};

pub(super) fn config(api: &Api, caller: &Caller) -> Result<Answer, Refused> {
    caller.must_be(Role::Operator, "read the config")?;
    let standing = api.config.standing();
    let mut body = summary(&standing);
    if let Some(members) = body.as_object_mut() {
        members.insert("config".to_owned(), standing.effective.clone());
        members.insert("last_reload".to_owned(), last_reload(&standing));
    }
    Answer::json(StatusCode::OK, &body)
}

pub(super) async fn reload(
    api: &Api,
    caller: &Caller,
    body: Option<Value>,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Admin, "reload the config")?;
    must_be_empty(body.as_ref())?;
    match api.config.reload(Trigger::Api).await {
        Ok(Reloaded { at, needs_restart, notes }) => {
            tracing::info!(by = caller.name, "the config was reloaded by the API");
            api.store.note_later(noted::act(caller, Deed::Reloaded, None, &[]));
            let body = json!({
                "reloaded": true,
                "loaded_at": at.rfc3339(),
                "needs_restart": needs_restart,
                "notes": notes.to_json(),
            });
            Answer::json(StatusCode::OK, &body)
        }
        Err(ReloadFault::Config(found)) => Err(Refused::BadConfig(found)),
        Err(fault @ ReloadFault::NotPossible(_)) => {
            Err(Refused::ReloadNotPossible(fault.to_string()))
        }
        Err(ReloadFault::Ended) => Err(Refused::NotReady),
    }
}

/// What a reload would say, without one.
pub(super) async fn check(
    api: &Api,
    caller: &Caller,
    body: Option<Value>,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Admin, "check the config")?;
    must_be_empty(body.as_ref())?;
    let checked = api.config.check().await.ok_or(Refused::NotReady)?;
    let body = match checked.outcome {
        Ok((needs_restart, notes)) => {
            json!({"valid": true, "needs_restart": needs_restart, "notes": notes.to_json()})
        }
        Err(found) => json!({"valid": false, "diagnostics": found.to_json()}),
    };
    Answer::json(StatusCode::OK, &body)
}

fn must_be_empty(body: Option<&Value>) -> Result<(), Refused> {
    let no_members = |body: &Value| body.as_object().is_some_and(serde_json::Map::is_empty);
    if body.is_none_or(no_members) {
        return Ok(());
    }
    let detail = "The file is read; the body is empty or {}.";
    Err(Refused::InvalidBody(vec![Fault::new("", "not_empty", detail)]))
}

/// For `/v1/status` too.
pub(super) fn summary(standing: &Standing) -> Value {
    json!({
        "loaded_at": standing.loaded_at.rfc3339(),
        "last_reload_ok": standing.last.as_ref().is_none_or(|last| last.fault.is_none()),
        "needs_restart": standing.needs_restart,
    })
}

fn last_reload(standing: &Standing) -> Value {
    let Some(last) = &standing.last else { return Value::Null };
    let mut body = json!({
        "at": last.at.rfc3339(),
        "trigger": last.trigger.as_str(),
        "ok": last.fault.is_none(),
    });
    if let (Some(fault), Some(members)) = (&last.fault, body.as_object_mut()) {
        members.insert("detail".to_owned(), fault.to_string().into());
        if let ReloadFault::Config(found) = fault {
            members.insert("diagnostics".to_owned(), found.to_json());
        }
    }
    body
}
