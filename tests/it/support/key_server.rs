//! An HTTPS server of keys under an authority of its own: it rotates, dies, hangs, answers rubbish,
//! slowly, too much, or leads elsewhere, as it is told.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as Authority, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{Issuer, Key};

/// What the server does with a request.
#[derive(Clone)]
pub enum Mood {
    /// The keys, with these header lines.
    Keys(Vec<Value>, &'static str),
    /// Status line and body.
    Says(&'static str, Vec<u8>),
    /// Accepts, reads, and says nothing.
    Hangs,
    /// Closes at once.
    Dies,
    /// So many bytes, and no end in sight.
    Floods(usize),
    /// A byte now and then.
    Trickles,
    Redirects(String),
}

/// See the module.
pub struct KeyServer {
    pub port: u16,
    ca: String,
    mood: Arc<Mutex<Mood>>,
    /// What discovery finds, if not what it should.
    document: Arc<Mutex<Option<(&'static str, String)>>>,
    /// Requests for keys.
    asked: Arc<AtomicUsize>,
    not_modified: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl KeyServer {
    pub fn new(keys: Vec<Value>) -> Self {
        Self::certified(keys, |leaf| {
            let names = ["localhost", "127.0.0.1"];
            leaf.subject_alt_names =
                CertificateParams::new(names.map(String::from)).unwrap().subject_alt_names;
        })
    }

    /// With another certificate than one that is good for `localhost`.
    pub fn certified(keys: Vec<Value>, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Authority::from_params(&params, &authority_key);
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::default();
        change(&mut leaf);
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .map(Arc::new)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            ca: authority.pem(),
            mood: Arc::new(Mutex::new(Mood::Keys(keys, ""))),
            document: Arc::default(),
            asked: Arc::default(),
            not_modified: Arc::default(),
            stop: Arc::default(),
        };
        let answering = Arc::new(Answering {
            config,
            port: server.port,
            mood: Arc::clone(&server.mood),
            document: Arc::clone(&server.document),
            asked: Arc::clone(&server.asked),
            same: Arc::clone(&server.not_modified),
        });
        let stop = Arc::clone(&server.stop);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let answering = Arc::clone(&answering);
                std::thread::spawn(move || {
                    let _ = answering.serve(stream);
                });
            }
        });
        server
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn keys(&self, keys: Vec<Value>) {
        self.set(Mood::Keys(keys, ""));
    }

    /// What discovery finds from now on: status line and document.
    pub fn document(&self, status: &'static str, document: &str) {
        *self.document.lock().unwrap() = Some((status, document.to_owned()));
    }

    /// Requests for keys so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Acquire)
    }

    /// Of those, answered with 304.
    pub fn not_modified(&self) -> usize {
        self.not_modified.load(Ordering::Acquire)
    }

    pub fn base(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Writes the authority's certificate beside a config, as `ca.pem`.
    pub fn write_ca(&self, directory: &Path) {
        std::fs::write(directory.join("ca.pem"), &self.ca).unwrap();
    }

    /// The same for two servers.
    pub fn write_cas(&self, other: &Self, directory: &Path) {
        std::fs::write(directory.join("ca.pem"), self.ca.clone() + &other.ca).unwrap();
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// The public JWK of an issuer's key, under a name.
pub fn jwk(issuer: &Issuer, kid: &str, key: &Key) -> Value {
    let mut jwk = key.jwk();
    jwk["kid"] = kid.into();
    jwk["alg"] = issuer.algorithm.clone().into();
    jwk["use"] = "sig".into();
    jwk
}

/// What a connection needs.
struct Answering {
    config: Arc<ServerConfig>,
    port: u16,
    mood: Arc<Mutex<Mood>>,
    document: Arc<Mutex<Option<(&'static str, String)>>>,
    asked: Arc<AtomicUsize>,
    same: Arc<AtomicUsize>,
}

impl Answering {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        let connection =
            ServerConnection::new(Arc::clone(&self.config)).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        let head = head_of(&mut stream)?;
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut say = |status: &str, headers: &str, body: &[u8]| {
            let length = body.len();
            stream.write_all(
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")
                .as_bytes(),
        )?;
            stream.write_all(body)?;
            stream.flush()
        };
        if target.ends_with("/.well-known/openid-configuration") {
            if let Some((status, document)) = &*self.document.lock().unwrap() {
                return say(status, "", document.as_bytes());
            }
            let port = self.port;
            let issuer = format!(
                "https://localhost:{port}{}",
                target.replace("/.well-known/openid-configuration", "")
            );
            let document =
                json!({"issuer": issuer, "jwks_uri": format!("https://localhost:{port}/keys")});
            return say("200 OK", "", document.to_string().as_bytes());
        }
        if target != "/keys" {
            return say("404 Not Found", "", b"");
        }
        self.asked.fetch_add(1, Ordering::AcqRel);
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            // Servers compress for whoever does not say no.
            Mood::Keys(..) if !head.contains("accept-encoding: identity") => {
                say("200 OK", "Content-Encoding: gzip\r\n", b"")
            }
            Mood::Keys(keys, headers) => {
                let body = json!({"keys": keys}).to_string();
                let etag = format!(
                    "\"{:x}\"",
                    body.bytes().fold(7_u64, |hash, byte| {
                        hash.wrapping_mul(31).wrapping_add(u64::from(byte))
                    })
                );
                if head.contains(&etag) {
                    self.same.fetch_add(1, Ordering::AcqRel);
                    return say("304 Not Modified", headers, b"");
                }
                say("200 OK", &format!("ETag: {etag}\r\n{headers}"), body.as_bytes())
            }
            Mood::Says(status, body) => say(status, "", &body),
            Mood::Redirects(to) => say("302 Found", &format!("Location: {to}\r\n"), b""),
            Mood::Dies => Ok(()),
            Mood::Hangs => {
                // Until the other side gives up.
                let _ = stream.read_exact(&mut [0]);
                Ok(())
            }
            Mood::Floods(bytes) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let chunk = [b' '; 65_536];
                for _ in 0..bytes.div_ceil(chunk.len()) {
                    stream.write_all(b"10000\r\n")?;
                    stream.write_all(&chunk)?;
                    stream.write_all(b"\r\n")?;
                }
                stream.flush()
            }
            Mood::Trickles => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                loop {
                    stream.write_all(b" ")?;
                    stream.flush()?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
}

fn head_of(stream: &mut impl std::io::Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
