//! The running process: hands over what it has, step by step, and takes it back where the new one
//! fails. One replacement at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::control::store::Store;
use crate::denylist::Fingerprinter;
use crate::sockets;

use super::super::notify::Notifier;
use super::channel::{Channel, Door, Process};
use super::message::{Message, PROTOCOL, Role};
use super::{Held, socket_path};

/// For a word that costs the new process no work.
const WORD: Duration = Duration::from_secs(5);
/// For what it binds and compiles between the sockets and the store.
const PREPARE: Duration = Duration::from_secs(20);
/// For opening the store and filling its table.
const OPEN: Duration = Duration::from_secs(120);

/// What a replacement needs of the running process.
pub struct Replaceable {
    pub held: Arc<Mutex<Held>>,
    pub store: Store,
    pub store_path: PathBuf,
    pub fingerprinter: Fingerprinter,
    pub notifier: Notifier,
    pub outcome: Arc<Outcome>,
}

/// What became of it, for whoever waits.
#[derive(Default)]
pub struct Outcome {
    /// Another process serves from now on.
    pub replaced: Notify,
    /// That process is gone, so that no denial would be heard of any more.
    lost: AtomicBool,
}

impl Outcome {
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// Why a replacement did not come about.
enum Fault {
    Channel(io::Error),
    Gone,
    Unexpected,
    Refused(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Channel(error)
    }
}

impl Replaceable {
    /// Without the socket the gateway runs all the same, and cannot be replaced while it does.
    pub fn wait(self) -> io::Result<()> {
        let path = socket_path(&self.store_path);
        let door = match Door::open(&path) {
            Ok(door) => door,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%error, %path, "this process cannot be replaced while it runs");
                return Ok(());
            }
        };
        std::thread::Builder::new().name("replace".to_owned()).spawn(move || self.run(&door))?;
        Ok(())
    }

    fn run(self, door: &Door) {
        loop {
            let met = door.next().and_then(|channel| {
                let peer = channel.peer()?;
                Ok((channel, peer))
            });
            match met {
                Ok((channel, peer)) => match self.hand_over(&channel, &peer) {
                    Ok(()) => {
                        self.follow(&channel);
                        return;
                    }
                    Err(fault) => {
                        let pid = peer.pid.as_raw_nonzero().get();
                        tracing::error!(
                            pid,
                            "the replacement failed, this process goes on: {fault}"
                        );
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "a replacement could not begin");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Until the other serves. Neither a reload nor the end of this process comes in between.
    fn hand_over(&self, channel: &Channel, peer: &Process) -> Result<(), Fault> {
        let Message::Hello { protocol } = hear(channel, WORD)? else {
            return Err(Fault::Unexpected);
        };
        if protocol != PROTOCOL {
            return Err(refuse(channel, "it is of a version that cannot hand over to this one"));
        }
        let held = self.held.lock();
        if held.closed {
            return Err(refuse(channel, "it is ending already"));
        }
        send_sockets(channel, &held)?;
        channel.send(&Message::Handed { fingerprints: self.fingerprinter.key() }, &[])?;
        if !matches!(hear(channel, PREPARE)?, Message::Release) {
            return Err(Fault::Unexpected);
        }
        let pid = peer.pid.as_raw_nonzero().get();
        tracing::info!(pid, "another process takes the place of this one");
        if self.store.release().is_err() {
            return Err(refuse(channel, "its store has ended"));
        }
        let given = channel
            .send(&Message::Released, &[])
            .map_err(Fault::from)
            .and_then(|()| self.until_ready(channel))
            .and_then(|()| {
                sockets::own_names(false);
                self.notifier.succeeded_by(pid);
                Ok(channel.send(&Message::Yours, &[])?)
            });
        if let Err(fault) = given {
            sockets::own_names(true);
            self.notifier.succeeded_by(std::process::id().cast_signed());
            if let Err(fault) = self.store.resume() {
                tracing::error!(%fault, "the store cannot be opened again yet");
            }
            return Err(fault);
        }
        drop(held);
        self.outcome.replaced.notify_one();
        Ok(())
    }

    fn until_ready(&self, channel: &Channel) -> Result<(), Fault> {
        loop {
            let message = hear(channel, OPEN)?;
            if matches!(message, Message::Ready) {
                return Ok(());
            }
            let Message::Changed { steps } = message else { return Err(Fault::Unexpected) };
            self.apply(channel, steps)?;
        }
    }

    /// To the end of either process.
    fn follow(&self, channel: &Channel) {
        while let Ok(Some((Message::Changed { steps }, _))) = channel.receive(None) {
            if self.apply(channel, steps).is_err() {
                break;
            }
        }
        self.outcome.lost.store(true, Ordering::Release);
    }

    fn apply(&self, channel: &Channel, steps: Vec<crate::denylist::Step>) -> Result<(), Fault> {
        self.store.follow(steps).map_err(|_| Fault::Gone)?;
        Ok(channel.send(&Message::Applied, &[])?)
    }
}

fn send_sockets(channel: &Channel, held: &Held) -> io::Result<()> {
    for (name, configured, address, bound) in held.public.each() {
        let (configured, address) = (configured.clone(), address.clone());
        let message = Message::Socket { role: Role::Public, name, configured, address };
        channel.send(&message, &[bound.as_fd()])?;
    }
    for (role, handles) in [(Role::Admin, &held.admin), (Role::Metrics, &held.metrics)] {
        for handle in handles {
            let (configured, address) = (handle.configured.clone(), handle.address.clone());
            let message = Message::Socket { role, name: None, configured, address };
            let socket: BorrowedFd<'_> = handle.socket.as_fd();
            channel.send(&message, &[socket])?;
        }
    }
    Ok(())
}

fn hear(channel: &Channel, within: Duration) -> Result<Message, Fault> {
    channel.receive(Some(within))?.map(|(message, _)| message).ok_or(Fault::Gone)
}

fn refuse(channel: &Channel, why: &'static str) -> Fault {
    // Who is gone need not know.
    channel.send(&Message::Refused { why: why.to_owned() }, &[]).ok();
    Fault::Refused(why)
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Channel(error) if error.kind() == io::ErrorKind::WouldBlock => {
                out.write_str("the new process took too long")
            }
            Self::Channel(error) => write!(out, "{error}"),
            Self::Gone => out.write_str("the new process has ended"),
            Self::Unexpected => out.write_str("the new process said what it should not"),
            Self::Refused(why) => out.write_str(why),
        }
    }
}
