//! A successful answer.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use super::problem::Refused;

/// See the module.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    /// Path of what was made.
    pub location: Option<String>,
    body: Bytes,
}

impl Answer {
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Refused> {
        let text = serde_json::to_vec(body)
            .map_err(|_| Refused::StoreFailed("The answer could not be written.".to_owned()))?;
        Ok(Self { status, location: None, body: text.into() })
    }

    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::new(self.body));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(Ok(place)) = self.location.map(HeaderValue::try_from) {
            headers.insert(header::LOCATION, place);
        }
        answer
    }
}
