//! Builders for the scene of a test: an issuer, an upstream, a gateway, a client, an administrator.
//! Everything is on loopback with a port the system chose; everything that waits has a deadline.

mod admin;
mod authority;
mod client;
pub mod frames;
mod gateway;
pub mod http2;
mod http2_backend;
mod issuer;
mod jar;
mod key_server;
mod keys;
mod lines;
pub mod load;
mod login;
pub mod peers;
pub mod session_scene;
mod setup;
mod token_endpoint;
mod token_scene;
mod upstream;

pub use admin::Admin;
pub use authority::{Authority, Issued, der};
pub use client::{Answer, Connection, ReadError};
pub use frames::Frames;
pub use gateway::{Gateway, program, run_to_end};
pub use http2::Http2;
pub use http2_backend::Http2Backend;
pub use issuer::{Issuer, Token, base64url, now};
pub use jar::Jar;
pub use key_server::{KeyServer, Mood, jwk};
pub use keys::{Key, Kind};
pub use lines::Lines;
pub use login::{LoginScene, OURS, speak};
pub use session_scene::SessionScene;
pub use setup::Setup;
pub use token_endpoint::{Grants, TokenEndpoint};
pub use token_scene::TokenScene;
pub use upstream::{Received, Upstream};

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Long, since the machine may be busy; no test
/// waits for it when things are well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until `condition` gives a value; fails the test with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "still waiting after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
