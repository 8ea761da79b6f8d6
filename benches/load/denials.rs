//! Denials one by one over the admin API: `admin`, `admin_token`, `clients` (keep-alive
//! connections), `seconds`, `series` (so that runs do not deny the same tokens).

use std::time::{Duration, Instant};

use serde_json::json;

use super::Arguments;
use super::admin::Admin;
use super::figures::distribution;

pub async fn deny(arguments: &Arguments) {
    let length = Duration::from_secs(arguments.number("seconds"));
    let series = arguments.text("series").to_owned();
    let mut running = Vec::new();
    for client in 0..arguments.number::<usize>("clients") {
        let (mut admin, series) = (Admin::of(arguments).await, series.clone());
        running.push(tokio::task::spawn_local(async move {
            let (start, mut took) = (Instant::now(), Vec::new());
            while start.elapsed() < length {
                let jti = format!("{series}-{client}-{}", took.len());
                let denial = json!({ "issuer": "main", "jti": jti, "reason": "benchmark" });
                let call = admin.create(&denial).await;
                took.push(call.acknowledged - call.begun);
            }
            took
        }));
    }
    let mut took = Vec::new();
    for one in running {
        took.extend(one.await.expect("every denial is acknowledged"));
    }
    let rate = took.len() as f64 / length.as_secs_f64();
    println!("{}", json!({ "per_second": rate.round(), "ms": distribution(took) }));
}
