//! The guard of one HTTP/2 stream. hyper moves a stream's bytes and asks our body for more only when
//! the client has taken what it got; a client that takes nothing would so keep an answer open that
//! was cut, and the upstream connection behind it. The guard is polled with the stream's task, sees
//! both, and ends the task: hyper's halves are dropped and the client gets RST_STREAM CANCEL.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::proxy::connection::Connection;
use crate::proxy::grpc::Messages;
use crate::proxy::streams::Stream;

thread_local! {
    /// Of the stream whose task is being polled.
    static CURRENT: RefCell<Option<Rc<Guard>>> = const { RefCell::new(None) };
}

/// See the module.
pub struct Guard {
    connection: Rc<Connection>,
    /// What the exchange's token may cut.
    stream: RefCell<Option<Rc<Stream>>>,
    /// The answer's body was asked last and gave something: if the task waits all the same, it
    /// waits for the client.
    gave: Cell<bool>,
    /// How often it gave.
    count: Cell<u64>,
    /// The count at which the client stopped to take, and since when.
    stall: Cell<Option<(u64, Instant)>>,
    listed: Cell<bool>,
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// It guards the bytes of a WebSocket, and ends when it is told to.
    carries: bool,
    /// The guard of the WebSocket that this stream became.
    switched: RefCell<Option<Rc<Self>>>,
    /// The key of a WebSocket handshake (RFC 8441) in the words of HTTP/1.1.
    pub websocket_key: RefCell<Option<String>>,
    /// The messages of a gRPC call's answer.
    pub grpc: RefCell<Option<Messages>>,
}

/// What the sweeper finds of a stream. Only one that waits need be asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Examined {
    Moves,
    Waits,
    GivenUp,
}

impl Guard {
    pub fn new(connection: &Rc<Connection>) -> Rc<Self> {
        Rc::new(Self::of(connection, false))
    }

    fn of(connection: &Rc<Connection>, carries: bool) -> Self {
        Self {
            connection: Rc::clone(connection),
            stream: RefCell::new(None),
            gave: Cell::new(false),
            count: Cell::new(0),
            stall: Cell::new(None),
            listed: Cell::new(false),
            over: Cell::new(false),
            waker: RefCell::new(None),
            carries,
            switched: RefCell::new(None),
            websocket_key: RefCell::new(None),
            grpc: RefCell::new(None),
        }
    }

    /// The stream became a WebSocket: the guard of the task that carries its bytes.
    pub fn switch(&self) -> Rc<Self> {
        let carrier = Rc::new(Self::of(&self.connection, true));
        self.switched.replace(Some(Rc::clone(&carrier)));
        carrier
    }

    /// See [`Self::switch`].
    pub fn switched(&self) -> Option<Rc<Self>> {
        self.switched.borrow().clone()
    }

    /// Of the stream whose task is being polled; `None` on HTTP/1.1.
    pub fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Option::clone)
    }

    /// The stream's task under this guard.
    pub async fn over(self: Rc<Self>, mut stream: Pin<Box<impl Future<Output = ()>>>) {
        std::future::poll_fn(|context| {
            if self.over.get() {
                return Poll::Ready(());
            }
            if self.carries {
                self.watch(context);
            }
            let before = CURRENT.replace(Some(Rc::clone(&self)));
            let polled = stream.as_mut().poll(context);
            CURRENT.set(before);
            if polled.is_pending() && self.is_over(context) {
                return Poll::Ready(());
            }
            polled
        })
        .await;
        self.over.set(true);
    }

    /// A cut of this ends the task, wherever it waits.
    pub fn hold(&self, stream: &Rc<Stream>) {
        self.stream.replace(Some(Rc::clone(stream)));
    }

    /// The answer's body was asked.
    pub fn asked(&self, gave: bool) {
        self.gave.set(gave);
        self.count.set(self.count.get() + u64::from(gave));
    }

    /// After the task has said that it waits.
    fn is_over(self: &Rc<Self>, context: &Context<'_>) -> bool {
        let cut = self.stream.borrow().as_ref().is_some_and(|stream| stream.is_cut());
        if self.over.get() || (cut && self.gave.get()) {
            return true;
        }
        if !self.gave.get() {
            self.stall.set(None);
            return false;
        }
        if self.stall.get().is_none_or(|(count, _)| count != self.count.get()) {
            self.stall.set(Some((self.count.get(), Instant::now())));
        }
        self.watch(context);
        if !self.listed.replace(true) {
            self.connection.list_stalled(self);
        }
        false
    }

    /// Asked by the sweeper: gives a stream up whose client has taken nothing for `patience`.
    pub fn examine(&self, now: Instant, patience: Duration) -> Examined {
        let Some((_, since)) = self.stall.get().filter(|_| !self.over.get()) else {
            self.listed.set(false);
            return Examined::Moves;
        };
        if now.duration_since(since) < patience {
            return Examined::Waits;
        }
        self.give_up();
        Examined::GivenUp
    }

    /// Ends the task before it is polled again. Where it had not ended by itself its client gets
    /// RST_STREAM CANCEL.
    pub fn give_up(&self) {
        self.over.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn watch(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }
}
