//! What the acceptor hands to a core: a client's socket, and how its connection begins.

use std::net::IpAddr;
use std::sync::Arc;

use super::connection::Peer;
use super::entrance::Entrance;

/// A client that was accepted, on its way to a core.
pub struct Accepted {
    pub socket: Socket,
    /// That of its listener, as it was when the client came.
    pub entrance: Arc<Entrance>,
}

/// Its socket.
pub enum Socket {
    Tcp(std::net::TcpStream, IpAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    pub fn peer(&self) -> Peer {
        match self {
            Self::Tcp(_, peer) => Peer::Address(peer.to_canonical()),
            Self::Unix(_) => Peer::Unix,
        }
    }
}
