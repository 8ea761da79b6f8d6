//! A certificate with its chain and its private key, out of two PEM files. What always holds: the
//! key belongs to the certificate, and its bytes are wiped from memory once the signer has them.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::{Zeroize as _, Zeroizing};

use super::x509::{self, Facts};
use crate::config::files;

/// Where a certificate is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// The certificate first, then those that lead to its root.
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// See the module.
#[derive(Clone)]
pub struct Certificate {
    pub files: CertificateFiles,
    pub key: Arc<CertifiedKey>,
    pub facts: Facts,
    /// Others than its owner can read the key's file.
    pub key_is_open: bool,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Why a certificate cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateFault {
    /// The chain's file, and what the system said.
    ChainUnreadable(String),
    KeyUnreadable(String),
    NoCertificate,
    /// One of the chain, counted from 1.
    BrokenCertificate(usize),
    NoKey,
    /// Of a kind that cannot sign here, or broken.
    UnfitKey,
    /// The key is another certificate's.
    Mismatch,
}

impl std::fmt::Display for CertificateFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ChainUnreadable(why) | Self::KeyUnreadable(why) => out.write_str(why),
            Self::NoCertificate => out.write_str("the chain holds no certificate in PEM"),
            Self::BrokenCertificate(number) => {
                write!(out, "certificate {number} of the chain cannot be read")
            }
            Self::NoKey => out.write_str("the key's file holds no private key in PEM"),
            Self::UnfitKey => out.write_str("the private key is broken or of an unknown kind"),
            Self::Mismatch => out.write_str("the private key does not belong to the certificate"),
        }
    }
}

impl std::error::Error for CertificateFault {}

impl Certificate {
    /// Reads both files.
    pub fn read(at: &CertificateFiles) -> Result<Self, CertificateFault> {
        let chain = files::read(&at.chain).map_err(CertificateFault::ChainUnreadable)?;
        let chain = chain_of(&chain.bytes)?;
        let first = chain.first().ok_or(CertificateFault::NoCertificate)?;
        let facts = x509::facts(first).ok_or(CertificateFault::BrokenCertificate(1))?;
        let key = files::read_unnamed(&at.key).map_err(CertificateFault::KeyUnreadable)?;
        let key_is_open = key.mode & 0o007 != 0;
        let pem = Zeroizing::new(key.bytes);
        let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CertificateFault::NoKey)?;
        let signer = any_supported_type(&der);
        der.zeroize();
        let signer = signer.map_err(|_| CertificateFault::UnfitKey)?;
        let key = CertifiedKey::new(chain, signer);
        key.keys_match().map_err(|_| CertificateFault::Mismatch)?;
        Ok(Self { files: at.clone(), key: Arc::new(key), facts, key_is_open })
    }

    /// Reads all or none.
    pub fn read_all(at: &[CertificateFiles]) -> Result<Vec<Self>, CertificateFault> {
        at.iter().map(Self::read).collect()
    }

    /// For whom it is, as people know it: `a.example, *.b.example`.
    pub fn shown(&self) -> String {
        let names = self.facts.names.iter().cloned();
        let addresses = self.facts.addresses.iter().map(ToString::to_string);
        let all: Vec<String> = names.chain(addresses).collect();
        if all.is_empty() { "no name".to_owned() } else { all.join(", ") }
    }
}

/// Every certificate of a PEM file; each must be one.
pub fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let number = chain.len() + 1;
        let broken = CertificateFault::BrokenCertificate(number);
        let certificate = certificate.map_err(|_| broken.clone())?;
        x509::facts(&certificate).ok_or(broken)?;
        chain.push(certificate);
    }
    if chain.is_empty() { Err(CertificateFault::NoCertificate) } else { Ok(chain) }
}
