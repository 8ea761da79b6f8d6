//! A successful answer: whole, or written as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

use super::problem::Refused;
use super::stream::{Broken, Outlet};

/// See the module.
pub(super) struct Answer {
    pub status: StatusCode,
    /// Path of what was made.
    pub location: Option<String>,
    content_type: &'static str,
    body: AnswerBody,
}

/// What the connection sends.
pub(super) enum AnswerBody {
    /// `None`: sent.
    Whole(Option<Bytes>),
    Lines(Outlet),
}

impl Answer {
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Refused> {
        let text = serde_json::to_vec(body)
            .map_err(|_| Refused::StoreFailed("The answer could not be written.".to_owned()))?;
        Ok(Self::of_json(status, None, text.into()))
    }

    pub fn of_json(status: StatusCode, location: Option<String>, text: Bytes) -> Self {
        let body = AnswerBody::Whole(Some(text));
        Self { status, location, content_type: "application/json", body }
    }

    /// The body, where it is whole.
    pub fn text(&self) -> Option<&Bytes> {
        match &self.body {
            AnswerBody::Whole(text) => text.as_ref(),
            AnswerBody::Lines(_) => None,
        }
    }

    pub fn lines(outlet: Outlet) -> Self {
        Self {
            status: StatusCode::OK,
            location: None,
            content_type: "application/x-ndjson",
            body: AnswerBody::Lines(outlet),
        }
    }

    /// Server-sent events.
    pub fn events(outlet: Outlet) -> Self {
        Self { content_type: "text/event-stream", ..Self::lines(outlet) }
    }

    pub fn into_response(self) -> Response<AnswerBody> {
        let mut answer = Response::new(self.body);
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(Ok(place)) = self.location.map(HeaderValue::try_from) {
            headers.insert(header::LOCATION, place);
        }
        answer
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Lines(outlet) => Pin::new(outlet).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(text) => text.is_none(),
            Self::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len).try_into().unwrap_or(0))
            }
            Self::Lines(_) => SizeHint::default(),
        }
    }
}
