//! `/v1/registrations`: what passes of an issuer in allowlist mode. Registering opens a door, so it
//! asks for an operator; removing closes one, and a revoker may.

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::registrations::{self, NewRegistration};
use crate::control::store::{Accepted, Record, StoreError};
use crate::denylist::{Except, Selector, SelectorKind, TokenId};
use crate::verify::Mode;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::{STORE_TIMEOUT, store_refused};
use super::event;
use super::filter::{self, Asked, Known};
use super::list::{find, page};
use super::members::Members;
use super::moment::read_duration;
use super::plan::{REASON_CHARS_MAX, REFERENCE_CHARS_MAX, World, take_issuer_and_token};
use super::problem::{Fault, Refused};
use super::record::{ActorJson, ExceptJson, View, state};
use super::undo::{denied_by, reason_of};
use super::warnings::Warning;

const MEMBERS: [&str; 8] =
    ["issuer", "token", "jti", "session", "for", "ends_in", "reason", "reference"];

#[derive(Serialize)]
struct RegistrationJson {
    id: String,
    sequence: u64,
    state: &'static str,
    issuer: String,
    #[serde(flatten)]
    registered: Option<ExceptJson>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    created_at: String,
    created_by: ActorJson,
    /// From then on it lets nothing pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_by: Option<ActorJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_reason: Option<String>,
}

#[derive(Serialize)]
struct Registered {
    #[serde(flatten)]
    registration: RegistrationJson,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
    /// What denies it from now on, where it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<String>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Listed {
    items: Vec<RegistrationJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Of all issuers: for those who may see all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<u64>,
}

impl RegistrationJson {
    fn of(record: &Record, view: &View<'_>) -> Self {
        let denial = &record.denial;
        let lift = record.lift.as_ref();
        let registered = match &denial.selector {
            Selector::Registration(one) => Some(ExceptJson::of(one)),
            Selector::Token(_)
            | Selector::Session(_)
            | Selector::Subject(_)
            | Selector::Client(_)
            | Selector::Key(_)
            | Selector::Claim { .. }
            | Selector::Issuer => None,
        };
        Self {
            id: denial.id.to_string(),
            sequence: record.sequence,
            state: if state(record) == "undone" { "removed" } else { state(record) },
            issuer: view.issuer_name(&denial.issuer),
            registered,
            reason: denial.reason.clone(),
            reference: denial.reference.clone(),
            created_at: denial.created_at.rfc3339(),
            created_by: ActorJson::of(&denial.created_by),
            ends_at: denial.ends_at.or(denial.kept_until).map(UnixMs::rfc3339),
            removed_at: lift.map(|lift| lift.at.rfc3339()),
            removed_by: lift.map(|lift| ActorJson::of(&lift.by)),
            remove_reason: lift.and_then(|lift| lift.reason.clone()),
        }
    }
}

pub(super) async fn register(
    api: &Api,
    caller: &Caller,
    body: Value,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Operator, "register tokens or sessions")?;
    let verifier = api.verifier();
    let allowed = caller.issuers.as_deref();
    let world = World { verifier: &verifier, now, as_of: now, allowed };
    let mut body = Members::of(body, "");
    let (issuer, token) = take_issuer_and_token(&mut body, &world);
    let token_expires = token.as_ref().map(|token| token.expires_at());
    let registered =
        take_one(&mut body, token.map(|token| Except::Token(token.token_id().clone())));
    let span = take_span(&mut body);
    let reason = body.take_prose("reason", REASON_CHARS_MAX).unwrap_or_default();
    let reference = body.take_prose("reference", REFERENCE_CHARS_MAX);
    let faults = body.finish(&MEMBERS);
    let (Some(issuer), Some(registered), true) = (issuer, registered, faults.is_empty()) else {
        return Err(Refused::InvalidRegistration(faults));
    };
    let policy = &issuer.policy;
    if !caller.may_act_on(&policy.name) {
        return Err(Refused::IssuerNotAllowed { issuer: policy.name.clone() });
    }
    let mut warnings = denied_by(api, &policy.id, &registered.selector(), &[])?;
    if policy.mode != Mode::Allowlist {
        let detail = format!(
            "Issuer {} lets all pass that are not denied: this has no effect while its mode is \
             not \"allowlist\".",
            policy.name
        );
        warnings.push(Warning::new("not_allowlist", None, detail));
    }
    let new = NewRegistration {
        issuer: policy.id.clone(),
        registered,
        token_expires,
        ends_at: span.map(|span| now.plus(span)),
        reason,
        reference,
        created_by: caller.actor(),
    };
    let retention = policy.retention();
    let accepted = registrations::register(&api.store, new, &retention, now);
    let Accepted { record, already } = &in_time(api, accepted).await?;
    event::registered(api, caller, &Accepted { record: record.clone(), already: *already });
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let registration = RegistrationJson::of(record, &view);
    let location = format!("/v1/registrations/{}", registration.id);
    let done = Registered { registration, already: *already, denial: None, warnings };
    let mut answer =
        Answer::json(if *already { StatusCode::OK } else { StatusCode::CREATED }, &done)?;
    answer.location = Some(location);
    Ok(answer)
}

/// Exactly one of `token`, `jti` and `session`.
fn take_one(body: &mut Members, token: Option<Except>) -> Option<Except> {
    let had_fault = !body.faults.is_empty();
    let jti = body.take_identifier("jti").map(TokenId::Jti).map(Except::Token);
    let session = body.take_identifier("session").map(Except::Session);
    let mut said: Vec<Except> = token.into_iter().chain(jti).chain(session).collect();
    if said.len() != 1 {
        if !had_fault && body.faults.is_empty() {
            let code = if said.is_empty() { "selector_missing" } else { "selector_ambiguous" };
            let detail = "Say what to let pass: exactly one of session, token and jti.";
            body.faults.push(Fault::new("", code, detail));
        }
        return None;
    }
    said.pop()
}

fn take_span(body: &mut Members) -> Option<std::time::Duration> {
    let both = body.has("for") && body.has("ends_in");
    let name = if body.has("for") { "for" } else { "ends_in" };
    if both {
        body.take("ends_in");
        body.fault("ends_in", "duration_ambiguous", "for and ends_in say the same: give one.");
    }
    let value = body.take(name)?;
    match read_duration(&value, &body.pointer(name)) {
        Ok(span) => Some(span),
        Err(fault) => {
            body.faults.push(fault);
            None
        }
    }
}

pub(super) fn list(
    api: &Api,
    caller: &Caller,
    query: &str,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "list registrations")?;
    let verifier = api.verifier();
    let known = Known { verifier: &verifier, tally: &api.store.tally(), caller };
    let Asked { filter, wanted, paging } = filter::of_registrations(query, &known, now)?;
    let (records, next) = page(api, caller, filter, wanted)?;
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let listed = Listed {
        items: records.iter().map(|record| RegistrationJson::of(record, &view)).collect(),
        next_cursor: next.map(|sequence| paging.cursor(sequence)),
        in_force: caller.issuers.is_none().then(|| api.store.registrations()),
    };
    Answer::json(StatusCode::OK, &listed)
}

pub(super) fn get(api: &Api, caller: &Caller, id: &str) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see registrations")?;
    let record = registration(api, caller, id)?;
    let verifier = api.verifier();
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    Answer::json(StatusCode::OK, &RegistrationJson::of(&record, &view))
}

fn registration(api: &Api, caller: &Caller, id: &str) -> Result<Record, Refused> {
    let none = || Refused::NoSuchRegistration { id: id.chars().take(32).collect() };
    let of = |kind| kind == SelectorKind::Registration;
    match find(api, caller, &api.verifier(), id, of) {
        Err(Refused::NoSuchDenial { .. }) => Err(none()),
        found => found,
    }
}

/// Repeating it answers the same.
pub(super) async fn remove(
    api: &Api,
    caller: &Caller,
    id: &str,
    body: Option<Value>,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Revoker, "remove registrations")?;
    let reason = reason_of(body)?;
    let mut record = registration(api, caller, id)?;
    let verifier = api.verifier();
    let mut denied = None;
    let mut warnings = Vec::new();
    if record.lift.is_none() {
        let issuer =
            verifier.issuers().iter().find(|issuer| issuer.policy.id == record.denial.issuer);
        let retention = issuer.map(|issuer| issuer.policy.retention());
        let ending = registrations::end(
            &api.store,
            &record,
            reason,
            caller.actor(),
            retention.as_ref(),
            now,
        );
        let ended = in_time(api, ending).await?;
        let gone = || Refused::NoSuchRegistration { id: record.denial.id.to_string() };
        record = ended.record.ok_or_else(gone)?;
        event::undone(api, caller, &record);
        denied = ended.denied.map(|accepted| accepted.record.denial.id.to_string());
        if denied.is_none() {
            let detail = "The denylist is full: the registration is removed, and what it let pass \
                          is not denied besides.";
            warnings.push(Warning::new("not_denied", None, detail.to_owned()));
        }
    }
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let registration = RegistrationJson::of(&record, &view);
    let done = Registered { registration, already: false, denial: denied, warnings };
    Answer::json(StatusCode::OK, &done)
}

async fn in_time<T>(
    api: &Api,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Refused> {
    match tokio::time::timeout(STORE_TIMEOUT, work).await {
        Ok(done) => done.map_err(|fault| store_refused(api, fault)),
        Err(_) => Err(Refused::StoreSlow),
    }
}
