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

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Long, since the machine may be busy; no test
/// waits for it when things are well.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// An address where nobody listens. It is taken, so that no other test listens there meanwhile.
pub fn nobody() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // A program that a test starts may have it where it says so too.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Until the process ends.
    std::mem::forget(socket);
    address
}

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

/// Of streams that a denial ends its answer says how many, but for those of a core that has no turn for
/// 300 ms, as on a busy machine now and then: `None` is what came of such a scene, and it is done again.
#[track_caller]
pub fn once_told_in_time(mut scene: impl FnMut() -> Option<()>) {
    assert!((0..5).any(|_| scene().is_some()), "it was never told how many streams ended");
}

/// Waits until a count has stood still for a second: longer than a busy machine leaves somebody without
/// a turn who has something to do.
#[track_caller]
pub fn stands_still(what: &str, mut count: impl FnMut() -> Option<u64>) {
    let (mut before, mut still) = (None, 0);
    eventually(what, || {
        std::thread::sleep(Duration::from_millis(100));
        let now = count();
        let same = now == before && now > Some(0);
        still = if same { still + 1 } else { 0 };
        before = now;
        (still == 10).then_some(())
    });
}
