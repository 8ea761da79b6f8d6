//! From a credential to a verified token. One place makes a [`VerifiedToken`]; whoever holds one
//! knows that signature, issuer, audience, type and times held at `now`.

mod cache;
mod explain;
mod facts;
mod fault;
mod issuer;
mod policy;
mod signed;
mod signer;
mod verifier;

pub use cache::SignatureCache;
pub use explain::{Check, Outcome};
pub use facts::IDENTIFIER_BYTES_MAX;
pub use fault::TokenFault;
pub use issuer::{ClaimNames, Issuer, KeyCell, LifetimeMark, Missing, Mode, Policy};
pub use signed::Signed;
pub use verifier::{Refused, VerifiedToken, Verifier};

#[cfg(test)]
mod tests;
