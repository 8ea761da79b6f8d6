//! The public sockets. A configuration that names an address again keeps its socket, and with it
//! every client that waits there; a new one is bound before anything changes.

use std::sync::Arc;

use crate::config::{Listen, Listener};
use crate::proxy::accept::{self, ListenerOptions, Listening};
use crate::sockets::{self, BindError, Bound, Socket, SocketFile};

/// See the module.
#[derive(Clone, Default)]
pub struct Sockets(Vec<Open>);

/// One bound socket. Shared while two configurations are at hand.
#[derive(Clone)]
struct Open {
    config: Listener,
    socket: Arc<accept::Listener>,
    options: Arc<ListenerOptions>,
    /// Leaves with the last of those who hold it.
    file: Option<Arc<SocketFile>>,
}

impl Sockets {
    /// The sockets for these listeners, all or none: those that are open here already, and others
    /// bound now.
    pub fn after(&self, listeners: &[Listener]) -> Result<Self, BindError> {
        let mut before: Vec<&Open> = self.0.iter().collect();
        let mut next = Vec::new();
        for listener in listeners {
            let same = |open: &&Open| {
                open.config.listen == listener.listen && open.config.ipv6_only == listener.ipv6_only
            };
            let open = match before.iter().position(same) {
                Some(at) => before.swap_remove(at).again(listener)?,
                None => Open::bind(listener)?,
            };
            next.push(open);
        }
        Ok(Self(next))
    }

    /// For the acceptor.
    pub fn listening(&self) -> Vec<Listening> {
        let one = |open: &Open| Listening {
            socket: Arc::clone(&open.socket),
            options: Arc::clone(&open.options),
        };
        self.0.iter().map(one).collect()
    }

    /// Addresses, ports resolved.
    pub fn addresses(&self) -> Vec<Listen> {
        self.0.iter().map(|open| open.options.address.clone()).collect()
    }
}

impl Open {
    fn bind(listener: &Listener) -> Result<Self, BindError> {
        let Bound { socket, address } = sockets::bind_listener(listener)?;
        let (socket, file) = match socket {
            Socket::Tcp(socket) => (accept::Listener::Tcp(socket), None),
            Socket::Unix(socket, file) => (accept::Listener::Unix(socket), Some(Arc::new(file))),
        };
        Ok(Self {
            config: listener.clone(),
            socket: Arc::new(socket),
            options: Arc::new(options(listener, address)),
            file,
        })
    }

    /// The same socket under another configuration.
    fn again(&self, listener: &Listener) -> Result<Self, BindError> {
        if let (Some(file), true) = (&self.file, self.config.rights != listener.rights) {
            let named = |error| BindError::new(&listener.listen, error);
            file.permit(&listener.rights).map_err(named)?;
        }
        Ok(Self {
            config: listener.clone(),
            socket: Arc::clone(&self.socket),
            options: Arc::new(options(listener, self.options.address.clone())),
            file: self.file.clone(),
        })
    }
}

/// What its connections are told of their listener.
fn options(_listener: &Listener, address: Listen) -> ListenerOptions {
    ListenerOptions { address }
}
