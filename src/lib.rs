//! Portcullis: a gateway that can drop any token at once.
//!
//! The tour. A request runs down `proxy::handle`: canonical request → route → credential →
//! verified token → permit → forward. The pure core it asks is [`token`], [`keys`], [`verify`] and
//! [`denylist`]; [`control`] writes what it reads. [`config`] is compiled once by [`app`], the only
//! place that sees both planes.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod denylist;
pub mod desk;
pub mod keys;
pub mod proxy;
pub mod secret;
pub mod sockets;
pub mod telemetry;
pub mod token;
pub mod upstreams;
pub mod verify;

#[doc(hidden)]
pub use proxy::fuzzing;
