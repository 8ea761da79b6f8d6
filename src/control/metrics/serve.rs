//! The metrics listener: `GET /metrics` and nothing else. Bounded in connections and in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::control::admin::AdminListener;

use super::Metrics;

/// Scrapers at once, on each listener.
const CONNECTIONS_MAX: usize = 64;
/// A head must be complete in this time; an idle connection ends with it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection ends at this age, whatever it does.
const AGE_MAX: Duration = Duration::from_secs(3600);
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Serves one listener until `stopped`.
pub async fn serve(
    listener: AdminListener,
    metrics: Arc<Metrics>,
    mut stopped: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        tokio::select! {
            () = accept(&listener, slot, &metrics) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

async fn accept(listener: &AdminListener, slot: OwnedSemaphorePermit, metrics: &Arc<Metrics>) {
    let metrics = Arc::clone(metrics);
    let fault = match listener {
        AdminListener::Tcp(listener) => match listener.accept().await {
            Ok((stream, _)) => return drop(tokio::spawn(connection(stream, slot, metrics))),
            Err(fault) => fault,
        },
        AdminListener::Unix(listener, _) => match listener.accept().await {
            Ok((stream, _)) => return drop(tokio::spawn(connection(stream, slot, metrics))),
            Err(fault) => fault,
        },
    };
    // A connection that was gone before it was taken, or no file descriptor left.
    tracing::warn!(target: "portcullis::metrics", %fault, "accept");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn connection<S>(stream: S, slot: OwnedSemaphorePermit, metrics: Arc<Metrics>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _slot = slot;
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that breaks off is its own affair.
    tokio::time::timeout(AGE_MAX, connection).await.ok();
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Full::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "GET /metrics is all there is here.\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET /metrics\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Ok(text) = metrics.text() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written.\n");
    };
    let mut response = Response::new(Full::from(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
