//! One direction of a tunnel. What the other side would not take is kept, and nothing more is read
//! until it is gone; what TLS has taken and not yet sent is flushed before anything is waited for.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::frames::Frames;

const SCRATCH_BYTES: usize = 64 * 1024;
/// Reads in one turn, so that one busy connection leaves room for the others.
const READS_PER_TURN: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// See the module.
pub struct Pipe {
    /// Read and not yet written, from `written` on.
    pending: Vec<u8>,
    written: usize,
    /// `None`: bytes of a protocol that we do not know.
    frames: Option<Frames>,
    /// The other side took bytes that may still be on this side of its socket.
    unflushed: bool,
    ended: bool,
    closed: bool,
    bytes: u64,
}

impl Pipe {
    /// `ahead` was read already. `framed`: what goes through are the frames of WebSockets.
    pub fn new(ahead: &[u8], framed: bool) -> Self {
        Self {
            pending: ahead.to_vec(),
            written: 0,
            frames: framed.then(Frames::default),
            unflushed: false,
            ended: false,
            closed: false,
            bytes: 0,
        }
    }

    /// That the other side took.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Nothing is half sent: an end here cuts no frame in two.
    pub fn is_whole(&self) -> bool {
        self.closed
            || (self.pending.is_empty() && self.frames.as_ref().is_some_and(Frames::at_boundary))
    }

    /// Ready when this direction has ended and the other side was told.
    pub fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> io::Result<Poll<()>> {
        for _ in 0..READS_PER_TURN {
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
        ready!(self.poll_write_pending(to, context))?;
        if self.ended {
            if !self.closed {
                ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                self.closed = true;
            }
            return Poll::Ready(Ok(true));
        }
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
            Poll::Ready(self.pass_on(buffer.filled(), to, context))
        });
        if read.is_pending() && self.unflushed {
            // A peer that took too little leaves records of TLS behind, and nobody else sends them.
            ready!(Pin::new(&mut *to).poll_flush(context))?;
            self.unflushed = false;
        }
        read.map_ok(|()| false)
    }

    fn pass_on(
        &mut self,
        read: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        if read.is_empty() {
            self.ended = true;
            return Ok(());
        }
        let taken = match Pin::new(to).poll_write(context, read) {
            Poll::Ready(taken) => taken_some(taken)?,
            Poll::Pending => 0,
        };
        let (gone, left) = read.split_at(taken.min(read.len()));
        self.passed(gone);
        self.pending.extend_from_slice(left);
        Ok(())
    }

    fn poll_write_pending(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let rest = self.pending.get(self.written..).unwrap_or_default();
            let taken = taken_some(ready!(Pin::new(&mut *to).poll_write(context, rest)))?;
            let pending = std::mem::take(&mut self.pending);
            let end = self.written + taken;
            self.passed(pending.get(self.written..end).unwrap_or_default());
            (self.pending, self.written) = (pending, end);
        }
        if !self.pending.is_empty() {
            // Given back rather than kept: an idle connection holds no buffer.
            (self.pending, self.written) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    fn passed(&mut self, bytes: &[u8]) {
        if let Some(frames) = &mut self.frames {
            frames.pass(bytes);
        }
        self.bytes += bytes.len() as u64;
        self.unflushed = true;
    }

    /// The last that goes this way: the rest of the frame that is half sent, `last` behind it, and
    /// the end. `last` is left out where the sender has closed in good form already. `false`: the
    /// frame has no end here.
    ///
    /// `from`: more of that frame may be read there; nothing of the next is.
    pub fn poll_last(
        &mut self,
        mut from: Option<&mut (impl AsyncRead + Unpin)>,
        to: &mut (impl AsyncWrite + Unpin),
        last: &mut Option<Vec<u8>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.closed || self.frames.is_none() {
            return Poll::Ready(Ok(self.closed));
        }
        while last.is_some() {
            if !ready!(self.poll_write_frame(to, context))? {
                let Some(from) = &mut from else { return Poll::Ready(Ok(false)) };
                if !ready!(self.poll_fill(&mut **from, context))? {
                    return Poll::Ready(Ok(false));
                }
                continue;
            }
            let closed = self.frames.as_ref().is_some_and(Frames::has_closed);
            self.pending = last.take().filter(|_| !closed).unwrap_or_default();
        }
        ready!(self.poll_write_pending(to, context))?;
        ready!(Pin::new(to).poll_shutdown(context))?;
        self.closed = true;
        Poll::Ready(Ok(true))
    }

    /// Of what was read already, what belongs to the frame that is half sent; the next is forgotten.
    /// `true`: nothing is half sent any more.
    fn poll_write_frame(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let rest = self.pending.get(self.written..).unwrap_or_default();
        let wanted = self.frames.as_ref().and_then(|frames| frames.to_boundary(rest));
        if let Some(wanted) = wanted {
            self.pending.truncate(self.written + wanted);
        }
        ready!(self.poll_write_pending(to, context))?;
        Poll::Ready(Ok(wanted.is_some()))
    }

    /// `false`: there is nothing more.
    fn poll_fill(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(context, &mut buffer))?;
            self.pending.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(!buffer.filled().is_empty()))
        })
    }
}

/// Reads what comes and forgets it, until there is no more.
pub fn poll_drain(from: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>) -> Poll<()> {
    for _ in 0..READS_PER_TURN {
        let more = SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = Pin::new(&mut *from).poll_read(context, &mut buffer);
            read.map(|read| read.is_ok() && !buffer.filled().is_empty())
        });
        if !ready!(more) {
            return Poll::Ready(());
        }
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

fn taken_some(taken: io::Result<usize>) -> io::Result<usize> {
    match taken? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        taken => Ok(taken),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, duplex};

    use super::*;

    /// Takes all at once and sends it when it is flushed, as TLS does before a socket that is full.
    #[tokio::test]
    async fn what_a_writer_has_taken_and_kept_is_flushed_before_anything_is_waited_for() {
        let (mut source, mut from) = duplex(64 * 1024);
        let (to, mut sink) = duplex(8);
        let mut to = BufWriter::with_capacity(64 * 1024, to);
        let sent = vec![7; 1000];
        source.write_all(&sent).await.unwrap();
        let mut pipe = Pipe::new(b"", true);
        let relaying =
            std::future::poll_fn(|context| match pipe.poll(&mut from, &mut to, context) {
                Ok(Poll::Pending) => Poll::Pending,
                other => Poll::Ready(other),
            });
        let mut got = vec![0; sent.len()];
        tokio::select! {
            ended = relaying => panic!("{ended:?}"),
            read = sink.read_exact(&mut got) => assert!(read.is_ok() && got == sent),
        }
    }

    #[tokio::test]
    async fn the_last_of_a_direction_is_the_rest_of_a_frame_and_nothing_of_the_next() {
        let mut context = Context::from_waker(Waker::noop());
        for (read, from, whole) in [
            (&b"ab"[..], Some(&b"cd\x82\x01e"[..]), true),
            (b"abcd\x82\x01e", None, true),
            // Nothing more is read where it may not be.
            (b"ab", None, false),
            (b"ab", Some(b""), false),
        ] {
            let mut source = from;
            let (mut to, mut sink) = duplex(64);
            let mut pipe = Pipe::new(read, true);
            pipe.frames.as_mut().unwrap().pass(b"\x82\x04");
            let mut last = Some(b"\x88\0".to_vec());
            let polled = pipe.poll_last(source.as_mut(), &mut to, &mut last, &mut context);
            assert!(matches!(polled, Poll::Ready(Ok(said)) if said == whole), "{read:?}");
            drop(to);
            let mut got = Vec::new();
            sink.read_to_end(&mut got).await.unwrap();
            let all: &[u8] = if whole { b"abcd\x88\0" } else { b"ab" };
            assert_eq!(got, all);
        }
    }
}
