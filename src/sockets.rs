//! Binding: TCP, or a unix socket that only its owner can open unless more is said. Errors name the address and say
//! what to do. What always holds: a socket file never has wider rights than were asked for,
//! replaces nothing but a socket that nobody serves, and leaves with the process that made it.

pub mod dial;
pub mod keepalive;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{Listen, Listener, SocketRights};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// An address that could not be bound.
#[derive(Debug)]
pub struct BindError {
    address: String,
    error: io::Error,
}

/// Bound, listening, and not blocking.
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A bound socket and its address, the port resolved.
pub struct Bound {
    pub socket: Socket,
    pub address: Listen,
}

/// A socket that only its owner can open, or one of TCP.
pub fn bind(address: &Listen) -> Result<Bound, BindError> {
    bind_listener(&Listener::plain(address.clone(), 0))
}

pub fn bind_listener(listener: &Listener) -> Result<Bound, BindError> {
    let address = &listener.listen;
    let named = |error| BindError { address: address.shown(), error };
    match address {
        Listen::Tcp(at) => {
            let listener = bind_tcp(*at, listener.ipv6_only).map_err(named)?;
            let address = Listen::Tcp(listener.local_addr().unwrap_or(*at));
            Ok(Bound { socket: Socket::Tcp(listener), address })
        }
        Listen::Unix(path) => {
            let (listener, file) = bind_unix(path, &listener.rights).map_err(named)?;
            Ok(Bound { socket: Socket::Unix(listener, file), address: address.clone() })
        }
    }
}

fn bind_tcp(at: SocketAddr, ipv6_only: bool) -> io::Result<TcpListener> {
    let domain = if at.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(ipv6_only)?;
    }
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// While the sockets change hands their names belong to the process that serves them, and the
/// other one removes none of them, however it ends.
static NAMES_ARE_OURS: AtomicBool = AtomicBool::new(true);

/// Whether the names of this process's sockets leave with it.
pub fn own_names(ours: bool) {
    NAMES_ARE_OURS.store(ours, Ordering::Release);
}

/// The socket's name in the file system; removed at the end if it is still ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The name of a socket that another process bound; `None`: it is there no longer.
    pub fn of(path: &Path) -> Option<Self> {
        let identity = identity(path).ok()?;
        Some(Self { path: path.to_owned(), identity })
    }

    /// Gives a socket that is there other rights, if the name is still ours.
    pub fn permit(&self, rights: &SocketRights) -> io::Result<()> {
        if identity(&self.path)? != self.identity {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the socket's name is gone"));
        }
        permit(&self.path, rights)
    }
}

/// Narrowed before it changes hands, widened after that.
fn permit(path: &Path, rights: &SocketRights) -> io::Result<()> {
    let mode = |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    mode(0o600)?;
    if rights.owner.is_some() || rights.group.is_some() {
        std::os::unix::fs::chown(path, rights.owner, rights.group)?;
    }
    mode(rights.mode)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own socket here.
        if NAMES_ARE_OURS.load(Ordering::Acquire)
            && identity(&self.path).ok() == Some(self.identity)
        {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Bound under a name that nobody knows, given its rights, then moved into place: the socket is
/// never there with wider rights.
fn bind_unix(path: &Path, rights: &SocketRights) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is no socket has this name",
            ));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::from(rustix::io::Errno::ADDRINUSE));
        }
        // What a killed process left behind is replaced by the move.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| io::Error::other("the operating system gives no random bytes"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", u64::from_le_bytes(random)));
    let draft = path.with_file_name(name);
    let listener = UnixListener::bind(&draft)?;
    let placed = permit(&draft, rights)
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| std::fs::rename(&draft, path))
        .and_then(|()| identity(path));
    match placed {
        Ok(identity) => Ok((listener, SocketFile { path: path.to_owned(), identity })),
        Err(error) => {
            std::fs::remove_file(&draft).ok();
            Err(error)
        }
    }
}

impl BindError {
    pub fn new(address: &Listen, error: io::Error) -> Self {
        Self { address: address.shown(), error }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_alone_and_leaves_with_its_process() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run/p.sock");
        let listen = Listen::Unix(path.clone());
        let first = bind(&listen).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = bind(&listen).err().unwrap();
        assert_eq!(second.error.kind(), io::ErrorKind::AddrInUse);
        assert!(second.to_string().contains("Something else listens there"), "{second}");
        drop(first);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_replaced_and_a_plain_file_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("p.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = bind(&Listen::Unix(path.clone())).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(bound);
        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&Listen::Unix(path.clone())).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_socket_that_a_successor_put_there_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("p.sock");
        let first = bind(&Listen::Unix(path.clone())).unwrap();
        std::fs::remove_file(&path).unwrap();
        // Bound before the other is gone, so that it cannot get the same inode.
        let second = bind(&Listen::Unix(path.clone())).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
    }
}
