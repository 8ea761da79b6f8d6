//! What must hold of every input, whoever sends it: one function for each fuzz target. The seeds,
//! and what was once found, are held to the same by `tests/it/fuzz.rs`.

mod form;
mod paths;
mod provider;
mod request;
mod wire;

pub use form::{claims, jwks, token};
pub use paths::path;
pub use provider::provider;
pub use request::request;
pub use wire::{answer, credential, frames, proxy_protocol, traceparent};
