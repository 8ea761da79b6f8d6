//! Whose request it is: the same address in the log, in the list of streams and in the audit, whether
//! the client came itself or by way of a proxy, over TCP or over a unix socket.

use serde_json::json;

use crate::support::{Connection, Gateway, Issuer, Setup, Upstream, eventually};

const THROUGH_A_PROXY: &str = "6.6.6.6, 192.0.2.7:4711, 127.0.0.2";

fn start(issuer: &Issuer, server: &str) -> Gateway {
    let upstream = Upstream::answering(|exchange| {
        if exchange.received.target == "/events" {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
            // Until the gateway goes away.
            exchange.connection.rest().ok();
            exchange.close();
        } else {
            exchange.echo();
        }
    });
    Setup::simple(issuer, &upstream)
        .listen("[\"127.0.0.1:0\", \"unix:public.sock\"]")
        .server(server)
        .start()
}

fn over_unix(gateway: &Gateway) -> Connection {
    Connection::open_unix(&gateway.dir().join("public.sock"))
}

/// What the log, the list of streams, and the audit call the client of these connections.
fn told(gateway: &Gateway, token: &str, connect: impl Fn() -> Connection) -> [String; 3] {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", THROUGH_A_PROXY)];
    let mut open = connect();
    open.send(format!(
        "GET /events HTTP/1.1\r\nHost: app\r\nAuthorization: {bearer}\r\nX-Forwarded-For: {THROUGH_A_PROXY}\r\n\r\n"
    ));
    assert_eq!(open.head().unwrap().0, 200);
    let admin = gateway.admin();
    // Of a stream of somebody else the gateway may not know yet that it has ended.
    let (_, claims) = crate::assertions::opened(token);
    let path = format!("/v1/streams?kind=sse&user={}", claims["sub"].as_str().unwrap());
    let stream = eventually("its stream is in the list", || {
        admin.get(&path)["items"].as_array()?.first().cloned()
    });
    let answer = connect().get("/", &headers);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = gateway.access_line(answer.header("x-request-id").unwrap());
    let same_origin = [&headers[..], &[("Sec-Fetch-Site", "same-origin")]].concat();
    let answer = connect().request("POST", "/.auth/logout", &same_origin, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let acts = admin.get("/v1/audit");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
    [text(&line["client"]), text(&stream["client"]), text(&acts["items"][0]["by"]["address"])]
}

#[test]
fn the_log_the_list_of_streams_and_the_audit_name_the_client_that_a_trusted_proxy_names() {
    let issuer = Issuer::new("HS256");
    let behind = start(&issuer, "trusted_proxies = [\"127.0.0.0/8\"]");
    let token = issuer.mint("alice");
    assert_eq!(told(&behind, &token, || behind.connect()), ["192.0.2.7"; 3]);
    // Over the socket file nobody is trusted who is not listed.
    let other = issuer.mint("bob");
    assert_eq!(told(&behind, &other, || over_unix(&behind)), ["none"; 3]);
    let direct = start(&issuer, "");
    assert_eq!(told(&direct, &token, || direct.connect()), ["127.0.0.1"; 3]);
}

#[test]
fn a_proxy_on_a_unix_socket_is_believed_where_unix_is_listed_and_nobody_else() {
    let issuer = Issuer::new("HS256");
    let server = "trusted_proxies = [\"unix\", \"127.0.0.2\"]";
    let gateway = start(&issuer, server);
    let token = issuer.mint("alice");
    assert_eq!(told(&gateway, &token, || over_unix(&gateway)), ["192.0.2.7"; 3]);
    let other = issuer.mint("bob");
    assert_eq!(told(&gateway, &other, || gateway.connect()), ["127.0.0.1"; 3]);
    let shown = gateway.admin().get("/v1/config").to_string();
    assert!(shown.contains("[\"127.0.0.2/32\",\"unix\"]"), "{shown}");
    let bearer = format!("Bearer {}", issuer.mint("carol"));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
    ];
    let seen = over_unix(&gateway).get("/", &headers).text();
    assert!(seen.contains("192.0.2.7, unknown") && seen.contains("https"), "{seen}");
    let seen = gateway.connect().get("/", &headers).text();
    assert!(!seen.contains("192.0.2.7") && !seen.contains("https"), "{seen}");
}

#[test]
fn a_client_that_a_proxy_header_leaves_nameless_is_no_trusted_proxy() {
    let server = "proxy_protocol = [\"127.0.0.1\"]\ntrusted_proxies = [\"unix\"]";
    let issuer = Issuer::new("HS256");
    let gateway = start(&issuer, server);
    let mut connection = gateway.connect();
    // Version 2 of the PROXY protocol, PROXY command, a client on a unix socket.
    connection.send([b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".as_slice(), &[0; 216]].concat());
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", "192.0.2.7")];
    let answer = connection.get("/", &headers);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("192.0.2.7"), "{}", answer.text());
    let line = gateway.access_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["client"], json!(null), "{line}");
}
