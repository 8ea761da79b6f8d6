//! The state in one answer: a verdict in a sentence first, then the figures. And the recently seen
//! people.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;

use crate::clock::UnixMs;
use crate::config::Role;
use crate::control::keys::SourceReport;
use crate::control::people::{Person, Tally};
use crate::denylist::Selector;
use crate::telemetry::counters::{Failing, UpstreamSum};
use crate::upstreams::GroupReport;
use crate::verify::Mode;

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::config;
use super::create::{in_units, store_refused};
use super::list::sees;
use super::problem::Refused;
use super::query::Query;
use super::record::issuer_name;
use super::streams::{self, Open};
use super::warnings::{is_near, near_limit};

const PEOPLE_DEFAULT: usize = 20;
const PEOPLE_MAX: usize = 200;

#[derive(Serialize)]
struct Status {
    /// `ok` or `degraded`.
    verdict: &'static str,
    problems: Vec<Problem>,
    version: &'static str,
    started_at: String,
    sequence: u64,
    store: StoreJson,
    denials: Denials,
    /// In force; they count for the limit too.
    registrations: u64,
    issuers: Vec<IssuerJson>,
    upstreams: Vec<UpstreamJson>,
    people: &'static str,
    /// Open ones; absent for a caller who is bound to some issuers.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams_by_kind: Option<BTreeMap<&'static str, u64>>,
    /// Since the start, by cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams_cut: Option<BTreeMap<&'static str, u64>>,
    config: serde_json::Value,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    /// `page` somebody, or open a `ticket`.
    severity: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct StoreJson {
    kind: &'static str,
}

#[derive(Serialize)]
struct Denials {
    in_force: u64,
    limit: u64,
    /// People's own, since the start, whose place one cutoff of all their tokens took.
    folded: u64,
}

#[derive(Serialize)]
struct UpstreamJson {
    name: String,
    servers: usize,
    /// Those to which requests are sent.
    used: usize,
    /// Requests of the last minute to which none gave an answer.
    failed: u64,
}

#[derive(Serialize)]
struct IssuerJson {
    name: String,
    mode: &'static str,
    keys: usize,
    /// When fetched keys were last confirmed, and whether the last fetch succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_fetch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
    sightings: u64,
    /// Absent while nothing was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    unrevocable: Option<Unrevocable>,
}

/// Shares of the tokens seen that cannot be denied so finely.
#[derive(Serialize)]
struct Unrevocable {
    no_jti: f64,
    no_sid: f64,
    no_iat: f64,
}

pub(super) fn status(api: &Api, caller: &Caller) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see the status")?;
    let problems = problems(api, caller)?;
    let verifier = api.verifier();
    let sources = api.keys.report();
    let issuers = verifier
        .issuers()
        .iter()
        .filter(|issuer| caller.may_act_on(&issuer.policy.name))
        .map(|issuer| {
            let tally = api.people.tally(&issuer.policy.id);
            let named = |one: &&SourceReport| one.issuer == issuer.policy.name;
            let fetched = sources.iter().find(named).filter(|one| one.url.is_some());
            IssuerJson {
                name: issuer.policy.name.clone(),
                mode: match issuer.policy.mode {
                    Mode::Denylist => "denylist",
                    Mode::Allowlist => "allowlist",
                },
                keys: issuer.keys.load().keys().len(),
                last_fetch: fetched.and_then(|one| one.last_success).map(UnixMs::rfc3339),
                ok: fetched.map(|one| one.failures == 0),
                sightings: tally.sightings,
                unrevocable: unrevocable(&tally),
            }
        })
        .collect();
    let (whole, open) = (caller.issuers.is_none(), Open::of(api, caller));
    let status = Status {
        verdict: if problems.is_empty() { "ok" } else { "degraded" },
        problems,
        version: env!("CARGO_PKG_VERSION"),
        started_at: api.started_at.rfc3339(),
        sequence: api.store.sequence(),
        store: StoreJson { kind: "embedded" },
        denials: Denials {
            in_force: api.store.count(),
            limit: api.store_limit,
            folded: api.store.figures().folds(),
        },
        registrations: api.store.registrations(),
        issuers,
        upstreams: upstream_states(api),
        people: if api.people.is_on() { "on" } else { "off" },
        streams: whole.then_some(open.all),
        streams_by_kind: whole.then_some(open.by_kind),
        streams_cut: whole.then(|| streams::cut_by_cause(api)),
        config: config::summary(&api.config.standing()),
    };
    Answer::json(StatusCode::OK, &status)
}

fn problems(api: &Api, caller: &Caller) -> Result<Vec<Problem>, Refused> {
    let mut problems = Vec::new();
    if !api.is_ready() {
        let detail = "The gateway is not ready: it starts, or it drains.".to_owned();
        problems.push(Problem { code: "not_ready", severity: "page", detail });
    }
    let standing = api.config.standing();
    if let Some(fault) = standing.last.as_ref().and_then(|last| last.fault.as_ref()) {
        let detail = format!("The config was not reloaded: {fault}.");
        problems.push(Problem { code: "config_reload_failed", severity: "ticket", detail });
    }
    let (count, limit) = (api.store.records(), api.store_limit);
    if is_near(count, limit) {
        let detail = near_limit(count, limit);
        problems.push(Problem { code: "near_limit", severity: "page", detail });
    }
    for one in api.keys.report() {
        if let Some((_, why)) = one.last_failure.filter(|_| one.failures > 0)
            && caller.may_act_on(&one.issuer)
        {
            let detail = format!("Keys of issuer {} cannot be fetched: {why}.", one.issuer);
            problems.push(Problem { code: "keys_not_fetched", severity: "ticket", detail });
        }
    }
    for issuer in api.verifier().issuers() {
        let policy = &issuer.policy;
        if !caller.may_act_on(&policy.name) {
            continue;
        }
        if issuer.keys.load().is_empty() {
            let detail = format!("Issuer {} has no key: its tokens get 503.", policy.name);
            problems.push(Problem { code: "no_keys", severity: "page", detail });
        }
        let everyone = api
            .store
            .in_force(&policy.id, &Selector::Issuer)
            .map_err(|fault| store_refused(api, fault))?;
        if let Some(record) = everyone.first() {
            let detail = format!("{} denies everyone of issuer {}.", record.denial.id, policy.name);
            problems.push(Problem { code: "everyone_denied", severity: "ticket", detail });
        }
    }
    let counted = api.counters.sums().upstreams;
    let of = |report: &GroupReport| {
        let fails = || counted.get(&report.name).and_then(UpstreamSum::fails);
        upstream_problem(report).or_else(|| failing(&report.name, fails()?))
    };
    problems.extend(super::upstreams::reports(api).iter().filter_map(of));
    Ok(problems)
}

fn upstream_states(api: &Api) -> Vec<UpstreamJson> {
    let reports = super::upstreams::reports(api).into_iter();
    let counted = api.counters.sums().upstreams;
    let failed = |name: &str| counted.get(name)?.failing.as_ref().map(|failing| failing.requests);
    let state = |report: GroupReport| UpstreamJson {
        failed: failed(&report.name).unwrap_or(0),
        used: report.used(),
        servers: report.servers.len(),
        name: report.name,
    };
    reports.map(state).collect()
}

fn upstream_problem(report: &GroupReport) -> Option<Problem> {
    let (used, all) = (report.used(), report.servers.len());
    let name = &report.name;
    if used == 0 {
        let detail = format!("No server of upstream {name} is up: its requests are refused.");
        return Some(Problem { code: "upstream_down", severity: "page", detail });
    }
    let lost = report.servers.iter().find(|server| !server.state.is_used())?;
    let state = lost.state.as_str();
    let detail =
        format!("{} of {all} servers of upstream {name}: {} is {state}.", all - used, lost.server);
    Some(Problem { code: "server_down", severity: "ticket", detail })
}

/// One or two that fail may be chance.
const FAILING_MIN: u64 = 3;

/// No check looks at it, and what was asked of it says enough.
fn failing(name: &str, failing: &Failing) -> Option<Problem> {
    let Failing { requests, cause, .. } = failing;
    if *requests < FAILING_MIN {
        return None;
    }
    let detail = format!(
        "Upstream {name}: {requests} requests failed in the last minute and none was answered since. {cause}."
    );
    Some(Problem { code: "upstream_failing", severity: "page", detail })
}

fn unrevocable(tally: &Tally) -> Option<Unrevocable> {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let share = |count: u64| (count as f64 / tally.sightings as f64 * 1e4).round() / 1e4;
    (tally.sightings > 0).then(|| Unrevocable {
        no_jti: share(tally.without_jti),
        no_sid: share(tally.without_session),
        no_iat: share(tally.without_issued_at),
    })
}

#[derive(Serialize)]
struct People {
    items: Vec<PersonJson>,
    /// How far back.
    window: String,
    /// `off`: nobody is remembered.
    people: &'static str,
}

#[derive(Serialize)]
struct PersonJson {
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<String>,
    sessions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    last_seen: String,
    /// At least so many that have not expired.
    tokens: usize,
}

/// `GET /v1/people?q=ali`.
pub(super) async fn people(
    api: &Api,
    caller: &Caller,
    query: &str,
    now: UnixMs,
) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see people")?;
    let mut query = Query::parse(query);
    let text = query.take("q").unwrap_or_default();
    let limit = query.take_limit().unwrap_or(PEOPLE_DEFAULT).min(PEOPLE_MAX);
    if text.len() > 256 {
        query.fault("q", "too_long", "At most 256 bytes.");
    }
    let faults = query.finish(&["q", "limit"]);
    if !faults.is_empty() {
        return Err(Refused::InvalidQuery(faults));
    }
    let verifier = api.verifier();
    api.observed.up_to_now().await;
    let found = api.people.search(&text, limit, |issuer| sees(caller, &verifier, issuer), now);
    let shown = |person: &Person| PersonJson {
        issuer: issuer_name(&verifier, &person.issuer)
            .unwrap_or_else(|| person.issuer.as_str())
            .to_owned(),
        subject: person.subject.clone(),
        display: person.display.clone(),
        sessions: person.sessions(now).into_iter().map(str::to_owned).collect(),
        address: person.address.map(|address| address.to_string()),
        last_seen: person.last_seen().rfc3339(),
        tokens: person.tokens(now),
    };
    let people = People {
        items: found.iter().map(|person| shown(person)).collect(),
        window: in_units(api.people.window(now)),
        people: if api.people.is_on() { "on" } else { "off" },
    };
    Answer::json(StatusCode::OK, &people)
}
