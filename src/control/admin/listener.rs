//! A bound socket of the admin API, in the runtime that serves it.

use std::io;

use tokio::net::{TcpListener, UnixListener};

use crate::sockets::{Socket, SocketFile};

/// See the module. The socket's file leaves with it.
pub enum AdminListener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl AdminListener {
    /// To be called inside that runtime.
    pub fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Socket::Unix(listener, file) => Self::Unix(UnixListener::from_std(listener)?, file),
        })
    }
}
