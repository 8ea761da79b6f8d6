//! Requests that the control plane makes of others: one way to trust a server and to say why it
//! could not be reached.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// A client that keeps connections for reuse.
pub type Client = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A name must be found and a connection stand in this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A client for HTTP and HTTPS that trusts the system's certificates, or those of `ca` alone.
pub fn client(ca: Option<&[u8]>) -> Result<Client, String> {
    let connector = connector(ca, CONNECT_TIMEOUT)?;
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector))
}

/// Connections for such a client, of which each stands within `timeout` and never later than usual.
pub fn connector(
    ca: Option<&[u8]>,
    timeout: Duration,
) -> Result<HttpsConnector<HttpConnector>, String> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT.min(timeout)));
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(trust(ca)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector))
}

/// The system's certificates, or those given in their place.
fn trust(ca: Option<&[u8]>) -> Result<rustls::ClientConfig, String> {
    let roots = match ca {
        Some(pem) => authorities(pem)?,
        None => system(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| fault.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    match roots.add_parsable_certificates(found) {
        (0, _) => Err("no certificate of `ca` can be trusted".to_owned()),
        _ => Ok(Arc::new(roots)),
    }
}

/// Read once for all, since it is hundreds of certificates; again where there was none.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: Mutex<Option<Arc<RootCertStore>>> = Mutex::new(None);
    let mut system = SYSTEM.lock();
    if let Some(roots) = &*system {
        return Arc::clone(roots);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let roots = Arc::new(roots);
    if !roots.is_empty() {
        *system = Some(Arc::clone(&roots));
    }
    roots
}

/// An error and what caused it, each once.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}
