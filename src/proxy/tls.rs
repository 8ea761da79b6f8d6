//! TLS towards clients. One [`Tls`] serves all connections of an entrance; its certificates can be
//! replaced while it does, all or none, and the next handshake has the new ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::UnixMs;
use crate::config::tls::{
    Certificate, CertificateFault, CertificateFiles, Tls as TlsConfig, TlsVersion,
};

use super::io::Rewound;
use super::kept::Tickets;
use super::turnstile::Turnstile;

/// HTTP/2, as ALPN calls it.
pub const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// See the module.
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    files: Vec<CertificateFiles>,
    pub handshake_timeout: Duration,
    /// `Strict-Transport-Security` for its answers.
    pub hsts: Option<http::HeaderValue>,
    /// Clients may show a certificate, and the backend is told of it.
    pub asks_client: bool,
}

/// Chooses a certificate by the name that the client asks for.
struct Certificates(ArcSwap<Named>);

#[derive(Default)]
struct Named {
    /// In the order of the configuration. A name may have several: of different kinds of key.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*.`, which stands for one label (RFC 9525 section 6.3).
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For clients that name no host, or one that is not here.
    others: Vec<Arc<CertifiedKey>>,
    ends: Vec<(String, UnixMs)>,
}

impl Tls {
    /// `None` only where the cryptography at hand cannot do what the configuration asks, which its
    /// check has ruled out.
    pub fn new(
        config: &TlsConfig,
        http2: bool,
        (before, tickets): (&Tickets, &mut Tickets),
    ) -> Option<Self> {
        let files: Vec<_> = config.certificates.iter().map(|one| one.files.clone()).collect();
        let certificates =
            Arc::new(Certificates(ArcSwap::from_pointee(Named::of(&config.certificates))));
        // Never the process's default: who links another library must not change ours.
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] = match config.min_version {
            TlsVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .ok()?;
        let builder = match &config.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let roots = Arc::clone(&client.roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier =
                    if client.required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().ok()?)
            }
        };
        let mut tls = builder.with_cert_resolver(Arc::clone(&certificates) as _);
        if http2 {
            tls.alpn_protocols.push(H2.to_vec());
        }
        tls.alpn_protocols.push(HTTP_11.to_vec());
        // Sessions are kept by the client alone, in a ticket.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        if config.client.is_some() {
            // A ticket would bring a client back whose certificate is no longer trusted.
            tls.send_tls13_tickets = 0;
        } else {
            // The keys of tickets change every six hours; the last one still opens. A reload changes
            // none, so that clients need no full handshake after it.
            let make = || aws_lc_rs::Ticketer::new().ok();
            tls.ticketer = tickets.of(before, (files.clone(), config.min_version), make)?;
            tls.send_tls13_tickets = 1;
        }
        Some(Self {
            config: Arc::new(tls),
            certificates,
            files,
            handshake_timeout: config.handshake_timeout,
            hsts: config.hsts.clone(),
            asks_client: config.client.is_some(),
        })
    }

    /// The files of its certificates.
    pub fn files(&self) -> &[CertificateFiles] {
        &self.files
    }

    /// For whom its certificates are, and when they end.
    pub fn ends(&self) -> Vec<(String, UnixMs)> {
        self.certificates.0.load().ends.clone()
    }

    /// Reads the certificates again; the ones in use stay where any cannot be used. Reads files: not
    /// for the data plane's threads.
    pub fn reread(&self) -> Result<Vec<Certificate>, CertificateFault> {
        let read = Certificate::read_all(&self.files)?;
        self.certificates.0.store(Arc::new(Named::of(&read)));
        Ok(read)
    }

    /// The handshake. What costs, the answer to the client's first message, waits for its turn.
    pub async fn accept(
        &self,
        stream: Rewound,
        turnstile: &std::rc::Rc<Turnstile>,
    ) -> std::io::Result<TlsStream<Rewound>> {
        let handshake = async {
            let begun = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
            let begun = begun.await?;
            turnstile.pass().await;
            begun.into_stream(Arc::clone(&self.config)).await
        };
        tokio::time::timeout(self.handshake_timeout, handshake).await?
    }
}

impl Named {
    fn of(certificates: &[Certificate]) -> Self {
        let mut named = Self::default();
        for certificate in certificates {
            for name in &certificate.facts.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut named.wildcard, rest),
                    None => (&mut named.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        if let Some(first) = certificates.first() {
            // Those that are for the same names as the first: the other kinds of its key.
            let alike = certificates.iter().filter(|one| one.facts.names == first.facts.names);
            named.others = alike.map(|one| Arc::clone(&one.key)).collect();
        }
        let ends = |one: &Certificate| (one.shown(), one.facts.not_after);
        named.ends = certificates.iter().map(ends).collect();
        named
    }

    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let above = || name.split_once('.').map(|(_, rest)| rest);
            self.exact.get(&name).or_else(|| self.wildcard.get(above()?))
        });
        found.unwrap_or(&self.others)
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = self.0.load();
        let candidates = named.candidates(hello.server_name());
        let schemes = hello.signature_schemes();
        let fits = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(schemes).is_some();
        candidates.iter().find(fits).or(candidates.first()).map(Arc::clone)
    }
}
