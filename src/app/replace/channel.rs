//! The socket between the two processes: messages that keep their bounds (SOCK_SEQPACKET), with
//! file descriptors beside them. Only a process of the same user is spoken with.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::message::Message;

const BYTES_MAX: usize = 160 * 1024;
/// A peer that takes nothing for this long is none.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
pub struct Channel(OwnedFd);

/// Where a successor comes.
pub struct Door(OwnedFd);

/// The process at the other end, whatever becomes of its number.
pub struct Process {
    pub pid: Pid,
    handle: OwnedFd,
}

impl Process {
    /// It does nothing more from here on: its sockets are closed by the kernel.
    pub fn kill(&self) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.handle, Signal::KILL)?)
    }

    pub fn is_alive(&self) -> bool {
        // A handle can be read once its process has ended.
        let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut ended, Some(&now)), Ok(0) | Err(rustix::io::Errno::INTR))
    }
}

fn socket() -> io::Result<OwnedFd> {
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

impl Door {
    /// Takes the name; whoever had it keeps only those who have come already.
    pub fn open(path: &Path) -> io::Result<Self> {
        let draft = path.with_extension(format!("{}.sock", std::process::id()));
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let door = socket()?;
        net::bind(&door, &SocketAddrUnix::new(&draft)?)?;
        let placed = std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| Ok(net::listen(&door, 1)?))
            .and_then(|()| std::fs::rename(&draft, path));
        if placed.is_err() {
            std::fs::remove_file(&draft).ok();
        }
        placed.map(|()| Self(door))
    }

    pub fn next(&self) -> io::Result<Channel> {
        // Who waits in accept() has the number of a file descriptor, and needs none until somebody
        // comes; without one it would fail all the time.
        let mut come = [PollFd::new(&self.0, PollFlags::IN)];
        loop {
            let next =
                poll(&mut come, None).and_then(|_| net::accept_with(&self.0, SocketFlags::CLOEXEC));
            match next {
                Ok(socket) => return Channel::new(socket),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Channel {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(SEND_TIMEOUT))?;
        Ok(Self(socket))
    }

    pub fn connect(path: &Path) -> io::Result<Self> {
        let channel = Self::new(socket()?)?;
        net::connect(&channel.0, &SocketAddrUnix::new(path)?)?;
        Ok(channel)
    }

    /// The other process; an error where it is another user's, or cannot be named here.
    pub fn peer(&self) -> io::Result<Process> {
        let peer = sockopt::socket_peercred(&self.0)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user's process"));
        }
        let handle = rustix::process::pidfd_open(peer.pid, PidfdFlags::empty())?;
        Ok(Process { pid: peer.pid, handle })
    }

    pub fn send(&self, message: &Message, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::Error::other("one socket goes with a message"));
        }
        let flags = SendFlags::NOSIGNAL;
        loop {
            match net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut beside, flags) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message, and the socket that came with it. `None`: the other end is gone.
    /// No `within`: however long it takes.
    pub fn receive(
        &self,
        within: Option<Duration>,
    ) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        sockopt::set_socket_timeout(&self.0, Timeout::Recv, within)?;
        let mut bytes = vec![0; BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = loop {
            let mut into = [IoSliceMut::new(&mut bytes)];
            match net::recvmsg(self.0.as_fd(), &mut into, &mut beside, flags) {
                Ok(got) => break got,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        let mut socket = None;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
                socket = sockets.next();
            }
        }
        if got.bytes == 0 {
            return Ok(None);
        }
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        let text = bytes.get(..got.bytes).unwrap_or_default();
        Ok(Some((serde_json::from_slice(text).map_err(io::Error::other)?, socket)))
    }
}
