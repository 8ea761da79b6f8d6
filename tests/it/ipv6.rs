//! IPv6 on both sides: listeners, servers, how a client's address is written for the backend and in
//! the log, and a /64 as the one client that it is.

use std::net::TcpListener;

use crate::support::peers::not_tested;
use crate::support::{Connection, Gateway, Issuer, Setup, Upstream, eventually};

/// A backend on `[::1]`; `None`: this machine has no IPv6.
fn backend() -> Option<Upstream> {
    match TcpListener::bind("[::1]:0") {
        Ok(listener) => Some(Upstream::bound(listener, |exchange| exchange.echo())),
        Err(error) => not_tested(&format!("IPv6, which this machine does not have: {error}")),
    }
}

fn start(issuer: &Issuer, upstream: &Upstream, listen: &str, lines: &str) -> Gateway {
    Setup::simple(issuer, upstream)
        .listen(listen)
        .server(lines)
        .route("/", "access = \"optional\"")
        .metrics()
        .start()
}

fn client_of(gateway: &Gateway, connection: &mut Connection, headers: &[(&str, &str)]) -> String {
    let answer = connection.get("/", headers);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = gateway.access_line(answer.header("x-request-id").unwrap());
    line["client"].as_str().unwrap().to_owned()
}

#[test]
fn clients_and_servers_speak_over_it_and_addresses_are_written_as_each_header_asks() {
    let Some(upstream) = backend() else { return };
    let issuer = Issuer::new("HS256");
    assert!(upstream.url().starts_with("http://[::1]:"));
    let lines = "forwarded = \"both\"\ntrusted_proxies = [\"::1\"]";
    let gateway = start(&issuer, &upstream, "\"[::1]:0\"", lines);
    assert!(gateway.address.starts_with("[::1]:"), "{}", gateway.address);
    let mut connection = gateway.connect();
    let host = gateway.address.clone();
    assert_eq!(client_of(&gateway, &mut connection, &[("Host", &host)]), "::1");
    let received = upstream.last();
    assert_eq!(received.header("host"), Some(host.as_str()));
    assert_eq!(received.header("x-forwarded-for"), Some("::1"));
    assert!(received.header("forwarded").unwrap().contains("for=\"[::1]\""));
    for (said, client) in [
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 2001:db8::7, ::1", "2001:db8::7"),
        ("2001:db8::7%eth0", "::1"),
    ] {
        let headers = [("X-Forwarded-For", said)];
        assert_eq!(client_of(&gateway, &mut connection, &headers), client, "{said}");
        let told = upstream.last().header("x-forwarded-for").unwrap().to_owned();
        assert!(told.ends_with(", ::1") && told.starts_with(said), "{told}");
    }
    let plain = start(&issuer, &upstream, "\"[::1]:0\"", "");
    let mut connection = plain.connect();
    assert_eq!(client_of(&plain, &mut connection, &[("X-Forwarded-For", "2001:db8::7")]), "::1");
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("::1"));
}

#[test]
fn a_listener_on_every_address_takes_ipv4_only_where_it_is_told_to_and_calls_it_so() {
    let Some(upstream) = backend() else { return };
    let issuer = Issuer::new("HS256");
    let both = |only: &str| {
        let listener = format!("[[listener]]\nlisten = \"[::]:0\"\n{only}");
        let text = Setup::simple(&issuer, &upstream)
            .server("trusted_proxies = [\"127.0.0.0/8\"]")
            .route("/", "access = \"public\"")
            .tables(&listener)
            .text();
        let gateway = Setup::simple(&issuer, &upstream).start_with(&text.replacen(
            "listen = \"127.0.0.1:0\"\n",
            "",
            1,
        ));
        let port = gateway.address.rsplit(':').next().unwrap().to_owned();
        (gateway, port)
    };
    let (gateway, port) = both("ipv6_only = false");
    let mut four = Connection::open(&format!("127.0.0.1:{port}"));
    assert_eq!(client_of(&gateway, &mut four, &[]), "127.0.0.1");
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.1"), "not ::ffff:");
    // A list of IPv4 addresses holds for it too.
    let headers = [("X-Forwarded-For", "192.0.2.7")];
    assert_eq!(client_of(&gateway, &mut four, &headers), "192.0.2.7");
    let mut six = Connection::open(&format!("[::1]:{port}"));
    assert_eq!(client_of(&gateway, &mut six, &headers), "::1");
    // Over IPv4 another test may have the same port.
    eventually("a port where nobody is over IPv4", || {
        let (gateway, port) = both("");
        let mut six = Connection::open(&format!("[::1]:{port}"));
        assert_eq!(client_of(&gateway, &mut six, &[]), "::1");
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).err().map(drop)
    });
}

/// A connection that a proxy passes on for this client, by version 2 of its protocol.
fn from(gateway: &Gateway, client: &str) -> Connection {
    let client: std::net::Ipv6Addr = client.parse().unwrap();
    let proxy = std::net::Ipv6Addr::LOCALHOST;
    let ports = [1, 187, 0, 80];
    let rest = [&client.octets()[..], &proxy.octets(), &ports].concat();
    let mut connection = gateway.connect();
    connection.send([b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".as_slice(), &rest].concat());
    connection
}

#[test]
fn a_proxy_names_clients_of_it_and_a_half_named_one_is_none() {
    let Some(upstream) = backend() else { return };
    let lines = "proxy_protocol = [\"::1\"]\nlimits = { header_timeout = \"1s\" }";
    let gateway = start(&Issuer::new("HS256"), &upstream, "\"[::1]:0\"", lines);
    let mut connection = from(&gateway, "2001:db8::7");
    assert_eq!(client_of(&gateway, &mut connection, &[]), "2001:db8::7");
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("2001:db8::7"));
    let mut mapped = from(&gateway, "::ffff:192.0.2.7");
    assert_eq!(client_of(&gateway, &mut mapped, &[]), "192.0.2.7");
    let mut short = gateway.connect();
    short.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x0c123456789012GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(short.answer_to("GET").is_err());
}

#[test]
fn a_64_is_one_client_for_the_limits_and_its_neighbour_is_another() {
    let Some(upstream) = backend() else { return };
    let issuer = Issuer::new("HS256");
    let limited = |limit: &str| {
        let lines = format!("proxy_protocol = [\"::1\"]\nlimits.{limit}");
        start(&issuer, &upstream, "\"[::1]:0\"", &lines)
    };
    let gateway = limited("failed_credentials_per_minute = 3");
    let garbage = |client: &str| {
        let bearer = [("Authorization", "Bearer made.up.token")];
        from(&gateway, client).get("/", &bearer).status
    };
    let within = ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:1:ffff::3"];
    assert_eq!(within.map(garbage), [401; 3]);
    assert_eq!(garbage("2001:db8:1:1:a:b:c:d"), 429);
    assert_eq!(garbage("2001:db8:1:2::1"), 401, "the next /64");
    let gateway = limited("connections_per_address = 2");
    let open = |client: &str| {
        let mut connection = from(&gateway, client);
        connection.try_get("/").map(|answer| (answer.status, connection))
    };
    let held = ["2001:db8:2:1::1", "2001:db8:2:1::2"].map(|client| open(client).unwrap());
    assert!(held.iter().all(|(status, _)| *status == 200));
    assert!(open("2001:db8:2:1:1::").is_err(), "the third of one /64");
    assert!(open("2001:db8:2:2::1").is_ok_and(|(status, _)| status == 200));
    assert_eq!(gateway.metric("portcullis_shed_total{limit=\"connections_per_address\"}"), 1.0);
}
