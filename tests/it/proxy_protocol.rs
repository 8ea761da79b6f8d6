//! The PROXY protocol: who may say whose connection it is, and what becomes of those who lie or
//! stay silent.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::{Authority, Connection, Gateway, Issuer, Setup, Upstream};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: app.example.com\r\n";
const CLIENT: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 443 80\r\n";

fn start(upstream: &Upstream, lines: &str) -> Gateway {
    Setup::simple(&Issuer::new("HS256"), upstream)
        .server(lines)
        .route("/", "access = \"public\"")
        .start()
}

fn second(command: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, 0x11], &length, rest].concat()
}

#[test]
fn a_listed_proxy_says_whose_connection_it_is_and_nobody_else_can() {
    let upstream = Upstream::new();
    let gateway = start(&upstream, "proxy_protocol = [\"127.0.0.1\"]");
    let rest = [&[192, 0, 2, 8, 10, 0, 0, 1, 1, 187, 0, 80][..], &[4, 0, 2, 9, 9]].concat();
    for (header, client) in [
        (CLIENT.as_bytes().to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 443 80\r\n".to_vec(), "2001:db8::7"),
        (second(0x21, &rest), "192.0.2.8"),
        (second(0x20, &[]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let mut connection = gateway.connect();
        for number in 0..2 {
            let header = if number == 0 { &header[..] } else { b"" };
            connection
                .send([header, REQUEST.as_bytes(), b"X-Forwarded-For: 6.6.6.6\r\n\r\n"].concat());
            let answer = connection.answer();
            assert_eq!(answer.status, 200);
            assert_eq!(upstream.last().header("x-forwarded-for"), Some(client));
            let line = gateway.access_line(answer.header("x-request-id").unwrap());
            assert_eq!(line["client"], client, "{line}");
        }
    }
    // Byte by byte it is the same header.
    let mut slow = gateway.connect();
    for byte in [CLIENT, REQUEST, "\r\n"].concat().bytes() {
        slow.send([byte]);
    }
    assert_eq!(slow.answer().status, 200);
    let before = upstream.begun();
    for bad in [
        format!("{REQUEST}\r\n").into_bytes(),
        format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n{REQUEST}\r\n").into_bytes(),
        [&second(0x31, &rest)[..], REQUEST.as_bytes(), b"\r\n"].concat(),
        format!("{CLIENT}{CLIENT}{REQUEST}\r\n").into_bytes(),
    ] {
        let mut connection = gateway.connect();
        connection.send(&bad);
        let answer = connection.answer_to("GET");
        assert!(!answer.is_ok_and(|answer| answer.status < 400), "{bad:?}");
    }
    let strict = start(&upstream, "proxy_protocol = [\"10.0.0.0/8\"]");
    for first in ["", CLIENT] {
        let mut stranger = strict.connect();
        stranger.send(format!("{first}{REQUEST}\r\n"));
        assert!(stranger.answer_to("GET").is_err());
    }
    assert!(strict.stderr.find(|line| line.contains("is not listed").then_some(())).is_some());
    assert_eq!(upstream.begun(), before);
}

#[test]
fn the_address_that_a_proxy_says_decides_whether_forwarded_fields_are_believed() {
    let upstream = Upstream::new();
    let lines = "proxy_protocol = [\"127.0.0.1\"]\ntrusted_proxies = [\"192.0.2.7\"]";
    let gateway = start(&upstream, lines);
    let chain = |header: &str| {
        let mut connection = gateway.connect();
        connection.send(format!("{header}{REQUEST}X-Forwarded-For: 6.6.6.6\r\n\r\n"));
        assert_eq!(connection.answer().status, 200);
        upstream.last().header("x-forwarded-for").unwrap().to_owned()
    };
    assert_eq!(chain(CLIENT), "6.6.6.6, 192.0.2.7");
    assert_eq!(chain(&CLIENT.replace("2.7", "2.9")), "192.0.2.9");
}

#[test]
fn the_header_stands_before_tls_and_a_silent_peer_is_given_up() {
    let (authority, upstream) = (Authority::new(), Upstream::new());
    let setup = Setup::simple(&Issuer::new("HS256"), &upstream)
        .server("proxy_protocol = [\"127.0.0.1\"]\nlimits = { header_timeout = \"1s\" }")
        .server("tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]")
        .route("/", "access = \"public\"");
    authority.issue(&["a.example"]).write(setup.dir(), "a");
    let gateway = setup.start();
    let mut socket = TcpStream::connect(&gateway.address).unwrap();
    socket.write_all(CLIENT.as_bytes()).unwrap();
    let mut secured = authority.client().connect_over(socket, "a.example").unwrap();
    assert_eq!(secured.connection.get("/", &[]).status, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
    assert!(authority.client().connect(&gateway, "a.example").is_err(), "without the header");
    let mut silent = Connection::open(&gateway.address);
    silent.send("PROXY TCP4 ");
    silent.assert_closed();
}
