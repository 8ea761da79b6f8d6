//! The request's body while its answer is waited for: from when on time counts, and whose fault it is
//! that no answer comes.

use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::proxy::answer::{BadRequest, Fault, Rejection, UpstreamFault};
use crate::proxy::body::Moved;

/// However steadily it moves, an upload ends by then.
const UPLOAD_MAX: Duration = Duration::from_secs(3600);

/// What comes of it in time. A long upload is no slow answer: time counts from its last byte.
pub(super) async fn within<T>(
    mut sending: Pin<&mut impl Future<Output = T>>,
    moved: Option<Moved>,
    response_timeout: Duration,
) -> Result<T, Fault> {
    let started = Instant::now();
    let mut until = started + response_timeout;
    loop {
        match tokio::time::timeout_at(until.into(), &mut sending).await {
            Ok(done) => return Ok(done),
            Err(_) if started.elapsed() < UPLOAD_MAX && moved.as_ref().is_some_and(Moved::take) => {
                let whole_at = moved.as_ref().and_then(Moved::whole_at);
                until = whole_at.unwrap_or_else(Instant::now) + response_timeout;
            }
            Err(_) => {
                let why = format_args!("no answer within {response_timeout:?}");
                return Err(Fault::because(UpstreamFault::ResponseTimeout, why));
            }
        }
    }
}

/// What comes of a body that its client did not send is said of the request, not of the server.
pub(super) fn whose(rejection: Rejection, upload: Option<&Moved>) -> Rejection {
    let (Rejection::Upstream(fault), Some(upload)) = (&rejection, upload) else { return rejection };
    if fault.kind == UpstreamFault::Broken && upload.is_lost() {
        BadRequest::BodyBroken.into()
    } else if fault.kind == UpstreamFault::ResponseTimeout && upload.is_owed() {
        Rejection::BodyTooSlow
    } else {
        rejection
    }
}
