//! The new process: gets what the running one has, and tells it when to stop.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::denylist::{Fingerprinter, Follower, Step};
use crate::sockets;

use super::super::inherited::Inherited;
use super::channel::{Channel, Process};
use super::message::{Message, PROTOCOL, Role, STEPS};
use super::socket_path;

/// For an answer that costs the old process no work.
const WORD: Duration = Duration::from_secs(10);
/// For the last changes to be written before its store is closed.
const RELEASE: Duration = Duration::from_secs(60);
/// How long the acknowledgement of a denial waits for the old process. What does not answer then
/// is killed, so that nothing that was denied passes there.
const APPLY: Duration = Duration::from_secs(2);

/// Why the running process was not replaced. It goes on.
#[derive(Debug)]
pub enum ReplaceError {
    /// Nobody listens beside this store.
    Nobody(std::path::PathBuf, io::Error),
    Channel(io::Error),
    Gone,
    Unexpected,
    Refused(String),
}

/// The running process.
pub struct Predecessor {
    link: Arc<Link>,
    pub fingerprinter: Fingerprinter,
    pub public: Inherited,
    pub admin: Inherited,
    pub metrics: Inherited,
}

struct Link {
    /// `None`: it has ended.
    channel: Mutex<Option<Channel>>,
    process: Process,
    /// It serves no longer, except what is open.
    retired: AtomicBool,
}

impl Predecessor {
    /// Goes to the process that runs with this store, and gets its sockets. It serves on.
    pub fn meet(store: &Path) -> Result<Self, ReplaceError> {
        let path = socket_path(store);
        let channel = Channel::connect(&path).map_err(|error| ReplaceError::Nobody(path, error))?;
        let process = channel.peer()?;
        // Until this process serves, the names of the sockets are not its own to remove.
        sockets::own_names(false);
        channel.send(&Message::Hello { protocol: PROTOCOL }, &[])?;
        let [mut public, mut admin, mut metrics] =
            [Inherited::default(), Inherited::default(), Inherited::default()];
        loop {
            match channel.receive(Some(WORD))?.ok_or(ReplaceError::Gone)? {
                (Message::Socket { role, name, configured, address }, Some(socket)) => {
                    let list = match role {
                        Role::Public => &mut public,
                        Role::Admin => &mut admin,
                        Role::Metrics => &mut metrics,
                    };
                    list.add(name, configured, address, socket)?;
                }
                (Message::Handed { fingerprints }, _) => {
                    let link = Link {
                        channel: Mutex::new(Some(channel)),
                        process,
                        retired: AtomicBool::new(false),
                    };
                    let fingerprinter = Fingerprinter::with_key(fingerprints);
                    let link = Arc::new(link);
                    return Ok(Self { link, fingerprinter, public, admin, metrics });
                }
                (Message::Refused { why }, _) => return Err(ReplaceError::Refused(why)),
                _ => return Err(ReplaceError::Unexpected),
            }
        }
    }

    /// When this returns, its store is closed. It takes it back if this process ends.
    pub fn release_store(&self) -> Result<(), ReplaceError> {
        let answer = self.link.ask(&Message::Release, RELEASE)?;
        if let Message::Refused { why } = answer {
            return Err(ReplaceError::Refused(why));
        }
        matches!(answer, Message::Released).then_some(()).ok_or(ReplaceError::Unexpected)
    }

    /// Tells it of changes.
    pub fn follower(&self) -> Follower {
        let link = Arc::clone(&self.link);
        Follower::new(move |steps| link.tell(steps))
    }

    /// Everything that can fail has been done here: from now on this process serves.
    pub fn retire(self) -> Result<Behind, ReplaceError> {
        let answer = self.link.ask(&Message::Ready, RELEASE)?;
        if !matches!(answer, Message::Yours) {
            return Err(ReplaceError::Unexpected);
        }
        sockets::own_names(true);
        self.link.retired.store(true, Ordering::Release);
        Ok(Behind(self.link))
    }
}

/// A process that serves what it has open to its end. Of denials it hears from this one, also of those
/// that this one hears of from a process that took its place in turn.
pub struct Behind(Arc<Link>);

impl Behind {
    pub fn follows(&self) -> bool {
        self.0.process.is_alive()
    }
}

impl Link {
    fn ask(&self, message: &Message, within: Duration) -> Result<Message, ReplaceError> {
        let channel = self.channel.lock();
        let channel = channel.as_ref().ok_or(ReplaceError::Gone)?;
        channel.send(message, &[])?;
        channel.receive(Some(within))?.map(|(answer, _)| answer).ok_or(ReplaceError::Gone)
    }

    /// Returns when it has applied these, or has ended. While it still serves it is not killed:
    /// then the link is closed, which fails the replacement, and it reads the store again.
    fn tell(&self, mut steps: Vec<Step>) {
        while !steps.is_empty() {
            let rest = steps.split_off(steps.len().min(STEPS));
            let message = Message::Changed { steps: std::mem::replace(&mut steps, rest) };
            match self.ask(&message, APPLY) {
                Ok(Message::Applied) => {}
                Ok(_) | Err(_) => return self.give_up(),
            }
        }
    }

    fn give_up(&self) {
        let was = self.channel.lock().take();
        if was.is_none() || !self.retired.load(Ordering::Acquire) {
            return;
        }
        // Most often it has ended by itself, and there is nobody to kill.
        if self.process.kill().is_ok() {
            tracing::warn!(
                "the replaced process does not follow: it is killed with what it served"
            );
        }
    }
}

impl From<io::Error> for ReplaceError {
    fn from(error: io::Error) -> Self {
        Self::Channel(error)
    }
}

impl std::fmt::Display for ReplaceError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody(path, error) => write!(
                out,
                "no gateway to replace at {}: {error}. Start without --replace where none runs",
                path.display()
            ),
            Self::Channel(error) => write!(out, "the running gateway does not answer: {error}"),
            Self::Gone => {
                out.write_str("the running gateway ended the replacement; its log says why")
            }
            Self::Unexpected => out.write_str("the running gateway said what it should not"),
            Self::Refused(why) => write!(out, "the running gateway refused: {why}"),
        }
    }
}

impl std::error::Error for ReplaceError {}
