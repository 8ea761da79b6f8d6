//! The two forms of an answer of ours: RFC 9457 problem JSON for programs, a small page for people.

use bytes::Bytes;
use http::Response;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};

use super::{AnswerPolicy, Rejection, Shape};
use crate::proxy::body::Body;
use crate::proxy::headers::X_REQUEST_ID;

/// The client asks for a page rather than for data.
pub fn wants_html(accept: Option<&HeaderValue>) -> bool {
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(html) = accept.find("text/html") else { return false };
    accept.find("json").is_none_or(|json| html < json)
}

/// The one place that makes our own answers: RFC 9457 problem JSON, or a small page.
pub fn respond(
    rejection: &Rejection,
    policy: AnswerPolicy,
    request_id: &HeaderValue,
    html: bool,
) -> Response<Body> {
    let shape = rejection.shape(policy);
    let id = request_id.to_str().unwrap_or("");
    let (content_type, text) = if html { page(&shape, id) } else { problem(&shape, id) };
    let mut response = Response::new(Body::full(Bytes::from(text)));
    *response.status_mut() = shape.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, request_id.clone());
    if let Some(challenge) = shape.challenge.and_then(|challenge| challenge.value()) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(allow) = shape.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(seconds) = shape.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn problem(shape: &Shape, id: &str) -> (&'static str, String) {
    let title = shape.status.canonical_reason().unwrap_or("Refused");
    // Every text is ours and holds no character that JSON would escape.
    // Put together by hand: a stranger's refusal should cost little.
    let text = [
        "{\"status\":",
        shape.status.as_str(),
        ",\"title\":\"",
        title,
        "\",\"code\":\"",
        shape.code,
        "\",\"detail\":\"",
        shape.detail,
        "\",\"request_id\":\"",
        id,
        "\"}\n",
    ]
    .concat();
    ("application/problem+json", text)
}

fn page(shape: &Shape, id: &str) -> (&'static str, String) {
    let title = shape.status.canonical_reason().unwrap_or("Refused");
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <body style=\"font-family:sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem\">\
         <h1>{title}</h1><p>{}.</p><p><small>{} · {} · request {id}</small></p></body></html>\n",
        shape.detail,
        shape.status.as_u16(),
        shape.code,
    );
    ("text/html; charset=utf-8", text)
}
