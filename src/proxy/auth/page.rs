//! The one page that is shown to people here: a link to `logout` asks before it acts, since a link
//! may be followed by a prefetch, a scanner or an image.

use bytes::Bytes;
use http::Response;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
};

use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;

use super::{Visit, return_path};

/// Nothing may be loaded, and nobody may put the page into a frame to have its button pressed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);
const X_FRAME_OPTIONS: HeaderName = HeaderName::from_static("x-frame-options");

/// The page that asks.
pub fn confirm(visit: &Visit<'_>) -> Result<Response<Body>, Rejection> {
    let back = return_path::parameter(visit.query(), "return_to");
    let target = match back.as_deref().and_then(return_path::safe) {
        Some(back) => {
            format!("{}/logout?return_to={}", visit.auth.prefix, return_path::escaped(back))
        }
        None => format!("{}/logout", visit.auth.prefix),
    };
    // The prefix and an escaped path hold nothing that HTML would read.
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Log out</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><body><h1>Log out?</h1>\
         <form method=\"post\" action=\"{target}\"><button>Log out</button></form></body></html>\n"
    );
    let mut response = Response::new(Body::full(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Without a referrer the form's Origin would be `null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    Ok(response)
}
