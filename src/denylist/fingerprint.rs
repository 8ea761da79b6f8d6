//! Keyed fingerprints of selectors: 96 bits of SipHash-2-4-128 under a random key of the process,
//! so that no false positive can be aimed at and none is expected.

use super::{IssuerId, Selector, TokenId};

/// What the hot table is keyed by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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

    pub fn selector(&self, issuer: &IssuerId, selector: &Selector) -> Fingerprint {
        let _ = (issuer, selector, &self.key);
        unimplemented!()
    }

    pub fn token(&self, issuer: &IssuerId, token: &TokenId) -> Fingerprint {
        let _ = (issuer, token);
        unimplemented!()
    }
}

impl std::fmt::Debug for Fingerprinter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Fingerprinter")
    }
}
