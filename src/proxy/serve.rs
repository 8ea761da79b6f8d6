//! Serving a connection: from the hand-over by the acceptor through its beginning to its last
//! request, until it ends, is told to drain, or is closed by the sweeper.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;

use super::connection::{Connection, Peer};
use super::core::{Accepted, Core, Socket};
use super::entrance::{Begun, Entrance, Protocol};
use super::h2;
use super::io::{ClientStream, Rewound, Stream};
use super::place::Place;
use super::published::Snapshot;
use super::rest;
use super::sniff;
use super::unread;

/// Serves what the acceptor handed over, in a task of its own.
pub fn serve(core: &Rc<Core>, accepted: Accepted) {
    let published = core.published();
    let entrance = accepted.entrance;
    let place = core.placed(&entrance);
    let peer = accepted.socket.peer();
    if entrance.is_plain() && !core.seat(&place, peer) {
        return accepted.socket.turn_away();
    }
    let stream = match accepted.socket {
        Socket::Tcp(stream, _) => tokio::net::TcpStream::from_std(stream).map(Stream::Tcp),
        Socket::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Stream::Unix),
    };
    let Ok(stream) = stream else { return };
    let core = Rc::clone(core);
    if entrance.is_plain() {
        let (stream, activity) = ClientStream::plain(Rewound::new(stream));
        let connection = Connection::new(peer, activity, Some(place));
        let protocol = entrance.protocol(None);
        tokio::task::spawn_local(drive(core, connection, stream, published, protocol));
    } else {
        tokio::task::spawn_local(begin(core, stream, peer, published, entrance, place));
    }
}

/// What its entrance asks for, then its requests.
async fn begin(
    core: Rc<Core>,
    stream: Stream,
    peer: Peer,
    published: Rc<Snapshot>,
    entrance: Arc<Entrance>,
    place: Place,
) {
    let Ok(begun) = entrance.begin(&core, stream, peer, &place).await else { return };
    let Begun { stream, activity, peer, secure } = begun;
    let mut connection = Connection::new(peer, activity, Some(place));
    let protocol = entrance.protocol(secure.as_ref());
    if let (Some(secure), Some(tls)) = (secure, &entrance.tls) {
        connection.secure(tls.hsts.clone(), secure.client.as_deref());
    }
    drive(core, connection, stream, published, protocol).await;
}

async fn drive(
    core: Rc<Core>,
    connection: Connection,
    mut stream: ClientStream,
    published: Rc<Snapshot>,
    protocol: Protocol,
) {
    let connection = Rc::new(connection);
    core.watch(&connection);
    let _ending = Ending(Rc::clone(&connection));
    let protocol = match protocol {
        Protocol::Either => match sniff::is_http2(&core, &connection, &mut stream).await {
            Some(true) => Some(Protocol::Http2),
            Some(false) => Some(Protocol::Http1),
            None => None,
        },
        known @ (Protocol::Http1 | Protocol::Http2 | Protocol::Redirect(_)) => Some(known),
    };
    match protocol {
        Some(Protocol::Http1) => http1(&core, &connection, stream, published).await,
        // Boxed, so that what they take is not kept for those who do not speak it.
        Some(Protocol::Http2) => {
            Box::pin(h2::serve(&core, &connection, stream, published)).await;
        }
        Some(Protocol::Redirect(port)) => {
            Box::pin(redirecting(&core, &connection, stream, published, port)).await;
        }
        Some(Protocol::Either) | None => {}
    }
}

/// Whichever way its serving ends, its place is free.
struct Ending(Rc<Connection>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.set_ended();
    }
}

async fn http1(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    mut stream: ClientStream,
    mut published: Rc<Snapshot>,
) {
    let service = || {
        let (core, connection) = (Rc::clone(core), Rc::clone(connection));
        service_fn(move |request| super::handle(Rc::clone(&core), Rc::clone(&connection), request))
    };
    connection.answer_in_turn();
    let shut = |serving: Pin<&mut http1::UpgradeableConnection<_, _>>| serving.graceful_shutdown();
    loop {
        let serving = builder(&published).serve_connection(TokioIo::new(stream), service());
        drop(published);
        // Boxed, so that it is gone while the connection rests.
        let mut serving = Box::new(serving.with_upgrades());
        if until_ended(core, connection, Pin::new(&mut *serving), shut).await == Served::ToItsEnd {
            return;
        }
        // By move, so that nothing of what served it is kept while it rests.
        let Some((back, begun)) = socket_of(serving) else { return };
        stream = back;
        if !begun.is_empty() {
            // The beginning of a request that came together with the one before it.
            stream.unread(begun);
        } else if !rest::until_it_speaks(core, connection, &mut stream).await {
            return;
        }
        published = core.published();
    }
}

type Serving<S> = http1::UpgradeableConnection<TokioIo<ClientStream>, S>;

/// What is left of a connection that is served no more, and what was read of it and not answered.
#[expect(clippy::boxed_local, reason = "the box is to go with it")]
fn socket_of<S, B>(serving: Box<Serving<S>>) -> Option<(ClientStream, Vec<u8>)>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let parts = serving.into_parts()?;
    Some((parts.io.into_inner(), parts.read_buf.to_vec()))
}

/// A listener that only sends people to the encrypted one.
async fn redirecting(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    stream: ClientStream,
    published: Rc<Snapshot>,
    port: u16,
) {
    let service = service_fn(|request| {
        let response = super::redirect::answer(core, connection, request, port);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let serving = builder(&published).serve_connection(TokioIo::new(stream), service);
    drop(published);
    let shut = |serving: Pin<&mut http1::Connection<_, _>>| serving.graceful_shutdown();
    until_ended(core, connection, pin!(serving), shut).await;
}

fn builder(published: &Snapshot) -> http1::Builder {
    let limits = &published.limits;
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MAX));
    // Room for hyper's own number is on the stack and is not written before it is used.
    if limits.header_count_max != HYPERS_HEADER_COUNT {
        builder.max_headers(limits.header_count_max);
    }
    builder
}

/// What hyper allows where it is told nothing.
const HYPERS_HEADER_COUNT: usize = 100;
/// What a connection may hold of a body on its way up. It grows to this where the client fills it and
/// the backend takes it.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Why a connection is served no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served {
    ToItsEnd,
    /// It is idle, and may rest.
    ForNow,
}

/// Until it ends, is closed by the sweeper or may rest; a drain is told to it once, by `shut`.
pub async fn until_ended<F: Future<Output = hyper::Result<()>>>(
    core: &Core,
    connection: &Connection,
    mut serving: Pin<&mut F>,
    shut: impl Fn(Pin<&mut F>),
) -> Served {
    let mut told = false;
    std::future::poll_fn(|context: &mut Context<'_>| {
        if connection.is_to_close() {
            return Poll::Ready(Served::ToItsEnd);
        }
        let leaving = core.is_draining()
            || connection.is_leaving()
            || (core.is_retiring() && connection.is_multiplexed());
        if leaving && !told {
            told = true;
            shut(serving.as_mut());
        }
        connection.watch(context);
        // A connection that fails has nobody left to be told; its exchange has written its line.
        if let Poll::Ready(ended) = serving.as_mut().poll(context) {
            if let Err(error) = &ended {
                unread::note(core, connection, error);
            }
            return Poll::Ready(Served::ToItsEnd);
        }
        if connection.has_unseen_cut() {
            // The client takes nothing, so that nobody asked the body: it gets no more of it.
            connection.abort();
            return Poll::Ready(Served::ToItsEnd);
        }
        if connection.may_rest() && !told { Poll::Ready(Served::ForNow) } else { Poll::Pending }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_each_connection_is_small() {
        fn plain<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        fn begun<A, B, C, D, E, G, F>(_: impl FnOnce(A, B, C, D, E, G) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let (plain, begun) = (plain(drive), begun(begin));
        assert!(plain <= 1024 && begun <= 4096, "{plain} and {begun} bytes");
    }

    #[test]
    fn what_a_request_takes_is_little_to_move() {
        fn answered<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let answered = answered(super::super::handle);
        assert!(answered <= 3584, "{answered} bytes");
    }
}
