//! Active health checks: each address of a server is asked on a schedule, the way a request would
//! reach it, and what is found is published to the data plane. A server counts as up until it has
//! failed as often as the configuration says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::task::{AbortHandle, JoinSet};

use crate::config::{HealthCheck, ServerAddress};
use crate::sockets::dial::dial;
use crate::upstreams::{Endpoint, Group, Health};

use super::resolve::jittered;

/// How soon an address that is new is asked for the first time.
const LOOK: Duration = Duration::from_millis(200);

/// Checks every address of the group, those that come later too.
pub async fn keep(group: Arc<Group>) {
    let Some(check) = group.config.health.clone() else { return };
    let mut tasks = JoinSet::new();
    let mut running: HashMap<u64, AbortHandle> = HashMap::new();
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let endpoints = group.set().all().to_vec();
        running.retain(|serial, task| {
            let stays = endpoints.iter().any(|endpoint| endpoint.key().serial == *serial);
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in endpoints {
            running
                .entry(endpoint.key().serial)
                .or_insert_with(|| tasks.spawn(watch(Arc::clone(&group), endpoint, check.clone())));
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn watch(group: Arc<Group>, endpoint: Arc<Endpoint>, check: HealthCheck) {
    let (mut good, mut bad) = (0_u32, 0_u32);
    loop {
        let asked = tokio::time::timeout(check.timeout, ask(&group, &endpoint, &check)).await;
        match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(()) => {
                (good, bad) = (good.saturating_add(1), 0);
                let was = endpoint.health();
                if was != Health::Up && (was == Health::Unknown || good >= check.healthy) {
                    if was == Health::Down {
                        endpoint.warm_up(group.moment(Instant::now()));
                    }
                    endpoint.set_health(Health::Up, None);
                }
            }
            Err(why) => {
                (good, bad) = (0, bad.saturating_add(1));
                if bad >= check.unhealthy {
                    endpoint.set_health(Health::Down, Some(why));
                }
            }
        }
        tokio::time::sleep(jittered(check.every)).await;
    }
}

/// One question on a connection of its own. The error is for people.
async fn ask(group: &Group, endpoint: &Endpoint, check: &HealthCheck) -> Result<(), String> {
    let secure = group.secure(endpoint);
    let stream =
        dial(&endpoint.address, secure.as_ref()).await.map_err(|fault| fault.to_string())?;
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|fault| fault.to_string())?;
    let driving = tokio::spawn(driver);
    let answer = sender.send_request(question(group, endpoint, check)).await;
    driving.abort();
    let status = answer.map_err(|fault| fault.to_string())?.status();
    if is_good(check, status) { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
}

fn question(group: &Group, endpoint: &Endpoint, check: &HealthCheck) -> Request<Empty<Bytes>> {
    let server = group.config.servers.get(endpoint.server).map(|server| &server.address);
    let own = match server {
        Some(ServerAddress::Tcp { host, port, .. }) if host.contains(':') => {
            format!("[{host}]:{port}")
        }
        Some(ServerAddress::Tcp { host, port, .. }) => format!("{host}:{port}"),
        Some(ServerAddress::Unix(_)) | None => "localhost".to_owned(),
    };
    let host = check.host.clone().unwrap_or(own);
    let mut request = Request::new(Empty::new());
    // The configuration has checked that it is a path.
    *request.uri_mut() = check.path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = host.parse() {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, http::HeaderValue::from_static("portcullis-health"));
    headers.insert(CONNECTION, http::HeaderValue::from_static("close"));
    request
}

fn is_good(check: &HealthCheck, status: StatusCode) -> bool {
    let code = status.as_u16();
    if check.status.is_empty() { (200..400).contains(&code) } else { check.status.contains(&code) }
}
