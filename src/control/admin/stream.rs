//! An answer that is written while the work goes on: lines of NDJSON between a task that makes
//! them and the connection that sends them.
//!
//! What always holds: what waits to be sent is bounded; a stream that ends without its last word
//! breaks the connection, so that half an answer never looks like a whole one.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::denylist::DenialId;

/// How long a client may read nothing while there is something to read.
const STALLED: Duration = Duration::from_secs(60);
/// What is handed to the connection at once.
const FRAME_BYTES: usize = 32 * 1024;

/// One line, or what it will be: a client that sends a million lines before it reads the first
/// answer is served too, because an answer that waits takes little room.
#[derive(Debug)]
pub(super) enum Piece {
    Denied { line: u64, id: DenialId, already: bool },
    Text(Box<[u8]>),
}

impl Piece {
    pub fn json(value: &impl serde::Serialize) -> Self {
        Self::Text(serde_json::to_vec(value).unwrap_or_default().into())
    }

    fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Denied { .. } => 0,
                Self::Text(text) => text.len(),
            }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Denied { line, id, already } => {
                let (status, already) =
                    if *already { (200, ",\"already\":true") } else { (201, "") };
                let text =
                    format!("{{\"line\":{line},\"status\":{status},\"id\":\"{id}\"{already}}}");
                out.extend_from_slice(text.as_bytes());
            }
            Self::Text(text) => out.extend_from_slice(text),
        }
        out.push(b'\n');
    }
}

/// The end of the task.
pub(super) struct Outbox(Arc<Shared>);

/// The end of the connection.
pub(super) struct Outlet(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told when there is room, or nobody reads any more.
    room: Notify,
    cost_max: usize,
}

struct State {
    pieces: VecDeque<Piece>,
    cost: usize,
    end: End,
    gone: bool,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Done,
    Broken,
}

/// Nobody reads the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gone;

/// The stream ended before its last word; this breaks the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the answer could not be completed")
    }
}

impl std::error::Error for Broken {}

/// Both ends; about `cost_max` bytes wait at the most.
pub(super) fn pair(cost_max: usize) -> (Outbox, Outlet) {
    let state =
        State { pieces: VecDeque::new(), cost: 0, end: End::Open, gone: false, reader: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), room: Notify::new(), cost_max });
    (Outbox(Arc::clone(&shared)), Outlet(shared))
}

impl Outbox {
    /// Waits until something was read, where too much waits.
    pub async fn room(&self) -> Result<(), Gone> {
        loop {
            let told = self.0.room.notified();
            {
                let state = self.0.state.lock();
                if state.gone {
                    return Err(Gone);
                }
                if state.cost < self.0.cost_max {
                    return Ok(());
                }
            }
            tokio::time::timeout(STALLED, told).await.map_err(|_| Gone)?;
        }
    }

    pub fn push(&self, piece: Piece) {
        let mut state = self.0.state.lock();
        state.cost += piece.cost();
        state.pieces.push_back(piece);
        wake(&mut state);
    }

    /// The last word was said.
    pub fn done(self) {
        let mut state = self.0.state.lock();
        state.end = End::Done;
        wake(&mut state);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if state.end == End::Open {
            state.end = End::Broken;
            wake(&mut state);
        }
    }
}

fn wake(state: &mut State) {
    if let Some(reader) = state.reader.take() {
        reader.wake();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.gone = true;
        state.pieces = VecDeque::new();
        self.0.room.notify_one();
    }
}

impl Body for Outlet {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut state = self.0.state.lock();
        let mut text = Vec::new();
        while text.len() < FRAME_BYTES
            && let Some(piece) = state.pieces.pop_front()
        {
            state.cost = state.cost.saturating_sub(piece.cost());
            piece.write(&mut text);
        }
        if !text.is_empty() {
            self.0.room.notify_one();
            return Poll::Ready(Some(Ok(Frame::data(text.into()))));
        }
        match state.end {
            End::Open => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
            End::Done => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err(Broken))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_stream_that_was_ended_is_whole_and_one_that_was_dropped_is_broken() {
        for ended in [true, false] {
            let (outbox, outlet) = pair(1024);
            outbox.push(Piece::json(&serde_json::json!({"a": 1})));
            outbox.push(Piece::Denied { line: 7, id: DenialId([0; 10]), already: true });
            if ended {
                outbox.done();
            } else {
                drop(outbox);
            }
            let read = outlet.collect().await;
            if !ended {
                assert_eq!(read.unwrap_err(), Broken);
                continue;
            }
            let expected = "{\"a\":1}\n{\"line\":7,\"status\":200,\"id\":\"dn_0000000000000000\",\
                            \"already\":true}\n";
            assert_eq!(read.unwrap().to_bytes(), expected);
        }
    }

    #[tokio::test]
    async fn a_full_stream_waits_for_its_reader_and_ends_with_him() {
        let (outbox, mut outlet) = pair(64);
        outbox.push(Piece::Text(vec![b'x'; 100].into()));
        let waiting = tokio::spawn(async move {
            outbox.room().await.unwrap();
            outbox.push(Piece::Text(vec![b'y'; 100].into()));
            outbox.room().await
        });
        let first = outlet.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), 101);
        let second = outlet.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(second.len(), 101);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        drop(outlet);
        let (outbox, outlet) = pair(64);
        drop(outlet);
        assert_eq!(outbox.room().await, Err(Gone));
    }
}
