//! HTTP/2 by hand (RFC 9113): frames that no library would send, over a real socket.

use super::{Connection, Gateway, ReadError};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// Error codes (section 7).
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// SETTINGS_INITIAL_WINDOW_SIZE.
pub const INITIAL_WINDOW: u16 = 4;

/// One frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// What became of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Answered with 200, as far as its head says.
    Good,
    /// With any other status.
    Refused,
    /// RST_STREAM with this code, before any answer.
    Reset(u32),
    /// The whole connection ended, by a GOAWAY with this code or without any.
    Ended(Option<u32>),
}

/// A client.
pub struct Frames {
    connection: Connection,
}

impl Frames {
    /// With prior knowledge.
    #[track_caller]
    pub fn open(gateway: &Gateway) -> Self {
        Self::open_with(gateway.connect(), &[])
    }

    /// With these settings.
    #[track_caller]
    pub fn open_with(mut connection: Connection, settings: &[(u16, u32)]) -> Self {
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        connection.send(frame(SETTINGS, 0, 0, &settings_of(settings)));
        Self { connection }
    }

    #[track_caller]
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.connection.send(frame(kind, flags, stream, payload));
    }

    /// Several frames, or half of one. Fails where the gateway has ended the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.connection.try_send(bytes)
    }

    /// A GET without a body.
    #[track_caller]
    pub fn get(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", path, &[]));
    }

    /// A POST whose body is to come.
    #[track_caller]
    pub fn post(&mut self, stream: u32, path: &str, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_HEADERS, stream, &head("POST", path, fields));
    }

    pub fn next(&mut self) -> Result<Frame, ReadError> {
        let head = self.connection.exactly(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.connection.exactly(length as usize)?;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// What becomes of this stream; frames of others are skipped.
    #[track_caller]
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        let mut gone = None;
        loop {
            match self.next() {
                Ok(frame) if frame.kind == GOAWAY => gone = Some(frame.code()),
                Ok(frame) if frame.stream != stream => {}
                Ok(frame) if frame.kind == RST_STREAM => return Outcome::Reset(frame.code()),
                // The first field is the status; 0x88 stands for `:status: 200`.
                Ok(frame) if frame.kind == HEADERS => {
                    return if frame.payload[0] == 0x88 { Outcome::Good } else { Outcome::Refused };
                }
                Ok(_) => {}
                Err(ReadError::Late(_)) => panic!("nothing becomes of stream {stream}"),
                Err(_) => return Outcome::Ended(gone),
            }
        }
    }

    /// Until the connection is over: the code of its GOAWAY.
    #[track_caller]
    pub fn ended(mut self) -> Option<u32> {
        let mut gone = None;
        loop {
            match self.next() {
                Ok(frame) if frame.kind == GOAWAY => gone = Some(frame.code()),
                Ok(_) => {}
                Err(ReadError::Late(_)) => panic!("still open"),
                Err(_) => return gone,
            }
        }
    }

    /// No more will be sent.
    pub fn finish(&mut self) {
        self.connection.finish_sending();
    }

    /// Reads everything that comes in a thread of its own, until the end: for floods. The number of
    /// bytes.
    pub fn drain(&self) -> std::thread::JoinHandle<usize> {
        let mut twin = self.connection.twin();
        std::thread::spawn(move || twin.until_gone().0.len())
    }
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The payload of SETTINGS.
pub fn settings_of(settings: &[(u16, u32)]) -> Vec<u8> {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    settings.iter().flat_map(one).collect()
}

/// A header block of literals that are not indexed (RFC 7541 section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| [&[0][..], &literal(name), &literal(value)].concat();
    fields.iter().flat_map(field).collect()
}

/// The block of a request to `app.example.com`.
pub fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "app.example.com"),
    ];
    [block(&pseudo), block(fields)].concat()
}

/// A string literal (section 5.2) without Huffman coding.
pub fn literal(text: &str) -> Vec<u8> {
    let mut rest = text.len();
    let mut bytes = Vec::new();
    if rest < 127 {
        bytes.push(u8::try_from(rest).unwrap());
    } else {
        bytes.push(127);
        rest -= 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).unwrap() | 0x80);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
