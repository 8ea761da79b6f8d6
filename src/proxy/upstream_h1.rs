//! HTTP/1.1 towards servers (RFC 9112). Whoever wants the answer drives the connection: it writes the
//! request and reads the answer from its own task, without a task, a channel and a wake-up in between.
//! The request stays with who asks, so that it can be asked again without a copy of it. Between requests
//! a connection is a socket and nothing else.
//!
//! A connection is used again only where its request was written whole, its answer was read whole, and
//! nothing came behind it.

mod answer;
mod chunked;
#[cfg(test)]
mod differential;
mod framing;
mod head;
mod inbound;
pub mod reading;
mod upload;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::io::{AsyncRead as _, ReadBuf};

use crate::sockets::dial::ServerStream;
use crate::telemetry::counters::OpenConnection;
use crate::upstreams::Key;

use super::body::RequestBody;
use super::core::Core;
pub use answer::Answer;
use framing::Framing;
use head::Heads;
use inbound::Inbound;
use upload::{Upload, UploadFault};

/// A connection to a server that may take a request.
pub struct Wire {
    stream: ServerStream,
    key: Key,
    /// It is counted while it is open.
    _open: OpenConnection,
}

/// What a server did not keep to.
#[derive(Debug)]
pub enum WireFault {
    Io(std::io::Error),
    /// It closed too early.
    Closed,
    /// What it sent is no HTTP/1.1.
    Malformed(&'static str),
    /// Not the server: the request's body ended before its end.
    Upload,
}

impl std::fmt::Display for WireFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(out),
            Self::Closed => out.write_str("the server closed the connection before the end"),
            Self::Malformed(what) => out.write_str(what),
            Self::Upload => out.write_str("the request's body broke off"),
        }
    }
}

impl std::error::Error for WireFault {}

impl From<std::io::Error> for WireFault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Why there is no answer.
pub enum NoAnswer {
    /// Nothing was written, and nothing of the body is gone.
    Unsent,
    Broken,
}

impl Wire {
    pub fn new(stream: ServerStream, key: Key, open: OpenConnection) -> Self {
        Self { stream, key, _open: open }
    }

    pub fn key(&self) -> Key {
        self.key
    }

    /// The server has neither closed it nor sent what nobody asked for. No system call where nothing
    /// has come.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        let stream = Pin::new(&mut self.stream);
        stream.poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// A request is about to go out on it.
    pub fn ask(self, core: &Rc<Core>, request: &mut Request<RequestBody>) -> Call {
        let body = std::mem::replace(request.body_mut(), RequestBody::none());
        let upload = Upload::new(request, body);
        let (core, method) = (Rc::clone(core), request.method().clone());
        let (heads, inbound) = (Heads::default(), Inbound::default());
        Call { wire: self, core, method, upload, heads, inbound }
    }
}

/// A request under way on its connection, which is closed if this is dropped.
pub struct Call {
    wire: Wire,
    core: Rc<Core>,
    method: Method,
    upload: Upload<RequestBody>,
    heads: Heads,
    inbound: Inbound,
}

impl Call {
    /// Sends the request and waits for the head of its answer; heads that only inform (1xx) are left
    /// out, but for a switch of protocols.
    pub fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<Framing>, NoAnswer>> {
        if self.poll_upload(context).is_err() {
            let untouched = self.upload.is_untouched();
            let why = if untouched { NoAnswer::Unsent } else { NoAnswer::Broken };
            return Poll::Ready(Err(why));
        }
        self.poll_head(context).map_err(|fault| {
            tracing::debug!(%fault, "a server gave no answer");
            NoAnswer::Broken
        })
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<Framing>, WireFault>> {
        loop {
            while let Some(head) = self.heads.take(self.inbound.ahead())? {
                if let Some(framing) = Framing::of(&head, &self.method)? {
                    return Poll::Ready(Ok(head.map(|()| framing)));
                }
            }
            if ready!(self.inbound.poll_fill(&mut self.wire.stream, context))? == 0 {
                return Poll::Ready(Err(WireFault::Closed));
            }
        }
    }

    /// Sends what can be sent. A server that takes no more may have answered all the same: only where
    /// nothing was written, or it is the request that broke off, is there no answer to wait for.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Result<(), WireFault> {
        match self.upload.poll(&mut self.wire.stream, context) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(UploadFault::Body)) => Err(WireFault::Upload),
            Poll::Ready(Err(UploadFault::Write(error))) if self.upload.is_untouched() => {
                Err(error.into())
            }
            Poll::Ready(Err(UploadFault::Write(_))) => Ok(()),
        }
    }

    /// The request's body, of which nothing has been asked for yet.
    pub fn into_body(self) -> RequestBody {
        self.upload.into_body()
    }

    /// The server has switched protocols: the socket, and what has come behind its answer.
    pub fn into_switched(self) -> (ServerStream, Bytes) {
        (self.wire.stream, self.inbound.into_rest())
    }

    /// Its answer was read whole.
    fn finish(mut self: Box<Self>, keep_alive: bool) {
        // Whoever has answered before all was sent wants no more of it.
        let mut context = Context::from_waker(Waker::noop());
        let written = match self.upload.poll(&mut self.wire.stream, &mut context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) | Poll::Pending => false,
        };
        if keep_alive && written && self.inbound.is_empty() {
            let Self { wire, core, .. } = *self;
            core.pool.put(wire);
        }
    }
}
