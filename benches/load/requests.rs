//! Requests over HTTP/1.1 or HTTP/2 that must all be answered well, whatever happens to the
//! gateway: `address`, `certificate` for TLS, `http` (1 or 2), `connections`, `each` (requests of a
//! connection at a time, HTTP/2), `pause_ms`, `token`, and an end of standard input to stop.
//!
//! A connection that the server ends in good order is opened anew: `Connection: close`, GOAWAY, or
//! its end before a request was sent on it. Everything else that is not 200 is a failure, and so is
//! a connection that is refused.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::task::spawn_local;

use super::Arguments;
use super::wire::Place;

/// One kind of connection.
enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

#[derive(Clone)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(async {
            future.await;
        });
    }
}

#[derive(Default)]
struct Tally {
    answered: Cell<u64>,
    connections: Cell<u64>,
    failures: RefCell<Vec<String>>,
    stop: Cell<bool>,
}

pub async fn ask_on(arguments: &Arguments) {
    let (place, tally) = (Rc::new(Place::of(arguments)), Rc::new(Tally::default()));
    let two = arguments.text("http") == "2";
    let each = if two { arguments.number::<usize>("each") } else { 1 };
    let pause = Duration::from_millis(arguments.number("pause_ms"));
    let token = Rc::new(arguments.text("token").to_owned());
    let running: Vec<_> = (0..arguments.number::<usize>("connections"))
        .map(|_| {
            let (place, tally, token) = (Rc::clone(&place), Rc::clone(&tally), Rc::clone(&token));
            spawn_local(async move {
                while !tally.stop.get() {
                    tally.connections.set(tally.connections.get() + 1);
                    match open(&place, two).await {
                        Ok(sender) => converse(sender, each, pause, &token, &tally).await,
                        Err(fault) => tally.fail(format!("no connection: {fault}")),
                    }
                }
            })
        })
        .collect();
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.ok();
    tally.stop.set(true);
    for one in running {
        one.await.unwrap();
    }
    let failures = tally.failures.borrow();
    println!(
        "{}",
        json!({
            "answered": tally.answered.get(), "connections": tally.connections.get(),
            "failed": failures.len(), "first": failures.iter().take(5).collect::<Vec<_>>(),
        })
    );
}

async fn open(place: &Place, two: bool) -> Result<Sender, String> {
    let io = TokioIo::new(place.try_connect(two).await.map_err(|fault| fault.to_string())?);
    if two {
        let (sender, connection) =
            http2::handshake(Local, io).await.map_err(|fault| format!("{fault:?}"))?;
        spawn_local(connection);
        return Ok(Sender::Two(sender));
    }
    let (sender, connection) = http1::handshake(io).await.map_err(|fault| format!("{fault:?}"))?;
    spawn_local(connection);
    Ok(Sender::One(sender))
}

/// Until the connection ends, or all of it.
async fn converse(sender: Sender, each: usize, pause: Duration, token: &str, tally: &Rc<Tally>) {
    match sender {
        Sender::One(mut sender) => {
            while !tally.stop.get() && sender.ready().await.is_ok() {
                let answer = sender.send_request(request(token)).await;
                if !judge(answer, tally).await {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        }
        Sender::Two(sender) => {
            let asking: Vec<_> = (0..each)
                .map(|_| {
                    let (mut sender, tally, token) =
                        (sender.clone(), Rc::clone(tally), token.to_owned());
                    spawn_local(async move {
                        while !tally.stop.get() && sender.ready().await.is_ok() {
                            let answer = sender.send_request(request(&token)).await;
                            if !judge(answer, &tally).await {
                                return;
                            }
                            tokio::time::sleep(pause).await;
                        }
                    })
                })
                .collect();
            for one in asking {
                one.await.unwrap();
            }
        }
    }
}

fn request(token: &str) -> Request<Empty<Bytes>> {
    let request = Request::get("http://localhost/").header("host", "localhost");
    request.header("authorization", format!("Bearer {token}")).body(Empty::new()).unwrap()
}

/// `false`: the connection is over.
async fn judge(answer: Result<Response<Incoming>, hyper::Error>, tally: &Tally) -> bool {
    match answer {
        // Never sent, so nothing was refused.
        Err(fault) if fault.is_canceled() => false,
        Err(fault) => {
            tally.fail(format!("{fault:?}"));
            false
        }
        Ok(answer) => {
            let status = answer.status();
            match answer.into_body().collect().await {
                Ok(_) if status == 200 => tally.answered.set(tally.answered.get() + 1),
                Ok(_) => tally.fail(format!("answered {status}")),
                Err(fault) => tally.fail(format!("a body that broke off: {fault:?}")),
            }
            true
        }
    }
}

impl Tally {
    fn fail(&self, what: String) {
        self.failures.borrow_mut().push(what);
    }
}
