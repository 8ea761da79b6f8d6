//! Names of servers to addresses: looked up here on a schedule, so that no request waits for DNS.
//! Several addresses are several servers. When a look-up fails, the addresses found before stay.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::upstreams::{Group, Resolution};

/// A name that resolves to more is cut off there: whoever answers for it must not fill our memory.
const ADDRESSES_MAX: usize = 256;
/// A look-up takes no longer; the system's own timeouts can be half a minute.
const TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure it is tried again this soon, then twice as late each time, up to the schedule.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Looks up all names that have no address yet, side by side, and waits for them until `deadline`.
/// Those that take longer are left to the schedule.
pub fn first(groups: &[Arc<Group>], deadline: Duration) {
    let (answers, results) = mpsc::channel();
    let mut open = 0;
    for group in groups {
        for (index, server) in group.config.servers.iter().enumerate() {
            let Some((name, port)) = server.address.name() else { continue };
            if group.resolution(index) != Resolution::Pending {
                continue;
            }
            let (group, name, answers) = (Arc::clone(group), name.to_owned(), answers.clone());
            let looked_up =
                std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
                    let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
                    answers.send((group, index, found)).ok();
                });
            open += usize::from(looked_up.is_ok());
        }
    }
    let end = Instant::now() + deadline;
    for _ in 0..open {
        let left = end.saturating_duration_since(Instant::now());
        let Ok((group, index, found)) = results.recv_timeout(left) else { return };
        apply(&group, index, found.map_err(|error| error.to_string()));
    }
}

/// Looks up one server's name for ever.
pub async fn keep(group: Arc<Group>, index: usize) {
    let Some(server) = group.config.servers.get(index) else { return };
    let Some((name, port)) = server.address.name() else { return };
    let every = group.config.resolve_every;
    let mut wait = match group.resolution(index) {
        Resolution::Resolved => jittered(every),
        Resolution::Pending | Resolution::Fixed => Duration::ZERO,
        Resolution::Failed(_) => FIRST_RETRY,
    };
    let mut retry = FIRST_RETRY;
    loop {
        tokio::time::sleep(wait).await;
        let looking = tokio::net::lookup_host((name, port));
        let found = match tokio::time::timeout(TIMEOUT, looking).await {
            Ok(Ok(found)) => Ok(found.collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        wait = match apply(&group, index, found) {
            true => {
                retry = FIRST_RETRY;
                jittered(every)
            }
            false => {
                retry = (retry * 2).min(every.max(FIRST_RETRY));
                jittered(retry)
            }
        };
    }
}

/// `true`: there was an address.
fn apply(group: &Group, index: usize, found: Result<Vec<SocketAddr>, String>) -> bool {
    let server = group.config.servers.get(index).map(|server| server.address.shown());
    let (upstream, server) = (group.config.name.as_str(), server.unwrap_or_default());
    let why = match found {
        Ok(found) if !found.is_empty() => {
            let found = ranked(found);
            if group.resolved(index, &found, group.moment(Instant::now())) {
                let shown: Vec<String> = found.iter().map(|(at, _)| at.ip().to_string()).collect();
                let addresses = shown.join(" ");
                tracing::info!(upstream, server, addresses, "the name of a server resolved");
            }
            return true;
        }
        Ok(_) => "it has no address".to_owned(),
        Err(why) => why,
    };
    if !matches!(group.resolution(index), Resolution::Failed(_)) {
        tracing::warn!(upstream, server, why, "the name of a server does not resolve");
    }
    group.unresolved(index, why);
    false
}

/// Each address once. The family that the system puts first is used; the other stands in for it,
/// for a name such as `localhost` often has both while its server listens on one.
fn ranked(found: Vec<SocketAddr>) -> Vec<(SocketAddr, bool)> {
    let first_is_v4 = found.first().is_some_and(SocketAddr::is_ipv4);
    let mut ranked: Vec<(SocketAddr, bool)> = Vec::new();
    for address in found {
        if ranked.len() < ADDRESSES_MAX && !ranked.iter().any(|(known, _)| *known == address) {
            ranked.push((address, address.is_ipv4() != first_is_v4));
        }
    }
    ranked
}

/// A tenth more or less, so that replicas and names do not all ask at once.
pub fn jittered(duration: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness it is on time: no harm.
    aws_lc_rs::rand::fill(&mut byte).ok();
    let [byte] = byte;
    duration * (900 + u32::from(byte) * 200 / 255) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_comes_once_and_one_family_first() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = vec![at("[::1]:80"), at("127.0.0.1:80"), at("[::1]:80"), at("[::2]:80")];
        assert_eq!(
            ranked(found),
            [(at("[::1]:80"), false), (at("127.0.0.1:80"), true), (at("[::2]:80"), false)]
        );
        let many = (0..1000_u32).map(|n| SocketAddr::from((n.to_be_bytes(), 80))).collect();
        assert_eq!(ranked(many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn jitter_is_a_tenth_at_most() {
        for _ in 0..100 {
            let millis = jittered(Duration::from_secs(10)).as_millis();
            assert!((9_000..=11_000).contains(&millis), "{millis}");
        }
    }
}
