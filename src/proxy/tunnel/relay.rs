//! The relay of a switched connection: bytes both ways with backpressure, frame boundaries
//! followed. An idle connection holds no buffer: reads go through the thread's scratch, and only
//! what the other side would not take is kept.

mod half_open;
mod pipe;

use std::future::Future as _;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::streams::{Cause, Stream};
use super::frames::close;
use super::half::Half;
use half_open::HalfOpen;
use pipe::{Pipe, poll_drain};

/// How long a cut may take to complete a frame that is half sent and to say why, on either side.
const PARTING_PATIENCE: Duration = Duration::from_millis(20);
/// How long a peer that was told may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(1000);
/// RFC 6455 section 7.4.1: towards the server we are the endpoint that goes away.
const GOING_AWAY: u16 = 1001;

/// Both directions of one connection.
pub struct Relay<C, S> {
    client: C,
    server: S,
    inward: Pipe,
    outward: Pipe,
}

/// What was read ahead of the relay, beyond the handshake.
#[derive(Clone, Copy, Default)]
pub struct Ahead<'b> {
    pub from_client: &'b [u8],
    pub from_server: &'b [u8],
}

/// What a cut says in its close frames.
pub struct Closing {
    pub code: u16,
    pub reason: String,
}

impl<C: Half, S: Half> Relay<C, S> {
    /// `framed`: they speak WebSocket.
    pub fn new(client: C, server: S, ahead: Ahead<'_>, framed: bool) -> Self {
        let inward = Pipe::new(ahead.from_client, framed);
        let outward = Pipe::new(ahead.from_server, framed);
        Self { client, server, inward, outward }
    }

    /// Bytes to the server and to the client so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.inward.bytes(), self.outward.bytes())
    }

    /// Relays until both directions have ended, or one has and nothing moves in the other; or until the
    /// stream is cut: then its cause.
    pub async fn run(&mut self, stream: Option<&Stream>) -> io::Result<Option<Cause>> {
        let mut half_open = HalfOpen::default();
        std::future::poll_fn(|context| {
            if let Some(stream) = stream {
                if let Some(cause) = stream.cause() {
                    stream.seen_cut();
                    return Poll::Ready(Ok(Some(cause)));
                }
                stream.watch(context);
            }
            let (before_in, before_out) = self.bytes();
            let inward = self.inward.poll(&mut self.client, &mut self.server, context)?;
            let outward = self.outward.poll(&mut self.server, &mut self.client, context)?;
            let (bytes_in, bytes_out) = self.bytes();
            let moved = (bytes_in - before_in, bytes_out - before_out);
            if let Some(stream) = stream {
                stream.moved(moved.0, moved.1);
            }
            if inward.is_ready() && outward.is_ready() {
                return Poll::Ready(Ok(None));
            }
            if inward.is_ready() || outward.is_ready() {
                return half_open.poll(moved != (0, 0), context).map(|()| Ok(None));
            }
            Poll::Pending
        })
        .await
    }

    /// One side broke off: what the other has of it must not look whole.
    pub fn break_off(&self) {
        if !self.outward.is_whole() {
            self.client.abort();
        }
        if !self.inward.is_whole() {
            self.server.abort();
        }
    }

    /// Ends both sides at once, each with a close frame behind a whole frame, else with a reset.
    /// Nothing more is read from the client for the server. `told` is called when the client was
    /// told, in whichever form.
    pub async fn cut(mut self, closing: Closing, told: impl FnOnce()) -> Lingering<C, S> {
        let Closing { code, reason } = closing;
        let mut to_client = Some(close(code, &reason, None));
        let mut to_server = Some(close(GOING_AWAY, &reason, Some(random_mask())));
        let mut told = Some(told);
        let mut deadline = std::pin::pin!(sleep(PARTING_PATIENCE));
        let (mut client, mut server) = (None, None);
        std::future::poll_fn(|context| {
            let Self { client: client_half, server: server_half, inward, outward } = &mut self;
            if client.is_none() {
                let from = Some(&mut *server_half);
                let polled = outward.poll_last(from, client_half, &mut to_client, context);
                client = said(polled);
                if client == Some(true)
                    && let Some(told) = told.take()
                {
                    told();
                }
            }
            if server.is_none() {
                let from = None::<&mut C>;
                server = said(inward.poll_last(from, server_half, &mut to_server, context));
            }
            match client.is_some() && server.is_some() {
                true => Poll::Ready(()),
                false => deadline.as_mut().poll(context),
            }
        })
        .await;
        let bytes = self.bytes();
        let client = lingering(self.client, client);
        let server = lingering(self.server, server);
        if let Some(told) = told {
            told();
        }
        Lingering { client, server, bytes }
    }
}

/// `Some(false)`: it cannot be said in good form.
fn said(polled: Poll<io::Result<bool>>) -> Option<bool> {
    match polled {
        Poll::Pending => None,
        Poll::Ready(result) => Some(result.unwrap_or(false)),
    }
}

/// What was not told in time is reset here and now.
fn lingering<H: Half>(half: H, said: Option<bool>) -> Option<H> {
    if said == Some(true) {
        return Some(half);
    }
    half.abort();
    None
}

/// Connections whose ends were said and not yet taken. One that is closed with bytes that nobody
/// read is reset, and the close frame is lost with it.
pub struct Lingering<C, S> {
    client: Option<C>,
    server: Option<S>,
    bytes: (u64, u64),
}

impl<C: Half, S: Half> Lingering<C, S> {
    /// Bytes to the server and to the client in all.
    pub fn bytes(&self) -> (u64, u64) {
        self.bytes
    }

    /// Until both have closed, or have had their time.
    pub async fn end(mut self) {
        let closing = std::future::poll_fn(|context| {
            let drained = |half: &mut Option<C>, context: &mut _| {
                half.as_mut().is_none_or(|half| poll_drain(half, context).is_ready())
            };
            if drained(&mut self.client, context) {
                self.client = None;
            }
            if self.server.as_mut().is_none_or(|half| poll_drain(half, context).is_ready()) {
                self.server = None;
            }
            match self.client.is_none() && self.server.is_none() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        timeout(CLOSE_PATIENCE, closing).await.ok();
    }
}

/// Section 5.3: unpredictable. Without randomness the frame is still well-formed.
fn random_mask() -> [u8; 4] {
    let mut mask = [0; 4];
    aws_lc_rs::rand::fill(&mut mask).ok();
    mask
}
