//! What a key server says, and what was kept of it on disk.

use portcullis::control::keys::fuzzing;
use portcullis::keys::{Algorithm, KeySet};
use serde_json::Value;

const ISSUER: &str = "https://id.example.com";
const URL: &str = "https://id.example.com/keys";

/// A discovery document is believed about one issuer, and what is found is what it says; a kept file
/// counts for its URL only, and what is in it is a key set or nothing.
pub fn provider(bytes: &[u8]) {
    if let Some(found) = fuzzing::discovered(bytes, ISSUER) {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(document["issuer"], ISSUER);
        let said: http::Uri = document["jwks_uri"].as_str().unwrap().parse().unwrap();
        assert_eq!(said.to_string(), found);
        assert_eq!(fuzzing::discovered(bytes, "https://id.example.com/"), None);
    }
    if let Some(jwks) = fuzzing::kept(bytes, URL) {
        let file: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!((file["url"].as_str(), file["jwks"].as_str()), (Some(URL), Some(jwks.as_str())));
        assert_eq!(fuzzing::kept(bytes, "https://id.example.com/other"), None);
        if let Ok((set, _)) = KeySet::from_jwks(jwks.as_bytes(), &Algorithm::ALL) {
            assert!(!set.is_empty());
        }
    }
}
