//! Uploads that go on beside an answer which has begun already: they end with it.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::support::http2::{next, request};
use crate::support::{Http2, Issuer, Setup, Upstream};

#[test]
fn an_upload_beside_a_cut_answer_over_http2_stops_at_once_and_never_looks_whole() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::answering(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        let rest = exchange.connection.rest();
        tell.lock().unwrap().send(rest).unwrap();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut client = Http2::open(gateway.url().strip_prefix("http://").unwrap());
    let alice = format!("Bearer {}", issuer.mint("alice"));
    let (answer, mut upload) =
        client.send(request("POST", "/", &[("authorization", &alice)]), false);
    upload.send_data(Bytes::from_static(b"before"), false).unwrap();
    let mut answer = client.wait(answer).unwrap().into_body();
    assert_eq!(client.wait(next(&mut answer)).unwrap().unwrap(), "first");
    gateway.admin().revoke(json!({"user": "alice"}));
    // The backend's connection ends while the client still holds its half open.
    let received = told.recv_timeout(Duration::from_secs(10)).expect("the upload ends");
    let (Ok(bytes) | Err(crate::support::ReadError::Broken(bytes))) = received else {
        panic!("still open")
    };
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("after") && !text.ends_with("0\r\n\r\n"), "{text:?}");
    let error = client.wait(next(&mut answer)).unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    // The stream is reset: what is sent now goes nowhere.
    assert!(upload.send_data(Bytes::from_static(b"after"), true).is_err());
}
