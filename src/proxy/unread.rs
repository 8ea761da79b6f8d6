//! Requests that the parser refuses. hyper answers them by itself (400, 414, 431) and they never
//! become an exchange, yet they are what attempts at smuggling look like: each has its line in the
//! access log and is counted.

use std::error::Error as _;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::clock::UnixMs;
use crate::config::AccessLog;
use crate::telemetry::access::{Entry, Verdict};
use crate::telemetry::counters::{Closed, Limit, Outcome};

use super::client_address::Client;
use super::connection::Connection;
use super::core::Core;

const CODE: &str = "bad_request";

/// A connection has ended with an error.
pub fn note(core: &Core, connection: &Connection, error: &hyper::Error) {
    if error.is_parse() {
        core.counters.closed(Closed::Malformed);
        let (status, reason) = told(error);
        if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            core.counters.shed(Limit::Headers);
        }
        write(core, connection, status, reason);
    } else if let Some(reason) = broke_http2(error) {
        core.counters.closed(Closed::Malformed);
        if reason == h2::Reason::ENHANCE_YOUR_CALM {
            core.counters.shed(Limit::Http2Flood);
        }
    }
}

/// What hyper has answered.
fn told(error: &hyper::Error) -> (StatusCode, &'static str) {
    let text = error.to_string();
    if text.contains("URI too long") {
        (StatusCode::URI_TOO_LONG, "the request target is too long")
    } else if error.is_parse_too_large() {
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the header is too large")
    } else {
        (StatusCode::BAD_REQUEST, "the request is malformed")
    }
}

/// What we told a client that broke the protocol, or asked for too much.
fn broke_http2(error: &hyper::Error) -> Option<h2::Reason> {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>())?;
    cause.reason().filter(|_| cause.is_go_away() && cause.is_library())
}

fn write(core: &Core, connection: &Connection, status: StatusCode, reason: &'static str) {
    let outcome = Outcome {
        status: status.as_u16(),
        verdict: Verdict::Refused,
        code: CODE,
        duration: Duration::ZERO,
        added: None,
    };
    core.counters.ended(None, &outcome);
    let published = core.published();
    if published.access_log == AccessLog::Off {
        return;
    }
    let id: HeaderValue = core.ids.next();
    let refused = Entry::refused(UnixMs::now(), id.to_str().unwrap_or(""), status.as_u16(), CODE);
    let client = Client::peer(connection.peer).address();
    let entry = Entry { client, reason: Some(reason), ..refused };
    core.log.write(&entry, published.log_repeats_max);
}
