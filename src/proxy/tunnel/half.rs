//! One end of a tunnel: bytes both ways, and an end that nobody takes for a clean one.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::proxy::io::ClientStream;
use crate::sockets::dial::ServerStream;

/// See the module.
pub trait Half: AsyncRead + AsyncWrite + Unpin {
    /// When it is dropped it ends with a reset, whatever else happens to it until then. A unix socket
    /// has none: there the end is all that can be seen.
    fn abort(&self);
}

impl Half for ClientStream {
    fn abort(&self) {
        ClientStream::abort(self);
    }
}

impl Half for ServerStream {
    fn abort(&self) {
        if let Some(socket) = self.tcp() {
            reset_when_dropped(socket);
        }
    }
}

/// Where it cannot be set the connection ends with a FIN: it ends all the same.
fn reset_when_dropped(socket: &TcpStream) {
    SockRef::from(socket).set_linger(Some(Duration::ZERO)).ok();
}
