//! A client that sends exactly the bytes it is told to and reads exactly one answer at a time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::PATIENCE;

/// One connection to a server.
pub struct Connection {
    stream: Stream,
    buffered: Vec<u8>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// Why no whole answer could be read.
#[derive(Debug)]
pub enum ReadError {
    /// The peer closed before the first byte of an answer.
    Closed,
    /// The peer closed, or reset, in the middle; the bytes until then.
    Broken(Vec<u8>),
    /// The deadline passed.
    Late(Vec<u8>),
    /// These bytes are no HTTP/1.1 answer.
    Malformed(Vec<u8>),
}

/// Field names and values in the order in which they came.
pub type Fields = Vec<(String, String)>;

/// One answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields as they came.
    pub head: String,
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// Statuses of the 1xx answers before it.
    pub informational: Vec<u16>,
}

impl Answer {
    /// The only value of a field; fails the test when there are several.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} occurs twice in\n{}", self.head);
        values.first().copied()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The stable code in the problem document of an answer of the gateway's own.
    #[track_caller]
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        self.json()["code"].as_str().expect("a code").to_owned()
    }
}

impl Connection {
    /// To `host:port`.
    #[track_caller]
    pub fn open(address: &str) -> Self {
        let stream =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Tcp(stream), buffered: Vec::new() }
    }

    /// From another address of this machine.
    #[track_caller]
    pub fn open_from(source: &str, address: &str) -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let source: std::net::SocketAddr = format!("{source}:0").parse().unwrap();
        socket.bind(&source.into()).unwrap();
        let address: std::net::SocketAddr = address.parse().unwrap();
        socket.connect(&address.into()).unwrap_or_else(|error| panic!("{address}: {error}"));
        Self::accepted(socket.into())
    }

    /// The server's end of a connection.
    pub fn accepted(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Tcp(stream), buffered: Vec::new() }
    }

    /// After the handshake.
    pub fn secured(stream: StreamOwned<ClientConnection, TcpStream>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), buffered: Vec::new() }
    }

    #[track_caller]
    pub fn open_unix(path: &Path) -> Self {
        let stream =
            UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Unix(stream), buffered: Vec::new() }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// For peers that may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Stream::Unix(stream) => stream.write_all(bytes.as_ref()),
            Stream::Tls(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// The same TCP connection once more, with nothing read of it yet: one writes, the other reads.
    #[track_caller]
    pub fn twin(&self) -> Self {
        let Stream::Tcp(stream) = &self.stream else { panic!("not plain TCP") };
        Self { stream: Stream::Tcp(stream.try_clone().unwrap()), buffered: Vec::new() }
    }

    /// No more will be sent; answers can still be read.
    pub fn finish_sending(&mut self) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => stream.sock.shutdown(Shutdown::Write),
        };
    }

    /// It will end with a reset.
    pub fn ends_with_a_reset(&mut self) {
        let Stream::Tcp(stream) = &self.stream else { panic!("not plain TCP") };
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Waits this long for each write from now on.
    pub fn write_patience(&mut self, patience: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(patience)).unwrap(),
            Stream::Unix(stream) => stream.set_write_timeout(Some(patience)).unwrap(),
            Stream::Tls(stream) => stream.sock.set_write_timeout(Some(patience)).unwrap(),
        }
    }

    /// How long a read may take, where the peer may have nothing to say.
    pub fn read_patience(&mut self, patience: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(patience)).unwrap(),
            Stream::Unix(stream) => stream.set_read_timeout(Some(patience)).unwrap(),
            Stream::Tls(stream) => stream.sock.set_read_timeout(Some(patience)).unwrap(),
        }
    }

    /// Sends a request without a body and reads its answer.
    #[track_caller]
    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", target, headers, b"")
    }

    /// For a server that may not answer.
    pub fn try_get(&mut self, target: &str) -> Result<Answer, ReadError> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: app.example.com\r\n\r\n");
        if self.try_send(head).is_err() {
            return Err(ReadError::Closed);
        }
        self.answer_to("GET")
    }

    /// Sends a request, with Content-Length when there is a body, and reads its answer.
    #[track_caller]
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            bytes.extend_from_slice(b"Host: app.example.com\r\n");
        }
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.send(bytes);
        self.answer_to(method).unwrap_or_else(|error| panic!("{method} {target}: {error:?}"))
    }

    /// The answer to a request that was sent by hand.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET").unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The next final answer; the method decides whether it has a body.
    pub fn answer_to(&mut self, method: &str) -> Result<Answer, ReadError> {
        let mut informational = Vec::new();
        loop {
            let (status, head, headers) = self.head()?;
            if (100..200).contains(&status) && status != 101 {
                informational.push(status);
                continue;
            }
            let mut answer = Answer {
                status,
                head,
                headers,
                body: Vec::new(),
                trailers: Vec::new(),
                informational,
            };
            if method == "HEAD" || matches!(status, 101 | 204 | 304) {
                return Ok(answer);
            }
            if answer
                .all("transfer-encoding")
                .iter()
                .any(|value| value.eq_ignore_ascii_case("chunked"))
            {
                (answer.body, answer.trailers) = self.chunked()?;
            } else if let Some(length) = answer.header("content-length") {
                let length = length.parse().unwrap();
                answer.body = self.exactly(length)?;
            } else {
                answer.body = self.rest()?;
            }
            return Ok(answer);
        }
    }

    /// Status line and fields of the next answer, 1xx included.
    pub fn head(&mut self) -> Result<(u16, String, Fields), ReadError> {
        let head = self.through(b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let malformed = || ReadError::Malformed(head.clone());
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().ok_or_else(malformed)?;
        let status = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or_else(malformed)?;
        let headers = fields(lines).ok_or_else(malformed)?;
        Ok((status, text, headers))
    }

    /// Everything until the peer closes.
    pub fn rest(&mut self) -> Result<Vec<u8>, ReadError> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(Stop::End) => return Ok(std::mem::take(&mut self.buffered)),
                Err(stop) => return Err(self.broken(stop)),
            }
        }
    }

    /// Everything until the peer is gone, and how it broke off; `None`: it ended. TLS ends with
    /// close_notify.
    pub fn until_gone(&mut self) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut bytes = std::mem::take(&mut self.buffered);
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read_to_end(&mut bytes),
            Stream::Unix(stream) => stream.read_to_end(&mut bytes),
            Stream::Tls(stream) => stream.read_to_end(&mut bytes),
        };
        (bytes, read.err().map(|error| error.kind()))
    }

    /// Exactly this many bytes.
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, ReadError> {
        while self.buffered.len() < count {
            self.more().map_err(|stop| self.broken(stop))?;
        }
        Ok(self.buffered.drain(..count).collect())
    }

    /// Bytes up to and including `end`.
    pub fn through(&mut self, end: &[u8]) -> Result<Vec<u8>, ReadError> {
        loop {
            if let Some(at) = find(&self.buffered, end) {
                return Ok(self.buffered.drain(..at + end.len()).collect());
            }
            self.more().map_err(|stop| match stop {
                Stop::End if self.buffered.is_empty() => ReadError::Closed,
                Stop::End | Stop::Reset | Stop::Late => self.broken(stop),
            })?;
        }
    }

    /// The peer has closed, cleanly or not, and sent nothing more.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        match self.more() {
            Err(Stop::End | Stop::Reset) => {
                assert!(self.buffered.is_empty(), "{:?}", self.buffered)
            }
            Err(Stop::Late) => panic!("still open"),
            Ok(()) => panic!("more came: {:?}", String::from_utf8_lossy(&self.buffered)),
        }
    }

    /// A chunked body and its trailer fields.
    pub fn chunked(&mut self) -> Result<(Vec<u8>, Fields), ReadError> {
        let mut body = Vec::new();
        loop {
            let line = self.through(b"\r\n")?;
            let size = std::str::from_utf8(&line).ok().and_then(|line| {
                usize::from_str_radix(line.trim_end().split(';').next()?, 16).ok()
            });
            let size = size.ok_or(ReadError::Malformed(line))?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size)?);
            let end = self.exactly(2)?;
            if end != b"\r\n" {
                return Err(ReadError::Malformed(end));
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.through(b"\r\n")?;
            if line == b"\r\n" {
                return Ok((body, trailers));
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            trailers.extend(fields([text.trim_end()]).ok_or(ReadError::Malformed(line))?);
        }
    }

    fn more(&mut self) -> Result<(), Stop> {
        let mut chunk = [0_u8; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut chunk),
            Stream::Unix(stream) => stream.read(&mut chunk),
            Stream::Tls(stream) => stream.read(&mut chunk),
        };
        match read {
            Ok(0) => Err(Stop::End),
            Ok(count) => {
                self.buffered.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Err(Stop::Late)
            }
            Err(_) => Err(Stop::Reset),
        }
    }

    fn broken(&mut self, stop: Stop) -> ReadError {
        let bytes = std::mem::take(&mut self.buffered);
        match stop {
            Stop::End | Stop::Reset => ReadError::Broken(bytes),
            Stop::Late => ReadError::Late(bytes),
        }
    }
}

enum Stop {
    End,
    Reset,
    Late,
}

/// Field lines without their line ends.
pub fn fields<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Fields> {
    lines
        .into_iter()
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
