//! PEM public keys and certificates.
