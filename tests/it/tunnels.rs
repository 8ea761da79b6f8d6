//! The relay of WebSockets: nothing of it is left lying where a peer takes it slowly, with TLS on
//! either side; and how each of its two sides ends when it is cut.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::{
    Authority, Connection, Gateway, Issued, Issuer, PATIENCE, Setup, eventually, stands_still,
};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const REVOKED: &[u8] = b"\x88\x09\x03\xf0revoked";
/// More than the kernel keeps of a connection.
const MUCH: usize = 8 << 20;

/// A backend of one connection after the other: the handshake is read and accepted, the rest is the
/// test's. With TLS where it has a certificate, and with a window that is soon full.
fn backend<F>(own: Option<&Issued>, then: F) -> String
where
    F: Fn(&mut dyn Wire) + Send + Sync + 'static,
{
    let config = own.map(|issued| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(8 << 10).unwrap();
    let scheme = if config.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut wire: Box<dyn Wire> = match &config {
                None => Box::new(stream),
                Some(config) => {
                    let tls = ServerConnection::new(Arc::clone(config)).unwrap();
                    Box::new(StreamOwned::new(tls, stream))
                }
            };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && wire.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            if wire.write_all(SWITCHED).is_ok() && wire.flush().is_ok() {
                then(wire.as_mut());
            }
        }
    });
    url
}

trait Wire: Read + Write {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

struct Scene {
    issuer: Issuer,
    gateway: Gateway,
    authority: Authority,
}

/// A gateway before such a backend, which speaks TLS itself where `tls` is said.
fn scene(authority: Authority, url: &str, tls: bool) -> Scene {
    let issuer = Issuer::new("HS256");
    let mut setup = Setup::new().issuer(&issuer, "").file("ca.pem", &authority.pem);
    authority.issue(&["app.example"]).write(setup.dir(), "a");
    let to_server = if url.starts_with("https") { "tls = { ca = \"ca.pem\" }" } else { "" };
    setup = setup.upstream_at("app", url, to_server);
    if tls {
        setup = setup.server("tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]");
    }
    Scene { issuer, gateway: setup.start(), authority }
}

impl Scene {
    /// A socket of hers that has been accepted. Its window is soon full.
    fn open(&self, tls: bool) -> Connection {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        let address: std::net::SocketAddr = self.gateway.address.parse().unwrap();
        socket.connect(&address.into()).unwrap();
        let socket = TcpStream::from(socket);
        let mut connection = match tls {
            false => Connection::accepted(socket),
            true => {
                let secured = self.authority.client().connect_over(socket, "app.example");
                secured.unwrap().connection
            }
        };
        let token = self.issuer.mint("alice");
        connection.send(format!(
            "GET /ws HTTP/1.1\r\nHost: app.example\r\n{HANDSHAKE}Authorization: Bearer {token}\r\n\r\n"
        ));
        assert_eq!(connection.head().unwrap().0, 101);
        connection
    }

    fn deny(&self) {
        self.gateway.admin().revoke(json!({"user": "alice"}));
    }
}

/// A binary frame of so many bytes; masked with 0 where it is a client's.
fn frame(length: usize, masked: bool) -> Vec<u8> {
    let mut frame = vec![0x82, 127 | if masked { 0x80 } else { 0 }];
    frame.extend_from_slice(&(length as u64).to_be_bytes());
    frame.extend_from_slice(if masked { &[0; 4] } else { &[] });
    frame.resize(frame.len() + length, 7);
    frame
}

/// What the backend saw until its connection was gone, and how it broke off.
type Seen = (Vec<u8>, Option<ErrorKind>);

fn seen_by(wire: &mut dyn Wire) -> Seen {
    let mut all = Vec::new();
    let end = wire.read_to_end(&mut all);
    (all, end.err().map(|error| error.kind()))
}

/// The code and the reason of a client's close frame.
#[track_caller]
fn unmasked(frame: &[u8]) -> (u16, String) {
    assert_eq!((frame[0], frame[1] as usize), (0x88, 0x80 | (frame.len() - 6)), "{frame:?}");
    let payload: Vec<u8> =
        frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).unwrap())
}

fn told<T: Send + 'static>() -> (std::sync::Mutex<Sender<T>>, Receiver<T>) {
    let (tell, told) = channel();
    (std::sync::Mutex::new(tell), told)
}

#[test]
fn a_burst_to_a_client_that_takes_it_slowly_arrives_whole_over_tls() {
    let url = backend(None, |wire| {
        // All of it, and then nothing that could push a rest of it on.
        wire.write_all(&frame(MUCH, false)).unwrap();
        let _ = seen_by(wire);
    });
    let scene = scene(Authority::new(), &url, true);
    let mut alice = scene.open(true);
    let sent = frame(MUCH, false);
    assert!(alice.exactly(sent.len()).unwrap() == sent);
}

#[test]
fn a_burst_to_a_server_that_takes_it_slowly_arrives_whole_over_tls() {
    let authority = Authority::new();
    let url = backend(Some(&authority.issue(&["localhost"])), |wire| {
        let mut got = vec![0; frame(MUCH, true).len()];
        wire.read_exact(&mut got).unwrap();
        wire.write_all(b"\x81\x03all").unwrap();
        let _ = seen_by(wire);
    });
    let scene = scene(authority, &url, false);
    let mut alice = scene.open(false);
    alice.send(frame(MUCH, true));
    assert_eq!(alice.exactly(5).unwrap(), b"\x81\x03all");
}

#[test]
fn a_cut_tells_both_sides_in_good_form_also_over_tls() {
    for tls in [false, true] {
        let authority = Authority::new();
        let (tell, told) = told::<Seen>();
        let own = tls.then(|| authority.issue(&["localhost"]));
        let url = backend(own.as_ref(), move |wire| {
            wire.write_all(b"\x81\x02hi").unwrap();
            tell.lock().unwrap().send(seen_by(wire)).unwrap();
        });
        let scene = scene(authority, &url, tls);
        let mut alice = scene.open(tls);
        assert_eq!(alice.exactly(4).unwrap(), b"\x81\x02hi");
        scene.deny();
        assert_eq!(alice.until_gone(), (REVOKED.to_vec(), None), "tls: {tls}");
        let (seen, broken) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((unmasked(&seen), broken), ((1001, "revoked".into()), None), "tls: {tls}");
    }
}

#[test]
fn a_cut_in_the_middle_of_a_servers_frame_resets_the_client_and_tells_the_server() {
    for tls in [false, true] {
        let authority = Authority::new();
        let (tell, told) = told::<Seen>();
        let own = tls.then(|| authority.issue(&["localhost"]));
        let url = backend(own.as_ref(), move |wire| {
            wire.write_all(b"\x82\x0ahalf").unwrap();
            tell.lock().unwrap().send(seen_by(wire)).unwrap();
        });
        let scene = scene(authority, &url, tls);
        let mut alice = scene.open(tls);
        assert_eq!(alice.exactly(6).unwrap(), b"\x82\x0ahalf");
        scene.deny();
        let reset = Some(ErrorKind::ConnectionReset);
        assert_eq!(alice.until_gone(), (Vec::new(), reset), "tls: {tls}");
        let (seen, broken) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((unmasked(&seen), broken), ((1001, "revoked".into()), None), "tls: {tls}");
    }
}

#[test]
fn a_cut_in_the_middle_of_a_clients_frame_resets_the_server_and_tells_the_client() {
    for tls in [false, true] {
        let authority = Authority::new();
        let ((tell, told), (began, begun)) = (told::<Seen>(), told::<()>());
        let own = tls.then(|| authority.issue(&["localhost"]));
        let url = backend(own.as_ref(), move |wire| {
            let mut half = [0; 8];
            wire.read_exact(&mut half).unwrap();
            began.lock().unwrap().send(()).unwrap();
            tell.lock().unwrap().send(seen_by(wire)).unwrap();
        });
        let scene = scene(authority, &url, tls);
        let mut alice = scene.open(tls);
        alice.send(b"\x82\x8a\0\0\0\0ha");
        begun.recv_timeout(PATIENCE).unwrap();
        scene.deny();
        assert_eq!(alice.until_gone(), (REVOKED.to_vec(), None), "tls: {tls}");
        let reset = Some(ErrorKind::ConnectionReset);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (Vec::new(), reset), "tls: {tls}");
    }
}

#[test]
fn a_client_that_takes_nothing_is_reset_and_its_server_is_told_all_the_same() {
    let (tell, told) = told::<Seen>();
    let url = backend(None, move |wire| {
        let mut reading = wire.socket().try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| tell.lock().unwrap().send(seen_by(&mut reading)).unwrap());
            let frame = frame(64 << 10, false);
            while wire.write_all(&frame).is_ok() {}
        });
    });
    let scene = scene(Authority::new(), &url, false);
    let mut alice = scene.open(false);
    let admin = scene.gateway.admin();
    stands_still("nothing moves any more", || {
        admin.get("/v1/streams")["items"][0]["bytes_out"].as_u64()
    });
    scene.deny();
    // It is said while the server still sends and nobody reads that: no reset overtakes it.
    let (seen, broken) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((unmasked(&seen), broken), ((1001, "revoked".into()), None));
    // Only now does she take anything.
    eventually("it has ended", || (admin.get("/v1/streams")["open"] == json!(0)).then_some(()));
    assert_eq!(alice.until_gone().1, Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_server_that_takes_nothing_is_reset_and_its_client_is_told_all_the_same() {
    let ((read, reading), (tell, told)) = (channel::<()>(), told::<Seen>());
    let reading = std::sync::Mutex::new(reading);
    let url = backend(None, move |wire| {
        reading.lock().unwrap().recv().unwrap();
        tell.lock().unwrap().send(seen_by(wire)).unwrap();
    });
    let scene = scene(Authority::new(), &url, false);
    let mut alice = scene.open(false);
    alice.write_patience(std::time::Duration::from_millis(300));
    let sent = frame(8 * MUCH, true);
    assert!(alice.try_send(&sent).is_err(), "more than there is room for");
    scene.deny();
    let (seen, _) = alice.until_gone();
    assert_eq!(seen, REVOKED);
    let admin = scene.gateway.admin();
    eventually("it has ended", || (admin.get("/v1/streams")["open"] == json!(0)).then_some(()));
    read.send(()).unwrap();
    let (seen, broken) = told.recv_timeout(PATIENCE).unwrap();
    assert!(seen.len() < sent.len() && sent.starts_with(&seen), "{} bytes", seen.len());
    assert_eq!(broken, Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_socket_whose_client_has_sent_its_last_is_cut_as_well() {
    let ((tell, told), (ended, ends)) = (told::<bool>(), told::<Seen>());
    let url = backend(None, move |wire| {
        ended.lock().unwrap().send(seen_by(wire)).unwrap();
        // The server's half goes on until nobody takes it any more.
        while wire.write_all(b"\x89\0").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        tell.lock().unwrap().send(true).unwrap();
    });
    let scene = scene(Authority::new(), &url, false);
    let mut alice = scene.open(false);
    alice.send(b"\x81\x81\0\0\0\0x");
    alice.finish_sending();
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), (b"\x81\x81\0\0\0\0x".to_vec(), None));
    alice.exactly(2).unwrap();
    scene.deny();
    let (seen, broken) = alice.until_gone();
    assert!(seen.ends_with(REVOKED) && broken.is_none(), "{seen:?} {broken:?}");
    assert!(told.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn a_socket_whose_server_has_sent_its_last_is_cut_as_well() {
    let ((tell, told), (came, has_come)) = (told::<Seen>(), told::<[u8; 7]>());
    let url = backend(None, move |wire| {
        wire.socket().shutdown(Shutdown::Write).unwrap();
        let mut message = [0; 7];
        wire.read_exact(&mut message).unwrap();
        came.lock().unwrap().send(message).unwrap();
        tell.lock().unwrap().send(seen_by(wire)).unwrap();
    });
    let scene = scene(Authority::new(), &url, false);
    let mut alice = scene.open(false);
    assert_eq!(alice.until_gone(), (Vec::new(), None));
    alice.send(b"\x81\x81\0\0\0\0x");
    assert_eq!(&has_come.recv_timeout(PATIENCE).unwrap(), b"\x81\x81\0\0\0\0x");
    scene.deny();
    let (close, broken) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((unmasked(&close), broken), ((1001, "revoked".into()), None));
}

#[test]
fn a_socket_that_was_closed_in_good_form_gets_no_second_close_frame() {
    let url = backend(None, |wire| {
        wire.write_all(b"\x88\x02\x03\xe8").unwrap();
        let _ = seen_by(wire);
    });
    let scene = scene(Authority::new(), &url, false);
    let mut alice = scene.open(false);
    assert_eq!(alice.exactly(4).unwrap(), b"\x88\x02\x03\xe8");
    scene.deny();
    assert_eq!(alice.until_gone(), (Vec::new(), None));
}
