//! One JWK to one key.
