//! TLS to servers: who is believed, and who the gateway is itself.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Authority, Gateway, Issued, Issuer, Setup, eventually};

/// A backend that speaks TLS with this certificate and answers with the name that it was asked
/// for. `asks`: it lets in only those whose certificate is of this authority.
fn backend(issued: &Issued, asks: Option<&Authority>) -> u16 {
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
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte)?;
                    head.push(byte[0]);
                }
                let name = stream.conn.server_name().unwrap_or("none").to_owned();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}",
                    name.len()
                )?;
                stream.flush()
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
