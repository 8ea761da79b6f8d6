//! Where the body of an answer ends (RFC 9112 section 6.3), and whether its connection may be used
//! again (section 9.3).

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, Version};

use super::WireFault;
use super::chunked::Chunked;
use crate::proxy::headers;

/// How an answer's body is told from what follows.
#[derive(Debug)]
pub struct Framing {
    pub end: End,
    /// The connection may be used again behind it.
    pub keep_alive: bool,
}

#[derive(Debug)]
pub enum End {
    /// After so many bytes.
    Length(u64),
    Chunked(Chunked),
    Close,
    /// There is none; the connection speaks another protocol from here on.
    Switch,
}

impl Framing {
    /// `None`: the head only informs, and another one follows.
    pub fn of(head: &Response<()>, method: &Method) -> Result<Option<Self>, WireFault> {
        let status = head.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(Self { end: End::Switch, keep_alive: false }));
        }
        if status.is_informational() {
            return Ok(None);
        }
        let fields = head.headers();
        let has = |name: &HeaderName| fields.keys().any(|field| field == name);
        let stays = match head.version() {
            Version::HTTP_11 => !(has(&CONNECTION) && headers::nominates(fields, "close")),
            // Which may be closed by whoever does not know the other's wish.
            _ => headers::nominates(fields, "keep-alive") && !headers::nominates(fields, "close"),
        };
        let chunks = has(&TRANSFER_ENCODING);
        let bodiless = *method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let end = if bodiless { End::Length(0) } else { end(fields, chunks, head.version())? };
        // Who says both lengths means to confuse somebody (RFC 9112 section 6.1), and who says one of
        // what cannot have a body may send one all the same.
        let length = || fields.get(CONTENT_LENGTH);
        let unclear = match status {
            StatusCode::NO_CONTENT => chunks || length().is_some_and(|length| length != "0"),
            _ => chunks && length().is_some(),
        };
        let keep_alive = stays && !unclear && !matches!(end, End::Close);
        Ok(Some(Self { end, keep_alive }))
    }
}

fn end(fields: &HeaderMap, chunks: bool, version: Version) -> Result<End, WireFault> {
    if chunks {
        if version != Version::HTTP_11 {
            return Err(WireFault::Malformed("Transfer-Encoding in an answer of HTTP/1.0"));
        }
        if !only_chunked(fields) {
            return Err(WireFault::Malformed("a Transfer-Encoding other than chunked"));
        }
        return Ok(End::Chunked(Chunked::default()));
    }
    Ok(length(fields)?.map_or(End::Close, End::Length))
}

/// Any further coding would have to be undone here: its name does not go on to the client.
fn only_chunked(fields: &HeaderMap) -> bool {
    let mut values = fields.get_all(TRANSFER_ENCODING).iter();
    let first = values.next();
    first.is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
        && values.next().is_none()
}

/// Of one Content-Length, or of several that say the same.
fn length(fields: &HeaderMap) -> Result<Option<u64>, WireFault> {
    let mut length = None;
    for value in fields.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|&byte| byte == b',') {
            let said = digits(part.trim_ascii());
            if said.is_none() || length.is_some_and(|before| Some(before) != said) {
                return Err(WireFault::Malformed("Content-Length is none, or several"));
            }
            length = said;
        }
    }
    Ok(length)
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(method: Method, status: u16, text: &str) -> Result<Option<Framing>, WireFault> {
        let (version, fields) = text.split_once('|').unwrap();
        let version = if version == "1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
        let mut head = Response::builder().status(status).version(version);
        for field in fields.split('|').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once(':').unwrap();
            head = head.header(name, value);
        }
        Framing::of(&head.body(()).unwrap(), &method)
    }

    fn said(method: Method, status: u16, text: &str) -> String {
        let framing = framed(method, status, text);
        let Ok(framing) = framing else { return "refused".into() };
        let Some(Framing { end, keep_alive }) = framing else { return "informs".into() };
        let end = match end {
            End::Length(bytes) => bytes.to_string(),
            End::Chunked(_) => "chunked".into(),
            End::Close => "close".into(),
            End::Switch => "switch".into(),
        };
        end + if keep_alive { ", stays" } else { "" }
    }

    #[test]
    fn a_body_ends_where_the_first_rule_that_fits_says() {
        for (expected, status, text) in [
            ("7, stays", 200, "1.1|content-length:7"),
            ("7, stays", 200, "1.1|content-length:7, 7|content-length:7"),
            ("7, stays", 200, "1.0|content-length:7|connection:Keep-Alive"),
            ("7", 200, "1.0|content-length:7"),
            ("7", 200, "1.0|content-length:7|connection:keep-alive, close"),
            ("7", 200, "1.1|content-length:7|connection:x, Close"),
            ("7", 200, "1.1|content-length:7|connection:close|connection:keep-alive"),
            ("chunked, stays", 200, "1.1|transfer-encoding:Chunked"),
            ("chunked", 200, "1.1|transfer-encoding:chunked|content-length:7"),
            ("close", 200, "1.1|"),
            ("0", 204, "1.1|content-length:7"),
            ("0", 204, "1.1|transfer-encoding:chunked"),
            ("0, stays", 204, "1.1|content-length:0"),
            ("0, stays", 204, "1.1|"),
            ("0, stays", 304, "1.1|content-length:7"),
            ("0, stays", 304, "1.1|transfer-encoding:chunked"),
            ("informs", 100, "1.1|"),
            ("informs", 199, "1.1|content-length:7"),
            ("switch", 101, "1.1|upgrade:websocket"),
            ("refused", 200, "1.0|transfer-encoding:chunked"),
            ("refused", 200, "1.1|transfer-encoding:gzip, chunked"),
            ("refused", 200, "1.1|transfer-encoding:gzip|transfer-encoding:chunked"),
            ("refused", 200, "1.1|transfer-encoding:chunked|transfer-encoding:chunked"),
            ("refused", 200, "1.1|transfer-encoding:chunked, gzip"),
            ("refused", 200, "1.1|transfer-encoding:gzip"),
            ("refused", 200, "1.1|transfer-encoding:xchunked"),
            ("refused", 200, "1.1|transfer-encoding:"),
            ("refused", 200, "1.1|content-length:7|content-length:8"),
            ("refused", 200, "1.1|content-length:7, 8"),
            ("refused", 200, "1.1|content-length:-7"),
            ("refused", 200, "1.1|content-length:+7"),
            ("refused", 200, "1.1|content-length:"),
            ("refused", 200, "1.1|content-length:7,"),
            ("refused", 200, "1.1|content-length:18446744073709551616"),
        ] {
            assert_eq!(said(Method::GET, status, text), expected, "{status} {text}");
        }
        assert_eq!(said(Method::HEAD, 200, "1.1|content-length:7"), "0, stays");
        assert_eq!(said(Method::HEAD, 200, "1.1|transfer-encoding:chunked"), "0, stays");
    }
}
