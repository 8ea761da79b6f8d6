//! The log says which server gave no answer and why, and `status` that none does. Whoever asked learns
//! neither.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Answer, Authority, Gateway, Issuer, Setup, Upstream, nobody};

/// Behind one server, with these lines of its upstream and of the route.
fn before(url: &str, upstream: &str, route: &str) -> Gateway {
    Setup::new()
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at("app", url, upstream)
        .route("/", &format!("access = \"public\"\n{route}"))
        .start()
}

/// The line's detail is this, and nothing of what the server's address and its fault are is in the answer.
#[track_caller]
fn told(gateway: &Gateway, answer: &Answer, server: SocketAddr, detail: &str) {
    let line = gateway.access_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["detail"], detail);
    let whole = format!("{}{}", answer.head, answer.text());
    let inner = [server.to_string(), server.port().to_string(), "127.0.0.1".to_owned()];
    let (_, cause) = detail.rsplit_once(": ").unwrap();
    for inner in inner.iter().map(String::as_str).chain([cause]) {
        assert!(!whole.contains(inner), "{inner} in {whole}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_named_with_the_reason_in_the_log_only() {
    let server = nobody();
    let expected = format!("The backend cannot be reached: {server}: Connection refused");
    let gateway = before(&format!("http://{server}"), "", "");
    for headers in [&[][..], &[("Accept", "text/html")]] {
        let answer = gateway.get("/", headers);
        assert_eq!(answer.status, 502);
        told(&gateway, &answer, server, &expected);
    }
    let gateway = before(&format!("http://{server}"), "http2 = true", "");
    told(&gateway, &gateway.get("/", &[]), server, &expected);
}

#[test]
fn a_server_that_gives_no_answer_is_named_with_what_it_did_instead() {
    for (sends, cause) in [
        ("", "the server closed the connection before the end"),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "the server's answer is no HTTP/1.1"),
    ] {
        let upstream = Upstream::answering(move |exchange| {
            exchange.send(sends);
            exchange.close();
        });
        let gateway = before(&upstream.url(), "", "");
        let answer = gateway.connect().request("POST", "/", &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_broken"));
        let server = upstream.address();
        told(&gateway, &answer, server, &format!("The backend gave no answer: {server}: {cause}"));
    }
}

#[test]
fn a_server_that_is_too_slow_is_named_with_how_long_it_was_waited_for() {
    let upstream = Upstream::answering(|exchange| while exchange.connection.exactly(1).is_ok() {});
    let server = upstream.address();
    let gateway = before(&upstream.url(), "response_timeout = \"200ms\"", "");
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    let detail = format!("The backend did not answer in time: {server}: no answer within 200ms");
    told(&gateway, &answer, server, &detail);
    let gateway = before(&upstream.url(), "", "timeout = \"200ms\"");
    let detail = "The backend did not answer in time: the route gives it 200ms";
    told(&gateway, &gateway.get("/", &[]), server, detail);
}

#[test]
fn a_server_whose_certificate_is_refused_is_named_with_what_is_wrong_with_it() {
    // Both have one name.
    let (ours, theirs) = (Authority::new(), Authority::new());
    let port = crate::upstream_tls::backend(&theirs.issue(&["localhost"]), None);
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let gateway = Setup::new()
        .file("ca.pem", &ours.pem)
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at("app", &format!("https://{server}"), "tls = { ca = \"ca.pem\" }")
        .route("/", "access = \"public\"")
        .start();
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_tls"));
    let detail = format!(
        "The TLS handshake with the backend failed: {server}: TLS: invalid peer certificate: BadSignature"
    );
    told(&gateway, &answer, server, &detail);
}

#[test]
fn status_says_that_the_only_server_of_an_upstream_fails_until_it_answers_again() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let upstream = Upstream::answering(move |exchange| match is_well.load(Ordering::SeqCst) {
        true => exchange.answer("200 OK", "", ""),
        false => exchange.close(),
    });
    let (server, gateway) = (upstream.address(), before(&upstream.url(), "", ""));
    let status = || gateway.admin().get("/v1/status");
    assert_eq!(
        (&status()["verdict"], &status()["upstreams"][0]["failed"]),
        (&"ok".into(), &0.into())
    );
    for _ in 0..2 {
        assert_eq!(gateway.get("/", &[]).status, 502);
    }
    assert_eq!(status()["verdict"], "ok", "two may be chance");
    assert_eq!(gateway.get("/", &[]).status, 502);
    let (degraded, shown) = (status(), gateway.command(&["status"], ""));
    let problem = &degraded["problems"][0];
    assert_eq!(
        (&degraded["verdict"], &problem["code"]),
        (&"degraded".into(), &"upstream_failing".into())
    );
    let detail = format!(
        "Upstream app: 3 requests failed in the last minute and none was answered since. \
         The backend gave no answer: {server}: the server closed the connection before the end."
    );
    assert_eq!(problem["detail"], detail);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.starts_with("Degraded.") && text.contains(&detail), "{text}");
    assert!(text.contains("app  1 server  3 requests failed in the last minute"), "{text}");
    well.store(true, Ordering::SeqCst);
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(
        (&status()["verdict"], &status()["upstreams"][0]["failed"]),
        (&"ok".into(), &3.into())
    );
}
