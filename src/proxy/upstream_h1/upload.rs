//! A request on its way out: its head, then its body as far as the client has sent it. A piece leaves
//! in one write with the head or the chunk's size before it. Trailers leave where the request's Trailer
//! field names them, as far as they may.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::head;
use crate::proxy::outgoing::Added;

/// See the module.
pub struct Upload<B> {
    /// What goes out before the piece, from `at` on.
    lead: Vec<u8>,
    at: usize,
    piece: Bytes,
    tail: &'static [u8],
    body: B,
    rest: Rest,
    touched: bool,
    flushed: bool,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    UnderWay,
    Sent,
    /// It broke off, or the server takes no more.
    Failed,
}

/// What of the body is still to be asked for.
enum Rest {
    Nothing,
    /// So many bytes.
    Length(u64),
    /// In chunks. Names of trailers.
    Chunks(Vec<HeaderName>),
    /// It broke off.
    Lost,
    /// The server takes no more.
    Refused,
}

pub enum UploadFault {
    Write(io::Error),
    /// The body broke off.
    Body,
}

const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const CHUNK_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

impl<B: Body<Data = Bytes> + Unpin> Upload<B> {
    /// Of a request that has its body beside it. Framing is what the body says, whatever fields say.
    pub fn new<A>(request: &mut Request<A>, added: &Added, body: B) -> Self {
        let fields = request.headers_mut();
        let rest = if body.is_end_stream() {
            fields.remove(TRANSFER_ENCODING);
            Rest::Nothing
        } else if let (Some(length), false) =
            (body.size_hint().exact(), fields.contains_key(TRANSFER_ENCODING))
        {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
            // Of HTTP/2 the end of nothing may be a frame of its own.
            if length == 0 { Rest::Nothing } else { Rest::Length(length) }
        } else {
            fields.remove(CONTENT_LENGTH);
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            Rest::Chunks(trailer_names(fields))
        };
        let lead = head::write(request, added);
        let (piece, tail) = (Bytes::new(), [].as_slice());
        Self { lead, at: 0, piece, tail, body, rest, touched: false, flushed: false }
    }

    /// Nothing was written, and the body was not asked for anything.
    pub fn is_untouched(&self) -> bool {
        !self.touched
    }

    pub fn progress(&self) -> Progress {
        match self.rest {
            Rest::Lost | Rest::Refused => Progress::Failed,
            Rest::Nothing if self.flushed => Progress::Sent,
            Rest::Nothing | Rest::Length(_) | Rest::Chunks(_) => Progress::UnderWay,
        }
    }

    /// Its body broke off.
    pub fn is_lost(&self) -> bool {
        matches!(self.rest, Rest::Lost)
    }

    pub fn into_body(self) -> B {
        self.body
    }

    /// Sends as much as there is and the server takes; ready when that is all, and flushed.
    pub fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), UploadFault>> {
        let polled = self.poll_all(stream, context);
        match polled {
            Poll::Ready(Err(UploadFault::Body)) => self.rest = Rest::Lost,
            Poll::Ready(Err(UploadFault::Write(_))) => self.rest = Rest::Refused,
            Poll::Ready(Ok(())) => self.flushed = true,
            Poll::Pending => {}
        }
        polled
    }

    fn poll_all(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), UploadFault>> {
        loop {
            let mut waits = false;
            match self.rest {
                Rest::Lost => return Poll::Ready(Err(UploadFault::Body)),
                Rest::Refused => return Poll::Ready(Err(UploadFault::Write(refused()))),
                Rest::Nothing | Rest::Length(_) | Rest::Chunks(_) => {}
            }
            if self.piece.is_empty() && self.tail.is_empty() {
                match self.rest {
                    Rest::Nothing if self.is_written() => {
                        let flushed = ready!(Pin::new(stream).poll_flush(context));
                        return Poll::Ready(flushed.map_err(UploadFault::Write));
                    }
                    Rest::Nothing | Rest::Lost | Rest::Refused => {}
                    Rest::Length(_) | Rest::Chunks(_) => {
                        self.touched = true;
                        match Pin::new(&mut self.body).poll_frame(context) {
                            Poll::Ready(frame) => self.take(frame)?,
                            Poll::Pending => waits = true,
                        }
                    }
                }
            }
            while !self.is_written() {
                ready!(self.poll_write(stream, context)).map_err(UploadFault::Write)?;
            }
            if waits {
                ready!(Pin::new(stream).poll_flush(context)).map_err(UploadFault::Write)?;
                return Poll::Pending;
            }
        }
    }

    fn is_written(&self) -> bool {
        self.at == self.lead.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let lead = self.lead.get(self.at..).unwrap_or_default();
        let stream = Pin::new(stream);
        let written = if self.piece.is_empty() && self.tail.is_empty() {
            ready!(stream.poll_write(context, lead))?
        } else {
            let parts = [lead, &self.piece, self.tail].map(IoSlice::new);
            ready!(stream.poll_write_vectored(context, &parts))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.touched = true;
        let of_lead = written.min(lead.len());
        let of_piece = (written - of_lead).min(self.piece.len());
        self.at += of_lead;
        self.piece.advance(of_piece);
        self.tail = self.tail.get(written - of_lead - of_piece..).unwrap_or_default();
        if self.at == self.lead.len() {
            self.lead.clear();
            self.at = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// The next of the body, or its end.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) -> Result<(), UploadFault> {
        let frame = frame.transpose().map_err(|_| UploadFault::Body)?;
        match (frame.map(Frame::into_data), &mut self.rest) {
            (Some(Ok(data)), _) if data.is_empty() => {}
            (Some(Ok(data)), Rest::Length(left)) => {
                *left = left.checked_sub(data.len() as u64).ok_or(UploadFault::Body)?;
                if *left == 0 {
                    self.rest = Rest::Nothing;
                }
                self.piece = data;
            }
            (Some(Ok(data)), Rest::Chunks(_)) => {
                let size = format!("{:x}\r\n", data.len());
                self.lead.extend_from_slice(size.as_bytes());
                self.piece = data;
                self.tail = CHUNK_END;
                if self.body.is_end_stream() {
                    self.tail = CHUNK_END_AND_LAST;
                    self.rest = Rest::Nothing;
                }
            }
            (Some(Err(frame)), Rest::Chunks(names)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let named = trailers.iter().filter(|(name, _)| names.contains(name));
                let named: HeaderMap =
                    named.map(|(name, value)| (name.clone(), value.clone())).collect();
                self.lead.extend_from_slice(b"0\r\n");
                head::write_fields(&mut self.lead, named.iter());
                self.rest = Rest::Nothing;
            }
            (None, Rest::Chunks(_)) => {
                self.tail = LAST_CHUNK;
                self.rest = Rest::Nothing;
            }
            // Trailers have no place behind a length.
            (Some(Err(_)), _) => {}
            (None, Rest::Nothing) => {}
            (Some(Ok(_)), Rest::Nothing | Rest::Lost | Rest::Refused)
            | (None, Rest::Length(_) | Rest::Lost | Rest::Refused) => {
                return Err(UploadFault::Body);
            }
        }
        Ok(())
    }
}

fn refused() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// The trailers that a request says it will have.
fn trailer_names(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(TRAILER).into_iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body::SizeHint;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A body of these frames; `None`: it waits once.
    struct Frames {
        frames: VecDeque<Option<Frame<Bytes>>>,
        length: Option<u64>,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.frames.pop_front() {
                Some(None) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.frames.is_empty() && self.length.is_none_or(|length| length == 0)
        }

        fn size_hint(&self) -> SizeHint {
            self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn data(text: &'static str) -> Option<Frame<Bytes>> {
        Some(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    /// What the server gets, which takes so many bytes at a time, and whether that was all.
    async fn sent(
        fields: &[(&'static str, &'static str)],
        length: Option<u64>,
        frames: impl IntoIterator<Item = Option<Frame<Bytes>>>,
        takes: usize,
    ) -> (String, bool) {
        let mut request = Request::post("/").body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let body = Frames { frames: frames.into_iter().collect(), length };
        let mut upload = Upload::new(&mut request, &Added::default(), body);
        assert!(upload.is_untouched());
        let (mut ours, mut theirs) = tokio::io::duplex(takes);
        let sending = async move {
            let sent = std::future::poll_fn(|context| upload.poll(&mut ours, context)).await;
            let again = std::future::poll_fn(|context| upload.poll(&mut ours, context)).await;
            assert_eq!(sent.is_ok(), again.is_ok(), "what has failed stays so");
            sent.is_ok()
        };
        let mut text = String::new();
        let (whole, read) = tokio::join!(sending, theirs.read_to_string(&mut text));
        read.unwrap();
        (text, whole)
    }

    fn trailers(fields: &[(&'static str, &'static str)]) -> Option<Frame<Bytes>> {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Some(Frame::trailers(fields.iter().map(field).collect()))
    }

    #[tokio::test]
    async fn a_body_of_known_length_goes_out_as_it_is() {
        for takes in 1..40 {
            let frames = [data("ab"), None, data(""), data("cde")];
            let wrong = [("content-length", "9")];
            let (text, whole) = sent(&wrong, Some(5), frames, takes).await;
            assert!(whole);
            assert_eq!(text, "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabcde");
        }
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_goes_out_in_chunks_and_an_empty_piece_ends_nothing() {
        for takes in 1..40 {
            let frames = [None, data("0123456789abcdef"), data(""), data("x"), None];
            let (text, whole) = sent(&[("content-length", "3")], None, frames, takes).await;
            assert!(whole);
            let chunks = "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n";
            let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
            assert_eq!(text, format!("{head}{chunks}"));
        }
    }

    #[tokio::test]
    async fn a_body_that_is_none_has_no_framing_of_its_own() {
        let fields = [("transfer-encoding", "chunked"), ("x-a", "b")];
        let (text, whole) = sent(&fields, Some(0), [], 8).await;
        assert_eq!((text.as_str(), whole), ("POST / HTTP/1.1\r\nx-a: b\r\n\r\n", true));
        assert!(sent(&[], Some(0), [None, data("")], 8).await.1, "its end need not have come");
    }

    #[tokio::test]
    async fn a_body_that_is_longer_or_shorter_than_it_says_breaks_off() {
        for frames in [vec![data("abcdef")], vec![data("abc"), data("def")], vec![data("abcd")]] {
            let (text, whole) = sent(&[], Some(5), frames, 512).await;
            assert!(!whole, "{text}");
            let most = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabcd".len();
            assert!(text.len() <= most, "{text}");
        }
    }

    #[tokio::test]
    async fn only_trailers_that_were_announced_leave() {
        let frames = [data("a"), trailers(&[("x-a", "1"), ("x-b", "2"), ("x-c", "3")])];
        let (text, whole) = sent(&[("trailer", "X-C, x-a")], None, frames, 512).await;
        assert!(whole);
        assert!(text.ends_with("\r\n1\r\na\r\n0\r\nx-a: 1\r\nx-c: 3\r\n\r\n"), "{text}");
        let frames = [data("a"), trailers(&[("x-a", "1")])];
        let (text, _) = sent(&[], None, frames, 512).await;
        assert!(text.ends_with("\r\n1\r\na\r\n0\r\n\r\n"), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_takes_no_more_is_no_fault_of_the_body() {
        let mut request = Request::post("/").body(()).unwrap();
        let body = Frames { frames: [data("abcde")].into(), length: Some(5) };
        let mut upload = Upload::new(&mut request, &Added::default(), body);
        let (mut ours, theirs) = tokio::io::duplex(8);
        drop(theirs);
        for _ in 0..2 {
            let sent = std::future::poll_fn(|context| upload.poll(&mut ours, context)).await;
            assert!(matches!(sent, Err(UploadFault::Write(_))));
        }
        assert!(!upload.is_untouched(), "the body was asked");
    }
}
