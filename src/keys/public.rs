//! A public key, whatever it was written as: checked, named by its thumbprint, bound to the
//! algorithms of its type.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
};
use jsonwebtoken::DecodingKey;

use crate::token::base64url::encode;
use crate::token::sha256;

use super::set::Key;
use super::{Algorithm, KeyFault, Thumbprint};

/// RFC 7518 section 3.3 asks for 2048; above 8192 a signature costs more than it protects.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// `y` of the Ed25519 points of order 8, little-endian.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Bytes of one coordinate.
    pub fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

/// Only made by functions that checked the numbers.
#[derive(Debug)]
pub(super) struct PublicKey(Numbers);

#[derive(Debug)]
enum Numbers {
    /// Big endian without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed: `04`, x, y.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519 {
        x: Vec<u8>,
    },
}

impl PublicKey {
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let bits = bit_length(n);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyFault::RsaSize { bits });
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        let (n, e) = (without_zeros(n), without_zeros(e));
        // At least 3 and at most 33 bits, which is what the verifier itself takes.
        if !odd(n) || !odd(e) || !(2..=33).contains(&bit_length(e)) {
            return Err(KeyFault::RsaNumbers);
        }
        Ok(Self(Numbers::Rsa { n: n.to_vec(), e: e.to_vec() }))
    }

    /// `point` is uncompressed (SEC 1 section 2.3.3).
    pub fn ec(curve: Curve, point: &[u8]) -> Result<Self, KeyFault> {
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED,
        };
        if point.len() != 1 + 2 * curve.bytes() || point.first() != Some(&4) {
            return Err(KeyFault::Point);
        }
        ParsedPublicKey::new(algorithm, point).map_err(|_| KeyFault::Point)?;
        Ok(Self(Numbers::Ec { curve, point: point.to_vec() }))
    }

    pub fn ed25519(x: &[u8]) -> Result<Self, KeyFault> {
        let point: [u8; 32] = x.try_into().map_err(|_| KeyFault::Point)?;
        if is_of_small_order(point) {
            return Err(KeyFault::SmallOrder);
        }
        ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyFault::Point)?;
        Ok(Self(Numbers::Ed25519 { x: x.to_vec() }))
    }

    /// What a key of this type can verify.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match &self.0 {
            Numbers::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Numbers::Ec { curve: Curve::P256, .. } => &[ES256],
            Numbers::Ec { curve: Curve::P384, .. } => &[ES384],
            Numbers::Ed25519 { .. } => &[EdDSA],
        }
    }

    /// For people.
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Numbers::Rsa { .. } => "RSA",
            Numbers::Ec { curve: Curve::P256, .. } => "EC P-256",
            Numbers::Ec { curve: Curve::P384, .. } => "EC P-384",
            Numbers::Ed25519 { .. } => "Ed25519",
        }
    }

    /// The members of RFC 7638 section 3.2 and RFC 8037 section 2, in lexicographic order.
    pub fn members(&self) -> Vec<(&'static str, String)> {
        let text = str::to_owned;
        match &self.0 {
            Numbers::Rsa { n, e } => {
                vec![("e", encode(e)), ("kty", text("RSA")), ("n", encode(n))]
            }
            Numbers::Ec { curve, point } => {
                let (x, y) = point.get(1..).unwrap_or_default().split_at(curve.bytes());
                let name = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                };
                vec![("crv", text(name)), ("kty", text("EC")), ("x", encode(x)), ("y", encode(y))]
            }
            Numbers::Ed25519 { x } => {
                vec![("crv", text("Ed25519")), ("kty", text("OKP")), ("x", encode(x))]
            }
        }
    }

    /// RFC 7638 section 3: SHA-256 of the required members, without white space.
    pub fn thumbprint(&self) -> Thumbprint {
        let members = self.members();
        let members: Vec<_> =
            members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        Thumbprint(sha256(format!("{{{}}}", members.join(",")).as_bytes()))
    }

    /// Binds it: `stated` is the JWK's `alg`, `allowed` is the issuer's list.
    pub fn bind(
        self,
        kid: Option<&str>,
        stated: Option<Algorithm>,
        allowed: &[Algorithm],
    ) -> Result<Key, KeyFault> {
        let algorithms: Vec<_> = self
            .algorithms()
            .iter()
            .copied()
            .filter(|algorithm| stated.is_none_or(|stated| stated == *algorithm))
            .filter(|algorithm| allowed.contains(algorithm))
            .collect();
        if algorithms.is_empty() {
            return Err(KeyFault::NoAlgorithm { key: self.kind() });
        }
        let decoding = match &self.0 {
            Numbers::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            Numbers::Ec { point, .. } => DecodingKey::from_ec_der(point),
            Numbers::Ed25519 { x } => DecodingKey::from_ed_der(x),
        };
        Ok(Key {
            thumbprint: self.thumbprint(),
            kid: kid.map(str::to_owned),
            client: None,
            algorithms,
            decoding,
        })
    }
}

/// Whatever the message, every order-th signature of zeros verifies under such a point, and nobody
/// needs a private key for it. The verifier itself takes them. Zeros alone, as of a key that was never
/// filled in, are one.
fn is_of_small_order(mut point: [u8; 32]) -> bool {
    let [_, .., last] = &mut point;
    *last &= 0x7f; // the sign of x
    let [first, middle @ .., last] = &point;
    let all = |byte: u8| middle.iter().all(|one| *one == byte);
    // y is 1, -1 and 0 for the orders 1, 2 and 4; p and p + 1 are 0 and 1 once more.
    let small = all(0) && *last == 0 && *first <= 1;
    let near_p = all(0xff) && *last == 0x7f && (0xec..=0xee).contains(first);
    small || near_p || ORDER_8.contains(&point)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bit_length(number: &[u8]) -> usize {
    match without_zeros(number) {
        [] => 0,
        [first, rest @ ..] => rest.len() * 8 + (8 - first.leading_zeros() as usize),
    }
}
