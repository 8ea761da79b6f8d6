//! Many connections that have been used once and then say nothing, until standard input ends:
//! `address`, `count`, `kind` (`http` or `ws`), `certificate` for TLS; for `ws` also `secret`,
//! `issuer` and `users`.

use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::wire::{Connection, Place};
use super::{Arguments, frames, tokens};

/// Opened at a time.
const TURNS: usize = 64;

pub async fn hold(arguments: &Arguments) {
    let place = Rc::new(Place::of(arguments));
    let count: usize = arguments.number("count");
    let websocket = arguments.text("kind") == "ws";
    let turns = Rc::new(Semaphore::new(TURNS));
    let opening: Vec<_> = (0..count)
        .map(|number| {
            let (place, turns) = (Rc::clone(&place), Rc::clone(&turns));
            let token = websocket.then(|| {
                let users: usize = arguments.number("users");
                let user = format!("user-{}", number % users);
                let (secret, issuer) = (arguments.text("secret"), arguments.text("issuer"));
                tokens::mint(secret, issuer, &user, &format!("session-{number}"))
            });
            tokio::task::spawn_local(async move {
                let _turn = turns.acquire().await.unwrap();
                open(&place, token.as_deref()).await
            })
        })
        .collect();
    let mut held = Vec::with_capacity(count);
    for one in opening {
        held.push(one.await.expect("each connection is answered"));
    }
    println!("{}", held.len());
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.ok();
}

/// One that has had its answer: a small body, or an echo.
async fn open(place: &Place, token: Option<&str>) -> Connection {
    let mut connection = place.connect().await;
    let Some(token) = token else {
        let request = "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (status, _) = connection.ask(request).await;
        assert_eq!(status, 200, "the held connection's request");
        return connection;
    };
    connection.upgrade(token).await;
    let mut frame = BytesMut::new();
    frames::put(&mut frame, frames::TEXT, b"12345678", true);
    connection.stream.write_all(&frame).await.unwrap();
    loop {
        if let Some(frame) = frames::take(&mut connection.buffer) {
            assert_eq!(&frame.payload[..], b"12345678");
            return connection;
        }
        connection.more().await;
    }
}
