//! The client side of a WebSocket, as much as `demo --once` needs: open one, see that it echoes, and
//! wait for its end.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use base64::Engine as _;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::websocket::{CLOSE, Frame, Sender, TEXT, accept_value, parse};

/// What the demo's backend does takes far less; its ticks come every second.
const PATIENCE: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// An open WebSocket.
pub struct Socket {
    stream: TcpStream,
    received: BytesMut,
}

impl Socket {
    /// `headers`: whole lines, each with its line end. The status instead, where it is not 101.
    pub async fn open(
        authority: &str,
        path: &str,
        headers: &str,
    ) -> Result<std::result::Result<Self, u16>> {
        let stream = timeout(PATIENCE, TcpStream::connect(authority)).await??;
        let mut socket = Self { stream, received: BytesMut::new() };
        let key = base64::engine::general_purpose::STANDARD.encode(random::<16>()?);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\n{headers}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        socket.stream.write_all(head.as_bytes()).await?;
        let answer = timeout(PATIENCE, socket.head()).await??;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status != 101 {
            return Ok(Err(status));
        }
        if !answer.contains(&accept_value(&key)) {
            return Err(broken("the handshake's answer is for another key"));
        }
        Ok(Ok(socket))
    }

    /// Sends a text and waits until it comes back.
    pub async fn echo(&mut self, text: &str) -> Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126);
        let length = length.ok_or_else(|| broken("a text of more than one short frame"))?;
        let mask = random::<4>()?;
        let mut frame = vec![0x80 | TEXT, 0x80 | length];
        frame.extend(mask);
        frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await?;
        let come_back = async {
            while self.frame().await?.payload != text.as_bytes() {}
            Ok(())
        };
        timeout(PATIENCE, come_back).await?
    }

    /// Waits for the close frame: its code and reason.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        let closing = async {
            loop {
                let frame = self.frame().await?;
                if frame.opcode == CLOSE {
                    return Result::Ok(frame.payload);
                }
            }
        };
        let payload = timeout(PATIENCE, closing).await??;
        match payload.split_first_chunk() {
            Some((code, reason)) => {
                Ok((u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()))
            }
            None => Err(broken("a close frame without a code")),
        }
    }

    async fn head(&mut self) -> Result<String> {
        loop {
            let end = self.received.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.received.split_to(end + 4);
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            if self.received.len() > HEAD_BYTES_MAX {
                return Err(broken("an answer without an end"));
            }
            self.read().await?;
        }
    }

    async fn frame(&mut self) -> Result<Frame> {
        loop {
            match parse(&mut self.received, Sender::Server) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => self.read().await?,
                Err(_) => return Err(broken("a frame that no server may send")),
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn broken(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::other("the operating system gives no random bytes"))?;
    Ok(bytes)
}
