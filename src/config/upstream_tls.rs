//! `tls` of an upstream: whom the gateway trusts there, by which name, and who it is itself. There is
//! no way to switch the check off: a server that nobody checks is whoever answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::cursor::{Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::files;
use super::tls::{Certificate, CertificateFiles};
use super::upstream::{ServerAddress, UpstreamServer};

/// See the module.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    pub files: UpstreamTlsFiles,
    /// The name that the server must have, and is asked for; else the host of its address.
    pub server_name: Option<ServerName<'static>>,
    /// Ready to begin handshakes.
    pub client: Arc<ClientConfig>,
}

/// Where the material is; it may change while the gateway runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamTlsFiles {
    /// Authorities, in place of the system's.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate.
    pub identity: Option<CertificateFiles>,
}

/// The same settings; what is in the files is another matter, and may change by itself.
impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files && self.server_name == other.server_name
    }
}

/// Why the material cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpstreamTlsFault {
    CaUnreadable(String),
    /// No certificate in it that can be an authority.
    NoAuthority,
    /// The system has none.
    NoSystemAuthority,
    Identity(String),
    Provider(String),
}

impl std::fmt::Display for UpstreamTlsFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CaUnreadable(why) | Self::Identity(why) | Self::Provider(why) => {
                out.write_str(why)
            }
            Self::NoAuthority => out.write_str("`ca` holds no CA certificate in PEM"),
            Self::NoSystemAuthority => {
                out.write_str("this system has no CA certificates to trust by default")
            }
        }
    }
}

impl UpstreamTlsFiles {
    /// Reads the files as they are now.
    pub fn read(&self) -> Result<Arc<ClientConfig>, UpstreamTlsFault> {
        let roots = match &self.ca {
            Some(path) => own_roots(path)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|fault| UpstreamTlsFault::Provider(fault.to_string()))?
            .with_root_certificates(roots);
        let mut client = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let certificate = Certificate::read(files)
                    .map_err(|fault| UpstreamTlsFault::Identity(fault.to_string()))?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.key)))
            }
        };
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(client))
    }

    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let identity = self.identity.iter().flat_map(|files| [&files.chain, &files.key]);
        self.ca.iter().chain(identity).map(PathBuf::as_path)
    }
}

fn own_roots(path: &Path) -> Result<RootCertStore, UpstreamTlsFault> {
    let content = files::read(path).map_err(UpstreamTlsFault::CaUnreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&content.bytes) {
        let certificate = certificate.map_err(|_| UpstreamTlsFault::NoAuthority)?;
        roots.add(certificate).map_err(|_| UpstreamTlsFault::NoAuthority)?;
    }
    if roots.is_empty() { Err(UpstreamTlsFault::NoAuthority) } else { Ok(roots) }
}

fn system_roots() -> Result<RootCertStore, UpstreamTlsFault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(UpstreamTlsFault::NoSystemAuthority) } else { Ok(roots) }
}

/// `None`: no server is reached by TLS, or the settings cannot be used.
pub fn upstream_tls(table: &Table<'_>, servers: &[UpstreamServer]) -> Option<UpstreamTls> {
    let reader = table.reader;
    let given = table.get("tls");
    let inner = table.table("tls", "upstream.tls");
    let path = |key| {
        let text = inner.get(key)?.string()?;
        Some(reader.resolve(&text.value))
    };
    let (ca, chain, key) = (path("ca"), path("certificate"), path("key"));
    let server_name = server_name(&inner);
    if inner.has("certificate") != inner.has("key") {
        inner.require_also(if inner.has("key") { "certificate" } else { "key" });
    }
    inner.finish();
    let is_tls =
        |server: &UpstreamServer| matches!(server.address, ServerAddress::Tcp { tls: true, .. });
    if !servers.iter().any(is_tls) {
        if let (Some(item), false) = (&given, servers.is_empty()) {
            let message = "`tls` has no effect: no server of this upstream is https://";
            reader.report(&item.key_span, Diagnostic::error(Code::NoEffect, message));
        }
        return None;
    }
    let identity = chain.zip(key).map(|(chain, key)| CertificateFiles { chain, key });
    let files = UpstreamTlsFiles { ca, identity };
    match files.read() {
        Ok(client) => Some(UpstreamTls { files, server_name, client }),
        Err(fault) => {
            report_fault(table, &inner, &fault);
            None
        }
    }
}

fn report_fault(table: &Table<'_>, inner: &Table<'_>, fault: &UpstreamTlsFault) {
    let (key, message) = match fault {
        UpstreamTlsFault::CaUnreadable(_) | UpstreamTlsFault::NoAuthority => {
            (Some("ca"), "the authorities that `ca` names cannot be used")
        }
        UpstreamTlsFault::Identity(_) => {
            (Some("certificate"), "the gateway's own certificate cannot be used")
        }
        UpstreamTlsFault::NoSystemAuthority | UpstreamTlsFault::Provider(_) => {
            (None, "there is no authority by which a server could be trusted")
        }
    };
    let item = key.and_then(|key| inner.get(key));
    let span = item.map_or_else(|| table.span.clone(), |item| item.span);
    let help = match fault {
        UpstreamTlsFault::NoSystemAuthority => "tls = { ca = \"ca.pem\" }",
        UpstreamTlsFault::CaUnreadable(_)
        | UpstreamTlsFault::NoAuthority
        | UpstreamTlsFault::Identity(_)
        | UpstreamTlsFault::Provider(_) => "relative paths start at the config file's directory",
    };
    table.reader.report(
        &span,
        Diagnostic::error(Code::BadUpstreamTls, message).detail(fault.to_string()).help(help),
    );
}

fn server_name(inner: &Table<'_>) -> Option<ServerName<'static>> {
    let text = inner.string("server_name")?;
    match ServerName::try_from(text.value.clone()) {
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("\"{}\" is not the name of a server", show(&text.raw));
            let diagnostic = Diagnostic::error(Code::BadHost, message);
            inner.reader.report(&text.span, diagnostic.help("the host alone: \"app.internal\""));
            None
        }
    }
}
