//! Denials listed, newest first. A cursor is a place in the sequence, so pages are stable while
//! others write.

use http::StatusCode;
use serde::Serialize;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::store::{Filter, Record};
use crate::denylist::{Denial, DenialId, IssuerId, SelectorKind};
use crate::verify::Verifier;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::store_refused;
use super::filter::{self, Asked, Known, Wanted};
use super::problem::Refused;
use super::record::{ActorJson, RecordJson, View, issuer_name, state};

/// Records looked at for one page where the store cannot filter: a page may come out short, but
/// never takes long.
const SCANNED_MAX: usize = 20_000;

#[derive(Serialize)]
struct Listed {
    items: Vec<RecordJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    in_force: u64,
}

#[derive(Serialize)]
struct WithHistory {
    #[serde(flatten)]
    record: RecordJson,
    /// Oldest first.
    history: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    action: &'static str,
    at: String,
    by: ActorJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) fn list(
    api: &Api,
    caller: &Caller,
    query: &str,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "list denials")?;
    let verifier = api.verifier();
    let known = Known { verifier: &verifier, tally: &api.store.tally(), caller };
    let Asked { filter, wanted, paging } = filter::of_denials(query, &known, now)?;
    let (records, next) = page(api, caller, filter, wanted)?;
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let listed = Listed {
        items: records.iter().map(|record| view.record(record)).collect(),
        next_cursor: next.map(|sequence| paging.cursor(sequence)),
        in_force: in_force(api, caller, &verifier),
    };
    Answer::json(StatusCode::OK, &listed)
}

/// A page of what the caller may see, and where the next begins.
pub(super) fn page(
    api: &Api,
    caller: &Caller,
    mut filter: Filter,
    wanted: Wanted,
) -> Result<(Vec<Record>, Option<u64>), Refused> {
    let verifier = api.verifier();
    may_ask_for(caller, &verifier, filter.issuer.as_ref())?;
    let shown = |record: &Record| {
        sees(caller, &verifier, &record.denial.issuer)
            && match wanted {
                Wanted::InForce => record.lift.is_none(),
                Wanted::Undone => record.lift.is_some(),
                Wanted::All => true,
            }
    };
    let mut records: Vec<Record> = Vec::new();
    let mut scanned = 0;
    let limit = filter.limit;
    let next = loop {
        let page = api.store.list(&filter).map_err(|fault| store_refused(api, fault))?;
        scanned += page.records.len().max(1);
        let mut left = page.records.into_iter().peekable();
        for record in left.by_ref() {
            if !shown(&record) {
                continue;
            }
            let sequence = record.sequence;
            records.push(record);
            if records.len() == limit {
                filter.before = Some(sequence);
                break;
            }
        }
        if records.len() == limit {
            break (left.peek().is_some() || page.next.is_some())
                .then_some(filter.before)
                .flatten();
        }
        match page.next {
            Some(next) if scanned < SCANNED_MAX => filter.before = Some(next),
            next => break next,
        }
    };
    Ok((records, next))
}

/// One denial by id, or by any prefix of an id that only one has, with what was done with it.
pub(super) fn get(api: &Api, caller: &Caller, id: &str) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see denials")?;
    let verifier = api.verifier();
    let record = denial(api, caller, &verifier, id)?;
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let shown = WithHistory { record: view.record(&record), history: history(&record) };
    Answer::json(StatusCode::OK, &shown)
}

fn history(record: &Record) -> Vec<Step> {
    let denial = &record.denial;
    let made = Step {
        action: "denied",
        at: denial.created_at.rfc3339(),
        by: ActorJson::of(&denial.created_by),
        reason: Some(denial.reason.clone()).filter(|reason| !reason.is_empty()),
    };
    let lifted = record.lift.as_ref().map(|lift| Step {
        action: state(record),
        at: lift.at.rfc3339(),
        by: ActorJson::of(&lift.by),
        reason: lift.reason.clone(),
    });
    std::iter::once(made).chain(lifted).collect()
}

/// A denial that the caller may see.
pub(super) fn denial(
    api: &Api,
    caller: &Caller,
    verifier: &Verifier,
    id: &str,
) -> Result<Record, Refused> {
    find(api, caller, verifier, id, |kind| kind != SelectorKind::Registration)
}

/// A record of some kinds that the caller may see. What he may not see is not there: it makes no
/// prefix ambiguous either.
pub(super) fn find(
    api: &Api,
    caller: &Caller,
    verifier: &Verifier,
    id: &str,
    of: impl Fn(SelectorKind) -> bool,
) -> Result<Record, Refused> {
    let none = || Refused::NoSuchDenial { id: id.chars().take(32).collect() };
    let counts =
        |denial: &Denial| of(denial.selector.kind()) && sees(caller, verifier, &denial.issuer);
    let lower = id.to_ascii_lowercase();
    let mut found = match lower.parse::<DenialId>() {
        Ok(whole) => {
            let record = api.store.find(whole).map_err(|fault| store_refused(api, fault))?;
            record.into_iter().filter(|record| counts(&record.denial)).collect()
        }
        Err(_) => {
            let bare = lower.strip_prefix("dn_").unwrap_or(&lower);
            if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(none());
            }
            let found = api.store.find_by_prefix(&lower, counts);
            found.map_err(|fault| store_refused(api, fault))?
        }
    };
    if found.len() > 1 {
        return Err(Refused::AmbiguousId { id: lower.chars().take(32).collect() });
    }
    found.pop().ok_or_else(none)
}

/// Denials in force that the caller may see.
fn in_force(api: &Api, caller: &Caller, verifier: &Verifier) -> u64 {
    if caller.issuers.is_none() {
        return api.store.count();
    }
    let tally = api.store.tally();
    let mine = verifier.issuers().iter().filter(|one| caller.may_act_on(&one.policy.name));
    mine.flat_map(|issuer| tally.of(issuer.policy.id.as_str())).map(|(_, count)| count).sum()
}

/// Whoever asks for an issuer that is none of his is told so: an empty list would say that there is
/// nothing.
pub(super) fn may_ask_for(
    caller: &Caller,
    verifier: &Verifier,
    issuer: Option<&IssuerId>,
) -> Result<(), Refused> {
    match issuer.filter(|issuer| !sees(caller, verifier, issuer)) {
        Some(issuer) => {
            let name = issuer_name(verifier, issuer).unwrap_or_else(|| issuer.as_str());
            Err(Refused::IssuerNotAllowed { issuer: name.to_owned() })
        }
        None => Ok(()),
    }
}

/// A caller who is bound to some issuers sees nothing of others.
pub(super) fn sees(caller: &Caller, verifier: &Verifier, issuer: &IssuerId) -> bool {
    caller.issuers.is_none()
        || issuer_name(verifier, issuer).is_some_and(|name| caller.may_act_on(name))
}
