//! `jwks`: the public halves of the keys that assertions are signed with, for whoever verifies them.

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::keys::COPY_MAX_AGE;
use crate::proxy::answer::Rejection;
use crate::proxy::body::Body;

use super::Visit;

/// The set, which may be kept for a few minutes; 404 where nobody is vouched for.
pub fn jwks(visit: &Visit<'_>) -> Result<Response<Body>, Rejection> {
    let signing = visit.published.signing().ok_or(Rejection::NoRoute)?;
    let mut response = Response::new(Body::full(Bytes::from(signing.jwks())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let age = format!("public, max-age={}", COPY_MAX_AGE.as_secs());
    if let Ok(age) = HeaderValue::try_from(age) {
        headers.insert(CACHE_CONTROL, age);
    }
    Ok(response)
}
