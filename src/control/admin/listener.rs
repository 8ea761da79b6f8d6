//! Where the admin API is reached: TCP, or a unix socket that only its owner can open.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use tokio::net::{TcpListener, UnixListener};

use crate::config::Listen;

use super::first_credential::random;

/// A bound address. Must be made inside the runtime that serves it.
pub enum AdminListener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl AdminListener {
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => bind_unix(path).await,
        }
    }

    /// The TCP address, with the port that the system chose for port 0.
    pub fn tcp_address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

/// The socket's name in the file system; removed at the end if it is still ours.
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own socket here.
        if identity(&self.path).ok() == Some(self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Bound under a name that nobody knows, narrowed to mode 0600, then moved into place: the socket
/// is never there with wider rights.
async fn bind_unix(path: &Path) -> io::Result<AdminListener> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there and is no socket", path.display()),
            ));
        }
        Ok(_) if tokio::net::UnixStream::connect(path).await.is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another process serves {}", path.display()),
            ));
        }
        // What a killed process left behind is replaced by the move.
        Ok(_) => {}
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
        Err(fault) => return Err(fault),
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let suffix = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*random::<6>()?);
    name.push(format!(".{suffix}"));
    let draft = path.with_file_name(name);
    let listener = UnixListener::bind(&draft)?;
    let placed = std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&draft, path))
        .and_then(|()| identity(path));
    match placed {
        Ok(identity) => {
            Ok(AdminListener::Unix(listener, SocketFile { path: path.to_owned(), identity }))
        }
        Err(fault) => {
            let _ = std::fs::remove_file(&draft);
            Err(fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_leaves_with_its_process() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("admin.sock");
        let listen = Listen::Unix(path.clone());
        let first = AdminListener::bind(&listen).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = AdminListener::bind(&listen).await;
        assert_eq!(second.err().map(|fault| fault.kind()), Some(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_replaced_and_a_plain_file_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = AdminListener::bind(&Listen::Unix(path.clone())).await.unwrap();
        assert!(tokio::net::UnixStream::connect(&path).await.is_ok());
        drop(bound);
        std::fs::write(&path, "precious").unwrap();
        assert!(AdminListener::bind(&Listen::Unix(path.clone())).await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
