//! `GET /v1/upstreams`: the servers behind the gateway and how each does.

use std::time::Instant;

use http::StatusCode;
use serde::Serialize;

use crate::config::Role;
use crate::upstreams::{GroupReport, ServerReport};

use super::Api;
use super::answer::Answer;
use super::caller::Caller;
use super::problem::Refused;

#[derive(Serialize)]
struct Upstreams {
    items: Vec<UpstreamJson>,
}

#[derive(Serialize)]
struct UpstreamJson {
    name: String,
    balance: &'static str,
    /// Servers to which requests are sent.
    used: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u32>,
    waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<usize>,
    servers: Vec<ServerJson>,
}

#[derive(Serialize)]
struct ServerJson {
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    state: &'static str,
    weight: u32,
    backup: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_for_ms: Option<u64>,
}

pub(super) fn upstreams(api: &Api, caller: &Caller) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "see the upstreams")?;
    let items = reports(api).into_iter().map(upstream).collect();
    Answer::json(StatusCode::OK, &Upstreams { items })
}

/// All of them, as they are now.
pub(super) fn reports(api: &Api) -> Vec<GroupReport> {
    let now = Instant::now();
    (api.upstreams)().iter().map(|group| group.report(now)).collect()
}

fn upstream(report: GroupReport) -> UpstreamJson {
    UpstreamJson {
        used: report.used(),
        name: report.name,
        balance: report.balance,
        in_flight: report.in_flight,
        waiting: report.waiting,
        max_connections: report.max_connections,
        servers: report.servers.into_iter().map(server).collect(),
    }
}

fn server(report: ServerReport) -> ServerJson {
    ServerJson {
        server: report.server,
        address: report.address,
        state: report.state.as_str(),
        weight: report.weight,
        backup: report.backup,
        in_flight: report.in_flight,
        detail: report.detail,
        ejected_for_ms: report.ejected_for.and_then(|left| u64::try_from(left.as_millis()).ok()),
    }
}
