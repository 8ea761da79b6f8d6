//! One WebSocket of the crowd: echoes on demand, and its end to the instant.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, oneshot};

use super::frames;
use super::wire::{Connection, Stream};

const MESSAGE: &[u8] = b"12345678";
/// After which an echo counts as lost.
const LOST: Duration = Duration::from_secs(10);

/// When its close frame was seen, or its connection's end without one.
#[derive(Clone, Copy)]
pub struct End {
    pub at: Instant,
    pub code: Option<u16>,
}

pub struct Socket {
    pub user: usize,
    pub end: Cell<Option<End>>,
    writer: RefCell<Option<WriteHalf<Box<dyn Stream>>>>,
    echoed: RefCell<Option<oneshot::Sender<()>>>,
}

/// What all sockets tell.
#[derive(Default)]
pub struct Ends {
    pub count: Cell<usize>,
    pub changed: Notify,
}

impl Socket {
    pub fn watched(user: usize, connection: Connection, ends: &Rc<Ends>) -> Rc<Self> {
        let (reader, writer) = tokio::io::split(connection.stream);
        let socket = Rc::new(Self {
            user,
            end: Cell::new(None),
            writer: RefCell::new(Some(writer)),
            echoed: RefCell::default(),
        });
        tokio::task::spawn_local(watch(Rc::clone(&socket), reader, Rc::clone(ends)));
        socket
    }

    /// How long a message took there and back; `None`: it never came back.
    pub async fn echo(&self) -> Option<Duration> {
        let (tell, told) = oneshot::channel();
        self.echoed.replace(Some(tell));
        let mut writer = self.writer.take()?;
        let mut frame = BytesMut::new();
        frames::put(&mut frame, frames::TEXT, MESSAGE, true);
        let begun = Instant::now();
        let written = writer.write_all(&frame).await;
        self.writer.replace(Some(writer));
        written.ok()?;
        tokio::time::timeout(LOST, told).await.ok()?.ok()?;
        Some(begun.elapsed())
    }
}

async fn watch(socket: Rc<Socket>, mut reader: ReadHalf<Box<dyn Stream>>, ends: Rc<Ends>) {
    let mut buffer = BytesMut::new();
    let code = 'reading: loop {
        while let Some(frame) = frames::take(&mut buffer) {
            match frame.first {
                frames::TEXT if frame.payload[..] == *MESSAGE => {
                    if let Some(told) = socket.echoed.take() {
                        told.send(()).ok();
                    }
                }
                frames::CLOSE if frame.payload.len() >= 2 => {
                    break 'reading Some(u16::from_be_bytes([frame.payload[0], frame.payload[1]]));
                }
                _ => break 'reading None,
            }
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break None,
            Ok(_) => {}
        }
    };
    socket.end.set(Some(End { at: Instant::now(), code }));
    socket.echoed.take();
    socket.writer.take();
    ends.count.set(ends.count.get() + 1);
    ends.changed.notify_waiters();
}
