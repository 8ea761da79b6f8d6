//! Uploads: they end in the middle, with a refusal or beside an answer which has begun already, and
//! never look whole to the backend.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use crate::support::http2::{next, request};
use crate::support::{Connection, Gateway, Http2, Issuer, PATIENCE, Setup, Upstream, eventually};

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
    let received = told.recv_timeout(PATIENCE).expect("the upload ends");
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

/// A gateway before a backend that reads an upload and says how its connection ended.
fn uploads(streams: &str) -> (Issuer, Gateway, Receiver<(String, Option<ErrorKind>)>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::answering(move |exchange| {
        let (bytes, broken) = exchange.connection.until_gone();
        tell.lock().unwrap().send((String::from_utf8(bytes).unwrap(), broken)).unwrap();
        exchange.close();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "leeway = \"0s\"")
        .upstream("app", &upstream, "")
        .route("/", &format!("name = \"all\"\nstreams = {{ {streams} }}"))
        .start();
    (issuer, gateway, told)
}

fn begin(gateway: &Gateway, token: &str) -> Connection {
    let mut connection = gateway.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n6\r\nbefore\r\n"
    ));
    eventually("it is listed with its bytes", || {
        let listed = gateway.admin().get("/v1/streams?kind=request");
        let items = listed["items"].as_array()?;
        items.iter().any(|item| item["bytes_in"] == 6).then_some(())
    });
    connection
}

#[track_caller]
fn ends(mut client: Connection, told: &Receiver<(String, Option<ErrorKind>)>, code: &str) {
    let answer = client.answer();
    assert_eq!((answer.status, answer.code().as_str()), (401, code));
    let (seen, _) = told.recv_timeout(PATIENCE).expect("the backend's connection ends");
    // Neither an end of the body nor anything that came after the cut.
    assert_eq!(seen, "6\r\nbefore\r\n");
}

#[test]
fn an_upload_that_is_denied_in_the_middle_gets_a_401_and_never_looks_whole_to_the_backend() {
    let (issuer, gateway, told) = uploads("");
    let alice = begin(&gateway, &issuer.mint("alice"));
    gateway.admin().revoke(json!({"user": "alice"}));
    ends(alice, &told, "token_revoked");
    let line = eventually("its log line", || gateway.access_log().into_iter().next());
    assert_eq!((&line["reason"], &line["bytes_in"]), (&json!("token_revoked"), &json!(6)));
}

#[test]
fn an_upload_ends_with_its_token_and_a_request_that_only_waits_does_not() {
    let (issuer, gateway, told) = uploads("");
    let mut waiting = gateway.connect();
    let token = issuer.token("alice").times(-10, 5).mint();
    waiting.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"));
    let upload = begin(&gateway, &token);
    ends(upload, &told, "token_expired");
    eventually("the one that waits is all that is left", || {
        let listed = gateway.admin().get("/v1/streams?kind=request");
        (listed["items"].as_array()?.len() == 1).then_some(())
    });
}

#[test]
fn an_upload_has_the_grace_of_its_route_and_goes_on_with_a_new_token() {
    let (issuer, gateway, told) = uploads("on_revoked = \"grace:4s\"");
    let mint = |seconds| issuer.token("alice").claim("sid", "s").times(-10, seconds).mint();
    let started = Instant::now();
    let mut upload = begin(&gateway, &mint(5));
    let bearer = format!("Bearer {}", mint(60));
    let headers = [("Authorization", bearer.as_str()), ("Sec-Fetch-Site", "same-origin")];
    let answer = gateway.connect().request("POST", "/.auth/streams", &headers, b"");
    assert_eq!(answer.json()["rebased"], 1, "{}", answer.text());
    std::thread::sleep(Duration::from_secs(6).saturating_sub(started.elapsed()));
    let denied = Instant::now();
    gateway.admin().revoke(json!({"user": "alice"}));
    upload.send("5\r\ngrace\r\n");
    let answer = upload.answer();
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_revoked"));
    assert!(denied.elapsed() >= Duration::from_millis(3900), "{:?}", denied.elapsed());
    let (seen, _) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(seen, "6\r\nbefore\r\n5\r\ngrace\r\n");
}

#[test]
fn an_upload_whose_route_changes_so_that_it_could_not_begin_is_refused() {
    let (issuer, gateway, told) = uploads("");
    let mut upload = begin(&gateway, &issuer.mint("alice"));
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let after = text.replace("name = \"all\"\n", "name = \"all\"\nrequire.scopes = [\"x\"]\n");
    std::fs::write(gateway.config(), after).unwrap();
    assert_eq!(gateway.admin().post("/v1/config/reload", &json!({}))["reloaded"], true);
    let answer = upload.answer();
    assert_eq!((answer.status, answer.code().as_str()), (403, "route_changed"));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().0, "6\r\nbefore\r\n");
}
