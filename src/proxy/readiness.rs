//! `[server] ready_path`: whether the gateway takes requests, for load balancers that can probe nothing
//! but the public listener. It is asked before anything else, so that no route shadows it and no limit
//! sheds it: a gateway that has much to do is not one that is gone. It says ready or not and nothing more,
//! and leaves no line in the access log, which probes would fill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::config::Config;
use crate::verify::Verifier;

use super::answer::Rejection;
use super::body::Body;
use super::exchange::Exchange;
use super::kept::Kept;

/// See the module.
pub struct Readiness {
    path: Arc<str>,
    ready: Arc<AtomicBool>,
}

impl Readiness {
    /// `None`: it is not asked for.
    pub fn compile(config: &Config, kept: &Kept) -> Option<Self> {
        let path = Arc::from(config.server.ready_path.as_deref()?);
        Some(Self { path, ready: Arc::clone(&kept.ready) })
    }

    /// By any host, byte for byte.
    pub fn is_asked<B>(&self, request: &Request<B>) -> bool {
        request.uri().path() == &*self.path
    }

    pub fn answer(
        &self,
        method: &Method,
        verifier: &Verifier,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Rejection> {
        exchange.answered_by(&self.path);
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Rejection::Method("GET, HEAD"));
        }
        exchange.probed();
        let (status, text) = match self.ready.load(Ordering::Acquire) && verifier.can_verify() {
            true => (StatusCode::OK, "ready\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        let mut response = Response::new(Body::full(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}
