//! HTTP/1.1 towards servers (RFC 9112). Whoever wants the answer drives the connection: it writes the
//! request and reads the answer from its own task, without a task, a channel and a wake-up in between.
//! The request stays with who asks, so that it can be asked again without a copy of it. Between requests
//! a connection is a socket and nothing else.
//!
//! A connection is used again only where its request was written whole, its answer was read whole, and
//! nothing came behind it.

mod answer;
mod aside;
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
use http::{Method, Response, Version};
use tokio::io::{AsyncRead as _, ReadBuf};

use crate::sockets::dial::ServerStream;
use crate::telemetry::counters::OpenConnection;
use crate::upstreams::Key;

use super::body::RequestBody;
use super::core::Core;
use super::outgoing::Outgoing;
pub use answer::Answer;
use aside::Aside;
use framing::Framing;
use head::Heads;
use inbound::Inbound;
use upload::{Progress, Upload, UploadFault};

/// Heads before the one that is the answer. A server that is at work may say so every few seconds.
const INFORMING_MAX: u32 = 1000;

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
    Unsent(WireFault),
    Broken(WireFault),
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
        // However much the task has done already: it would be told that nothing has come.
        let looking = tokio::task::coop::unconstrained(std::future::poll_fn(|context| {
            Pin::new(&mut self.stream).poll_read(context, &mut ReadBuf::new(&mut byte))
        }));
        std::pin::pin!(looking).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// A request is about to go out on it.
    pub fn ask(self, core: &Rc<Core>, outgoing: &mut Outgoing) -> Call {
        let Outgoing { request, added } = outgoing;
        let body = std::mem::replace(request.body_mut(), RequestBody::none());
        let upload = Upload::new(request, added, body);
        let (core, method) = (Rc::clone(core), request.method().clone());
        let (heads, inbound) = (Heads::default(), Inbound::default());
        let (informed, was_reset, aside) = (0, false, None);
        Call { wire: self, core, method, upload, heads, inbound, informed, was_reset, aside }
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
    /// Heads that only informed.
    informed: u32,
    /// The server has reset the connection, and only who wrote was told.
    was_reset: bool,
    /// The upload goes on beside the answer.
    aside: Option<Aside>,
}

impl Call {
    /// Sends the request and waits for the head of its answer; heads that only inform (1xx) are left
    /// out, but for a switch of protocols.
    pub fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<Framing>, NoAnswer>> {
        if let Err(fault) = self.poll_upload(context) {
            let untouched = self.upload.is_untouched();
            let why = if untouched { NoAnswer::Unsent } else { NoAnswer::Broken };
            return Poll::Ready(Err(why(fault)));
        }
        self.poll_head(context).map_err(NoAnswer::Broken)
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response<Framing>, WireFault>> {
        loop {
            while let Some(head) = self.heads.take(self.inbound.ahead())? {
                if let Some(framing) = Framing::of(&head, &self.method)? {
                    let mut head = head.map(|()| framing);
                    // Which its server speaks with us is no matter of the client's.
                    *head.version_mut() = Version::HTTP_11;
                    return Poll::Ready(Ok(head));
                }
                self.informed += 1;
                if self.informed > INFORMING_MAX {
                    let fault = WireFault::Malformed("the server informs and never answers");
                    return Poll::Ready(Err(fault));
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
            Poll::Ready(Err(UploadFault::Write(error))) => {
                self.was_reset |= error.kind() == std::io::ErrorKind::ConnectionReset;
                Ok(())
            }
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
    fn finish(mut self, keep_alive: bool) {
        self.aside = None;
        if !keep_alive || !self.inbound.is_empty() {
            return;
        }
        match self.upload.progress() {
            Progress::Sent => self.release(),
            Progress::UnderWay => drop(tokio::task::spawn_local(aside::send_rest(self))),
            Progress::Failed => {}
        }
    }

    /// The connection may take another request.
    fn release(self) {
        let Self { wire, core, .. } = self;
        core.pool.put(wire);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::coop::consume_budget;

    use super::*;
    use crate::telemetry::counters::Counters;

    #[tokio::test]
    async fn what_has_come_is_seen_however_much_the_task_has_done_already() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let open = Arc::new(Counters::default()).core_counters().connected("app");
        let mut wire = Wire::new(ServerStream::Tcp(stream), Key { slot: 0, serial: 0 }, open);
        assert!(wire.is_quiet());
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        wire.stream.tcp().unwrap().readable().await.unwrap();
        let quiet = std::future::poll_fn(|context| {
            while pin!(consume_budget()).poll(context).is_ready() {}
            Poll::Ready(wire.is_quiet())
        });
        assert!(!quiet.await);
    }
}
