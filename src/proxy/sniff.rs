//! Which HTTP a plain connection speaks: HTTP/2 with prior knowledge begins with its preface (RFC
//! 9113 section 3.4), which is no request of HTTP/1.1. What was read to know it is put back, so that
//! nothing is read twice.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead as _, ReadBuf};

use super::connection::Connection;
use super::core::Core;
use super::io::ClientStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}

/// Waits for the first bytes. `None`: the client ended, or is to be closed before its first request.
pub async fn is_http2(
    core: &Core,
    connection: &Connection,
    stream: &mut ClientStream,
) -> Option<bool> {
    let mut read: Vec<u8> = Vec::new();
    let found = std::future::poll_fn(|context| {
        loop {
            if connection.is_to_close() || core.is_draining() {
                return Poll::Ready(None);
            }
            connection.watch(context);
            let more = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                let polled = Pin::new(&mut *stream).poll_read(context, &mut buffer);
                read.extend_from_slice(buffer.filled());
                polled.map(|result: io::Result<()>| result.is_ok() && !buffer.filled().is_empty())
            });
            let Poll::Ready(more) = more else { return Poll::Pending };
            let length = read.len().min(PREFACE.len());
            if read.get(..length) != PREFACE.get(..length) {
                return Poll::Ready(Some(false));
            }
            if read.len() >= PREFACE.len() {
                return Poll::Ready(Some(true));
            }
            if !more {
                return Poll::Ready(None);
            }
        }
    });
    let found = found.await;
    stream.unread(read);
    found
}
