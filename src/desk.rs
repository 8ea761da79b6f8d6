//! The desk between the planes: the few things that a request asks of the control plane and waits
//! for. Bounded; a desk that does not answer in time is an answer too. Nothing on the straight line
//! of an ordinary request comes here.

mod dropped;
mod kept;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::clock::UnixMs;
use crate::denylist::{Actor, Except, IssuerId, TokenId};
use crate::verify::Signed;

pub use dropped::Dropped;
pub use kept::{Kept, Later, Over, Renewal, RenewalFault, Renewed};

/// Asks that may wait for the control plane.
const ASKS_MAX: usize = 1024;
/// Longer than a disk should take to write a denial.
const PATIENCE: Duration = Duration::from_secs(20);
/// A page waits no longer for its session to be renewed; the renewal goes on.
const PATIENCE_OF_RENEWALS: Duration = Duration::from_secs(5);

/// The data plane's side. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    dropped: Arc<Dropped>,
}

/// The control plane's side.
pub type Asks = mpsc::Receiver<Ask>;

/// What is asked, each with where its answer goes.
pub enum Ask {
    /// Deny; answered when the denials are on disk and in force.
    End(Vec<End>, Reply<()>),
    /// A login was captured: its session is remembered, and registered where its issuer asks for it;
    /// answered with its generation when that is on disk and in force.
    Begin(Box<Begin>, Reply<u64>),
    /// Which sessions of the person are there.
    List(Own, Reply<Vec<OwnSession>>),
    /// One of them ends, as at [`Ask::End`].
    EndOne(Own, EndOne, Reply<Gone>),
    /// The open streams of this token's session stand on it; answered with how many, on all cores.
    Rebase(Arc<Signed>, Reply<u64>),
    /// The session's next access token; answered with what became of it.
    Renew(Box<Kept>, Option<IpAddr>, Reply<Renewal>),
    /// The session's refresh token is of no use any more: its issuer may know. Nobody waits.
    Revoke(Box<Kept>),
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, DeskFault>>;

/// Access ends, mostly that of whoever asks: what was proved by a genuine token of theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    pub issuer: IssuerId,
    pub what: Ending,
    /// Of the token.
    pub subject: Option<String>,
    /// Of the token, or when its session began: what is ended is not younger than this.
    pub issued_at: Option<UnixMs>,
    pub by: By,
    pub reason: Cow<'static, str>,
}

/// Who ends it, for the audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// Whoever holds it, from this address.
    Holder(Option<IpAddr>),
    /// Somebody else: an operator, the gateway itself.
    Other(Actor),
}

impl By {
    /// `subject`: the holder's name, where a genuine token said it.
    pub fn actor(&self, subject: Option<&str>) -> Actor {
        match self {
            Self::Holder(address) => {
                Actor::holder(subject, address.map(|address| address.to_string()))
            }
            Self::Other(actor) => actor.clone(),
        }
    }
}

/// A login whose tokens the gateway took.
pub struct Begin {
    pub signed: Arc<Signed>,
    /// The token's own, or one that was made for it.
    pub session: String,
    pub named_here: bool,
    /// It can be renewed: it lives as long as sessions of its issuer may.
    pub renewed: bool,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
}

/// Whose sessions, by a token that passes.
#[derive(Clone)]
pub struct Own {
    pub signed: Arc<Signed>,
    /// The name that was made for the session that asks, where its tokens say none.
    pub named_here: Option<String>,
}

/// A session as its owner sees it.
pub struct OwnSession {
    pub id: String,
    /// It is the one that asks.
    pub current: bool,
    pub first_seen: UnixMs,
    pub last_seen: UnixMs,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
}

/// Which one ends.
pub struct EndOne {
    pub id: String,
    /// For the audit.
    pub address: Option<IpAddr>,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// The person has no such session.
    Absent,
    Other,
    /// The one that asked.
    Current,
}

/// What is ended. Cutoffs end what exists now; a new login passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// This token, until it has expired.
    Token { id: TokenId, expires_at: UnixMs },
    /// The session's tokens issued until now.
    Session(String),
    /// A session that the gateway named, for tokens that name none: it never begins again.
    NamedHere(String),
    /// All of the person's tokens issued until now, but for those that are spared.
    Subject(String, Option<Except>),
}

impl Ending {
    /// Of a session by its name, which its tokens say unless it was `named_here`.
    pub fn of_session(name: String, named_here: bool) -> Self {
        if named_here { Self::NamedHere(name) } else { Self::Session(name) }
    }
}

/// Why nothing came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeskFault {
    /// Too many ask at once, or no answer came in time.
    Busy,
    /// The record could not be written; the log says why.
    Store,
    /// The configured limit of denials is reached.
    Full,
    /// The gateway ends.
    Closed,
}

/// Both sides.
pub fn desk() -> (Desk, Asks) {
    let (sender, asks) = mpsc::channel(ASKS_MAX);
    (Desk { asks: sender, dropped: Arc::default() }, asks)
}

impl Desk {
    /// Ends all of these; nothing is denied in part only because one of them stood already.
    pub async fn end(&self, ends: Vec<End>) -> Result<(), DeskFault> {
        self.ask(|reply| Ask::End(ends, reply)).await
    }

    /// Remembers the session of a login before the browser gets its cookies; its generation.
    pub async fn begin(&self, begin: Begin) -> Result<u64, DeskFault> {
        self.ask(|reply| Ask::Begin(Box::new(begin), reply)).await
    }

    pub async fn list(&self, own: Own) -> Result<Vec<OwnSession>, DeskFault> {
        self.ask(|reply| Ask::List(own, reply)).await
    }

    pub async fn end_one(&self, own: Own, one: EndOne) -> Result<Gone, DeskFault> {
        self.ask(|reply| Ask::EndOne(own, one, reply)).await
    }

    /// Hands in a new token for the open streams of its session.
    pub async fn rebase(&self, token: Arc<Signed>) -> Result<u64, DeskFault> {
        self.ask(|reply| Ask::Rebase(token, reply)).await
    }

    /// Has a session renewed. It goes on when nobody waits for the answer.
    pub fn renew(&self, kept: Kept, address: Option<IpAddr>) -> Result<Renewing, DeskFault> {
        self.put(|reply| Ask::Renew(Box::new(kept), address, reply)).map(Renewing)
    }

    /// Where too many ask at once nothing comes of it but a count and a line of the log: here the
    /// session has ended before.
    pub fn revoke(&self, kept: Kept) {
        self.leave(Ask::Revoke(Box::new(kept))).ok();
    }

    /// What found no place.
    pub fn dropped(&self) -> &Arc<Dropped> {
        &self.dropped
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, DeskFault> {
        within(PATIENCE, self.put(ask)?).await
    }

    fn put<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<Answer<T>, DeskFault> {
        let (reply, answer) = oneshot::channel();
        self.leave(ask(reply)).map(|()| answer)
    }

    fn leave(&self, ask: Ask) -> Result<(), DeskFault> {
        self.asks.try_send(ask).map_err(|fault| match fault {
            TrySendError::Full(ask) => {
                self.dropped.note(&ask);
                DeskFault::Busy
            }
            TrySendError::Closed(_) => DeskFault::Closed,
        })
    }
}

/// An answer that has not come.
type Answer<T> = oneshot::Receiver<Result<T, DeskFault>>;

async fn within<T>(patience: Duration, answer: Answer<T>) -> Result<T, DeskFault> {
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(DeskFault::Closed),
        Err(_) => Err(DeskFault::Busy),
    }
}

/// A renewal that was asked for.
pub struct Renewing(Answer<Renewal>);

impl Renewing {
    /// Waits for it, and not too long.
    pub async fn wait(self) -> Result<Renewal, DeskFault> {
        within(PATIENCE_OF_RENEWALS, self.0).await
    }

    /// What became of it, if that is known by now.
    pub fn now(&mut self) -> Option<Renewal> {
        self.0.try_recv().ok()?.ok()
    }
}

impl DeskFault {
    /// For the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Busy => "the control plane did not answer in time",
            Self::Store => "the store could not write the denial",
            Self::Full => "the denylist is full",
            Self::Closed => "the gateway ends",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_desk_says_so_at_once_and_takes_asks_again_when_there_is_room() {
        let (desk, mut asks) = desk();
        let asked: Vec<_> =
            (0..ASKS_MAX).map(|_| desk.renew(Kept::of_tests("r-1"), None).unwrap()).collect();
        // The queue grows no further, whatever is asked.
        assert_eq!(desk.renew(Kept::of_tests("r-1"), None).err(), Some(DeskFault::Busy));
        assert_eq!(desk.end(Vec::new()).await, Err(DeskFault::Busy));
        desk.revoke(Kept::of_tests("r-1"));
        assert_eq!(asks.len(), ASKS_MAX);
        let dropped = |desk: &Desk| -> Vec<_> {
            desk.dropped().counts().filter(|(_, count)| *count > 0).collect()
        };
        let of_each = [("log_out", 1), ("renewal", 1), ("revocation", 1)];
        assert_eq!(dropped(&desk), of_each, "also what nobody waits for");
        // Whoever gave up waiting keeps no place: the ask is read and its answer goes nowhere.
        drop(asked);
        let Some(Ask::Renew(_, _, reply)) = asks.recv().await else { panic!("a renewal") };
        assert!(reply.send(Err(DeskFault::Store)).is_err());
        let waiting = desk.renew(Kept::of_tests("r-1"), None).unwrap();
        assert_eq!(dropped(&desk), of_each, "what finds a place is not counted");
        let mut last = None;
        while let Ok(ask) = asks.try_recv() {
            last = Some(ask);
        }
        let Some(Ask::Renew(_, _, reply)) = last else { panic!("a renewal") };
        assert!(reply.send(Err(DeskFault::Store)).is_ok());
        assert_eq!(waiting.wait().await.err(), Some(DeskFault::Store));
        drop(asks);
        assert_eq!(desk.renew(Kept::of_tests("r-1"), None).err(), Some(DeskFault::Closed));
    }
}
