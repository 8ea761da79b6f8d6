//! Open streams: listed by core and age, and cut one by one. A stream that is cut may be opened
//! again with the same token; to keep somebody out, deny.

use std::collections::BTreeMap;
use std::time::Instant;

use http::StatusCode;
use serde::Serialize;

use crate::config::Role;
use crate::control::store::Deed;
use crate::denylist::{Fold, IssuerId, Selector};
use crate::telemetry::streams::{ByKind, CutCause, OpenStream, StreamId, StreamKind, Wanted};
use crate::verify::Verifier;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::filter::{Known, checked, take_issuer, take_subject};
use super::list::may_ask_for;
use super::noted;
use super::paging::Paging;
use super::plan::Plan;
use super::problem::Refused;
use super::query::Query;
use super::record::issuer_name;
use super::warnings::Warning;

#[derive(Serialize)]
struct Listed {
    items: Vec<StreamJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// All that are open, whatever was asked for.
    open: u64,
    by_kind: BTreeMap<&'static str, u64>,
    by_route: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct StreamJson {
    id: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    route: String,
    opened_at: String,
    /// When its token ends it; absent where it is kept, or has no token.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

#[derive(Serialize)]
struct Cut {
    id: String,
    cut_after_ms: u64,
    warnings: Vec<Warning>,
}

/// `GET /v1/streams?subject=bob&kind=websocket`.
pub(super) async fn list(api: &Api, caller: &Caller, text: &str) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see streams")?;
    let verifier = api.verifier();
    let (wanted, paging) = wanted(text, caller, &verifier, api)?;
    let page = api.open_streams.list(wanted).await.map_err(|_| Refused::CoresBusy)?;
    let open = Open::of(api, caller);
    let listed = Listed {
        items: page.items.iter().map(|one| shown(one, &verifier)).collect(),
        next_cursor: page.next.map(|next| paging.cursor(next.0)),
        open: open.all,
        by_kind: open.by_kind,
        by_route: open.by_route,
    };
    Answer::json(StatusCode::OK, &listed)
}

/// `GET /v1/streams/{id}`.
pub(super) async fn get(api: &Api, caller: &Caller, text: &str) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see streams")?;
    let verifier = api.verifier();
    let id = id(text)?;
    let wanted = Wanted {
        after: Some(StreamId(id.0.saturating_sub(1))),
        limit: 1,
        issuers: issuers(caller, &verifier),
        ..Wanted::default()
    };
    let page = api.open_streams.list(wanted).await.map_err(|_| Refused::CoresBusy)?;
    match page.items.first().filter(|found| found.id == id) {
        Some(found) => Answer::json(StatusCode::OK, &shown(found, &verifier)),
        None => Err(no_such(text)),
    }
}

/// `POST /v1/streams/{id}/cut` and `DELETE /v1/streams/{id}`.
pub(super) async fn cut(api: &Api, caller: &Caller, text: &str) -> Result<Answer, Refused> {
    caller.must_be(Role::Revoker, "cut streams")?;
    let began = Instant::now();
    let id = id(text)?;
    let issuers = issuers(caller, &api.verifier());
    if !api.open_streams.cut(id, issuers).await.map_err(|_| Refused::CoresBusy)? {
        return Err(no_such(text));
    }
    tracing::info!(
        target: "portcullis::admin",
        by = caller.name,
        stream = id.to_string(),
        "cut a stream"
    );
    let which = Some(format!("stream {id}"));
    api.store.note_later(noted::act(caller, Deed::Cut, which, &[]));
    let detail = "The client may open it again with the same token. To end the token: revoke it.";
    let cut = Cut {
        id: id.to_string(),
        cut_after_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        warnings: vec![Warning::new("token_still_good", None, detail.to_owned())],
    };
    Answer::json(StatusCode::OK, &cut)
}

fn id(text: &str) -> Result<StreamId, Refused> {
    text.to_ascii_lowercase().parse().map_err(|_| no_such(text))
}

fn no_such(text: &str) -> Refused {
    Refused::NoSuchStream { id: text.chars().take(32).collect() }
}

/// Issuers that a bound caller may see; `None`: all.
fn issuers(caller: &Caller, verifier: &Verifier) -> Option<Vec<IssuerId>> {
    caller.issuers.as_ref()?;
    let mine = verifier.issuers().iter().filter(|one| caller.may_act_on(&one.policy.name));
    Some(mine.map(|issuer| issuer.policy.id.clone()).collect())
}

fn wanted(
    text: &str,
    caller: &Caller,
    verifier: &Verifier,
    api: &Api,
) -> Result<(Wanted, Paging), Refused> {
    let mut query = Query::parse(text);
    let paging = Paging::take(&mut query, text)?;
    let known = Known { verifier, tally: &api.store.tally(), caller };
    let issuer = take_issuer(&mut query, &known);
    let subject = take_subject(&mut query);
    let session = query.take("session");
    let session = checked(&mut query, "session", session);
    let route = query.take("route");
    let kind = query.take("kind").and_then(|said| {
        let found = StreamKind::ALL.into_iter().find(|kind| kind.as_str() == said);
        if found.is_none() {
            let words = StreamKind::ALL.map(StreamKind::as_str).join(", ");
            query.fault("kind", "unknown_kind", format!("Expected one of {words}."));
        }
        found
    });
    let known = ["issuer", "user", "subject", "session", "route", "kind", "limit", "cursor"];
    let faults = query.finish(&known);
    if !faults.is_empty() {
        return Err(Refused::InvalidQuery(faults));
    }
    let may_see = issuers(caller, verifier);
    may_ask_for(caller, verifier, issuer.as_ref())?;
    let issuers = issuer.map_or(may_see, |one| Some(vec![one]));
    let selector =
        session.clone().map(Selector::Session).or_else(|| subject.clone().map(Selector::Subject));
    let by = api.denylist.fingerprinter();
    let marks = selector.map(|selector| {
        let all = verifier.issuers().iter().map(|issuer| &issuer.policy.id);
        all.map(|issuer| by.selector(issuer, &selector)).collect()
    });
    let (after, limit) = (paging.from.map(StreamId), paging.limit());
    Ok((Wanted { marks, subject, session, route, kind, issuers, after, limit }, paging))
}

fn shown(stream: &OpenStream, verifier: &Verifier) -> StreamJson {
    StreamJson {
        id: stream.id.to_string(),
        kind: stream.kind.as_str(),
        issuer: stream.issuer.as_ref().map(|issuer| {
            issuer_name(verifier, issuer).unwrap_or_else(|| issuer.as_str()).to_owned()
        }),
        subject: stream.subject.clone(),
        session: stream.session.clone(),
        client_id: stream.client.clone(),
        route: stream.route.to_string(),
        opened_at: stream.opened_at.rfc3339(),
        expires_at: stream.ends_at.map(crate::clock::UnixMs::rfc3339),
        bytes_in: stream.bytes_in,
        bytes_out: stream.bytes_out,
        client: stream.address.map(|address| address.to_string()),
    }
}

/// How many are open, out of the cores' counters. A caller who is bound to some issuers is told
/// nothing of these sums, which are of all.
pub(super) struct Open {
    pub all: u64,
    pub by_kind: BTreeMap<&'static str, u64>,
    pub by_route: BTreeMap<String, u64>,
}

impl Open {
    pub fn of(api: &Api, caller: &Caller) -> Self {
        let mut open = Self { all: 0, by_kind: BTreeMap::new(), by_route: BTreeMap::new() };
        if caller.issuers.is_some() {
            return open;
        }
        for (route, sum) in &api.counters.sums().streams {
            let here: u64 = sum.open.iter().sum();
            open.all += here;
            if here > 0 {
                open.by_route.insert(route.clone(), here);
            }
            by_kind_into(&mut open.by_kind, sum.open);
        }
        open
    }
}

fn by_kind_into(map: &mut BTreeMap<&'static str, u64>, counts: ByKind) {
    for (kind, count) in StreamKind::ALL.into_iter().zip(counts) {
        if count > 0 {
            *map.entry(kind.as_str()).or_default() += count;
        }
    }
}

/// Streams by kind, without those of which there are none.
pub(super) fn by_kind(counts: ByKind) -> BTreeMap<&'static str, u64> {
    let mut map = BTreeMap::new();
    by_kind_into(&mut map, counts);
    map
}

/// Streams that the gateway ended since it started.
pub(super) fn cut_by_cause(api: &Api) -> BTreeMap<&'static str, u64> {
    let mut causes = BTreeMap::new();
    for sum in api.counters.sums().streams.values() {
        for (cause, count) in CutCause::ALL.into_iter().zip(sum.cut) {
            *causes.entry(cause.as_str()).or_default() += count;
        }
    }
    causes
}

/// Open streams that a planned denial would end; `None`: a core was too busy to say.
pub(super) async fn would_end(api: &Api, plan: &Plan) -> Option<u64> {
    let by = api.denylist.fingerprinter();
    let issuer = &plan.issuer.policy.id;
    let except = plan.except.as_ref().map(|except| by.except(issuer, except));
    let mut fold = Fold::default();
    fold.add_condition(plan.condition, except);
    let counts = api.open_streams.count(by.selector(issuer, &plan.selector), &fold).await?;
    Some(counts.iter().sum())
}

/// Streams that a denial of it has ended, which was asked for then.
pub(super) async fn ended_by(
    api: &Api,
    issuer: &IssuerId,
    selector: &Selector,
    since: Instant,
) -> Option<ByKind> {
    let mark = api.denylist.fingerprinter().selector(issuer, selector);
    api.open_streams.ended_by(mark, since).await
}
