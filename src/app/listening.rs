//! The public sockets. A configuration that names an address again keeps its socket, and with it
//! every client that waits there; a new one is bound before anything changes.

use std::sync::Arc;

use super::inherited::Inherited;
use crate::config::{Listen, Listener};
use crate::proxy::Entrance;
use crate::proxy::accept::{self, Bound};
use crate::sockets::keepalive::keep_alive;
use crate::sockets::{self, BindError, Socket, SocketFile};

/// See the module.
#[derive(Clone, Default)]
pub struct Sockets(Vec<Open>);

/// One bound socket. Shared while two configurations are at hand.
#[derive(Clone)]
struct Open {
    config: Listener,
    bound: Arc<Bound>,
    /// Where it listens, the port resolved.
    address: Listen,
    /// Leaves with the last of those who hold it.
    file: Option<Arc<SocketFile>>,
}

impl Sockets {
    /// The sockets for these listeners, all or none: those that are open here already, and others
    /// bound now.
    pub fn after(
        &self,
        listeners: &[Listener],
        inherited: &mut Inherited,
    ) -> Result<Self, BindError> {
        let mut before: Vec<&Open> = self.0.iter().collect();
        let mut next = Vec::new();
        for listener in listeners {
            let same = |open: &&Open| {
                open.config.listen == listener.listen && open.config.ipv6_only == listener.ipv6_only
            };
            let open = match before.iter().position(same) {
                Some(at) => before.swap_remove(at).again(listener)?,
                None => match inherited.take(listener) {
                    Some((bound, address, file)) => {
                        Open::of(listener, bound, address, file.map(Arc::new)).again(listener)?
                    }
                    None => Open::bind(listener)?,
                },
            };
            next.push(open);
        }
        Ok(Self(next))
    }

    /// For the acceptor: each with the entrance that its configuration names.
    pub fn listening(&self, entrances: &[Arc<Entrance>]) -> Vec<accept::Listener> {
        let one = |open: &Open| {
            let entrance = entrances.get(open.config.entrance)?;
            let (bound, entrance) = (Arc::clone(&open.bound), Arc::clone(entrance));
            Some(accept::Listener { bound, entrance })
        };
        self.0.iter().filter_map(one).collect()
    }

    /// For a process that takes the place of this one: name, address as configured, address, socket.
    pub fn each(&self) -> impl Iterator<Item = (Option<String>, &Listen, &Listen, &Bound)> {
        self.0.iter().map(|open| {
            (open.config.name.clone(), &open.config.listen, &open.address, &*open.bound)
        })
    }

    /// Addresses, ports resolved.
    pub fn addresses(&self) -> Vec<Listen> {
        self.0.iter().map(|open| open.address.clone()).collect()
    }

    /// Addresses as people type them.
    pub fn urls(&self, entrances: &[Arc<Entrance>]) -> Vec<String> {
        let scheme = |open: &Open| {
            let secure = entrances.get(open.config.entrance).is_some_and(|one| one.tls.is_some());
            if secure { "https" } else { "http" }
        };
        self.0.iter().map(|open| open.address.url_of(scheme(open))).collect()
    }
}

impl Open {
    fn bind(listener: &Listener) -> Result<Self, BindError> {
        let sockets::Bound { socket, address } = sockets::bind_listener(listener)?;
        let (bound, file) = match socket {
            Socket::Tcp(socket) => (Bound::Tcp(socket), None),
            Socket::Unix(socket, file) => (Bound::Unix(socket), Some(Arc::new(file))),
        };
        Ok(Self::of(listener, bound, address, file))
    }

    fn of(
        listener: &Listener,
        bound: Bound,
        address: Listen,
        file: Option<Arc<SocketFile>>,
    ) -> Self {
        // Also where another process bound it.
        if let Bound::Tcp(socket) = &bound {
            keep_alive(socket);
        }
        Self { config: listener.clone(), bound: Arc::new(bound), address, file }
    }

    /// The same socket under another configuration.
    fn again(&self, listener: &Listener) -> Result<Self, BindError> {
        if let (Some(file), true) = (&self.file, self.config.rights != listener.rights) {
            let named = |error| BindError::new(&listener.listen, error);
            file.permit(&listener.rights).map_err(named)?;
        }
        Ok(Self { config: listener.clone(), ..self.clone() })
    }
}
