//! Spans to an OpenTelemetry collector, as OTLP/HTTP in JSON. What cannot be delivered is dropped
//! and counted: a collector that is gone costs the gateway nothing but a line in the log.

mod otlp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::mpsc;

use crate::config::Tracing;
use crate::telemetry::trace::Span;

use super::outbound::{self, Client};

/// Spans in one request to the collector.
const BATCH_MAX: usize = 2048;
const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What became of spans, for metrics.
#[derive(Default)]
pub struct Exported {
    pub delivered: AtomicU64,
    pub lost: AtomicU64,
}

/// Sends what comes until the last core is gone.
pub async fn export(
    config: Tracing,
    client: Client,
    mut batches: mpsc::Receiver<Vec<Span>>,
    exported: Arc<Exported>,
) {
    let mut failing = false;
    while let Some(mut spans) = batches.recv().await {
        while spans.len() < BATCH_MAX
            && let Ok(more) = batches.try_recv()
        {
            spans.extend(more);
        }
        let count = spans.len() as u64;
        match deliver(&config, &client, &spans).await {
            Ok(()) => {
                exported.delivered.fetch_add(count, Ordering::Relaxed);
                failing = false;
            }
            Err(why) => {
                exported.lost.fetch_add(count, Ordering::Relaxed);
                if !failing {
                    tracing::warn!(
                        endpoint = %config.endpoint, why,
                        "spans cannot be delivered; they are dropped until they can"
                    );
                }
                failing = true;
            }
        }
    }
}

async fn deliver(config: &Tracing, client: &Client, spans: &[Span]) -> Result<(), String> {
    let body = otlp::request(&config.service, spans);
    let request = Request::builder()
        .method(Method::POST)
        .uri(config.endpoint.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Full::from(Bytes::from(body)))
        .map_err(|fault| fault.to_string())?;
    let exchange = async {
        let answer = client.request(request).await.map_err(|fault| outbound::causes(&fault))?;
        let status = answer.status();
        // Read to the end, so that the connection can be used again.
        Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.ok();
        if status == StatusCode::OK { Ok(()) } else { Err(format!("answered {}", status.as_u16())) }
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
}
