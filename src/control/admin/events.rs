//! `GET /v1/events`: changes as they are on disk, and refusals as the data plane tells of them, as
//! server-sent events. A change is an act of the audit and its id is its sequence: who comes back
//! with `Last-Event-ID` gets what happened meanwhile, as far as the audit goes back. Refusals are
//! not kept for whoever is late: how many were left out is an event too.
//!
//! Bounded: so many watchers, what waits for each of them, what one look brings.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::request::Parts;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::config::Role;
use crate::telemetry::Refusal;

use super::Api;
use super::answer::Answer;
use super::audit::ActJson;
use super::caller::Caller;
use super::list::sees;
use super::problem::Refused;
use super::query::Query;
use super::record::issuer_name;
use super::serve::Underway;
use super::stream::{Outbox, Piece, pair};

const WAITING_BYTES_MAX: usize = 256 * 1024;
/// Acts that one look brings.
const PAGE: usize = 200;
/// A quiet stream says so often that it lives, and looks whether the gateway ends.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between two signs of life.
const SIGN_EVERY: u32 = 15;

const HEADER: &str = "last-event-id";

#[derive(Serialize)]
struct RefusedJson<'a> {
    at: String,
    request_id: &'a str,
    status: u16,
    code: &'static str,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
}

/// What the query and the header ask for.
struct Asked {
    /// Changes after this sequence; `None`: from now on.
    after: Option<u64>,
    verdicts: bool,
}

pub(super) fn events(api: &Arc<Api>, caller: Caller, parts: &Parts) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "watch events")?;
    let asked = read(parts)?;
    let place = Arc::clone(&api.watchers).try_acquire_owned();
    let place = place.map_err(|_| Refused::TooManyStreams)?;
    let underway = parts.extensions.get::<Underway>().cloned();
    let (outbox, outlet) = pair(WAITING_BYTES_MAX);
    let api = Arc::clone(api);
    // Before the sequence is read: nothing that comes after it is missed.
    let changes = api.store.watch();
    let refusals = api.refusals.watch();
    tokio::spawn(async move {
        let watching = Watching { api: &api, caller: &caller, outbox: &outbox };
        watching.run(&asked, changes, refusals).await;
        // A watcher who comes back gets the rest: an end is no half answer here.
        outbox.done();
        drop((place, underway));
    });
    Ok(Answer::events(outlet))
}

fn read(parts: &Parts) -> Result<Asked, Refused> {
    let mut query = Query::parse(parts.uri.query().unwrap_or_default());
    let header = parts.headers.get(HEADER).and_then(|value| value.to_str().ok());
    // A page cannot set the header at its first call.
    let said = query.take("after").or_else(|| header.map(str::to_owned));
    let after = said.as_deref().map(|text| text.trim().parse::<u64>());
    if matches!(after, Some(Err(_))) {
        query.fault("after", "wrong_type", "Expected the id of an event: a number.");
    }
    let verdicts = match query.take("verdicts").as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => {
            query.fault("verdicts", "wrong_type", "Expected true or false.");
            true
        }
    };
    let faults = query.finish(&["after", "verdicts"]);
    let asked = Asked { after: after.and_then(Result::ok), verdicts };
    if faults.is_empty() { Ok(asked) } else { Err(Refused::InvalidQuery(faults)) }
}

struct Watching<'a> {
    api: &'a Api,
    caller: &'a Caller,
    outbox: &'a Outbox,
}

impl Watching<'_> {
    /// Until nobody reads any more, or the gateway ends.
    async fn run(
        &self,
        asked: &Asked,
        mut changes: watch::Receiver<u64>,
        mut refusals: broadcast::Receiver<Arc<Refusal>>,
    ) {
        let now = self.api.store.sequence();
        let mut after = asked.after.unwrap_or(now);
        self.outbox.push(Piece::Text((*b": events\n").into()));
        if after > now {
            // The store is another one than it was.
            self.say("reset", None, &serde_json::json!({"sequence": now}));
            after = now;
        }
        let mut beats = 0;
        loop {
            if self.outbox.room().await.is_err() {
                return;
            }
            match self.changed(&mut after) {
                Ok(true) => continue,
                Ok(false) => {}
                // The log says why; the watcher comes back.
                Err(_) => return,
            }
            let refusal = tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                refusal = refusals.recv(), if asked.verdicts => refusal,
                () = tokio::time::sleep(BEAT) => {
                    beats += 1;
                    if !self.api.ready.load(Ordering::Acquire) {
                        return;
                    }
                    if beats % SIGN_EVERY == 0 {
                        self.outbox.push(Piece::Text((*b":\n").into()));
                    }
                    continue;
                }
            };
            match refusal {
                Ok(refusal) => self.refused(&refusal),
                Err(RecvError::Lagged(count)) => {
                    self.say("left_out", None, &serde_json::json!({"verdicts": count}));
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Says some of what changed; whether there may be more.
    fn changed(&self, after: &mut u64) -> Result<bool, Refused> {
        if self.api.store.sequence() <= *after {
            return Ok(false);
        }
        let acts = self.api.store.acts_after(*after, PAGE);
        let acts = acts.map_err(|fault| super::create::store_refused(self.api, fault))?;
        let verifier = self.api.verifier();
        for act in &acts {
            *after = act.sequence;
            let may = match &act.what {
                Some(what) => sees(self.caller, &verifier, &what.issuer),
                None => self.caller.issuers.is_none(),
            };
            if may {
                let shown = ActJson::of(act, &verifier);
                self.say(act.deed.as_str(), Some(act.sequence), &shown);
            }
        }
        Ok(acts.len() == PAGE)
    }

    fn refused(&self, refusal: &Refusal) {
        let verifier = self.api.verifier();
        let issuer = refusal.token.as_ref().map(|token| &token.policy().id);
        let may = match issuer {
            Some(issuer) => sees(self.caller, &verifier, issuer),
            None => self.caller.issuers.is_none(),
        };
        if !may {
            return;
        }
        let name = |id| issuer_name(&verifier, id).unwrap_or_else(|| id.as_str()).to_owned();
        let shown = RefusedJson {
            at: refusal.at.rfc3339(),
            request_id: &refusal.request_id,
            status: refusal.status,
            code: refusal.code,
            method: refusal.method.as_str(),
            host: &refusal.host,
            path: &refusal.path,
            route: refusal.route.as_deref(),
            address: refusal.address.map(|address| address.to_string()),
            issuer: issuer.map(name),
            subject: refusal.token.as_ref().and_then(|token| token.subject()),
        };
        self.say("refused", None, &shown);
    }

    fn say(&self, event: &str, id: Option<u64>, data: &impl Serialize) {
        let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
        // JSON of this kind has no line break in it.
        let data = serde_json::to_string(data).unwrap_or_default();
        let text = format!("{id}event: {event}\ndata: {data}\n");
        self.outbox.push(Piece::Text(text.into_bytes().into()));
    }
}
