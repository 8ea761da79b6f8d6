//! Who denied and took back what, when, why, and from which address: the log of the store, newest
//! first. What was forgotten because no token can match it any more has left the log too.

use std::sync::Arc;

use http::request::Parts;
use http::{StatusCode, header};
use serde::Serialize;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::store::Act;
use crate::denylist::{Actor, Denial, DenialId, IssuerId, Selector, Via};

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::store_refused;
use super::filter::{take_issuer, take_selector, take_time};
use super::list::{cursor_of, cursor_text, sees};
use super::problem::Refused;
use super::query::Query;
use super::record::{ActorJson, ConditionJson, SelectorJson, View};
use super::serve::Underway;
use super::stream::{Outbox, Piece, pair};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 1000;
/// Acts looked at for one page: it may come out short, but never takes long.
const SCANNED_MAX: usize = 20_000;
const PAGE: usize = 500;
const WAITING_BYTES_MAX: usize = 256 * 1024;

const PARAMETERS: [&str; 16] = [
    "issuer", "user", "subject", "session", "jti", "client", "key", "claim", "by", "address",
    "action", "denial", "since", "until", "limit", "cursor",
];

#[derive(Serialize)]
struct Listed {
    items: Vec<ActJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct ActJson {
    sequence: u64,
    at: String,
    action: &'static str,
    denial: String,
    by: ActorJson,
    /// Why it was done: of a denial its own reason, of an undo the undo's.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    what: Option<What>,
}

/// What was denied; absent where a tombstone came and its denial did not.
#[derive(Serialize)]
struct What {
    issuer: String,
    #[serde(flatten)]
    selector: SelectorJson,
    #[serde(flatten)]
    condition: ConditionJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

#[derive(Default)]
struct Wanted {
    issuer: Option<IssuerId>,
    selector: Option<crate::denylist::Selector>,
    by: Option<String>,
    address: Option<String>,
    action: Option<String>,
    denial: Option<DenialId>,
    since: Option<UnixMs>,
    until: Option<UnixMs>,
}

pub(super) fn audit(
    api: &Arc<Api>,
    caller: Caller,
    parts: &Parts,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "read the audit")?;
    let text = parts.uri.query().unwrap_or_default();
    let before = cursor_of(text)?.unwrap_or(u64::MAX);
    let (wanted, limit) = read(text, api, now)?;
    if wants_lines(parts) {
        return stream(api, caller, wanted, parts, before, limit);
    }
    let limit = limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let mut pages = Pages { before, scanned: 0 };
    let mut items = Vec::new();
    let next = loop {
        let page = pages.next(api)?;
        let ended = page.len() < PAGE;
        let mut left = page.into_iter();
        for act in left.by_ref() {
            pages.before = act.sequence;
            if shows(api, &caller, &wanted, &act) {
                items.extend(json(api, &act));
            }
            if items.len() == limit {
                break;
            }
        }
        let more = left.len() > 0 || !ended;
        if items.len() == limit || !more || pages.scanned >= SCANNED_MAX {
            break more.then_some(pages.before);
        }
    };
    let next_cursor = next.map(|sequence| cursor_text(sequence, text));
    Answer::json(StatusCode::OK, &Listed { items, next_cursor })
}

fn stream(
    api: &Arc<Api>,
    caller: Caller,
    wanted: Wanted,
    parts: &Parts,
    before: u64,
    limit: Option<usize>,
) -> Result<Answer, Refused> {
    let place = api.place()?;
    let underway = parts.extensions.get::<Underway>().cloned();
    let (outbox, outlet) = pair(WAITING_BYTES_MAX);
    let api = Arc::clone(api);
    tokio::spawn(async move {
        write(&api, &caller, &wanted, outbox, before, limit.unwrap_or(usize::MAX)).await;
        drop((place, underway));
    });
    Ok(Answer::lines(outlet))
}

async fn write(
    api: &Api,
    caller: &Caller,
    wanted: &Wanted,
    outbox: Outbox,
    before: u64,
    mut left: usize,
) {
    let mut pages = Pages { before, scanned: 0 };
    while outbox.room().await.is_ok() {
        // The log says why; without its end the answer is known to be cut off.
        let Ok(page) = pages.next(api) else { return };
        let ended = page.len() < PAGE;
        for act in page {
            pages.before = act.sequence;
            if left > 0 && shows(api, caller, wanted, &act) {
                left -= 1;
                json(api, &act).iter().for_each(|act| outbox.push(Piece::json(act)));
            }
        }
        if ended || left == 0 {
            outbox.done();
            return;
        }
        tokio::task::yield_now().await;
    }
}

struct Pages {
    before: u64,
    scanned: usize,
}

impl Pages {
    fn next(&mut self, api: &Api) -> Result<Vec<Act>, Refused> {
        let page = api.store.acts_before(self.before, PAGE);
        let page = page.map_err(|fault| store_refused(api, fault))?;
        self.scanned += page.len();
        Ok(page)
    }
}

fn wants_lines(parts: &Parts) -> bool {
    let accepts = parts.headers.get_all(header::ACCEPT).iter();
    accepts.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(|one| {
        let essence = one.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-ndjson")
    })
}

fn read(text: &str, api: &Api, now: UnixMs) -> Result<(Wanted, Option<usize>), Refused> {
    let verifier = api.verifier();
    let mut query = Query::parse(text);
    query.take("cursor");
    let limit = Some(query.take_limit(0, usize::MAX)).filter(|limit| *limit > 0);
    let action = query.take("action");
    let known = ["denied", "undone", "ended", "registered", "removed"];
    if action.as_deref().is_some_and(|said| !known.contains(&said)) {
        query.fault("action", "unknown_action", format!("Expected one of {}.", known.join(", ")));
    }
    let denial = query.take("denial").and_then(|text| {
        let id = text.parse().ok();
        if id.is_none() {
            query.fault("denial", "wrong_type", "Expected the whole id of a denial.");
        }
        id
    });
    let wanted = Wanted {
        issuer: take_issuer(&mut query, &verifier),
        selector: take_selector(&mut query, &verifier),
        by: query.take("by"),
        address: query.take("address"),
        action,
        denial,
        since: take_time(&mut query, "since", now),
        until: take_time(&mut query, "until", now),
    };
    let faults = query.finish(&PARAMETERS);
    if faults.is_empty() { Ok((wanted, limit)) } else { Err(Refused::InvalidQuery(faults)) }
}

fn is_registration(denial: &Denial) -> bool {
    matches!(denial.selector, Selector::Registration(_))
}

/// When, by whom, and what for.
fn done(act: &Act) -> Option<(UnixMs, &Actor, &'static str)> {
    match (&act.lift, &act.denial) {
        (Some(lift), Some(denial)) if is_registration(denial) => {
            Some((lift.at, &lift.by, "removed"))
        }
        (Some(lift), _) if lift.by.via == Via::Gateway => Some((lift.at, &lift.by, "ended")),
        (Some(lift), _) => Some((lift.at, &lift.by, "undone")),
        (None, Some(denial)) if is_registration(denial) => {
            Some((denial.created_at, &denial.created_by, "registered"))
        }
        (None, Some(denial)) => Some((denial.created_at, &denial.created_by, "denied")),
        (None, None) => None,
    }
}

fn shows(api: &Api, caller: &Caller, wanted: &Wanted, act: &Act) -> bool {
    let Some((at, by, action)) = done(act) else { return false };
    let denial = act.denial.as_ref();
    let may = match denial {
        Some(denial) => sees(caller, &api.verifier(), &denial.issuer),
        None => caller.issuers.is_none(),
    };
    let is = |said: &Option<String>, it: Option<&str>| said.is_none() || said.as_deref() == it;
    may && wanted.since.is_none_or(|since| at >= since)
        && wanted.until.is_none_or(|until| at < until)
        && is(&wanted.by, Some(&by.name))
        && is(&wanted.address, by.address.as_deref())
        && is(&wanted.action, Some(action))
        && wanted.denial.is_none_or(|id| id == act.id)
        && wanted
            .issuer
            .as_ref()
            .is_none_or(|issuer| denial.is_some_and(|denial| denial.issuer == *issuer))
        && wanted
            .selector
            .as_ref()
            .is_none_or(|selector| denial.is_some_and(|denial| denial.selector == *selector))
}

fn json(api: &Api, act: &Act) -> Option<ActJson> {
    let (at, by, action) = done(act)?;
    let verifier = api.verifier();
    let view = View { verifier: &verifier, denylist: &api.denylist, refusals: &api.refusals };
    let denial = act.denial.as_ref();
    let reason = match &act.lift {
        Some(lift) => lift.reason.clone(),
        None => denial.map(|denial| denial.reason.clone()).filter(|reason| !reason.is_empty()),
    };
    Some(ActJson {
        sequence: act.sequence,
        at: at.rfc3339(),
        action,
        denial: act.id.to_string(),
        by: ActorJson::of(by),
        reason,
        what: denial.map(|denial| What {
            issuer: view.issuer_name(&denial.issuer),
            selector: SelectorJson::of(&denial.selector),
            condition: ConditionJson::of(denial.condition),
            reference: denial.reference.clone(),
        }),
    })
}
