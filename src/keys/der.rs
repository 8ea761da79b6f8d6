//! The little DER that public keys need (X.690): `SubjectPublicKeyInfo` and the place of it in a
//! certificate (RFC 5280 section 4.1), and `RSAPublicKey` (RFC 8017 appendix A.1.1). Definite,
//! minimal lengths only; nothing may follow the outermost value.

use super::KeyFault;
use super::public::{Curve, PublicKey};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// rsaEncryption, 1.2.840.113549.1.1.1.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-ecPublicKey, 1.2.840.10045.2.1.
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// prime256v1, 1.2.840.10045.3.1.7.
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34.
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// id-Ed25519, 1.3.101.112.
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Values in a row.
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    /// The tag and the content of the next value.
    fn next(&mut self) -> Result<(u8, &'d [u8]), KeyFault> {
        let (&tag, rest) = self.0.split_first().ok_or(KeyFault::BrokenDer)?;
        let (&first, rest) = rest.split_first().ok_or(KeyFault::BrokenDer)?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81..=0x83 => {
                let (digits, rest) =
                    rest.split_at_checked(usize::from(first & 0x7f)).ok_or(KeyFault::BrokenDer)?;
                let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                let minimal = digits.first() != Some(&0) && length > 0x7f;
                (if minimal { length } else { return Err(KeyFault::BrokenDer) }, rest)
            }
            _ => return Err(KeyFault::BrokenDer),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(KeyFault::BrokenDer)?;
        self.0 = rest;
        Ok((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Result<&'d [u8], KeyFault> {
        self.next().and_then(
            |(found, content)| {
                if found == tag { Ok(content) } else { Err(KeyFault::BrokenDer) }
            },
        )
    }

    fn end(self) -> Result<(), KeyFault> {
        if self.0.is_empty() { Ok(()) } else { Err(KeyFault::BrokenDer) }
    }
}

fn only(tag: u8, der: &[u8]) -> Result<Reader<'_>, KeyFault> {
    let mut outer = Reader(der);
    let content = outer.expect(tag)?;
    outer.end()?;
    Ok(Reader(content))
}

/// `RSAPublicKey`: what a PEM block `RSA PUBLIC KEY` holds.
pub(super) fn rsa(der: &[u8]) -> Result<PublicKey, KeyFault> {
    let mut numbers = only(SEQUENCE, der)?;
    let n = unsigned(numbers.expect(INTEGER)?)?;
    let e = unsigned(numbers.expect(INTEGER)?)?;
    numbers.end()?;
    PublicKey::rsa(n, e)
}

fn unsigned(content: &[u8]) -> Result<&[u8], KeyFault> {
    match content {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Ok(rest),
        [1..=0x7f, ..] => Ok(content),
        _ => Err(KeyFault::BrokenDer),
    }
}

/// `SubjectPublicKeyInfo`: what a PEM block `PUBLIC KEY` holds.
pub(super) fn public_key(der: &[u8]) -> Result<PublicKey, KeyFault> {
    let mut info = only(SEQUENCE, der)?;
    let mut algorithm = Reader(info.expect(SEQUENCE)?);
    let bits = info.expect(BIT_STRING)?;
    info.end()?;
    let Some((0, key)) = bits.split_first() else { return Err(KeyFault::BrokenDer) };
    match algorithm.expect(OBJECT_ID)? {
        OID_RSA => {
            algorithm.expect(NULL)?;
            algorithm.end()?;
            rsa(key)
        }
        OID_EC => {
            let curve = match algorithm.expect(OBJECT_ID)? {
                OID_P256 => Curve::P256,
                OID_P384 => Curve::P384,
                _ => return Err(KeyFault::KeyType("an EC key on another curve".to_owned())),
            };
            algorithm.end()?;
            PublicKey::ec(curve, key)
        }
        OID_ED25519 => {
            algorithm.end()?;
            PublicKey::ed25519(key)
        }
        _ => Err(KeyFault::KeyType("a public key of another kind".to_owned())),
    }
}

/// The key inside an X.509 certificate.
pub(super) fn certificate(der: &[u8]) -> Result<PublicKey, KeyFault> {
    let mut certificate = only(SEQUENCE, der)?;
    let mut signed = Reader(certificate.expect(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.next()?;
    }
    signed.expect(INTEGER)?;
    for _signature_issuer_validity_subject in 0..4 {
        signed.expect(SEQUENCE)?;
    }
    let before = signed.0;
    signed.expect(SEQUENCE)?;
    let info = before.len() - signed.0.len();
    public_key(before.get(..info).ok_or(KeyFault::BrokenDer)?)
}
