//! A request's body as the client sends it, measured where the route says how much and how long. A
//! body that takes more is not sent on, and its request is refused, without the upstream's fault.

mod joined;
mod pace;
mod received;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::config::{BodyPace, RouteLimits};

use super::answer::Rejection;
use super::streams::Stream;
use joined::Joined;
use pace::Pace;

pub use received::Received;

/// See the module.
pub struct ClientBody {
    /// `None`: it was given back.
    body: Option<Joined>,
    /// Only where a limit is set: nobody else pays for it.
    measure: Option<Box<Measure>>,
    /// What ends it when it is cut, also beside an answer that has begun.
    stream: Option<Rc<Stream>>,
    /// `None`: it has none.
    received: Option<Rc<Received>>,
}

struct Measure {
    left_bytes: u64,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
    pace: Option<Pace>,
    watch: Rc<BodyWatch>,
}

/// What a body took too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excess {
    Bytes,
    Time,
}

/// Why a body ended before its end.
#[derive(Debug)]
pub enum ClientBodyError {
    Client(hyper::Error),
    Excess(Excess),
    /// Nobody waits for its answer any more; an HTTP/2 server is told this reason.
    Unwanted(h2::Error),
    /// By us: its token no longer counts; an HTTP/2 server is told that it is cancelled.
    Cut(h2::Error),
}

impl ClientBodyError {
    pub fn cut() -> Self {
        Self::Cut(h2::Reason::CANCEL.into())
    }
}

impl std::fmt::Display for ClientBodyError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Cut(_) => "cut",
            Self::Client(_) => "the client broke off",
            Self::Excess(Excess::Bytes) => "the body is too large",
            Self::Excess(Excess::Time) => "the body took too long",
            Self::Unwanted(_) => "the request has ended",
        })
    }
}

impl std::error::Error for ClientBodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(cause) => Some(cause),
            Self::Excess(_) => None,
            Self::Unwanted(reason) | Self::Cut(reason) => Some(reason),
        }
    }
}

impl From<Excess> for Rejection {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Bytes => Self::BodyTooLarge,
            Excess::Time => Self::BodyTooSlow,
        }
    }
}

/// Where the one who waits for the answer learns that the body took too much.
#[derive(Default)]
pub struct BodyWatch {
    excess: Cell<Option<Excess>>,
    waiting: RefCell<Option<Waker>>,
}

impl BodyWatch {
    /// Drives the sending of a request until the answer's head has come or its body is refused. The
    /// sending is dropped then, and its connection with it: the upstream is not blamed.
    pub async fn unless_exceeded<T>(
        &self,
        mut sending: Pin<&mut impl Future<Output = Result<T, Rejection>>>,
    ) -> Result<T, Rejection> {
        let result = std::future::poll_fn(|context: &mut Context<'_>| {
            if let Some(excess) = self.excess.get() {
                return Poll::Ready(Err(excess.into()));
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            sending.as_mut().poll(context)
        });
        let result = result.await;
        *self.waiting.borrow_mut() = None;
        result
    }

    /// Tells the one who waits; `false` when nobody does any more.
    fn tell(&self, excess: Excess) -> bool {
        self.excess.set(Some(excess));
        self.waiting.borrow().as_ref().map(Waker::wake_by_ref).is_some()
    }
}

impl ClientBody {
    pub fn new(body: Incoming) -> Self {
        let received = (!body.is_end_stream()).then(Rc::default);
        Self { body: Some(Joined::new(body)), measure: None, stream: None, received }
    }

    /// What has come of it, for whoever asks when it is gone.
    pub fn received(&self) -> Option<Rc<Received>> {
        self.received.clone()
    }

    /// Not a byte of it passes once this is cut.
    pub fn ends_with(&mut self, stream: &Rc<Stream>) {
        if !self.is_end_stream() {
            stream.uploads(true);
            self.stream = Some(Rc::clone(stream));
        }
    }

    fn count(&self, frame: &Poll<Option<Result<Frame<Bytes>, hyper::Error>>>) {
        let Poll::Ready(frame) = frame else { return };
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let bytes = data.map_or(0, Bytes::len) as u64;
        if let Some(received) = &self.received {
            received.add(bytes);
        }
        if let Some(stream) = &self.stream {
            stream.moved(bytes, 0);
            stream.uploads(frame.is_some() && !self.is_end_stream());
        }
    }

    /// Holds the body to the route's limits from here on. A length that is said to be too large is
    /// refused at once; `None`: there is nothing to watch.
    pub fn limit(
        &mut self,
        limits: &RouteLimits,
        pace: Option<BodyPace>,
    ) -> Result<Option<Rc<BodyWatch>>, Rejection> {
        if self.is_end_stream() {
            return Ok(None);
        }
        let RouteLimits { body_bytes_max, body_timeout, .. } = *limits;
        // A route that says how long it may take has its own rule.
        let pace = pace.filter(|_| body_timeout.is_none()).map(Pace::new);
        if body_bytes_max.is_none() && body_timeout.is_none() && pace.is_none() {
            return Ok(None);
        }
        let left_bytes = body_bytes_max.unwrap_or(u64::MAX);
        if self.size_hint().lower() > left_bytes {
            return Err(Rejection::BodyTooLarge);
        }
        let deadline = body_timeout.map(|timeout: Duration| Box::pin(tokio::time::sleep(timeout)));
        let watch = Rc::new(BodyWatch::default());
        let measure = Measure { left_bytes, deadline, pace, watch: Rc::clone(&watch) };
        self.measure = Some(Box::new(measure));
        Ok(Some(watch))
    }
}

impl Measure {
    fn excess(
        &mut self,
        frame: &Poll<Option<Result<Frame<Bytes>, hyper::Error>>>,
        context: &mut Context<'_>,
    ) -> Option<Excess> {
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Some(pace) = &mut self.pace {
                    pace.moved(bytes);
                }
                match self.left_bytes.checked_sub(bytes as u64) {
                    Some(left) => self.left_bytes = left,
                    None => return Some(Excess::Bytes),
                }
                None
            }
            Poll::Ready(Some(Err(_)) | None) => None,
            Poll::Pending => {
                let deadline = self.deadline.as_mut();
                let late = deadline.is_some_and(|at| at.as_mut().poll(context).is_ready());
                let slow = self.pace.as_mut().is_some_and(|pace| pace.is_over(context));
                (late || slow).then_some(Excess::Time)
            }
        }
    }
}

impl HttpBody for ClientBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        let this = &mut *self;
        if let Some(stream) = &this.stream {
            if stream.cause().is_some() {
                return Poll::Ready(Some(Err(ClientBodyError::cut())));
            }
            stream.watch_upload(context);
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = body.poll_frame(context);
        this.count(&frame);
        if let Some(measure) = &mut this.measure
            && let Some(excess) = measure.excess(&frame, context)
        {
            // Whoever waits for the answer drops all of this; else the upload breaks off.
            return if measure.watch.tell(excess) {
                Poll::Pending
            } else {
                Poll::Ready(Some(Err(ClientBodyError::Excess(excess))))
            };
        }
        frame.map_err(ClientBodyError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Joined::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Joined::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let (Some(received), Some(body)) = (&self.received, self.body.take())
            && !body.is_end_stream()
        {
            received.give_back(body);
        }
    }
}
