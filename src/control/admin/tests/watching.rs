//! Events: changes and refusals as they happen.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::bed::{Ask, Bed, PARTNER, credential, refusal};

/// A watcher that reads one event after the other.
struct Watcher {
    body: Incoming,
    text: String,
}

impl Watcher {
    async fn start(bed: &Bed, name: &str, query: &str, last: Option<u64>) -> Self {
        let stream = tokio::net::TcpStream::connect(bed.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::get(format!("/v1/events{query}"))
            .header("host", bed.address.to_string())
            .header("authorization", format!("Bearer {}", credential(name)));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        // The connection lives as long as its answer is read.
        std::mem::forget(sender);
        let mut watcher = Self { body: answer.into_body(), text: String::new() };
        // The first sign says that it watches.
        assert!(watcher.block().await.unwrap().starts_with(": events"));
        watcher
    }

    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(30), self.body.frame());
            let frame = frame.await.expect("something comes in time")?.ok()?;
            let data = frame.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Name, id and data of the next event.
    async fn next(&mut self) -> (String, Option<u64>, Value) {
        loop {
            let block = self.block().await.expect("it goes on");
            if block.starts_with(':') {
                continue;
            }
            let of = |name: &str| {
                let mut lines = block.lines();
                lines
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                    .map(str::to_owned)
            };
            let id = of("id").map(|id| id.parse().unwrap());
            let data = serde_json::from_str(&of("data").unwrap()).unwrap();
            return (of("event").unwrap(), id, data);
        }
    }
}

#[tokio::test]
async fn a_change_is_told_when_it_is_made_and_whoever_comes_back_misses_none() {
    let bed = Bed::start().await;
    let block = |user: &str| json!({"issuer": "main", "user": user});
    let before = bed.post("/v1/block", block("before")).await;
    let mut watcher = Watcher::start(&bed, "viewer", "", None).await;
    let id = bed.post("/v1/block", block("alice")).await.id();
    let (event, first, data) = watcher.next().await;
    assert_eq!((event.as_str(), &data["subject"]), ("denied", &json!("alice")), "from now on");
    bed.send(Ask::new(http::Method::DELETE, &format!("/v1/denials/{id}"))).await;
    let (event, _, data) = watcher.next().await;
    assert_eq!((event.as_str(), &data["denial"]), ("undone", &json!(id)));
    drop(watcher);
    bed.post("/v1/block", block("bob")).await;
    let mut again = Watcher::start(&bed, "viewer", "", first).await;
    let events = [again.next().await, again.next().await];
    assert_eq!(events.map(|(event, _, _)| event), ["undone", "denied"]);
    let since = before.body["sequence"].as_u64().unwrap();
    let mut all = Watcher::start(&bed, "viewer", &format!("?after={}", since - 1), None).await;
    assert_eq!(all.next().await.2["subject"], "before");
    let mut other = Watcher::start(&bed, "viewer", "?after=999999", None).await;
    assert_eq!(other.next().await.0, "reset");
    assert_eq!(bed.get("/v1/events?after=x").await.code(), "invalid_query");
}

#[tokio::test]
async fn refusals_are_told_to_those_who_watch_and_may_see_them() {
    let bed = Bed::start().await;
    let mut all = Watcher::start(&bed, "viewer", "", None).await;
    let mut bound = Watcher::start(&bed, "partner-backend", "", None).await;
    let mut changes = Watcher::start(&bed, "viewer", "?verdicts=false", None).await;
    let signed = |claims: Value| {
        let token = bed.token(claims);
        std::sync::Arc::clone(bed.verified(&token).signed())
    };
    bed.refusals.add(refusal("r-1", Some(signed(json!({}))), "token_revoked"));
    bed.refusals.add(refusal("r-2", None, "token_missing"));
    let own = json!({"iss": PARTNER, "sub": "pat", "jti": "t-2"});
    bed.refusals.add(refusal("r-3", Some(signed(own)), "token_revoked"));
    for id in ["r-1", "r-2", "r-3"] {
        let (event, sequence, data) = all.next().await;
        assert_eq!((event.as_str(), sequence, &data["request_id"]), ("refused", None, &json!(id)));
        assert_eq!((&data["code"].is_string(), &data["status"]), (&true, &json!(401)));
    }
    let (_, _, seen) = bound.next().await;
    assert_eq!((&seen["request_id"], &seen["subject"]), (&json!("r-3"), &json!("pat")));
    bed.post("/v1/block", json!({"issuer": "main", "user": "alice"})).await;
    assert_eq!(changes.next().await.0, "denied");
    // More than wait for a watcher are counted, and he goes on.
    for number in 0..3_000 {
        bed.refusals.add(refusal(&format!("r-{number}"), None, "token_missing"));
    }
    loop {
        let (event, _, data) = all.next().await;
        if event == "left_out" {
            assert!(data["verdicts"].as_u64().unwrap() > 0);
            break;
        }
    }
}

#[tokio::test]
async fn watchers_are_bounded_and_end_with_the_gateway() {
    let bed = Bed::start().await;
    let mut watchers = Vec::new();
    for _ in 0..32 {
        watchers.push(Watcher::start(&bed, "viewer", "", None).await);
    }
    assert_eq!(bed.get("/v1/events").await.code(), "too_many_streams");
    bed.ready.store(false, std::sync::atomic::Ordering::Release);
    let mut last = watchers.pop().unwrap();
    assert!(last.block().await.is_none(), "its end is a clean one");
}
