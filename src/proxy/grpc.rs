//! gRPC calls among the requests of HTTP/2. A client of gRPC reads our refusals only as a status of
//! gRPC, and a cut only as trailers behind a whole message.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::answer::{AnswerPolicy, Rejection};
use super::body::Body;
use super::headers::X_REQUEST_ID;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Nothing is waited for longer.
const PATIENCE_MAX: Duration = Duration::from_secs(86_400);
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// A flag of one byte and a length of four.
const PREFIX_BYTES: u32 = 5;

/// Whether a request is a call.
pub fn is_call(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'-')))
}

/// How long the answer to a call may let itself be waited for: as long as the client says
/// (`grpc-timeout`), else as long as it likes. A stream of messages may be silent for hours before
/// its first; whether its server is there at all is known by pings.
pub fn patience(headers: &HeaderMap) -> Option<Duration> {
    if !is_call(headers) {
        return None;
    }
    let told = headers.get(GRPC_TIMEOUT).and_then(|value| timeout(value.as_bytes()));
    Some(told.unwrap_or(PATIENCE_MAX).min(PATIENCE_MAX))
}

/// At most eight digits and a unit.
fn timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Where in its messages the answer to a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Messages {
    /// Of gRPC-Web: its clients see no trailers, and to some an end without them is a good one.
    web: bool,
    /// Of the prefix that was begun.
    prefix: u32,
    length: u32,
    /// Of the message behind a whole prefix.
    left: u32,
}

impl Messages {
    /// Of the answer to a request with these headers, if that is a call.
    pub fn of_call(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE).filter(|_| is_call(headers))?;
        Some(Self { web: kind.as_bytes().starts_with(b"application/grpc-web"), ..Self::default() })
    }

    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= u32::try_from(taken).unwrap_or(self.left);
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            // The flag is shifted out by the four that follow.
            self.length = self.length << 8 | u32::from(byte);
            self.prefix += 1;
            if self.prefix == PREFIX_BYTES {
                (self.prefix, self.length, self.left) = (0, 0, self.length);
            }
            bytes = rest;
        }
    }

    /// Nothing is half sent, and trailers are seen: the call can end here with a status.
    pub fn can_end(&self) -> bool {
        !self.web && self.prefix == 0 && self.left == 0
    }
}

/// The answer to a call that is refused: no message, only its status.
pub fn refusal(
    rejection: &Rejection,
    policy: AnswerPolicy,
    request_id: &HeaderValue,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, request_id.clone());
    headers.extend(status(rejection, policy));
    response
}

/// `grpc-status` and `grpc-message`, as headers or as trailers.
pub fn status(rejection: &Rejection, policy: AnswerPolicy) -> HeaderMap {
    let (status, detail) = rejection.told(policy);
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(GRPC_STATUS, HeaderValue::from(code(status)));
    if let Ok(message) = HeaderValue::from_str(&escaped(&detail)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    headers
}

/// The status of gRPC for one of HTTP, as its own mapping has it, and finer where that says
/// `UNKNOWN` or hides what the client could do about it.
fn code(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND => 12,
        StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => 8,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::INTERNAL_SERVER_ERROR => 13,
        _ => 2,
    }
}

/// Percent-encoded: visible ASCII and spaces but `%` stand for themselves.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_as_long_as_its_client_says_and_another_request_as_its_upstream_does() {
        let headers = |kind: &'static str, timeout: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            let timeout = timeout.map(HeaderValue::from_static);
            headers.extend(timeout.map(|timeout| (GRPC_TIMEOUT, timeout)));
            headers
        };
        let call = |timeout| patience(&headers("application/grpc+proto", timeout));
        assert_eq!(call(Some("250m")), Some(Duration::from_millis(250)));
        assert_eq!(call(Some("2M")), Some(Duration::from_secs(120)));
        for endless in [None, Some(""), Some("S"), Some("1s"), Some("123456789S"), Some("99H")] {
            assert_eq!(call(endless), Some(PATIENCE_MAX), "{endless:?}");
        }
        assert_eq!(patience(&headers("application/json", Some("1S"))), None);
    }

    #[test]
    fn a_boundary_is_between_messages_however_they_are_cut_into_frames() {
        let message = |length: u32| {
            let mut bytes = vec![0];
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend(vec![7; length as usize]);
            bytes
        };
        let all = [message(0), message(3), message(300), message(0)].concat();
        let ends = [5, 13, 318, 323];
        for size in [1, 2, 3, 7, 100, 1000] {
            let (mut messages, mut at) = (Messages::default(), 0);
            for part in all.chunks(size) {
                messages.pass(part);
                at += part.len();
                assert_eq!(messages.can_end(), ends.contains(&at), "{at} by {size}");
            }
        }
    }

    #[test]
    fn calls_are_told_by_their_content_type_and_messages_are_escaped() {
        let is = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            is_call(&headers)
        };
        for call in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(is(call), "{call}");
        }
        assert!(
            !is("application/grpcx") && !is("application/json") && !is("text/application/grpc")
        );
        assert_eq!(escaped("50% \u{e9}\n"), "50%25 %C3%A9%0A");
    }
}
