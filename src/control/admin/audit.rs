//! Who did what, when, why, and from which address: the store's audit, newest first. It tells of
//! denials that are long forgotten too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{StatusCode, header};
use serde::Serialize;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::store::{Act, Deed};
use crate::denylist::{DenialId, IssuerId, Selector};
use crate::verify::Verifier;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::create::store_refused;
use super::filter::{Known, take_issuer, take_selector, take_time};
use super::list::{may_ask_for, sees};
use super::paging::Paging;
use super::problem::Refused;
use super::query::Query;
use super::record::{ActorJson, ConditionJson, ExceptJson, SelectorJson, issuer_name};
use super::serve::Underway;
use super::stream::{Outbox, Piece, pair};

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
pub(super) struct ActJson {
    pub sequence: u64,
    at: String,
    action: &'static str,
    /// Absent where no single one was the matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<String>,
    by: ActorJson,
    /// Why it was done: of a denial its own reason, of an undo the undo's.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of a call of many: how many of what.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<String, u64>,
    #[serde(flatten)]
    what: Option<WhatJson>,
}

/// What was denied.
#[derive(Serialize)]
struct WhatJson {
    issuer: String,
    #[serde(flatten)]
    selector: SelectorJson,
    #[serde(flatten)]
    condition: ConditionJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<ExceptJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
}

#[derive(Default)]
struct Wanted {
    issuer: Option<IssuerId>,
    selector: Option<Selector>,
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
    let (wanted, paging) = read(text, api, &caller, now)?;
    may_ask_for(&caller, &api.verifier(), wanted.issuer.as_ref())?;
    if wants_lines(parts) {
        return stream(api, caller, wanted, parts, &paging);
    }
    let limit = paging.limit();
    let mut pages = Pages::of(&paging);
    let mut items = Vec::new();
    let verifier = api.verifier();
    let next = loop {
        let page = pages.next(api)?;
        let ended = page.len() < PAGE;
        let mut left = page.into_iter();
        for act in left.by_ref() {
            pages.before = act.sequence;
            if shows(api, &caller, &wanted, &act) {
                items.push(ActJson::of(&act, &verifier));
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
    let next_cursor = next.map(|sequence| paging.cursor(sequence));
    Answer::json(StatusCode::OK, &Listed { items, next_cursor })
}

fn stream(
    api: &Arc<Api>,
    caller: Caller,
    wanted: Wanted,
    parts: &Parts,
    paging: &Paging,
) -> Result<Answer, Refused> {
    let place = api.place()?;
    let underway = parts.extensions.get::<Underway>().cloned();
    let (outbox, outlet) = pair(WAITING_BYTES_MAX);
    let api = Arc::clone(api);
    let (pages, limit) = (Pages::of(paging), paging.limit_of_stream());
    tokio::spawn(async move {
        write(&api, &caller, &wanted, outbox, pages, limit).await;
        drop((place, underway));
    });
    Ok(Answer::lines(outlet))
}

async fn write(
    api: &Api,
    caller: &Caller,
    wanted: &Wanted,
    outbox: Outbox,
    mut pages: Pages,
    mut left: usize,
) {
    while outbox.room().await.is_ok() {
        // The log says why; without its end the answer is known to be cut off.
        let Ok(page) = pages.next(api) else { return };
        let ended = page.len() < PAGE;
        for act in page {
            pages.before = act.sequence;
            if left > 0 && shows(api, caller, wanted, &act) {
                left -= 1;
                outbox.push(Piece::json(&ActJson::of(&act, &api.verifier())));
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
    fn of(paging: &Paging) -> Self {
        Self { before: paging.from.unwrap_or(u64::MAX), scanned: 0 }
    }

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

fn read(text: &str, api: &Api, caller: &Caller, now: UnixMs) -> Result<(Wanted, Paging), Refused> {
    let verifier = api.verifier();
    let mut query = Query::parse(text);
    let paging = Paging::take(&mut query, text)?;
    let action = query.take("action");
    let deeds = Deed::ALL.map(Deed::as_str);
    if action.as_deref().is_some_and(|said| !deeds.contains(&said)) {
        query.fault("action", "unknown_action", format!("Expected one of {}.", deeds.join(", ")));
    }
    let denial = query.take("denial").and_then(|text| {
        let id = text.parse().ok();
        if id.is_none() {
            query.fault("denial", "wrong_type", "Expected the whole id of a denial.");
        }
        id
    });
    let address = query.take("address").and_then(|text| {
        let address = text.parse::<IpAddr>().ok();
        if address.is_none() {
            query.fault("address", "wrong_type", "Expected an IP address.");
        }
        address.map(|address| address.to_string())
    });
    let (since, until) = (take_time(&mut query, "since", now), take_time(&mut query, "until", now));
    if since.zip(until).is_some_and(|(since, until)| until <= since) {
        query.fault("until", "out_of_range", "It is not after since.");
    }
    let known = Known { verifier: &verifier, tally: &api.store.tally(), caller };
    let wanted = Wanted {
        issuer: take_issuer(&mut query, &known),
        selector: take_selector(&mut query, &known),
        by: query.take("by"),
        address,
        action,
        denial,
        since,
        until,
    };
    let faults = query.finish(&PARAMETERS);
    if faults.is_empty() { Ok((wanted, paging)) } else { Err(Refused::InvalidQuery(faults)) }
}

fn shows(api: &Api, caller: &Caller, wanted: &Wanted, act: &Act) -> bool {
    let what = act.what.as_ref();
    // An act that names no issuer is for those who may see all of them.
    let may = match what {
        Some(what) => sees(caller, &api.verifier(), &what.issuer),
        None => caller.issuers.is_none(),
    };
    let is = |said: &Option<String>, it: Option<&str>| said.is_none() || said.as_deref() == it;
    let of_issuer = |id: &IssuerId| what.is_some_and(|what| what.issuer == *id);
    let of_selector = |one: &Selector| what.is_some_and(|what| what.selector == *one);
    may && wanted.since.is_none_or(|since| act.at >= since)
        && wanted.until.is_none_or(|until| act.at < until)
        && is(&wanted.by, Some(&act.by.name))
        && is(&wanted.address, act.by.address.as_deref())
        && is(&wanted.action, Some(act.deed.as_str()))
        && wanted.denial.is_none_or(|id| Some(id) == act.denial)
        && wanted.issuer.as_ref().is_none_or(of_issuer)
        && wanted.selector.as_ref().is_none_or(of_selector)
}

impl ActJson {
    pub(super) fn of(act: &Act, verifier: &Verifier) -> Self {
        Self {
            sequence: act.sequence,
            at: act.at.rfc3339(),
            action: act.deed.as_str(),
            denial: act.denial.map(|id| id.to_string()),
            by: ActorJson::of(&act.by),
            reason: act.reason.clone(),
            counts: act.counts.iter().cloned().collect(),
            what: act.what.as_ref().map(|what| WhatJson {
                issuer: issuer_name(verifier, &what.issuer)
                    .unwrap_or_else(|| what.issuer.as_str())
                    .to_owned(),
                selector: SelectorJson::of(&what.selector),
                condition: ConditionJson::of(what.condition),
                except: what.except.as_ref().map(ExceptJson::of),
                reference: what.reference.clone(),
                ends_at: what.ends_at.map(UnixMs::rfc3339),
            }),
        }
    }
}
