//! The server side of RFC 6455, as much as a demo needs: an echo, and a tick every second so that
//! a cut can be seen. Messages up to 64 KiB, fragments joined, no extensions.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::backend::respond;

const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const TICK: Duration = Duration::from_secs(1);
/// Section 1.3.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

// Opcodes, section 5.2.
const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Why we close, section 7.4.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CloseCode {
    ProtocolError = 1002,
    NotUtf8 = 1007,
    TooBig = 1009,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    fin: bool,
    pub opcode: u8,
    pub payload: Bytes,
}

/// Answers the handshake and serves the socket once it is switched.
pub fn accept(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Some(key) = handshake_key(request.headers()) else {
        let mut response = respond(
            StatusCode::UPGRADE_REQUIRED,
            &json!({ "error": "This is a WebSocket: connect with version 13." }),
        );
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
        return response;
    };
    let user = request.headers().get("x-auth-subject").map_or("somebody".to_owned(), |name| {
        String::from_utf8_lossy(name.as_bytes()).into_owned()
    });
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // The other end going away is how most sockets end.
            let _ = talk(TokioIo::new(upgraded), &user).await;
        }
    });
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
    if let Ok(value) = header::HeaderValue::from_str(&accept_value(&key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, value);
    }
    response
}

/// The client's key, where this is a handshake we speak (section 4.2.1).
fn handshake_key(headers: &HeaderMap) -> Option<String> {
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let ours = has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    ours.then(|| key.to_owned())
}

pub(super) fn accept_value(key: &str) -> String {
    let text = format!("{key}{ACCEPT_SUFFIX}");
    // SHA-1 because section 4.2.2 says so; it protects nothing here.
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(sha1)
}

async fn talk<S>(mut stream: S, user: &str) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = json!({ "hello": user, "echo": "what you send comes back" }).to_string();
    stream.write_all(&frame(TEXT, hello.as_bytes())).await?;
    let mut received = BytesMut::with_capacity(4096);
    let mut message = Message::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0_u64;
    loop {
        tokio::select! {
            // Cancel safe: what was read is in the buffer.
            read = stream.read_buf(&mut received) => {
                if read? == 0 {
                    return Ok(());
                }
                loop {
                    let frame = match parse(&mut received, Sender::Client) {
                        Ok(Some(frame)) => frame,
                        Ok(None) => break,
                        Err(code) => return close(&mut stream, code).await,
                    };
                    match message.take(frame) {
                        Ok(Reply::Nothing) => {}
                        Ok(Reply::Send(bytes)) => stream.write_all(&bytes).await?,
                        Ok(Reply::Last(bytes)) => return last(&mut stream, &bytes).await,
                        Err(code) => return close(&mut stream, code).await,
                    }
                }
            }
            _ = ticks.tick() => {
                count += 1;
                let tick = json!({ "tick": count }).to_string();
                stream.write_all(&frame(TEXT, tick.as_bytes())).await?;
            }
        }
    }
}

async fn close<S: AsyncWrite + Unpin>(stream: &mut S, code: CloseCode) -> std::io::Result<()> {
    last(stream, &frame(CLOSE, &(code as u16).to_be_bytes())).await
}

async fn last<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await
}

/// A message as it is put together from fragments.
#[derive(Default)]
struct Message {
    opcode: Option<u8>,
    parts: BytesMut,
}

#[derive(PartialEq, Eq, Debug)]
enum Reply {
    Nothing,
    Send(Vec<u8>),
    /// Send this, then end.
    Last(Vec<u8>),
}

impl Message {
    fn take(&mut self, received: Frame) -> Result<Reply, CloseCode> {
        match (received.opcode, self.opcode) {
            (PING, _) => Ok(Reply::Send(frame(PONG, &received.payload))),
            (PONG, _) => Ok(Reply::Nothing),
            // Section 5.5.1: the code comes back, the reason need not.
            (CLOSE, _) => {
                let code = received.payload.get(..2).unwrap_or_default();
                Ok(Reply::Last(frame(CLOSE, code)))
            }
            (TEXT | BINARY, None) => {
                self.opcode = Some(received.opcode);
                self.join(&received)
            }
            (CONTINUATION, Some(_)) => self.join(&received),
            (_, _) => Err(CloseCode::ProtocolError),
        }
    }

    fn join(&mut self, received: &Frame) -> Result<Reply, CloseCode> {
        if self.parts.len() + received.payload.len() > MESSAGE_BYTES_MAX {
            return Err(CloseCode::TooBig);
        }
        self.parts.extend_from_slice(&received.payload);
        if !received.fin {
            return Ok(Reply::Nothing);
        }
        let opcode = self.opcode.take().unwrap_or(TEXT);
        let whole = self.parts.split();
        if opcode == TEXT && std::str::from_utf8(&whole).is_err() {
            return Err(CloseCode::NotUtf8);
        }
        Ok(Reply::Send(frame(opcode, &whole)))
    }
}

/// Who sent a frame: a client masks, a server does not (section 5.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// Takes one frame off the front, once all of it is there (section 5.2).
pub(super) fn parse(received: &mut BytesMut, sender: Sender) -> Result<Option<Frame>, CloseCode> {
    let [first, second, ..] = received[..] else { return Ok(None) };
    let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
    let (masked, short) = (second & 0x80 != 0, usize::from(second & 0x7f));
    let control = opcode >= CLOSE;
    let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
    let as_it_should = masked == (sender == Sender::Client);
    // Section 5.5: control frames are short and whole.
    if reserved != 0 || !known || !as_it_should || (control && (!fin || short > 125)) {
        return Err(CloseCode::ProtocolError);
    }
    let (length, head) = match (short, received.get(2..4), received.get(2..10)) {
        (126, Some(&[a, b]), _) => (u64::from(u16::from_be_bytes([a, b])), 4),
        (127, _, Some(&[a, b, c, d, e, f, g, h])) => {
            (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10)
        }
        (126 | 127, _, _) => return Ok(None),
        (short, _, _) => (short as u64, 2),
    };
    if length > MESSAGE_BYTES_MAX as u64 {
        return Err(CloseCode::TooBig);
    }
    let length = usize::try_from(length).map_err(|_| CloseCode::TooBig)?;
    let mask = if masked { 4 } else { 0 };
    if received.len() < head + mask + length {
        return Ok(None);
    }
    received.advance(head);
    let mask = received.split_to(mask);
    let mut payload = received.split_to(length);
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some(Frame { fin, opcode, payload: payload.freeze() }))
}

/// A whole frame from the server, unmasked.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => bytes.push(short),
        (_, Ok(medium)) => {
            bytes.push(126);
            bytes.extend(medium.to_be_bytes());
        }
        (_, Err(_)) => {
            bytes.push(127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        let length = payload.len();
        bytes.extend([first, 0x80 | u8::try_from(length.min(126)).unwrap()]);
        if length >= 126 {
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        let mask = [1, 2, 3, 4];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn take(bytes: BytesMut, message: &mut Message) -> Result<Reply, CloseCode> {
        let mut bytes = bytes;
        message.take(parse(&mut bytes, Sender::Client)?.unwrap())
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_frame_is_taken_only_when_all_of_it_is_there() {
        for payload in [&b"hello"[..], &[7; 300]] {
            let whole = masked(0x82, payload);
            for cut in 0..whole.len() {
                assert_eq!(
                    parse(&mut BytesMut::from(&whole[..cut]), Sender::Client),
                    Ok(None),
                    "{cut}"
                );
            }
            let mut twice = [&whole[..], &whole[..]].concat().as_slice().into();
            for _ in 0..2 {
                assert_eq!(parse(&mut twice, Sender::Client).unwrap().unwrap().payload, payload);
            }
            assert!(twice.is_empty());
        }
    }

    #[test]
    fn a_server_sends_frames_unmasked() {
        let mut sent = BytesMut::from(&frame(TEXT, b"hello")[..]);
        assert_eq!(parse(&mut sent, Sender::Server).unwrap().unwrap().payload, b"hello"[..]);
        assert!(sent.is_empty());
        let wrong = parse(&mut masked(0x81, b"hello"), Sender::Server);
        assert_eq!(wrong, Err(CloseCode::ProtocolError));
    }

    #[test]
    fn frames_that_no_client_may_send_end_the_socket() {
        let unmasked = BytesMut::from(&frame(TEXT, b"hi")[..]);
        let reserved = masked(0xc1, b"hi");
        let unknown = masked(0x83, b"hi");
        let fragmented_ping = masked(0x09, b"hi");
        let long_ping = masked(0x89, &[0; 126]);
        for mut wrong in [unmasked, reserved, unknown, fragmented_ping, long_ping] {
            assert_eq!(parse(&mut wrong, Sender::Client), Err(CloseCode::ProtocolError));
        }
        let mut huge = BytesMut::from(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0][..]);
        assert_eq!(parse(&mut huge, Sender::Client), Err(CloseCode::TooBig));
    }

    #[test]
    fn fragments_come_back_as_one_message_and_a_ping_between_them_is_answered() {
        let mut message = Message::default();
        assert_eq!(take(masked(0x01, b"he"), &mut message), Ok(Reply::Nothing));
        assert_eq!(take(masked(0x89, b"?"), &mut message), Ok(Reply::Send(frame(PONG, b"?"))));
        assert_eq!(
            take(masked(0x80, b"llo"), &mut message),
            Ok(Reply::Send(frame(TEXT, b"hello")))
        );
        // The next message starts afresh; a continuation of nothing does not.
        assert_eq!(take(masked(0x80, b"x"), &mut message), Err(CloseCode::ProtocolError));
    }

    #[test]
    fn text_must_be_utf_8_and_binary_need_not() {
        assert_eq!(take(masked(0x81, b"\xff"), &mut Message::default()), Err(CloseCode::NotUtf8));
        let binary = take(masked(0x82, b"\xff"), &mut Message::default());
        assert_eq!(binary, Ok(Reply::Send(frame(BINARY, b"\xff"))));
    }

    #[test]
    fn a_close_is_answered_with_its_code() {
        let mut message = Message::default();
        let reply = take(masked(0x88, b"\x03\xe8bye"), &mut message);
        assert_eq!(reply, Ok(Reply::Last(frame(CLOSE, &1000_u16.to_be_bytes()))));
    }
}
