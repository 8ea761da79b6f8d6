//! Distributions of times, in milliseconds.

use std::time::Duration;

use serde_json::{Value, json};

pub fn distribution(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let Some(last) = times.last() else { return Value::Null };
    let ms = |time: &Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
    let at = |part: f64| ms(&times[((times.len() - 1) as f64 * part).ceil() as usize]);
    json!({
        "count": times.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99),
        "p99.9": at(0.999), "max": ms(last),
    })
}
