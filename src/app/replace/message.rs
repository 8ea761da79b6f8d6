//! What the two processes say to each other. They may be of two versions: `PROTOCOL` changes with
//! anything here, with the canonical form of a selector, and with the format of the store.

use serde::{Deserialize, Serialize};

use crate::config::Listen;
use crate::denylist::Step;

pub const PROTOCOL: u32 = 2;

/// Steps in one message: it must fit into a socket's buffer.
pub const STEPS: usize = 100;

/// See the module. The new process asks, the old one answers each.
#[derive(Serialize, Deserialize)]
pub enum Message {
    /// The new one: who is there?
    Hello { protocol: u32 },
    /// The old one, instead of any other answer.
    Refused { why: String },
    /// The old one, once for each of its sockets, which comes with it.
    Socket { role: Role, name: Option<String>, configured: Listen, address: Listen },
    /// The old one: that was the last socket. The key makes fingerprints equal in both.
    Handed { fingerprints: [u8; 16] },
    /// The new one: close the store.
    Release,
    /// The old one: it is closed.
    Released,
    /// The new one: I can serve now.
    Ready,
    /// The old one: then do; I accept nobody any more.
    Yours,
    /// The new one: its hot table has changed.
    Changed { steps: Vec<Step> },
    /// The old one: its own says the same, and its streams have been told.
    Applied,
}

/// Whose socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Public,
    Admin,
    Metrics,
}
