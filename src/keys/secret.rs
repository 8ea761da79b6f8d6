//! A shared secret as a key.
//!
//! What is refused here is the classic confusion of algorithms (RFC 8725 section 2.1): a public
//! key given as an HMAC secret lets everybody sign. A key is bound to its own algorithms anyway;
//! this catches the mistake in the config.

use base64::Engine as _;

use crate::secret::Secret;

use super::set::Key;
use super::{Algorithm, KeyFault, Thumbprint, der};

/// What the keyed digest of a secret is taken over. Changing it orphans every denial of a secret.
const THUMBPRINT_LABEL: &[u8] = b"portcullis key thumbprint v1";

pub(super) fn key(
    secret: &Secret,
    kid: Option<&str>,
    allowed: &[Algorithm],
) -> Result<Key, KeyFault> {
    let bytes = secret.expose();
    refuse_public_key(bytes)?;
    let symmetric = || allowed.iter().copied().filter(|algorithm| algorithm.is_symmetric());
    let Some(shortest) = symmetric().min_by_key(|algorithm| algorithm.secret_bytes_min()) else {
        return Err(KeyFault::NoAlgorithm { key: "HMAC" });
    };
    let algorithms: Vec<_> =
        symmetric().filter(|algorithm| bytes.len() >= algorithm.secret_bytes_min()).collect();
    if algorithms.is_empty() {
        return Err(KeyFault::SecretTooShort {
            bytes: bytes.len(),
            needed: shortest.secret_bytes_min(),
            algorithm: shortest,
        });
    }
    Ok(Key {
        thumbprint: thumbprint(bytes),
        kid: kid.map(str::to_owned),
        client: None,
        algorithms,
        decoding: jsonwebtoken::DecodingKey::from_secret(bytes),
    })
}

/// HMAC-SHA-256 of a label under the secret: stable across restarts, and nothing about the secret
/// can be learnt from it that a token signed with it does not also tell.
fn thumbprint(secret: &[u8]) -> Thumbprint {
    use aws_lc_rs::hmac;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), THUMBPRINT_LABEL);
    let mut digest = [0; 32];
    digest.copy_from_slice(tag.as_ref());
    Thumbprint(digest)
}

fn refuse_public_key(bytes: &[u8]) -> Result<(), KeyFault> {
    let refuse = |what| Err(KeyFault::SecretIsKey { what });
    if der::public_key(bytes).is_ok() || der::certificate(bytes).is_ok() || der::rsa(bytes).is_ok()
    {
        return refuse("a DER public key");
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if text.contains("-----BEGIN ") {
        return refuse("a PEM file");
    }
    if text.starts_with('{') && (text.contains("\"kty\"") || text.contains("\"keys\"")) {
        return refuse("a JWK");
    }
    if ["ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-"].iter().any(|start| text.starts_with(start)) {
        return refuse("an SSH public key");
    }
    let body: String = text.split_whitespace().collect();
    if let Ok(decoded) = base64::engine::general_purpose::STANDARD.decode(body)
        && (der::public_key(&decoded).is_ok() || der::certificate(&decoded).is_ok())
    {
        return refuse("the body of a PEM file");
    }
    Ok(())
}
