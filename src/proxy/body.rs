//! Bodies in both directions. They stream with the peer's backpressure; nothing is boxed and exact
//! sizes are passed on, so that framing is computed by hyper and never copied from a peer.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::answer_body::{AnswerBody, AnswerFault};
use super::client_body::{ClientBody, ClientBodyError};
use super::exchange::Exchange;
use super::headers::{self, GuardedNames};
use super::patience::Patience;
use super::streams::Parting;

/// The answer's body.
pub struct Body {
    content: Content,
    /// Writes the log line when the body ends or is dropped.
    exchange: Option<Box<Exchange>>,
}

/// Why a body ended before its end.
#[derive(Debug)]
pub enum BodyError {
    Upstream(AnswerFault),
    /// The upstream paused for longer than it may.
    Stalled,
    /// By us: its token no longer counts. On HTTP/2 the client is told this reason.
    Cut(h2::Error),
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Upstream(_) => out.write_str("the upstream broke off"),
            Self::Stalled => out.write_str("the upstream stalled"),
            Self::Cut(_) => out.write_str("cut"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Upstream(cause) => Some(cause),
            Self::Stalled => None,
            Self::Cut(reason) => Some(reason),
        }
    }
}

enum Content {
    Empty,
    /// Broken off by us: there was more, whatever was said last.
    Cut,
    Full(Bytes),
    Upstream(AnswerBody, Option<Patience>),
    /// The upstream broke off, which is said next.
    Broken(Option<AnswerFault>),
}

impl Body {
    pub fn empty() -> Self {
        Self { content: Content::Empty, exchange: None }
    }

    pub fn full(bytes: Bytes) -> Self {
        Self { content: Content::Full(bytes), exchange: None }
    }

    /// `patience`: how long its pauses may be.
    pub(super) fn upstream(body: AnswerBody, patience: Option<Patience>) -> Self {
        Self { content: Content::Upstream(body, patience), exchange: None }
    }

    pub(super) fn with_exchange(mut self, exchange: Box<Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }
}

impl Body {
    /// It comes from a server, and more of it.
    pub(super) fn is_forwarded(&self) -> bool {
        matches!(&self.content, Content::Upstream(body, ..) if !body.is_end_stream())
    }
}

impl Content {
    fn has_ended(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Cut | Self::Broken(_) => false,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Upstream(body, ..) => body.is_end_stream(),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(cause) = this.exchange.as_ref().and_then(|exchange| exchange.cause(context)) {
            this.content = Content::Cut;
            if let Some(exchange) = &mut this.exchange {
                if let Some(trailers) = exchange.end_call(cause) {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                match exchange.part(cause) {
                    Parting::Say(text) => return Poll::Ready(Some(Ok(Frame::data(text)))),
                    Parting::End => {
                        this.content = Content::Empty;
                        return Poll::Ready(None);
                    }
                    Parting::BreakOff => {}
                }
            }
            return Poll::Ready(Some(Err(BodyError::Cut(h2::Reason::CANCEL.into()))));
        }
        if let Some(text) = this.exchange.as_mut().and_then(|exchange| exchange.announcement()) {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        match &mut this.content {
            Content::Empty | Content::Cut => Poll::Ready(None),
            Content::Broken(fault) => {
                Poll::Ready(fault.take().map(|fault| Err(BodyError::Upstream(fault))))
            }
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(&bytes);
                    exchange.gave(Some(&bytes));
                    exchange.whole();
                }
                this.content = Content::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Content::Upstream(body, patience) => {
                let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
                    if patience.as_mut().is_some_and(|patience| patience.is_over(context)) {
                        this.content = Content::Empty;
                        if let Some(exchange) = &mut this.exchange {
                            exchange.broken();
                        }
                        return Poll::Ready(Some(Err(BodyError::Stalled)));
                    }
                    if let Some(exchange) = &this.exchange {
                        exchange.gave(None);
                    }
                    return Poll::Pending;
                };
                if let Some(patience) = patience {
                    patience.moved();
                }
                let frame = match frame.transpose() {
                    Ok(frame) => frame,
                    Err(fault) => {
                        if let Some(exchange) = &mut this.exchange {
                            exchange.broken();
                        }
                        // What came before it is sent first: hyper drops what it has not written
                        // with the connection, and a client that gets no byte of an answer may take
                        // the connection for one that idled too long, and send its POST again.
                        this.content = Content::Broken(Some(fault));
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                };
                let data = frame.as_ref().and_then(Frame::data_ref);
                if let (Some(data), Some(exchange)) = (data, &mut this.exchange) {
                    exchange.sent(data);
                    exchange.gave(Some(data));
                }
                let over = frame.is_none() || this.content.has_ended();
                if let (true, Some(exchange)) = (over, &mut this.exchange) {
                    exchange.whole();
                }
                Poll::Ready(frame.map(|frame| Ok(filter_trailers(frame, None))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Cut | Content::Broken(_) => SizeHint::default(),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream(body, ..) => body.size_hint(),
        }
    }
}

/// The request's body on its way to the upstream.
pub struct RequestBody(Option<Upload>);

struct Upload {
    body: ClientBody,
    guarded: Arc<GuardedNames>,
    moved: Moved,
    /// Where it is one stream of a connection that outlives it.
    stop: Option<Rc<Stop>>,
}

/// Ends an upload whose answer is no longer wanted, with a reset of its stream.
#[derive(Default)]
pub struct Stop {
    now: Cell<bool>,
    uploading: RefCell<Option<Waker>>,
}

impl Stop {
    pub(super) fn now(&self) {
        self.now.set(true);
        if let Some(waker) = self.uploading.borrow_mut().take() {
            waker.wake();
        }
    }

    fn is_now(&self, context: &Context<'_>) -> bool {
        if !self.now.get() {
            *self.uploading.borrow_mut() = Some(context.waker().clone());
        }
        self.now.get()
    }
}

/// What whoever waits for the answer is told of the request's body.
#[derive(Clone, Default)]
pub struct Moved(Rc<Movement>);

#[derive(Default)]
struct Movement {
    moved: Cell<bool>,
    owed: Cell<bool>,
    lost: Cell<bool>,
    whole_at: Cell<Option<Instant>>,
}

impl Moved {
    /// Whether it has moved since somebody last asked: while it does, the upstream owes no answer yet.
    pub(super) fn take(&self) -> bool {
        self.0.moved.replace(false)
    }

    /// The rest of it has not come, or never will: what comes of that is no fault of the upstream's.
    pub(super) fn is_owed(&self) -> bool {
        self.0.owed.get()
    }

    /// Its client broke it off, or what it sent is no body.
    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.get()
    }

    /// When the last of it came.
    pub(super) fn whole_at(&self) -> Option<Instant> {
        self.0.whole_at.get()
    }

    fn came(&self, frame: Option<&Result<Frame<Bytes>, ClientBodyError>>, is_last: bool) {
        self.0.moved.set(true);
        match frame {
            Some(Err(ClientBodyError::Client(_))) => self.0.lost.set(true),
            Some(Err(_)) => {}
            Some(Ok(frame)) if !is_last && !frame.is_trailers() => {}
            Some(Ok(_)) | None => self.0.whole_at.set(Some(Instant::now())),
        }
    }
}

impl RequestBody {
    /// A body that has ended is none at all, so that the request can be repeated.
    pub(super) fn new(body: ClientBody, guarded: &Arc<GuardedNames>) -> Self {
        let upload = |body| Upload {
            body,
            guarded: Arc::clone(guarded),
            moved: Moved::default(),
            stop: None,
        };
        Self((!body.is_end_stream()).then(|| upload(body)))
    }

    pub(super) fn none() -> Self {
        Self(None)
    }

    /// `None` where there is no body that could move.
    pub(super) fn moved(&self) -> Option<Moved> {
        self.0.as_ref().map(|upload| upload.moved.clone())
    }

    /// From here on it can be stopped; `None` where there is nothing to stop.
    pub(super) fn stoppable(&mut self) -> Option<Rc<Stop>> {
        let upload = self.0.as_mut()?;
        let stop = Rc::new(Stop::default());
        upload.stop = Some(Rc::clone(&stop));
        Some(stop)
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(Upload { body, guarded, moved, stop }) => {
                if stop.as_ref().is_some_and(|stop| stop.is_now(context)) {
                    let reason = h2::Reason::CANCEL.into();
                    return Poll::Ready(Some(Err(ClientBodyError::Unwanted(reason))));
                }
                let polled = Pin::new(&mut *body).poll_frame(context);
                let owed = matches!(polled, Poll::Pending | Poll::Ready(Some(Err(_))));
                moved.0.owed.set(owed);
                let frame = ready!(polled);
                moved.came(frame.as_ref(), body.is_end_stream());
                let filter = |frame| filter_trailers(frame, Some(guarded));
                Poll::Ready(frame.map(|frame| frame.map(filter)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |upload| upload.body.size_hint())
    }
}

/// Trailers may not carry framing, routing, credentials or identity (RFC 9110 section 6.5.1).
fn filter_trailers(frame: Frame<Bytes>, guarded: Option<&GuardedNames>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(trailers) => {
            let mut kept = HeaderMap::with_capacity(trailers.len());
            let mut name = None;
            for (next, value) in trailers {
                name = next.or(name);
                if let Some(name) = &name
                    && headers::allowed_in_trailers(name, guarded)
                {
                    kept.append(name.clone(), value);
                }
            }
            Frame::trailers(kept)
        }
        Err(frame) => frame,
    }
}
