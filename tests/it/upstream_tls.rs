//! TLS to servers: who is believed, and who the gateway is itself.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Authority, Gateway, Issued, Issuer, Setup, eventually};

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A backend that speaks TLS with this certificate and answers with the name that it was asked
/// for. `asks`: it lets in only those whose certificate is of this authority.
pub fn backend(issued: &Issued, asks: Option<&Authority>) -> u16 {
    answering(issued, asks, |stream, _| {
        let name = stream.conn.server_name().unwrap_or("none").to_owned();
        let length = name.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close");
        stream.write_all(format!("{head}\r\n\r\n{name}").as_bytes())?;
        Ok(false)
    })
}

/// The same with these answers: each request's target is given, and whether another may follow is
/// returned.
fn answering(
    issued: &Issued,
    asks: Option<&Authority>,
    answerer: impl Fn(&mut Stream, &str) -> std::io::Result<bool> + Send + Sync + 'static,
) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answerer = Arc::new(answerer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let answerer = Arc::clone(&answerer);
            std::thread::spawn(move || -> std::io::Result<()> {
                loop {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        stream.read_exact(&mut byte)?;
                        head.push(byte[0]);
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let goes_on = answerer(&mut stream, head.split(' ').nth(1).unwrap())?;
                    stream.flush()?;
                    if !goes_on {
                        return Ok(());
                    }
                }
            });
        }
    });
    port
}

/// A gateway before `https://HOST:PORT` that trusts the authority.
fn trusting(authority: &Authority, host: &str, port: u16, tls: &str, own: &Issued) -> Gateway {
    let setup = Setup::new().file("ca.pem", &authority.pem);
    own.write(setup.dir(), "own");
    setup
        .issuer(&Issuer::new("HS256"), "")
        .upstream_at(
            "app",
            &format!("https://{host}:{port}"),
            &format!("tls = {{ ca = \"ca.pem\"{tls} }}"),
        )
        .route("/", "access = \"public\"")
        .start()
}

#[test]
fn a_server_of_the_trusted_authority_is_believed_and_any_other_is_not() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let own = ours.issue(&["gateway"]);
    let port = backend(&ours.issue(&["localhost"]), None);
    let gateway = trusting(&ours, "localhost", port, "", &own);
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "localhost"));
    let port = backend(&theirs.issue(&["localhost"]), None);
    let gateway = trusting(&ours, "localhost", port, "", &own);
    let answer = gateway.get("/", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_tls"));
}

#[test]
fn a_certificate_must_have_the_servers_name_or_the_one_that_is_configured() {
    let authority = Authority::new();
    let own = authority.issue(&["gateway"]);
    let port = backend(&authority.issue(&["app.internal"]), None);
    let gateway = trusting(&authority, "127.0.0.1", port, "", &own);
    assert_eq!(gateway.get("/", &[]).code(), "upstream_tls");
    let named = ", server_name = \"app.internal\"";
    let gateway = trusting(&authority, "127.0.0.1", port, named, &own);
    assert_eq!(gateway.get("/", &[]).text(), "app.internal");
}

#[test]
fn a_server_that_asks_gets_the_gateways_certificate_also_after_it_was_replaced() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let port = backend(&authority.issue(&["localhost"]), Some(&authority));
    let with_own = ", certificate = \"own.pem\", key = \"own.key\"";
    let own = authority.issue(&["gateway"]);
    let gateway = trusting(&authority, "localhost", port, with_own, &own);
    assert_eq!(gateway.get("/", &[]).status, 200);
    let without = trusting(&authority, "localhost", port, "", &own);
    assert_eq!(without.get("/", &[]).status, 502);
    // One that the server does not know, then a good one again.
    strangers.issue(&["gateway"]).write(gateway.dir(), "own");
    eventually("it is in use", || (gateway.get("/", &[]).status == 502).then_some(()));
    authority.issue(&["gateway"]).write(gateway.dir(), "own");
    eventually("it is in use", || (gateway.get("/", &[]).status == 200).then_some(()));
}

#[test]
fn a_connection_with_tls_is_kept_while_only_tls_is_spoken_on_it() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let ours = Authority::new();
    let own = ours.issue(&["gateway"]);
    let connections = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&connections);
    let port = answering(&ours.issue(&["localhost"]), None, move |stream, target| {
        seen.lock().unwrap().insert(stream.sock.peer_addr()?);
        if target == "/more" {
            // In one record, behind the answer.
            stream.write_all(format!("{OK}{}", OK.replace("ok", "no")).as_bytes())?;
        } else {
            stream.write_all(OK.as_bytes())?;
            stream.flush()?;
            // While it idles: a message of TLS that asks for another one.
            stream.conn.refresh_traffic_keys().unwrap();
        }
        Ok(true)
    });
    let gateway = trusting(&ours, "localhost", port, "", &own);
    let mut client = gateway.connect();
    for (target, count) in [("/", 1), ("/", 1), ("/", 1), ("/more", 1), ("/", 2), ("/", 2)] {
        assert_eq!(client.request("DELETE", target, &[], b"").text(), "ok", "{target}");
        assert_eq!(connections.lock().unwrap().len(), count, "{target}");
    }
}

#[test]
fn an_answer_until_close_is_whole_where_tls_says_so_only() {
    let ours = Authority::new();
    let own = ours.issue(&["gateway"]);
    let port = answering(&ours.issue(&["localhost"]), None, |stream, target| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ntext")?;
        if target == "/whole" {
            stream.conn.send_close_notify();
        }
        Ok(false)
    });
    let gateway = trusting(&ours, "localhost", port, "", &own);
    assert_eq!(gateway.get("/whole", &[]).text(), "text");
    assert!(gateway.connect().try_get("/half").is_err());
}
