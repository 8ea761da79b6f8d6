//! Sockets that a service manager opened for us (socket activation: `LISTEN_PID`, `LISTEN_FDS`,
//! `LISTEN_FDNAMES`). A listener takes the one that has its name, else the one that is bound to its
//! address; what nobody takes is closed, and said.

use std::path::Path;

use crate::config::{Listen, Listener};
use crate::proxy::accept::Bound;

/// See the module.
#[derive(Default)]
pub struct Inherited(Vec<Passed>);

struct Passed {
    name: String,
    address: Listen,
    bound: Bound,
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
                socket.set_nonblocking(true).ok()?;
                Some((Listen::Tcp(socket.local_addr().ok()?), Bound::Tcp(socket)))
            });
            let unix = || {
                let socket = passed.take_unix_listener(index).ok().flatten()?;
                socket.set_nonblocking(true).ok()?;
                let path = socket.local_addr().ok()?.as_pathname()?.to_owned();
                Some((Listen::Unix(path), Bound::Unix(socket)))
            };
            match tcp.or_else(unix) {
                Some((address, bound)) => found.push(Passed { name, address, bound }),
                None => tracing::warn!(name, index, "a passed socket is of no use: no stream"),
            }
        }
        Self(found)
    }

    /// The one for this listener, and its address.
    pub fn take(&mut self, listener: &Listener) -> Option<(Bound, Listen)> {
        let named = |passed: &Passed| listener.name.as_ref() == Some(&passed.name);
        let there = |passed: &Passed| is_same(&passed.address, &listener.listen);
        let at = self.0.iter().position(named).or_else(|| self.0.iter().position(there))?;
        let passed = self.0.swap_remove(at);
        Some((passed.bound, passed.address))
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

fn is_same(one: &Listen, other: &Listen) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).ok();
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => one == other,
        (Listen::Unix(one), Listen::Unix(other)) => absolute(one) == absolute(other),
        (Listen::Tcp(_), Listen::Unix(_)) | (Listen::Unix(_), Listen::Tcp(_)) => false,
    }
}
