//! `GET /v1/sessions?user=alice`: where somebody is logged in, as far as the logins were captured
//! here. `POST /v1/sessions/{id}/end`: one of them ends, as if its owner had ended it. What the
//! caller is told of it is that it is denied, on disk and in force.

use std::time::Instant;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::sessions::{Ended, Record, RefreshToken, SessionId};
use crate::denylist::IssuerId;
use crate::verify::Verifier;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::{STORE_TIMEOUT, store_refused};
use super::event;
use super::filter::{Known, take_issuer, take_subject};
use super::list::{may_ask_for, sees};
use super::problem::Refused;
use super::query::Query;
use super::record::issuer_name;
use super::streams::ended_by;
use super::undo::reason_of;
use super::warnings::Warning;

#[derive(Serialize)]
struct Listed {
    items: Vec<SessionJson>,
}

#[derive(Serialize)]
struct SessionJson {
    id: String,
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    session: String,
    /// Tokens of it do not say its name.
    named_here: bool,
    first_seen: String,
    last_seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Of the token of this moment.
    expires_at: String,
    kept_until: String,
}

#[derive(Serialize)]
struct EndedJson {
    id: String,
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    session: String,
    named_here: bool,
    /// What denies it from now on.
    denials: Vec<String>,
    /// Open streams that it ended here; absent where a core was too busy to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams_cut: Option<u64>,
    warnings: Vec<Warning>,
}

pub(super) fn list(
    api: &Api,
    caller: &Caller,
    query: &str,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see sessions")?;
    let verifier = api.verifier();
    let mut query = Query::parse(query);
    let known = Known { verifier: &verifier, tally: &api.store.tally(), caller };
    let issuer = take_issuer(&mut query, &known);
    let subject = take_subject(&mut query);
    if subject.is_none() && query.faults.is_empty() {
        query.fault("user", "required", "Whose sessions: user, or subject.");
    }
    let faults = query.finish(&["issuer", "user", "subject"]);
    let Some(subject) = subject.filter(|_| faults.is_empty()) else {
        return Err(Refused::InvalidQuery(faults));
    };
    may_ask_for(caller, &verifier, issuer.as_ref())?;
    let all = verifier.issuers().iter().map(|issuer| &issuer.policy.id);
    let asked = all.filter(|id| issuer.as_ref().is_none_or(|issuer| issuer == *id));
    let asked: Vec<&IssuerId> = asked.filter(|id| sees(caller, &verifier, id)).collect();
    let mut found = Vec::new();
    for issuer in asked {
        let own = api.sessions.records().of_subject(issuer, &subject, now);
        found.extend(own.map_err(|fault| store_refused(api, fault))?);
    }
    found.sort_by_key(|record| std::cmp::Reverse(record.last_seen));
    let items = found.into_iter().map(|record| shown(record, &verifier)).collect();
    Answer::json(StatusCode::OK, &Listed { items })
}

fn shown(record: Record, verifier: &Verifier) -> SessionJson {
    let issuer = issuer_name(verifier, &record.issuer).unwrap_or_else(|| record.issuer.as_str());
    SessionJson {
        id: record.id().text(),
        issuer: issuer.to_owned(),
        subject: record.subject,
        session: record.session,
        named_here: record.named_here,
        first_seen: record.first_seen.rfc3339(),
        last_seen: record.last_seen.rfc3339(),
        address: record.address.map(|address| address.to_string()),
        user_agent: record.user_agent,
        expires_at: record.expires_at.rfc3339(),
        kept_until: record.kept_until.rfc3339(),
    }
}

/// `body`: `{"reason": …}` or nothing. One that has ended is not there any more.
pub(super) async fn end(
    api: &Api,
    caller: &Caller,
    id: &str,
    body: Option<Value>,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Revoker, "end sessions")?;
    let reason = reason_of(body)?;
    let verifier = api.verifier();
    let none = || Refused::NoSuchSession { id: id.chars().take(32).collect() };
    let found = SessionId::parse(id).ok_or_else(none)?;
    let found = api.sessions.records().of_id(found, now);
    let record = found.map_err(|fault| store_refused(api, fault))?;
    let record = record.filter(|record| {
        // Tokens of an issuer that left the config pass nowhere.
        let passes = issuer_name(&verifier, &record.issuer).is_some();
        passes && sees(caller, &verifier, &record.issuer)
    });
    let record = record.ok_or_else(none)?;
    let began = Instant::now();
    let ending = api.sessions.end_by_operator(&record, caller.actor(), reason);
    let ended = match tokio::time::timeout(STORE_TIMEOUT, ending).await {
        Ok(ended) => ended.map_err(|fault| store_refused(api, fault))?,
        Err(_) => return Err(Refused::StoreSlow),
    };
    let cut = ended_by(api, &record.issuer, &ended.selector, began).await;
    let streams_cut = cut.map(|cut| cut.iter().sum());
    event::session_ended(api, caller, &ended, streams_cut);
    let warnings = warnings(&ended);
    let SessionJson { id, issuer, subject, session, named_here, .. } = shown(record, &verifier);
    let denials = ended.denials.iter().map(ToString::to_string).collect();
    Answer::json(
        StatusCode::OK,
        &EndedJson { id, issuer, subject, session, named_here, denials, streams_cut, warnings },
    )
}

fn warnings(ended: &Ended) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if ended.denials.is_empty() {
        let detail = "The denylist is full: the session is registered no longer, and is not denied \
                      besides.";
        warnings.push(Warning::new("not_denied", None, detail.to_owned()));
    }
    if ended.shared_with > 0 {
        let detail = format!(
            "Sessions of other users that end too, for they have the same name, which says a device \
             and not a login: {}.",
            ended.shared_with
        );
        warnings.push(Warning::new("shared_session", None, detail));
    }
    let lives_on = match ended.refresh {
        Some(RefreshToken::Revoked) | None => return warnings,
        Some(RefreshToken::InTheBrowser) => {
            "Its refresh token is of no use here. Only the browser has it: it is revoked at the \
             issuer when the browser brings it."
        }
        Some(RefreshToken::NobodyToTell) => {
            "Its refresh token is of no use here, and is not revoked at the issuer: its renewal has \
             no revoke_url."
        }
    };
    warnings.push(Warning::new("refresh_token_lives", None, lives_on.to_owned()));
    warnings
}
