//! gRPC calls: through the gateway whole, with their trailers; refused and cut in the words of gRPC.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::support::http2::{next, request, whole};
use crate::support::{Gateway, Http2, Issuer, Setup, Upstream, peers, run_to_end};

/// One message with its prefix.
fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[0][..], &length, content].concat()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n";
const END: &str = "0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n";

/// A backend that speaks gRPC over HTTP/1.1: `/echo.Echo/Unary` gives back what it got, `Stream`
/// sends a message every few milliseconds for ever, `Half` stops in the middle of one.
fn backend() -> Upstream {
    Upstream::answering(|exchange| match exchange.received.target.as_str() {
        "/echo.Echo/Stream" => {
            exchange.send(HEAD);
            while exchange.connection.try_send(chunk(&message(b"tick"))).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
            exchange.close();
        }
        "/echo.Echo/Half" => {
            exchange.send(HEAD);
            exchange.send(chunk(&message(b"whole")));
            exchange.send(chunk(&message(b"half")[..7]));
            let _ = exchange.connection.rest();
            exchange.close();
        }
        _ => {
            exchange.read_body();
            let body = exchange.received.body.clone();
            exchange.send(HEAD);
            exchange.send(chunk(&body));
            exchange.send(END);
        }
    })
}

fn start(issuer: &Issuer, upstream: &Upstream) -> Gateway {
    Setup::simple(issuer, upstream)
        .upstream_at("gone", "http://127.0.0.1:1", "")
        .route("/echo.Echo", "")
        .route("/admin.Admin", "require = { scopes = [\"admin\"] }")
        .route("/gone.Gone", "access = \"public\"\nupstream = \"gone\"")
        .start()
}

#[test]
fn a_call_goes_through_with_its_messages_and_trailers() {
    let (issuer, upstream) = (Issuer::new("HS256"), backend());
    let gateway = start(&issuer, &upstream);
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut client = Http2::open(&gateway.address);
    for content in [&b""[..], b"hello", &[7; 200_000]] {
        let (answer, mut body) = client.send(request("POST", "/echo.Echo/Unary", &headers), false);
        body.send_data(Bytes::from(message(content)), true).unwrap();
        let answer = client.wait(whole(answer)).unwrap();
        assert_eq!((answer.status, answer.body == message(content)), (200, true));
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "fine");
        assert_eq!(upstream.last().header("te"), Some("trailers"));
    }
}

#[test]
fn a_refusal_of_a_call_is_a_status_of_grpc_and_of_any_other_request_is_not() {
    let (issuer, upstream) = (Issuer::new("HS256"), backend());
    let gateway = start(&issuer, &upstream);
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let mut client = Http2::open(&gateway.address);
    let call = ("content-type", "application/grpc+proto");
    for (path, authorization, status, http) in [
        ("/echo.Echo/Unary", "Basic eDp5", "16", 401),
        ("/admin.Admin/Do", bearer.as_str(), "7", 403),
        ("/none.None/Do", bearer.as_str(), "12", 404),
        ("/echo.Echo/%2e%2e/Do", bearer.as_str(), "3", 400),
        ("/gone.Gone/Do", bearer.as_str(), "14", 502),
    ] {
        let with = |headers: &[(&str, &str)]| request("POST", path, headers);
        let authorization = ("authorization", authorization);
        let answer = client.try_get(with(&[authorization, call])).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.header("grpc-status"), Some(status), "{path}");
        assert!(!answer.header("grpc-message").unwrap().is_empty());
        let line = gateway.access_line(answer.header("x-request-id").unwrap());
        assert!(line["reason"].is_string(), "{line}");
        let plain = client.try_get(with(&[authorization, ("content-type", "text/plain")])).unwrap();
        assert_eq!((plain.status, plain.header("grpc-status")), (http, None), "{path}");
    }
}

#[test]
fn a_cut_call_ends_with_a_status_between_messages_and_is_reset_within_one() {
    let (issuer, upstream) = (Issuer::new("HS256"), backend());
    let gateway = start(&issuer, &upstream);
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/grpc")];
    let mut client = Http2::open(&gateway.address);
    let open = |client: &mut Http2, path: &str| {
        let (answer, _) = client.send(request("POST", path, &headers), true);
        let mut body = client.wait(answer).unwrap().into_body();
        let first = client.wait(next(&mut body)).unwrap().unwrap();
        (body, first.len())
    };
    let (mut stream, _) = open(&mut client, "/echo.Echo/Stream");
    let (mut half, mut came) = open(&mut client, "/echo.Echo/Half");
    while came < message(b"whole").len() + 7 {
        came += client.wait(next(&mut half)).unwrap().unwrap().len();
    }
    gateway.admin().revoke(json!({"user": "alice"}));
    let (body, trailers) = client.wait(async {
        let mut all = Vec::new();
        while let Some(bytes) = next(&mut stream).await {
            all.extend_from_slice(&bytes.unwrap());
        }
        (all, stream.trailers().await.unwrap())
    });
    assert_eq!(body.len() % message(b"tick").len(), 0, "whole messages only");
    let trailers = trailers.expect("trailers");
    assert_eq!(trailers["grpc-status"], "16");
    assert_eq!(trailers["grpc-message"], "The token was revoked");
    let error = client.wait(async {
        loop {
            match next(&mut half).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("it looks whole"),
            }
        }
    });
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
}

#[test]
fn a_cut_call_of_grpc_web_is_reset_since_its_clients_see_no_trailers() {
    let (issuer, upstream) = (Issuer::new("HS256"), backend());
    let gateway = start(&issuer, &upstream);
    let mut client = Http2::open(&gateway.address);
    for kind in ["application/grpc-web+proto", "application/grpc-web-text"] {
        let bearer = format!("Bearer {}", issuer.mint(kind));
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let (answer, _) = client.send(request("POST", "/echo.Echo/Stream", &headers), true);
        let mut body = client.wait(answer).unwrap().into_body();
        client.wait(next(&mut body)).unwrap().unwrap();
        gateway.admin().revoke(json!({"user": kind}));
        let error = client.wait(async {
            loop {
                match next(&mut body).await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error,
                    None => panic!("it looks whole"),
                }
            }
        });
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{kind}");
    }
}

#[test]
fn the_grpc_library_calls_streams_and_understands_refusal_and_cut() {
    let (issuer, upstream) = (Issuer::new("ES256"), backend());
    let gateway = start(&issuer, &upstream);
    let token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let output = run_to_end(
        std::process::Command::new(peers::python())
            .arg(peers::script("grpc_client.py"))
            .args([&gateway.address, &gateway.admin_url()])
            .env("TOKEN", issuer.mint("alice"))
            .env("ADMIN_TOKEN", token.trim()),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
