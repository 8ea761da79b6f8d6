//! The relay of a switched connection: bytes both ways with backpressure, frame boundaries
//! followed. An idle connection holds no buffer: reads go through the thread's scratch, and only
//! what the other side would not take is kept.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::super::streams::{Cause, Stream};
use super::frames::{Frames, close};

const SCRATCH_BYTES: usize = 64 * 1024;
/// How long a cut may wait for the end of a frame that is half sent.
const BOUNDARY_PATIENCE: Duration = Duration::from_millis(20);
/// How long a peer that was told may take to take it and to close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(1000);
/// How long one direction may live on after the other has ended.
const HALF_OPEN: Duration = Duration::from_secs(60);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// Read and not yet written.
    pending: Vec<u8>,
    written: usize,
    frames: Frames,
    ended: bool,
    closed: bool,
    bytes: u64,
}

/// Both directions of one connection.
pub struct Relay<C, S> {
    client: C,
    server: S,
    inward: Pipe,
    outward: Pipe,
}

impl<C, S> Relay<C, S>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// `from_client` and `from_server` were read already, beyond the handshake.
    pub fn new(client: C, server: S, from_client: &[u8], from_server: &[u8]) -> Self {
        let inward = Pipe { pending: from_client.to_vec(), ..Pipe::default() };
        let outward = Pipe { pending: from_server.to_vec(), ..Pipe::default() };
        Self { client, server, inward, outward }
    }

    /// Bytes to the server and to the client so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.inward.bytes, self.outward.bytes)
    }

    /// Relays until both directions have ended, or the stream is cut: then its cause.
    pub async fn run(&mut self, stream: Option<&Stream>) -> io::Result<Option<Cause>> {
        let mut half_open = None;
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
            if let Some(stream) = stream {
                let (bytes_in, bytes_out) = self.bytes();
                stream.moved(bytes_in - before_in, bytes_out - before_out);
            }
            if inward.is_ready() && outward.is_ready() {
                return Poll::Ready(Ok(None));
            }
            if inward.is_ready() || outward.is_ready() {
                let timer =
                    half_open.get_or_insert_with(|| Box::pin(tokio::time::sleep(HALF_OPEN)));
                return timer.as_mut().poll_elapsed(context);
            }
            Poll::Pending
        })
        .await
    }

    /// Ends both sides with close frames at frame boundaries. Nothing more is read from the client
    /// for the server. `true`: the client was told in good form.
    pub async fn cut(mut self, code: u16, reason: &str, on_told: impl FnOnce()) -> bool {
        let told = async {
            let reached =
                timeout(BOUNDARY_PATIENCE, self.outward.finish(&mut self.server, &mut self.client));
            let reached = matches!(reached.await, Ok(Ok(())));
            if reached {
                let frame = close(code, reason, None);
                self.client.write_all(&frame).await?;
                self.client.shutdown().await?;
            }
            io::Result::Ok(reached)
        };
        let told = matches!(timeout(CLOSE_PATIENCE, told).await, Ok(Ok(true)));
        on_told();
        let server = async {
            if self.inward.finish_pending(&mut self.server).await? {
                let mask = random_mask();
                self.server.write_all(&close(1001, reason, Some(mask))).await?;
                self.server.shutdown().await?;
            }
            io::Result::Ok(())
        };
        // The server is told as well as can be; it loses the connection either way.
        timeout(BOUNDARY_PATIENCE, server).await.ok();
        if told {
            // A socket closed with unread bytes resets the connection and the close frame with it.
            timeout(CLOSE_PATIENCE, drain(&mut self.client)).await.ok();
        }
        told
    }
}

trait PollElapsed {
    fn poll_elapsed(self, context: &mut Context<'_>) -> Poll<io::Result<Option<Cause>>>;
}

impl PollElapsed for Pin<&mut tokio::time::Sleep> {
    fn poll_elapsed(self, context: &mut Context<'_>) -> Poll<io::Result<Option<Cause>>> {
        self.poll(context).map(|()| Ok(None))
    }
}

impl Pipe {
    /// Ready when this direction has ended and the other side was told.
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> io::Result<Poll<()>> {
        // A bounded number of turns, so that one busy connection leaves room for the others.
        for _ in 0..16 {
            match self.poll_once(from, to, context) {
                Poll::Ready(Ok(true)) => return Ok(Poll::Ready(())),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        context.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    fn poll_once(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        ready!(self.poll_flush_pending(to, context))?;
        if self.ended {
            if !self.closed {
                ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                self.closed = true;
            }
            return Poll::Ready(Ok(true));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
            let read = buffer.filled();
            if read.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(false));
            }
            let taken = match Pin::new(&mut *to).poll_write(context, read) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(taken)) => taken,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => 0,
            };
            let (gone, left) = read.split_at(taken.min(read.len()));
            self.passed(gone);
            self.pending.extend_from_slice(left);
            Poll::Ready(Ok(false))
        })
    }

    fn poll_flush_pending(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            let taken = ready!(Pin::new(&mut *to).poll_write(context, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let gone = rest.get(..taken).unwrap_or_default();
            self.frames.pass(gone);
            self.bytes += taken as u64;
            self.written += taken;
        }
        if !self.pending.is_empty() {
            // Given back rather than kept: an idle connection holds no buffer.
            self.pending = Vec::new();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.frames.pass(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Writes what completes the current frame, and nothing of the next.
    async fn finish(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        while !self.finish_pending(to).await? {
            self.pending = vec![0; 4096];
            self.written = 0;
            let read = tokio::io::AsyncReadExt::read(from, &mut self.pending).await?;
            self.pending.truncate(read);
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Out of what was read already; `true` when the boundary is reached.
    async fn finish_pending(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
        let rest = self.pending.get(self.written..).unwrap_or_default();
        let wanted = self.frames.to_boundary(rest);
        let part = rest.get(..wanted.unwrap_or(rest.len())).unwrap_or_default().to_vec();
        to.write_all(&part).await?;
        self.passed(&part);
        self.pending = Vec::new();
        self.written = 0;
        Ok(wanted.is_some())
    }
}

async fn drain(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut sink = [0; 1024];
    while tokio::io::AsyncReadExt::read(from, &mut sink).await? > 0 {}
    Ok(())
}

/// Section 5.3: unpredictable. Without randomness the frame is still well-formed.
fn random_mask() -> [u8; 4] {
    let mut mask = [0; 4];
    aws_lc_rs::rand::fill(&mut mask).ok();
    mask
}
