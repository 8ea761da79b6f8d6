//! Requests that race a reload: one that begins after the reload is acknowledged is answered by the
//! new configuration, one that ended before it was asked for by the old, and one in between by one
//! of the two as a whole; or, where an issuer goes, by 503: its keys go before it, so that nothing
//! passes meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;

use crate::support::{Gateway, Issuer, Setup, Upstream, eventually};

/// Swaps of each kind, there and back.
const SWAPS: usize = 6;
const CLIENTS: usize = 3;
/// Requests that must have begun and ended under a configuration before the next comes.
const BETWEEN: u64 = 20;

fn put(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, path).unwrap();
}

struct Asked {
    began: Instant,
    ended: Instant,
    status: u16,
}

/// From when to when a configuration was certainly in force, and what it answers.
struct Held {
    from: Instant,
    until: Instant,
    status: u16,
}

/// `line` is in the config; in its place `other` makes the same token's answer `refused`.
fn race(gateway: &Gateway, token: &str, (line, other): (&str, &str), refused: u16) {
    let path = gateway.config();
    let first = std::fs::read_to_string(path).unwrap();
    assert!(first.contains(line), "{line} is not in\n{first}");
    let second = first.replace(line, other);
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let bearer = format!("Bearer {token}");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            let (asked, bearer) = (Arc::clone(&asked), bearer.clone());
            let mut connection = gateway.connect();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let began = Instant::now();
                    let status = connection.get("/", &[("Authorization", &bearer)]).status;
                    let ended = Instant::now();
                    asked.lock().unwrap().push(Asked { began, ended, status });
                    count.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    let admin = gateway.admin();
    let mut held = Vec::new();
    let mut from = Instant::now();
    let mut status = 200;
    for swap in 0..=SWAPS {
        let seen = count.load(Ordering::Acquire);
        eventually("requests under this configuration", || {
            (count.load(Ordering::Acquire) >= seen + BETWEEN).then_some(())
        });
        held.push(Held { from, until: Instant::now(), status });
        if swap < SWAPS {
            let next = swap % 2 == 0;
            put(path, if next { &second } else { &first });
            let done = admin.post("/v1/config/reload", &json!({}));
            assert_eq!(done["reloaded"], true, "{done}");
            status = if next { refused } else { 200 };
            from = Instant::now();
        }
    }
    stop.store(true, Ordering::Release);
    clients.into_iter().for_each(|client| client.join().unwrap());
    put(path, &first);
    admin.post("/v1/config/reload", &json!({}));
    let asked = asked.lock().unwrap();
    let mut certain = 0;
    for one in asked.iter() {
        let between = one.status == 503 && line.starts_with("issuer");
        assert!(one.status == 200 || one.status == refused || between, "{}: {line}", one.status);
        let within = held.iter().find(|held| one.began >= held.from && one.ended <= held.until);
        if let Some(held) = within {
            assert_eq!(one.status, held.status, "{line}");
            certain += 1;
        }
    }
    assert!(certain as u64 >= BETWEEN, "{certain} of {}: {line}", asked.len());
}

#[test]
fn a_request_is_answered_by_the_configuration_before_or_after_a_swap_and_by_nothing_between() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::new()
        // How many are refused is for chance to say.
        .server("watch = false\nlimits.failed_credentials_per_minute = 0")
        .issuer(&issuer, "")
        .upstream("app", &upstream, "")
        .route("/", "require = { scopes = [\"read\"] }")
        .start();
    let token = issuer.token("alice").claim("scope", "read").mint();
    assert_eq!(gateway.status(&token), 200);
    let audience = format!("audiences = [\"{}\"]", issuer.audience);
    let iss = format!("issuer = \"{}\"", issuer.iss);
    for (swap, refused) in [
        ((audience.as_str(), "audiences = [\"another\"]"), 401),
        ((iss.as_str(), "issuer = \"https://another.example.com/\""), 401),
        (("scopes = [\"read\"]", "scopes = [\"write\"]"), 403),
        (("path = \"/\"", "path = \"/elsewhere/\""), 404),
    ] {
        race(&gateway, &token, swap, refused);
    }
    assert_eq!(gateway.status(&token), 200);
}
