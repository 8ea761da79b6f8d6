//! HTTP/2 towards clients (RFC 9113): hyper's connection, whose streams are each one exchange on the
//! same straight line. What belongs to one request on HTTP/1.1's connection belongs to the stream
//! here: a cut is a RST_STREAM, and idle means without streams.

mod guard;
mod outbox;
mod request;

pub use guard::{Examined, Guard};
pub use request::check;

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connection::Connection;
use super::core::Core;
use super::io::ClientStream;
use super::published::Snapshot;
use super::serve::until_ended;
use outbox::{Outbox, Turns};

/// What a stream may have unacknowledged on its way up, and all of a connection together. The more
/// clients a core has, the less each may make it hold; the protocol's own least is 64 KiB. Half of
/// the connection's window is also what h2 lets small DATA frames cost that nobody has read yet, 256
/// bytes each: a client that streams small messages is no flood.
fn windows(clients: usize) -> (u32, u32) {
    const KIB: u32 = 1024;
    match clients {
        0..256 => (256 * KIB, 1024 * KIB),
        256..2048 => (128 * KIB, 512 * KIB),
        _ => (64 * KIB, 256 * KIB),
    }
}

/// A connection reads so much of its window, then its streams and the tasks that send their bodies on
/// have their turn to take it. Of frames of 14 bytes, an empty gRPC message each, three turns are
/// within what h2 lets them cost.
const TURNS_IN_A_WINDOW: u32 = 128;
/// A head that is larger than `header_bytes_max` but not this many times gets our own 431, which
/// leaves its line; what is larger yet gets one from h2, and the connection goes at four times that.
const HEAD_MARGIN: u32 = 2;

/// What is kept of one answer that its client does not take.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that we reset or refuse because of what the client sent, in all of a connection's life: then
/// it goes (CVE-2025-8671). What comes for a refused stream counts too, and a client may begin more
/// streams than there may be before it has read how many that is. Those that have begun a request
/// count towards `http2_resets_max` in a second besides.
const OUR_RESETS_MAX: usize = 1000;
/// Streams that the client reset before they were looked at (CVE-2023-44487).
const EARLY_RESETS_MAX: usize = 50;

/// Serves the connection's streams until it ends.
pub async fn serve(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    stream: ClientStream,
    published: Rc<Snapshot>,
) {
    let limits = &published.limits;
    connection.multiplex(limits.http2_resets_max);
    let (stream_window, connection_window) = windows(core.clients());
    stream.take_turns(connection_window / TURNS_IN_A_WINDOW);
    let header_bytes_max = u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(StreamTasks(Rc::clone(connection)));
    builder
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(header_bytes_max.saturating_mul(HEAD_MARGIN))
        .max_pending_accept_reset_streams(EARLY_RESETS_MAX)
        .max_local_error_reset_streams(OUR_RESETS_MAX)
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_send_buf_size(SEND_BUFFER)
        .timer(TokioTimer::new())
        // A client that is gone without a word leaves its streams behind.
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(limits.header_timeout)
        .enable_connect_protocol();
    drop(published);
    let service = {
        let (core, connection) = (Rc::clone(core), Rc::clone(connection));
        service_fn(move |request| {
            let (core, connection) = (Rc::clone(&core), Rc::clone(&connection));
            // Inside the stream's own task, which has its guard. Boxed, for the task is moved about
            // before it runs and once more when it ends.
            Box::pin(
                async move { super::handle(core, connection, request::as_http1(request)).await },
            )
        })
    };
    let outbox = Outbox::new(stream);
    let serving = pin!(builder.serve_connection(TokioIo::new(outbox.clone()), service));
    let turns = Turns { connection: serving, outbox };
    let shut = |turns: Pin<&mut Turns<'_, http2::Connection<_, _, _>, _>>| {
        turns.get_mut().connection.as_mut().graceful_shutdown();
    };
    until_ended(core, connection, pin!(turns), shut).await;
}

/// Runs each stream in a task of its own on this core, under its guard.
#[derive(Clone)]
struct StreamTasks(Rc<Connection>);

impl<F: Future<Output = ()> + 'static> Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        // Out of a stream's own task: what carries the bytes of its WebSocket from here on.
        let guard = match Guard::current() {
            None => Guard::new(&self.0),
            Some(of_stream) => of_stream.switch(),
        };
        // Boxed, for its task is moved about before it runs and once more when it ends.
        tokio::task::spawn_local(guard.over(Box::pin(stream)));
    }
}
