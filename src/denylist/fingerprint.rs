//! Keyed fingerprints of selectors: 96 bits of SipHash-2-4-128 under a random key of the process,
//! so that no false positive can be aimed at and none is expected.

use serde::{Deserialize, Serialize};
use siphasher::sip128::SipHasher24;

use super::canonical::Parts;
use super::{Except, IssuerId, Selector, TokenId};

/// What the hot table is keyed by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 12]);

/// Makes fingerprints under one random key. Cheap to clone.
#[derive(Clone)]
pub struct Fingerprinter {
    key: [u8; 16],
}

impl Fingerprinter {
    /// A fresh random key.
    pub fn random() -> Self {
        let mut key = [0; 16];
        // The operating system's generator does not fail on the platforms we build for.
        #[expect(clippy::expect_used, reason = "without randomness nothing here is safe")]
        aws_lc_rs::rand::fill(&mut key).expect("the operating system gives random bytes");
        Self { key }
    }

    /// With the key of a process that this one takes the place of: they know each selector by the
    /// same fingerprint.
    pub fn with_key(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// For the process that takes the place of this one, and nobody else.
    pub fn key(&self) -> [u8; 16] {
        self.key
    }

    pub fn selector(&self, issuer: &IssuerId, selector: &Selector) -> Fingerprint {
        self.parts(issuer, Parts::of(selector))
    }

    pub fn token(&self, issuer: &IssuerId, token: &TokenId) -> Fingerprint {
        self.parts(issuer, Parts::of_token(token))
    }

    /// The fingerprint by which a cutoff knows the one that it spares.
    pub fn except(&self, issuer: &IssuerId, except: &Except) -> Fingerprint {
        self.parts(issuer, Parts::of_except(except))
    }

    pub(super) fn parts(&self, issuer: &IssuerId, parts: Parts<'_>) -> Fingerprint {
        let mut form = Vec::with_capacity(128);
        parts.write(issuer, &mut form);
        self.form(&form)
    }

    /// The fingerprint of a canonical form.
    pub(crate) fn form(&self, form: &[u8]) -> Fingerprint {
        let hash = SipHasher24::new_with_key(&self.key).hash(form).as_bytes();
        let [fingerprint @ .., _, _, _, _] = hash;
        Fingerprint(fingerprint)
    }
}

impl std::fmt::Debug for Fingerprinter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Fingerprinter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_stable_under_one_key_and_foreign_under_another() {
        let issuer = IssuerId::new("https://id.example.com/");
        let alice = Selector::Subject("alice".into());
        let by = Fingerprinter::random();
        assert_eq!(by.selector(&issuer, &alice), by.clone().selector(&issuer, &alice));
        assert_ne!(by.selector(&issuer, &alice), Fingerprinter::random().selector(&issuer, &alice));
        assert_ne!(
            by.selector(&issuer, &alice),
            by.selector(&issuer, &Selector::Session("alice".into()))
        );
        assert_ne!(
            by.selector(&issuer, &alice),
            by.selector(&IssuerId::new("https://id.example.com"), &alice)
        );
        let jti = TokenId::Jti("t-1".into());
        assert_eq!(by.token(&issuer, &jti), by.selector(&issuer, &Selector::Token(jti.clone())));
        assert_eq!(format!("{by:?}"), "Fingerprinter", "the key is not printed");
    }
}
