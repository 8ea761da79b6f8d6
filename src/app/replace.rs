//! One process takes the place of another: the sockets, then the store, then every new client. The
//! running one waits for that at `replace.sock` beside its store ([`serving`]); the new one comes
//! there ([`joining`]). Until the new one is ready nothing is lost by its failing: the running one
//! takes its store back and goes on. After that the old one serves what is open to its end and
//! follows the new one's denials, each of which is acknowledged when the old one has applied it. Where
//! several follow each other, each stays for as long as the one behind it does.

mod channel;
mod joining;
mod message;
mod serving;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::Listen;
use crate::sockets::Socket;

use super::listening::Sockets;

pub use joining::{Behind, Predecessor, ReplaceError};
pub use serving::{Outcome, Replaceable};

const NAME: &str = "replace.sock";

fn socket_path(store: &Path) -> PathBuf {
    store.join(NAME)
}

/// All sockets that a successor gets. Locked while a reload or a replacement is under way, so that
/// neither sees half of the other.
#[derive(Default)]
pub struct Held {
    pub public: Sockets,
    pub admin: Vec<Handle>,
    pub metrics: Vec<Handle>,
    /// The process ends: nobody gets anything any more.
    pub closed: bool,
}

/// Another handle of a socket that a task of the control plane owns.
pub struct Handle {
    pub configured: Listen,
    pub address: Listen,
    pub socket: OwnedFd,
}

impl Handle {
    pub fn of(configured: &Listen, address: &Listen, socket: &Socket) -> std::io::Result<Self> {
        let socket = match socket {
            Socket::Tcp(socket) => socket.as_fd().try_clone_to_owned()?,
            Socket::Unix(socket, _) => socket.as_fd().try_clone_to_owned()?,
        };
        Ok(Self { configured: configured.clone(), address: address.clone(), socket })
    }
}

/// Starts the program anew, with the arguments of this process, to take its place. How that goes is
/// for the log: this process goes on until the other one is ready.
pub fn start_successor(program: &std::io::Result<PathBuf>) {
    let started = match program {
        Ok(program) => spawn(program),
        Err(error) => Err(std::io::Error::other(error.to_string())),
    };
    if let Err(error) = started {
        tracing::error!(%error, "a new process cannot be started, this one goes on");
    }
}

fn spawn(program: &Path) -> std::io::Result<()> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--replace") {
        arguments.push("--replace".into());
    }
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // These name this process and its sockets.
    for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    let mut child = command.spawn()?;
    std::thread::Builder::new().name("successor".to_owned()).spawn(move || {
        if let Ok(status) = child.wait() {
            tracing::warn!(%status, "the process started to replace this one has ended");
        }
    })?;
    Ok(())
}
