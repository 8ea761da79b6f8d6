//! `tls` of a listener: its certificates, and whom it asks for one. The files are read and checked
//! when the configuration is, so that a start or a reload with a key that does not fit never
//! happens.

mod certificate;
mod x509;

pub use certificate::{Certificate, CertificateFault, CertificateFiles};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::RootCertStore;

use super::cursor::Table;
use super::diagnostic::{Code, Diagnostic};
use super::files;
use super::item::Item;
use crate::clock::UnixMs;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// See the module.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The first is the one for clients that name no host, or another.
    pub certificates: Vec<Certificate>,
    pub min_version: TlsVersion,
    pub client: Option<ClientAuth>,
    pub handshake_timeout: Duration,
    /// `Strict-Transport-Security` (RFC 6797).
    pub hsts: Option<HeaderValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsVersion {
    V12,
    V13,
}

/// Who may show a certificate of their own.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    pub roots: Arc<RootCertStore>,
    /// Nobody gets in without one.
    pub required: bool,
    /// The roots' file.
    pub path: PathBuf,
}

/// Reads `tls`; `None` where it is absent or cannot be used. `kind` is its place among the keys.
pub fn tls(table: &Table<'_>, kind: &str) -> Option<Tls> {
    let item = table.get("tls");
    let inner = table.table("tls", kind);
    let certificates = certificates(&inner, &format!("{kind}.certificates"), item.is_some());
    let client = client(&inner);
    let tls = Tls {
        certificates: certificates.into_iter().flatten().collect(),
        min_version: inner.choice(
            "min_version",
            TlsVersion::V12,
            &[("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)],
        ),
        client,
        handshake_timeout: inner.duration("handshake_timeout", 10 * SECOND, SECOND..=3600 * SECOND),
        hsts: hsts(&inner),
    };
    inner.finish();
    (!tls.certificates.is_empty()).then_some(tls)
}

fn certificates(inner: &Table<'_>, kind: &str, present: bool) -> Option<Vec<Certificate>> {
    let tables = inner.tables("certificates", kind);
    if present && tables.is_empty() && !inner.is_no_list("certificates") {
        let message = "`tls` needs at least one certificate";
        inner.reader.report(
            &inner.span,
            Diagnostic::error(Code::MissingKey, message)
                .help("certificates = [{ chain = \"chain.pem\", key = \"key.pem\" }]"),
        );
    }
    let read = tables.iter().map(|table| {
        let (chain, key) = (table.required("chain"), table.required("key"));
        table.finish();
        certificate(&chain?, &key?)
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn certificate(chain: &Item<'_>, key: &Item<'_>) -> Option<Certificate> {
    let reader = chain.reader;
    let at = CertificateFiles {
        chain: reader.resolve(&chain.string()?.value),
        key: reader.resolve(&key.string()?.value),
    };
    let certificate = match Certificate::read(&at) {
        Ok(certificate) => certificate,
        Err(fault) => {
            report_fault(&fault, chain, key);
            return None;
        }
    };
    if certificate.key_is_open {
        let message = "everyone on this machine can read the private key";
        let diagnostic = Diagnostic::warning(Code::OpenPrivateKey, message).help("chmod 600");
        reader.report(&key.span, diagnostic);
    }
    let (now, facts) = (UnixMs::now(), &certificate.facts);
    let warning = if now > facts.not_after {
        Some(format!("the certificate expired at {}", facts.not_after.rfc3339()))
    } else if now < facts.not_before {
        Some(format!("the certificate is valid from {} on", facts.not_before.rfc3339()))
    } else {
        None
    };
    if let Some(message) = warning {
        let diagnostic = Diagnostic::warning(Code::CertificateDates, message);
        reader.report(&chain.span, diagnostic.help("clients will refuse it"));
    }
    Some(certificate)
}

fn report_fault(fault: &CertificateFault, chain: &Item<'_>, key: &Item<'_>) {
    let relative = "relative paths start at the config file's directory";
    let (span, diagnostic) = match fault {
        CertificateFault::ChainUnreadable(why) => (
            &chain.span,
            Diagnostic::error(Code::FileUnreadable, "the certificate cannot be read")
                .detail(why)
                .help(relative),
        ),
        CertificateFault::KeyUnreadable(why) => (
            &key.span,
            Diagnostic::error(Code::FileUnreadable, "the private key cannot be read")
                .detail(why)
                .help(relative),
        ),
        CertificateFault::NoCertificate | CertificateFault::BrokenCertificate(_) => (
            &chain.span,
            Diagnostic::error(Code::BadCertificate, fault.to_string())
                .help("PEM: the server's certificate first, then the intermediate ones"),
        ),
        CertificateFault::NoKey | CertificateFault::UnfitKey => (
            &key.span,
            Diagnostic::error(Code::BadCertificate, fault.to_string())
                .help("PEM without a passphrase: PKCS#8, PKCS#1 or SEC1; RSA, ECDSA or Ed25519"),
        ),
        CertificateFault::Mismatch => (
            &key.span,
            Diagnostic::error(Code::BadCertificate, fault.to_string())
                .help("`chain` and `key` are two files of one certificate"),
        ),
    };
    chain.reader.report(span, diagnostic);
}

fn client(inner: &Table<'_>) -> Option<ClientAuth> {
    let required = inner.get("client_auth");
    let choice = inner.choice("client_auth", true, &[("required", true), ("optional", false)]);
    let Some(item) = inner.get("client_ca") else {
        if let Some(item) = required {
            let message = "`client_auth` has no effect without `client_ca`";
            inner.reader.report(&item.span, Diagnostic::error(Code::NoEffect, message));
        }
        return None;
    };
    let path = inner.reader.resolve(&item.string()?.value);
    match roots(&path) {
        Ok(roots) => Some(ClientAuth { roots: Arc::new(roots), required: choice, path }),
        Err((code, message, why)) => {
            let mut diagnostic = Diagnostic::error(code, message);
            diagnostic.detail = why;
            inner.reader.report(&item.span, diagnostic);
            None
        }
    }
}

type Fault = (Code, &'static str, Option<String>);

fn roots(path: &std::path::Path) -> Result<RootCertStore, Fault> {
    let content = files::read(path).map_err(|why| {
        (Code::FileUnreadable, "the file of `client_ca` cannot be read", Some(why))
    })?;
    let bad = || (Code::BadCertificate, "`client_ca` must hold CA certificates in PEM", None);
    let mut roots = RootCertStore::empty();
    for certificate in certificate::chain_of(&content.bytes).map_err(|_| bad())? {
        roots.add(certificate).map_err(|_| bad())?;
    }
    Ok(roots)
}

fn hsts(inner: &Table<'_>) -> Option<HeaderValue> {
    let subdomains = inner.boolean("hsts_subdomains", false);
    let age = inner.get("hsts").and_then(|item| item.duration(&(Duration::ZERO..=3650 * DAY)));
    let Some(age) = age else {
        if let (true, false, Some(item)) =
            (subdomains, inner.has("hsts"), inner.get("hsts_subdomains"))
        {
            let message = "`hsts_subdomains` has no effect without `hsts`";
            inner.reader.report(&item.span, Diagnostic::error(Code::NoEffect, message));
        }
        return None;
    };
    let more = if subdomains { "; includeSubDomains" } else { "" };
    HeaderValue::try_from(format!("max-age={}{more}", age.as_secs())).ok()
}
