//! PEM public keys and certificates (RFC 7468), strictly: blocks and blank lines, nothing else.
//! A file with leading garbage, a private key or an unknown block is refused as a whole, since
//! whoever configured it meant something else.

use base64::Engine as _;

use super::set::Key;
use super::{Algorithm, KeyFault, der};

pub(super) fn keys(
    pem: &[u8],
    kid: Option<&str>,
    allowed: &[Algorithm],
) -> Result<Vec<Key>, KeyFault> {
    let text = std::str::from_utf8(pem).map_err(|_| KeyFault::NotPem)?;
    let mut lines = text.lines().map(str::trim_end);
    let mut keys = Vec::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let Some(label) = boundary(line, "-----BEGIN ") else {
            return Err(if text.contains("-----BEGIN ") {
                KeyFault::Garbage
            } else {
                KeyFault::NotPem
            });
        };
        let der = body(&mut lines, label)?;
        keys.push(public_key(label, &der)?.bind(kid, None, allowed)?);
    }
    if keys.is_empty() { Err(KeyFault::NotPem) } else { Ok(keys) }
}

fn boundary<'l>(line: &'l str, start: &str) -> Option<&'l str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}

/// Everything up to the block's end.
fn body<'l>(lines: &mut impl Iterator<Item = &'l str>, label: &str) -> Result<Vec<u8>, KeyFault> {
    if label.ends_with("PRIVATE KEY") {
        return Err(KeyFault::Private);
    }
    let mut base64 = String::new();
    for line in lines {
        match boundary(line, "-----END ") {
            Some(end) if end == label => {
                return base64::engine::general_purpose::STANDARD
                    .decode(base64)
                    .map_err(|_| KeyFault::BrokenPem);
            }
            Some(_) => return Err(KeyFault::BrokenPem),
            None => base64.push_str(line.trim()),
        }
    }
    Err(KeyFault::BrokenPem)
}

fn public_key(label: &str, bytes: &[u8]) -> Result<super::public::PublicKey, KeyFault> {
    match label {
        "PUBLIC KEY" => der::public_key(bytes),
        "RSA PUBLIC KEY" => der::rsa(bytes),
        "CERTIFICATE" => der::certificate(bytes),
        other => Err(KeyFault::PemLabel(other.to_owned())),
    }
}
