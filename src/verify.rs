//! From a credential to a verified token. One place makes a [`VerifiedToken`]; whoever holds one
//! knows that signature, issuer, audience, type and times held at `now`.

mod cache;
mod explain;
mod issuer;
mod policy;
mod signed;
mod verifier;

pub use cache::SignatureCache;
pub use explain::{Check, Outcome};
pub use issuer::{ClaimNames, Issuer, Missing, Policy};
pub use policy::TokenFault;
pub use signed::Signed;
pub use verifier::{VerifiedToken, Verifier};
