//! A backend that keeps exactly what arrived and answers exactly as it is told to.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::client::fields;
use super::{Connection, ReadError, eventually};

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Received {
    /// Number of the connection, from 0.
    pub connection: usize,
    /// Request line and fields, byte for byte.
    pub head: Vec<u8>,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The body came whole.
    pub complete: bool,
}

impl Received {
    /// The only value of a field; fails the test when there are several.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let first = values.next();
        assert!(values.next().is_none(), "{name} occurs twice in {:?}", self.headers);
        first.map(|(_, value)| value.as_str())
    }

    pub fn head_text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }
}

/// A request being answered. The body is read only when the answerer asks.
pub struct Exchange<'c> {
    pub received: Received,
    pub connection: &'c mut Connection,
    body_read: bool,
    closing: bool,
}

impl Exchange<'_> {
    /// Reads the body, however it is framed.
    pub fn read_body(&mut self) {
        self.body_read = true;
        let chunked = self.received.header("transfer-encoding").is_some();
        let length = self.received.header("content-length").map(|text| text.parse().unwrap());
        let read = if chunked {
            self.connection.chunked().map(|(body, trailers)| {
                self.received.body = body;
                self.received.trailers = trailers;
            })
        } else {
            self.connection.exactly(length.unwrap_or(0)).map(|body| self.received.body = body)
        };
        match read {
            Ok(()) => self.received.complete = true,
            Err(
                ReadError::Broken(bytes) | ReadError::Late(bytes) | ReadError::Malformed(bytes),
            ) => {
                self.received.body = bytes;
            }
            Err(ReadError::Closed) => {}
        }
    }

    /// Sends bytes; a gateway that has gone away is no failure of the backend.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if self.connection.try_send(bytes).is_err() {
            self.closing = true;
        }
    }

    /// A plain answer with a length.
    pub fn answer(&mut self, status: &str, headers: &str, body: impl AsRef<[u8]>) {
        if !self.body_read {
            self.read_body();
        }
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat());
    }

    /// The answer of an [`Upstream::new`]: what it received, as JSON.
    pub fn echo(&mut self) {
        self.read_body();
        let body = json!({
            "method": self.received.method,
            "target": self.received.target,
            "headers": self.received.headers,
            "body_bytes": self.received.body.len(),
        });
        self.answer("200 OK", "Content-Type: application/json\r\n", body.to_string());
    }

    /// The connection ends after this exchange.
    pub fn close(&mut self) {
        self.closing = true;
    }
}

type Answerer = dyn Fn(&mut Exchange<'_>) + Send + Sync;

/// A running backend; it stops accepting when the test process ends.
#[derive(Clone)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    begun: AtomicUsize,
    received: Mutex<Vec<Received>>,
}

impl Upstream {
    /// Answers 200 with a description of the request.
    pub fn new() -> Self {
        Self::answering(|exchange| exchange.echo())
    }

    /// Answers as `answerer` does.
    pub fn answering(answerer: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self::bound(TcpListener::bind("127.0.0.1:0").unwrap(), answerer)
    }

    /// The same at an address of its own.
    pub fn bound(
        listener: TcpListener,
        answerer: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let answerer: Arc<Answerer> = Arc::new(answerer);
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, answerer) = (Arc::clone(&accepting), Arc::clone(&answerer));
                std::thread::spawn(move || {
                    serve(Connection::accepted(stream), number, &shared, answerer.as_ref());
                });
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests whose head arrived so far.
    pub fn begun(&self) -> usize {
        self.shared.begun.load(Ordering::SeqCst)
    }

    /// Requests that were answered so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The last request; waits for it to be recorded, which happens just after its answer.
    #[track_caller]
    pub fn last(&self) -> Received {
        eventually("a request recorded by the upstream", || {
            let received = self.shared.received.lock().unwrap();
            (received.len() == self.begun()).then(|| received.last().cloned()).flatten()
        })
    }
}

fn serve(mut connection: Connection, number: usize, shared: &Shared, answerer: &Answerer) {
    loop {
        let Ok(head) = connection.through(b"\r\n\r\n") else { return };
        shared.begun.fetch_add(1, Ordering::SeqCst);
        let mut exchange = Exchange {
            received: parse(number, head),
            connection: &mut connection,
            body_read: false,
            closing: false,
        };
        answerer(&mut exchange);
        if !exchange.body_read && !exchange.closing {
            exchange.read_body();
        }
        let closing = exchange.closing;
        shared.received.lock().unwrap().push(exchange.received);
        if closing {
            return;
        }
    }
}

fn parse(connection: usize, head: Vec<u8>) -> Received {
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.trim_end().split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    Received {
        connection,
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        headers: fields(lines).expect("field lines"),
        body: Vec::new(),
        trailers: Vec::new(),
        complete: false,
        head,
    }
}
