//! `GET /v1/sessions?user=alice`: where somebody is logged in, as far as the logins were captured
//! here. To end one: revoke its session.

use http::StatusCode;
use serde::Serialize;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::sessions::Record;
use crate::denylist::IssuerId;
use crate::verify::Verifier;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::store_refused;
use super::filter::{take_issuer, take_subject};
use super::list::sees;
use super::problem::Refused;
use super::query::Query;
use super::record::issuer_name;

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

pub(super) fn list(
    api: &Api,
    caller: &Caller,
    query: &str,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see sessions")?;
    let verifier = api.verifier();
    let mut query = Query::parse(query);
    let issuer = take_issuer(&mut query, &verifier);
    let subject = take_subject(&mut query);
    if subject.is_none() {
        query.fault("user", "required", "Whose sessions: user, or subject.");
    }
    let faults = query.finish(&["issuer", "user", "subject"]);
    let Some(subject) = subject.filter(|_| faults.is_empty()) else {
        return Err(Refused::InvalidQuery(faults));
    };
    let all = verifier.issuers().iter().map(|issuer| &issuer.policy.id);
    let asked = all.filter(|id| issuer.as_ref().is_none_or(|issuer| issuer == *id));
    let asked: Vec<&IssuerId> = asked.filter(|id| sees(caller, &verifier, id)).collect();
    let mut found = Vec::new();
    for issuer in asked {
        let own = api.records.of_subject(issuer, &subject, now);
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
