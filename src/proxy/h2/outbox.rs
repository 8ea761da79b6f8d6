//! What a connection writes in one turn leaves in one piece. h2 hands over each DATA frame by itself and
//! has it sent: a system call, and a record of TLS, for each of the answers that are ready together. Here
//! small pieces wait until the connection has been polled, and no longer.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What waits at the most.
const KEPT_BYTES_MAX: usize = 16 * 1024;
/// What is larger is not copied: it leaves at once, with what was before it.
const PIECE_BYTES_MAX: usize = 4 * 1024;
/// Of a piece and what is before it, in one write.
const PARTS_MAX: usize = 8;

thread_local! {
    /// A buffer for the next turn: nearly every one ends with all that it wrote on its way, so that one
    /// does for all connections of a core.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The stream as the connection has it. A clone is the same.
pub struct Outbox<S>(Rc<RefCell<Kept<S>>>);

/// A connection; each time it was polled, what it wrote is sent.
pub struct Turns<'c, C, S> {
    pub connection: Pin<&'c mut C>,
    pub outbox: Outbox<S>,
}

struct Kept<S> {
    stream: S,
    /// Not yet taken by the stream, from `taken` on.
    ahead: Vec<u8>,
    taken: usize,
    /// The stream may hold what it has not sent.
    unsent: bool,
    /// Nobody was there to be told: whoever asks next is.
    failed: Option<io::ErrorKind>,
}

impl<S> Outbox<S> {
    pub fn new(stream: S) -> Self {
        let (ahead, taken, unsent, failed) = (Vec::new(), 0, false, None);
        Self(Rc::new(RefCell::new(Kept { stream, ahead, taken, unsent, failed })))
    }
}

impl<S> Clone for Outbox<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Turns<'_, C, S> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        let polled = this.connection.as_mut().poll(context);
        let sent = this.outbox.0.borrow_mut().poll_send(context);
        match sent {
            Poll::Ready(Err(error)) if polled.is_pending() => {
                this.outbox.0.borrow_mut().failed = Some(error.kind());
                this.connection.as_mut().poll(context)
            }
            Poll::Ready(_) | Poll::Pending => polled,
        }
    }
}

impl<S> Kept<S> {
    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn ahead(&self) -> &[u8] {
        self.ahead.get(self.taken..).unwrap_or_default()
    }

    /// A connection that has nothing to send holds no buffer.
    fn is_taken(&mut self) {
        let mut spare = std::mem::take(&mut self.ahead);
        self.taken = 0;
        if spare.capacity() > 0 {
            spare.clear();
            SPARE.set(spare);
        }
    }
}

impl<S: AsyncWrite + Unpin> Kept<S> {
    /// Ready when all that was written is on its way.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent {
            return Poll::Ready(Ok(()));
        }
        while !self.ahead().is_empty() {
            let Self { stream, ahead, taken, .. } = self;
            let rest = ahead.get(*taken..).unwrap_or_default();
            match ready!(Pin::new(stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *taken += written,
            }
        }
        self.is_taken();
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.unsent = false;
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.unsent = true;
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        loop {
            if length <= PIECE_BYTES_MAX && self.ahead.len() + length <= KEPT_BYTES_MAX {
                if self.ahead.capacity() == 0 {
                    self.ahead = SPARE.take();
                    self.ahead.reserve_exact(KEPT_BYTES_MAX);
                }
                parts.iter().for_each(|part| self.ahead.extend_from_slice(part));
                return Poll::Ready(Ok(length));
            }
            let before = self.ahead().len();
            if before == 0 {
                return Pin::new(&mut self.stream).poll_write_vectored(context, parts);
            }
            let Self { stream, ahead, taken, .. } = self;
            let mut all = [IoSlice::new(&[]); PARTS_MAX];
            let first = IoSlice::new(ahead.get(*taken..).unwrap_or_default());
            let given = std::iter::once(first).chain(parts.iter().copied());
            all.iter_mut().zip(given).for_each(|(to, part)| *to = part);
            let written = ready!(Pin::new(stream).poll_write_vectored(context, &all))?;
            match written.checked_sub(before) {
                _ if written == 0 => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                None => *taken += written,
                Some(more) => {
                    self.is_taken();
                    if more > 0 {
                        return Poll::Ready(Ok(more));
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outbox<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let kept = &mut *self.0.borrow_mut();
        kept.check()?;
        Pin::new(&mut kept.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outbox<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// At the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.borrow().check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let kept = &mut *self.0.borrow_mut();
        kept.check()?;
        ready!(kept.poll_send(context))?;
        Pin::new(&mut kept.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes so much, then nothing until it is given more room; then it may fail.
    #[derive(Default)]
    struct Pipe {
        room: usize,
        writes: Vec<Vec<u8>>,
        flushed: usize,
        broken: bool,
        shut: bool,
    }

    impl AsyncRead for Pipe {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            self.poll_write(context, &all)
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    fn outbox(room: usize) -> Outbox<Pipe> {
        Outbox::new(Pipe { room, ..Pipe::default() })
    }

    fn write(outbox: &Outbox<Pipe>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let (one, two) = bytes.split_at(bytes.len() / 2);
        let parts = [IoSlice::new(one), IoSlice::new(two)];
        let written = Pin::new(&mut outbox.clone()).poll_write_vectored(&mut context, &parts);
        assert!(Pin::new(&mut outbox.clone()).poll_flush(&mut context).is_ready());
        written
    }

    fn taken(outbox: &Outbox<Pipe>) -> Vec<u8> {
        outbox.0.borrow().stream.writes.concat()
    }

    /// One poll of a connection that does this.
    fn turn<T>(outbox: &Outbox<Pipe>, mut act: impl FnMut() -> Poll<T>) -> Poll<T> {
        let mut connection = std::pin::pin!(poll_fn(|_| act()));
        let mut turns = Turns { connection: connection.as_mut(), outbox: outbox.clone() };
        Pin::new(&mut turns).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn what_is_written_in_one_turn_leaves_in_one_piece_at_its_end() {
        let outbox = outbox(usize::MAX);
        let polled: Poll<()> = turn(&outbox, || {
            for piece in [b"one ".as_slice(), b"two ", b"three"] {
                assert!(write(&outbox, piece).is_ready());
            }
            assert!(outbox.0.borrow().stream.writes.is_empty());
            Poll::Pending
        });
        assert!(polled.is_pending());
        let kept = outbox.0.borrow();
        assert_eq!(kept.stream.writes, [b"one two three"]);
        assert_eq!((kept.stream.flushed, kept.ahead.capacity(), kept.unsent), (1, 0, false));
    }

    #[test]
    fn a_large_piece_leaves_at_once_with_what_is_before_it_and_is_not_kept() {
        let outbox = outbox(usize::MAX);
        let large = vec![b'x'; PIECE_BYTES_MAX + 1];
        assert!(write(&outbox, b"before").is_ready());
        assert!(matches!(write(&outbox, &large), Poll::Ready(Ok(length)) if length == large.len()));
        assert_eq!(outbox.0.borrow().stream.writes, [[b"before".as_slice(), &large].concat()]);
        assert!(outbox.0.borrow().ahead.is_empty());
    }

    #[test]
    fn whatever_the_stream_takes_at_a_time_all_arrives_in_order_and_little_is_kept() {
        let (outbox, mut sent) = (outbox(0), Vec::new());
        let mut random = 1_u64;
        for count in 0..2000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let length = usize::try_from(random >> 51).unwrap() + 1;
            let piece: Vec<u8> = (0..length).map(|at| (at as u8) ^ (count as u8)).collect();
            let mut at = 0;
            while at < piece.len() {
                outbox.0.borrow_mut().stream.room = usize::try_from(random >> 50).unwrap() % 9000;
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let polled = turn(&outbox, || write(&outbox, &piece[at..]));
                if let Poll::Ready(written) = polled {
                    at += written.unwrap();
                }
                assert!(outbox.0.borrow().ahead.len() <= KEPT_BYTES_MAX);
            }
            sent.extend_from_slice(&piece);
        }
        outbox.0.borrow_mut().stream.room = usize::MAX;
        assert!(turn(&outbox, || Poll::<()>::Pending).is_pending());
        assert!(taken(&outbox) == sent);
    }

    #[test]
    fn a_stream_that_fails_at_the_end_of_a_turn_fails_the_connection_at_once() {
        let outbox = outbox(usize::MAX);
        outbox.0.borrow_mut().stream.broken = true;
        let mut polls = 0;
        let polled = turn(&outbox, || {
            polls += 1;
            match write(&outbox, b"x") {
                Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
                Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
            }
        });
        assert_eq!((polled, polls), (Poll::Ready(io::ErrorKind::BrokenPipe), 2));
    }

    #[test]
    fn what_was_written_is_sent_before_the_end() {
        let outbox = outbox(3);
        assert!(write(&outbox, b"goodbye").is_ready());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut outbox.clone()).poll_shutdown(&mut context).is_pending());
        assert!(!outbox.0.borrow().stream.shut);
        outbox.0.borrow_mut().stream.room = 100;
        assert!(Pin::new(&mut outbox.clone()).poll_shutdown(&mut context).is_ready());
        assert_eq!(taken(&outbox), b"goodbye");
        assert!(outbox.0.borrow().stream.shut);
    }
}
