//! `demo`: everything on one machine with nothing to set up, so that the first thing a person sees
//! is a token that passes, is revoked, and fails.

mod backend;
mod issuer;
mod websocket;
