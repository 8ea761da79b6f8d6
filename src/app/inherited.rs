//! Sockets that a service manager opened for us (socket activation: `LISTEN_PID`, `LISTEN_FDS`,
//! `LISTEN_FDNAMES`). A listener takes the one that has its name, else the one that is bound to its
//! address; what nobody takes is closed, and said. The sockets of a process that this one takes the
//! place of come the same way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::config::{Listen, Listener};
use crate::proxy::accept::Bound;
use crate::sockets::{self, Socket, SocketFile};

/// See the module.
#[derive(Default)]
pub struct Inherited(Vec<Passed>);

struct Passed {
    name: String,
    address: Listen,
    /// What the configuration of the process that bound it says, if that process told.
    configured: Option<Listen>,
    bound: Bound,
    /// Its name in the file system, where it leaves with this process.
    file: Option<SocketFile>,
}

impl Inherited {
    /// Those of this process's environment.
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = listenfd::ListenFd::from_env();
        let mut found = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let tcp = passed.take_tcp_listener(index).ok().flatten().and_then(|socket| {
                ours_alone(&socket).ok()?;
                socket.set_nonblocking(true).ok()?;
                Some((Listen::Tcp(socket.local_addr().ok()?), Bound::Tcp(socket)))
            });
            let unix = || {
                let socket = passed.take_unix_listener(index).ok().flatten()?;
                ours_alone(&socket).ok()?;
                socket.set_nonblocking(true).ok()?;
                let path = socket.local_addr().ok()?.as_pathname()?.to_owned();
                Some((Listen::Unix(path), Bound::Unix(socket)))
            };
            match tcp.or_else(unix) {
                Some((address, bound)) => {
                    let (configured, file) = (None, None);
                    found.push(Passed { name, address, configured, bound, file });
                }
                None => tracing::warn!(name, index, "a passed socket is of no use: no stream"),
            }
        }
        Self(found)
    }

    /// One of the process that this one takes the place of.
    pub fn add(
        &mut self,
        name: Option<String>,
        configured: Listen,
        address: Listen,
        socket: OwnedFd,
    ) -> io::Result<()> {
        let (bound, file) = match &address {
            Listen::Tcp(_) => (Bound::Tcp(socket.into()), None),
            Listen::Unix(path) => (Bound::Unix(socket.into()), SocketFile::of(path)),
        };
        match &bound {
            Bound::Tcp(socket) => socket.set_nonblocking(true)?,
            Bound::Unix(socket) => socket.set_nonblocking(true)?,
        }
        let (name, configured) = (name.unwrap_or_default(), Some(configured));
        self.0.push(Passed { name, address, configured, bound, file });
        Ok(())
    }

    /// The one for this listener, its address, and its name in the file system.
    pub fn take(&mut self, listener: &Listener) -> Option<(Bound, Listen, Option<SocketFile>)> {
        let named = |passed: &Passed| listener.name.as_ref() == Some(&passed.name);
        // A predecessor's socket stays with its address, whatever name it has now.
        let told = |passed: &Passed| passed.configured.as_ref() == Some(&listener.listen);
        let there = |passed: &Passed| is_same(&passed.address, &listener.listen);
        let place = |is: &dyn Fn(&Passed) -> bool| self.0.iter().position(is);
        let activated = |passed: &Passed| passed.configured.is_none() && named(passed);
        let at = place(&told).or_else(|| place(&activated)).or_else(|| place(&there))?;
        let passed = self.0.remove(at);
        Some((passed.bound, passed.address, passed.file))
    }

    /// The one for this address, for the control plane.
    pub fn take_at(&mut self, listen: &Listen) -> Option<sockets::Bound> {
        let (bound, address, file) = self.take(&Listener::plain(listen.clone(), 0))?;
        let socket = match (bound, file) {
            (Bound::Tcp(socket), _) => Socket::Tcp(socket),
            (Bound::Unix(socket), Some(file)) => Socket::Unix(socket, file),
            (Bound::Unix(_), None) => return None,
        };
        Some(sockets::Bound { socket, address })
    }

    /// What no listener has taken.
    pub fn close(self) {
        for passed in self.0 {
            let (name, address) = (passed.name, passed.address.shown());
            tracing::warn!(
                name,
                address,
                "a passed socket is closed: no listener has its name or address"
            );
        }
    }
}

/// No process that this one starts gets it by accident.
fn ours_alone(socket: &impl AsFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?)
}

fn is_same(one: &Listen, other: &Listen) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).ok();
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => one == other,
        (Listen::Unix(one), Listen::Unix(other)) => absolute(one) == absolute(other),
        (Listen::Tcp(_), Listen::Unix(_)) | (Listen::Unix(_), Listen::Tcp(_)) => false,
    }
}
