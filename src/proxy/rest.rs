//! A connection of HTTP/1.1 that is idle for a second rests: what hyper keeps for it (its buffers,
//! room for the next request's future) is given back, and its socket alone is waited for. Most of
//! the connections of a gateway are idle most of the time, and thousands of them cost memory only.
//!
//! Nothing of the client's is lost: a connection rests only when all of the last answer was taken;
//! what was read of the next request is put back in front of the stream, and is read again at once.
//! How long it may be idle is counted as before.

use std::pin::Pin;
use std::task::Poll;

use tokio::io::AsyncWrite as _;

use super::connection::Connection;
use super::core::Core;
use super::io::ClientStream;

/// Waits for the client to say something, or to go. `false`: the connection ends now.
pub async fn until_it_speaks(
    core: &Core,
    connection: &Connection,
    stream: &mut ClientStream,
) -> bool {
    let speaks = std::future::poll_fn(|context| {
        // Nothing is under way, so nothing is cut by an end.
        if connection.is_to_close() || connection.is_leaving() || core.is_draining() {
            return Poll::Ready(false);
        }
        connection.watch(context);
        // Of TLS, some may have stayed behind: tickets, or the end of an answer.
        match Pin::new(&mut *stream).poll_flush(context) {
            Poll::Ready(Ok(())) => stream.poll_readable(context).map(|()| true),
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    });
    let speaks = speaks.await;
    connection.wakes_up();
    speaks
}
