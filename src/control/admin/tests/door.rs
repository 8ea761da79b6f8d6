//! The forms of requests, and where they may come from.

use http::{Method, StatusCode};
use serde_json::json;

use super::bed::{Ask, Bed};

fn revoke() -> Ask {
    Ask::post("/v1/revoke", &json!({"issuer": "main", "user": "alice"}))
}

#[tokio::test]
async fn a_browser_that_was_made_to_ask_is_refused() {
    let bed = Bed::start().await;
    let own = format!("http://{}", bed.address);
    for (name, value, good) in [
        ("host", "evil.example", false),
        ("host", "gateway.example.com:9900", true),
        ("host", "localhost:1", true),
        ("origin", "https://evil.example", false),
        ("origin", "null", false),
        ("origin", own.as_str(), true),
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "same-origin", true),
    ] {
        let answer = bed.send(revoke().header(name, value)).await;
        let expected = if good { "" } else { "cross_site" };
        assert_eq!((answer.code(), answer.status.is_success()), (expected, good), "{name} {value}");
        let read = bed.send(Ask::get("/v1/status").header(name, value)).await;
        assert_eq!(read.status.is_success(), good, "{name} {value}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
    }
}

#[tokio::test]
async fn only_json_is_taken() {
    let bed = Bed::start().await;
    for good in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let answer = bed.send(revoke().header("content-type", good)).await;
        assert!(answer.status.is_success(), "{good}");
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/jsonx",
        "text/plain; application/json",
    ] {
        let answer = bed.send(revoke().header("content-type", bad)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json")
        );
    }
    let answer = bed.send(revoke().without("content-type")).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_body_is_bounded_and_its_json_is_strict() {
    let bed = Bed::start().await;
    let send = async |body: String| {
        let mut ask = revoke();
        ask.body = Some(body);
        bed.send(ask).await
    };
    let sized = |size: usize| {
        let body = r#"{"issuer":"main","user":"alice"}"#;
        format!("{body}{}", " ".repeat(size - body.len()))
    };
    assert!(send(sized(64 * 1024)).await.status.is_success());
    let large = send(sized(64 * 1024 + 1)).await;
    assert_eq!((large.status, large.code()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    let double = send(r#"{"issuer":"main","user":"alice","user":"bob"}"#.to_owned()).await;
    assert_eq!((double.status, double.code()), (StatusCode::BAD_REQUEST, "duplicate_member"));
    assert!(double.body["detail"].as_str().unwrap().starts_with("/user "));
    let broken = send("{\n  \"user\": alice }".to_owned()).await;
    assert_eq!((broken.status, broken.code()), (StatusCode::BAD_REQUEST, "malformed_json"));
    assert!(broken.body["detail"].as_str().unwrap().contains("line 2 column"));
    for empty in ["", " ", "null", "[]", "\"x\"", "{}"] {
        let answer = send(empty.to_owned()).await;
        assert!(answer.status.is_client_error(), "{empty}");
    }
    assert_eq!(bed.store.count(), 1);
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_is_not_stored() {
    let bed = Bed::start().await;
    let mut ids = std::collections::HashSet::new();
    for ask in [
        revoke(),
        Ask::get("/livez"),
        Ask::get("/nothing"),
        Ask::get("/v1/status").without("authorization"),
        revoke().header("origin", "null"),
    ] {
        let answer = bed.send(ask).await;
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(answer.headers["cache-control"], "no-store");
        if !answer.status.is_success() {
            assert_eq!(answer.headers["content-type"], "application/problem+json");
            assert_eq!(answer.body["request_id"], id);
            assert_eq!(answer.body["status"], answer.status.as_u16());
        }
        ids.insert(id);
    }
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_so() {
    let bed = Bed::start().await;
    for path in [
        "/",
        "/v1",
        "/v1/denials/",
        "/v1/denials/dn_x/other",
        "/v1/audit/x",
        "/v2/status",
        "/v1/status/",
    ] {
        let answer = bed.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for (method, path, allow) in [
        (Method::GET, "/v1/revoke", "POST"),
        (Method::PUT, "/v1/denials", "GET, HEAD, POST"),
        (Method::POST, "/v1/status", "GET, HEAD"),
        (Method::OPTIONS, "/v1/denials", "GET, HEAD, POST"),
        (Method::DELETE, "/livez", "GET, HEAD"),
    ] {
        let answer = bed.send(Ask::new(method, path)).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.headers["allow"], allow);
    }
    let head = bed.send(Ask::new(Method::HEAD, "/v1/status")).await;
    assert_eq!((head.status, head.body), (StatusCode::OK, serde_json::Value::Null));
}

#[tokio::test]
async fn probes_need_no_credential_and_ready_turns_with_the_gateway() {
    let bed = Bed::start().await;
    let probe = |path: &str| Ask::get(path).without("authorization").header("host", "10.1.2.3");
    assert_eq!(bed.send(probe("/livez")).await.status, StatusCode::OK);
    assert_eq!(bed.send(probe("/readyz")).await.status, StatusCode::OK);
    bed.ready.store(false, std::sync::atomic::Ordering::Release);
    assert_eq!(bed.send(probe("/livez")).await.status, StatusCode::OK);
    let not = bed.send(probe("/readyz")).await;
    assert_eq!((not.status, not.code()), (StatusCode::SERVICE_UNAVAILABLE, "not_ready"));
    assert_eq!(not.headers["retry-after"], "5");
    assert_eq!(bed.get("/v1/status").await.body["verdict"], "degraded");
}

#[tokio::test]
async fn a_stopped_server_finishes_and_takes_its_socket_along() {
    let bed = Bed::start().await;
    assert!(bed.get("/livez").await.status.is_success());
    let address = bed.address;
    let socket = bed.stop().await;
    assert!(!socket.exists());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_socket_peer_is_named_by_its_uid() {
    let bed = Bed::start().await;
    let uid = rustix::process::geteuid().as_raw();
    let ask = revoke().without("authorization").header("x-portcullis-client", "cli");
    let made = bed.send_by_socket(ask).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let by = &made.body["created_by"];
    assert_eq!(by["name"], format!("uid {uid}"));
    assert_eq!((&by["role"], &by["via"]), (&json!("admin"), &json!("cli")));
    assert!(by.get("address").is_none());
    let wrong = revoke().header("authorization", "Bearer wrong");
    assert_eq!(bed.send_by_socket(wrong).await.status, StatusCode::UNAUTHORIZED);
    let weaker = bed.send_by_socket(revoke().by("viewer")).await;
    assert_eq!(weaker.code(), "role_too_small");
}

#[tokio::test]
async fn connections_are_bounded_and_a_full_tcp_listener_leaves_the_socket_usable() {
    let bed = Bed::start().await;
    let mut held = Vec::new();
    for _ in 0..crate::control::admin::serve::CONNECTIONS_MAX {
        held.push(tokio::net::TcpStream::connect(bed.address).await.unwrap());
    }
    let mut waiting = Box::pin(bed.get("/livez"));
    // Were it served, it would be before this is.
    let by_socket = bed.send_by_socket(Ask::get("/livez"));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("one more than the limit was served"),
        answer = by_socket => assert!(answer.status.is_success()),
    }
    held.pop();
    assert!(waiting.await.status.is_success());
}

#[tokio::test]
async fn a_head_that_is_slow_or_large_hinders_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bed = Bed::start().await;
    let mut slow = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ").await.unwrap();
    assert!(bed.get("/livez").await.status.is_success());
    let mut large = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: {}", "a".repeat(70_000));
    large.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The rest of what was sent may turn the end into a reset.
    let _ = large.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
    drop(slow);
}
