//! A certificate authority, and clients that trust it and speak TLS over a real socket.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer as Signer,
    KeyPair, SignatureAlgorithm,
};
use rustls::client::{ClientConfig, ClientConnection};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::client::Connection;
use super::{Gateway, PATIENCE};

/// See the module.
pub struct Authority {
    signer: Signer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key, in PEM.
pub struct Issued {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Its name must differ from that of what it issues: by it a chain is built.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { signer: Signer::new(params, key), pem }
    }

    /// One below this, whose own certificate is what `pem` has.
    pub fn below(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Authority below");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.signed_by(&key, &self.signer).unwrap().pem();
        Self { signer: Signer::new(params, key), pem }
    }

    /// ECDSA, valid now.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {})
    }

    pub fn issue_with(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.signer).unwrap();
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        Client { roots, own: None, versions: rustls::ALL_VERSIONS, alpn: Vec::new(), config: None }
    }
}

impl Issued {
    /// Writes `NAME.pem` and `NAME.key` into a directory.
    pub fn write(&self, directory: &Path, name: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(directory.join(format!("{name}.pem")), &self.chain).unwrap();
        let key = directory.join(format!("{name}.key"));
        std::fs::write(&key, &self.key).unwrap();
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A TLS client being put together; connections of one client share their tickets.
pub struct Client {
    roots: RootCertStore,
    own: Option<Issued>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
    config: Option<Arc<ClientConfig>>,
}

/// A connection that was let in.
pub struct Secured {
    pub connection: Connection,
    /// The server's certificate, DER.
    pub certificate: Vec<u8>,
    /// How many it sent along with those that lead to its root.
    pub chain: usize,
    pub resumed: bool,
    pub alpn: Option<Vec<u8>>,
}

impl Client {
    /// Shows this certificate where it is asked for one.
    pub fn own(mut self, issued: Issued) -> Self {
        self.own = Some(issued);
        self
    }

    pub fn versions(mut self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions;
        self
    }

    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// As `rustls` has it.
    pub fn config(&mut self) -> Arc<ClientConfig> {
        if let Some(config) = &self.config {
            return Arc::clone(config);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::pem_slice_iter(own.chain.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        let config = Arc::new(config);
        self.config = Some(Arc::clone(&config));
        config
    }

    /// A handshake with the gateway under this name. TLS 1.3 tells a client that it is not let in
    /// only after its side of the handshake: then the first read fails.
    pub fn connect(&mut self, gateway: &Gateway, name: &str) -> Result<Secured, String> {
        self.connect_over(TcpStream::connect(&gateway.address).unwrap(), name)
    }

    /// With a server on this port of the machine.
    pub fn connect_to(&mut self, port: u16, name: &str) -> Result<Secured, String> {
        self.connect_over(TcpStream::connect(("127.0.0.1", port)).unwrap(), name)
    }

    /// The same on a connection that has begun.
    pub fn connect_over(&mut self, mut socket: TcpStream, name: &str) -> Result<Secured, String> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(self.config(), name).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(|error| error.to_string())?;
        }
        let shown = tls.peer_certificates().unwrap();
        let (certificate, chain) = (shown[0].to_vec(), shown.len());
        let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
        let connection = Connection::secured(StreamOwned::new(tls, socket));
        Ok(Secured { connection, certificate, chain, resumed, alpn })
    }
}

/// A certificate's DER out of its PEM.
pub fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
