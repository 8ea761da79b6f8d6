//! A full TLS handshake, one request, and the end of the connection, again and again: `address`,
//! `certificate`, `connections` (at a time), `seconds`.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Arguments;
use super::wire::Place;

pub async fn shake(arguments: &Arguments) {
    let place = Rc::new(Place::of(arguments));
    let length = Duration::from_secs(arguments.number("seconds"));
    let mut running = Vec::new();
    for _ in 0..arguments.number::<usize>("connections") {
        let place = Rc::clone(&place);
        running.push(tokio::task::spawn_local(async move {
            let (start, mut count) = (Instant::now(), 0_u64);
            let request = "GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            while start.elapsed() < length {
                let (status, body) = place.connect().await.ask(request).await;
                assert!(status == 200 && body.len() == 1024, "{status}, {} bytes", body.len());
                count += 1;
            }
            count
        }));
    }
    let mut count = 0;
    for one in running {
        count += one.await.expect("every request is answered");
    }
    println!("{}", serde_json::json!({ "requests": count }));
}
