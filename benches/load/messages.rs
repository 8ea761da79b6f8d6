//! Messages through a tunnel and back: `address`, `connections`, `size`, `seconds`, `secret`,
//! `issuer`; `pause_ms` where they shall come at a slower pace. Each connection sends one, waits for
//! its echo, compares it, and sends the next.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;

use super::wire::Place;
use super::{Arguments, frames, tokens};

pub async fn exchange(arguments: &Arguments) {
    let place = Rc::new(Place::of(arguments));
    let size: usize = arguments.number("size");
    let length = Duration::from_secs(arguments.number("seconds"));
    let (secret, issuer) = (arguments.text("secret"), arguments.text("issuer"));
    let pause = arguments.maybe("pause_ms").map(|ms| Duration::from_millis(ms.parse().unwrap()));
    let mut running = Vec::new();
    for number in 0..arguments.number::<usize>("connections") {
        let token = tokens::mint(secret, issuer, &format!("user-{number}"), "messages");
        let mut connection = place.connect().await;
        connection.upgrade(&token).await;
        running.push(tokio::task::spawn_local(async move {
            let sent = vec![b'a' + u8::try_from(number % 26).unwrap(); size];
            let mut frame = BytesMut::new();
            frames::put(&mut frame, frames::TEXT, &sent, true);
            let (start, mut count) = (Instant::now(), 0_u64);
            while start.elapsed() < length {
                connection.stream.write_all(&frame).await.expect("a message is taken");
                let echo = loop {
                    match frames::take(&mut connection.buffer) {
                        Some(echo) => break echo,
                        None => connection.more().await,
                    }
                };
                assert!(echo.first == frames::TEXT && echo.payload[..] == sent[..], "the echo");
                count += 1;
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
            }
            count
        }));
    }
    let mut count = 0;
    for one in running {
        count += one.await.expect("every echo is right");
    }
    println!("{}", serde_json::json!({ "messages": count, "bytes": count * size as u64 }));
}
