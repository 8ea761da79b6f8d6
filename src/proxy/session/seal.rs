//! Sealing: AES-256-GCM with a random nonce, so that nobody reads or makes what a cookie holds. The
//! first key seals, all open, so that keys can be changed while people stay logged in. The name of
//! the cookie is authenticated too: what was sealed for one cannot be brought as another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};

use crate::secret::Secret;
use crate::token::base64url;

/// Distinguishes keys that are derived here from others of the same secret.
const PURPOSE: &[&[u8]] = &[b"portcullis session cookie 1"];

/// See the module.
pub struct Sealer(Vec<LessSafeKey>);

impl Sealer {
    /// `None`: no key, or one that the library does not take.
    pub fn new(secrets: &[Secret]) -> Option<Self> {
        let keys: Option<Vec<LessSafeKey>> = secrets.iter().map(derive).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }

    /// As a cookie's value. `None`: the system gives no random bytes.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = nonce.to_vec();
        let mut text = plain.to_vec();
        let key = self.0.first()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(name.as_bytes()), &mut text).ok()?;
        sealed.extend_from_slice(&text);
        Some(base64url::encode(&sealed))
    }

    /// What was sealed under this name by one of the keys.
    pub fn open(&self, name: &str, value: &str) -> Option<Vec<u8>> {
        let sealed = base64url::decode(value).ok()?;
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = text.to_vec();
            let plain = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text).ok()?;
            Some(plain.to_vec())
        })
    }
}

fn derive(secret: &Secret) -> Option<LessSafeKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]);
    let key = salt.extract(secret.expose());
    let okm = key.expand(PURPOSE, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(okm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(secrets: &[&str]) -> Sealer {
        let secrets: Vec<Secret> =
            secrets.iter().map(|text| Secret::new(text.as_bytes().to_vec())).collect();
        Sealer::new(&secrets).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_under_its_name_and_nowhere_else() {
        let one = sealer(&["a"]);
        let value = one.seal("access", b"text").unwrap();
        assert_eq!(one.open("access", &value).unwrap(), b"text");
        assert_ne!(one.seal("access", b"text").unwrap(), value, "a nonce of its own");
        assert_eq!(one.open("refresh", &value), None);
        assert_eq!(sealer(&["b"]).open("access", &value), None);
        for at in 0..value.len() {
            let mut spoilt = value.clone().into_bytes();
            spoilt[at] = if spoilt[at] == b'A' { b'B' } else { b'A' };
            let spoilt = String::from_utf8(spoilt).unwrap();
            assert_eq!(one.open("access", &spoilt), None, "{at}");
        }
        for short in ["", "AAAA", "not base64 !"] {
            assert_eq!(one.open("access", short), None);
        }
    }

    #[test]
    fn an_older_key_still_opens_and_the_first_seals() {
        let (old, both) = (sealer(&["old"]), sealer(&["new", "old"]));
        assert_eq!(both.open("n", &old.seal("n", b"x").unwrap()).unwrap(), b"x");
        let new = both.seal("n", b"y").unwrap();
        assert_eq!(old.open("n", &new), None);
        assert_eq!(sealer(&["new"]).open("n", &new).unwrap(), b"y");
    }
}
