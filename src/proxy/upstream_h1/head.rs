//! The head of a request as it is written, and of an answer as it is read (RFC 9112 sections 2 to 5).

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::WireFault;
use crate::proxy::outgoing::Added;

/// As on HTTP/2.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 256;

const TOO_LARGE: WireFault = WireFault::Malformed("the head of the server's answer is too large");
const MALFORMED: WireFault = WireFault::Malformed("the server's answer is no HTTP/1.1");

/// The request's line and its fields. The target is in origin-form, or `*`.
pub fn write<B>(request: &Request<B>, added: &Added) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let fields = || request.headers().iter().chain(added.fields());
    let length = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    let bytes = 32 + target.len() + fields().map(length).sum::<usize>();
    // A size that the allocator need not search for.
    let mut head = Vec::with_capacity(bytes.next_power_of_two());
    head.extend_from_slice(request.method().as_str().as_bytes());
    head.push(b' ');
    if !target.starts_with(['/', '*']) {
        head.push(b'/');
    }
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(&mut head, fields());
    head
}

/// With the empty line behind them.
pub fn write_fields<'f>(
    to: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>,
) {
    fields.for_each(|(name, value)| {
        to.extend_from_slice(name.as_str().as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    });
    to.extend_from_slice(b"\r\n");
}

/// Heads of answers out of what has come.
#[derive(Default)]
pub struct Heads {
    /// How much of what has come is known to be no whole head.
    searched: usize,
}

impl Heads {
    /// Takes the next head, if it has come whole. Values are parts of what was read, not copies.
    pub fn take(&mut self, ahead: &mut Bytes) -> Result<Option<Response<()>>, WireFault> {
        // What comes byte by byte is parsed once a line.
        if !ahead.get(self.searched..).is_some_and(|new| new.contains(&b'\n')) {
            return self.wait(ahead);
        }
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let status = ParserConfig::default()
            .parse_response_with_uninit_headers(&mut parsed, ahead, &mut fields)
            .map_err(refused)?;
        let Status::Complete(length) = status else { return self.wait(ahead) };
        if length > HEAD_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        let mut response = Response::new(());
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
        *response.status_mut() = status.map_err(|_| MALFORMED)?;
        let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        *response.version_mut() = version;
        let usual = response.status().canonical_reason();
        let reason = parsed.reason.filter(|reason| Some(*reason) != usual);
        if let Some(reason) =
            reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok())
        {
            response.extensions_mut().insert(reason);
        }
        let headers = response.headers_mut();
        headers.reserve(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| MALFORMED)?;
            let value = HeaderValue::from_maybe_shared(ahead.slice_ref(field.value));
            headers.append(name, value.map_err(|_| MALFORMED)?);
        }
        ahead.advance(length);
        self.searched = 0;
        Ok(Some(response))
    }

    fn wait(&mut self, ahead: &Bytes) -> Result<Option<Response<()>>, WireFault> {
        self.searched = ahead.len();
        if ahead.len() > HEAD_BYTES_MAX { Err(TOO_LARGE) } else { Ok(None) }
    }
}

fn refused(error: httparse::Error) -> WireFault {
    if error == httparse::Error::TooManyHeaders { TOO_LARGE } else { MALFORMED }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<Option<Response<()>>, WireFault> {
        Heads::default().take(&mut Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_head_is_written_line_by_line() {
        let request = Request::post("/a?b=c").header("host", "x").header("x-a", "1").body(());
        let text = write(&request.unwrap(), &Added::default());
        assert_eq!(text, b"POST /a?b=c HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n\r\n");
        let request = Request::get("http://a?b=c").body(()).unwrap();
        assert_eq!(write(&request, &Added::default()), b"GET /?b=c HTTP/1.1\r\n\r\n");
        let request = Request::options("*").body(()).unwrap();
        let mut added = Added::default();
        added.push(HeaderName::from_static("x-b"), HeaderValue::from_static("2"));
        assert_eq!(write(&request, &added), b"OPTIONS * HTTP/1.1\r\nx-b: 2\r\n\r\n");
    }

    #[test]
    fn heads_are_taken_one_by_one_and_what_follows_stays() {
        let text = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.0 200 All Good\r\nA: 1\r\na: \xff\r\n\r\nbody";
        let mut ahead = Bytes::from_static(text);
        let mut heads = Heads::default();
        let hint = heads.take(&mut ahead).unwrap().unwrap();
        assert_eq!((hint.status(), hint.version()), (StatusCode::EARLY_HINTS, Version::HTTP_11));
        let head = heads.take(&mut ahead).unwrap().unwrap();
        assert_eq!((head.status(), head.version()), (StatusCode::OK, Version::HTTP_10));
        let values: Vec<_> =
            head.headers().get_all("a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [b"1".as_slice(), b"\xff"]);
        assert_eq!(head.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"All Good");
        assert_eq!(ahead, "body");
    }

    #[test]
    fn a_head_may_come_in_any_pieces() {
        let text = b"HTTP/1.1 200 OK\r\na: 1\r\n\r\n";
        let mut heads = Heads::default();
        for length in 0..text.len() {
            assert!(heads.take(&mut Bytes::from_static(&text[..length])).unwrap().is_none());
        }
        assert!(heads.take(&mut Bytes::from_static(text)).unwrap().is_some());
    }

    #[test]
    fn what_is_no_head_or_too_large_a_one_is_refused() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\na b: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \x00\r\n\r\n",
        ] {
            assert!(taken(text).is_err(), "{text:?}");
        }
        let field = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(taken(&field(HEADERS_MAX)).is_ok_and(|head| head.is_some()));
        assert!(taken(&field(HEADERS_MAX + 1)).is_err());
        let long = |count: usize| format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(count));
        assert!(taken(&long(HEAD_BYTES_MAX - 64)).unwrap().is_none());
        assert!(taken(&long(HEAD_BYTES_MAX)).is_err());
        assert!(taken(&(long(HEAD_BYTES_MAX) + "\r\n\r\n")).is_err());
    }
}
