//! Binding listeners, with errors that name the address and say what to do.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::config::Listen;
use crate::proxy::accept::Listener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// An address that could not be bound.
#[derive(Debug)]
pub struct BindError {
    address: String,
    error: io::Error,
}

/// A bound socket and its address, the port resolved.
pub struct Bound {
    pub listener: Listener,
    pub address: Listen,
}

/// Binds all or none.
pub fn bind_all(addresses: &[Listen]) -> Result<Vec<Bound>, BindError> {
    addresses.iter().map(bind).collect()
}

fn bind(address: &Listen) -> Result<Bound, BindError> {
    let named = |error| BindError { address: text(address), error };
    match address {
        Listen::Tcp(at) => {
            let listener = bind_tcp(*at).map_err(named)?;
            let address = Listen::Tcp(listener.local_addr().unwrap_or(*at));
            Ok(Bound { listener: Listener::Tcp(listener), address })
        }
        Listen::Unix(path) => {
            let listener = Listener::Unix(bind_unix(path).map_err(named)?);
            Ok(Bound { listener, address: address.clone() })
        }
    }
}

/// As the config writes it.
fn text(address: &Listen) -> String {
    match address {
        Listen::Tcp(at) => at.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn bind_tcp(at: SocketAddr) -> io::Result<TcpListener> {
    let domain = if at.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket file that nobody answers on is left over from a crash and is replaced; the new one is
/// for this user alone.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        std::fs::remove_file(path)?;
    }
    // Bound under another name and moved once its mode is right: there is no moment in which
    // somebody else could connect.
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::remove_file(&temporary).ok();
    let listener = UnixListener::bind(&temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&temporary, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes socket files at the end.
pub fn remove_files(addresses: &[Listen]) {
    for address in addresses {
        if let Listen::Unix(path) = address {
            std::fs::remove_file(path).ok();
        }
    }
}

impl BindError {
    pub fn new(address: &Listen, error: io::Error) -> Self {
        Self { address: text(address), error }
    }
}

impl std::fmt::Display for BindError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "cannot listen on {}: {}", self.address, self.error)?;
        let help = match self.error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::ADDRINUSE) => {
                ". Something else listens there; stop it or change `listen`"
            }
            Some(rustix::io::Errno::ACCESS) => {
                ". Ports below 1024 need CAP_NET_BIND_SERVICE; a socket file needs a writable directory"
            }
            Some(rustix::io::Errno::ADDRNOTAVAIL) => ". This machine has no such address",
            _ => "",
        };
        out.write_str(help)
    }
}

impl std::error::Error for BindError {}
