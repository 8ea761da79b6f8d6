//! Browser sessions in the store: what began with a login that the gateway captured, so that it can
//! be listed, ended and renewed. They lie beside the denials and not in their log: nothing of them is
//! exported, and no request is decided by them.
//!
//! What always holds: a person has at most [`OF_SUBJECT_MAX`] and the store [`ALL_MAX`]; beyond that
//! the one used longest ago, or the one that would end next, is forgotten. A row that cannot be read
//! counts as absent.

mod rows;

use std::net::IpAddr;

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableError};
use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::denylist::{IssuerId, Selector, TokenId, canonical};
use crate::token::{base64url, sha256};

use super::command::Command;
use super::rows::Fault;
use super::schema;
use super::{Store, StoreError, codec};

pub(super) use self::rows::{SessionRows, keys};

/// Sessions of one person.
pub(super) const OF_SUBJECT_MAX: usize = 100;
/// Sessions in all.
pub(super) const ALL_MAX: u64 = 1_000_000;
/// Forgotten in one transaction.
const PURGE_MAX: usize = 1_000;

/// A session that began with a captured login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionRecord {
    pub issuer: IssuerId,
    pub subject: Option<String>,
    /// Its name: the token's own, or the one that was made for it.
    pub session: String,
    /// The tokens name no session: this name was made here, and no mark of a token says it.
    pub named_here: bool,
    pub first_seen: UnixMs,
    pub last_seen: UnixMs,
    pub address: Option<IpAddr>,
    /// What the browser called itself at the login.
    pub user_agent: Option<String>,
    /// The access token of this moment.
    pub token: TokenId,
    pub issued_at: Option<UnixMs>,
    pub expires_at: UnixMs,
    /// When it can be used no more, renewals included.
    pub kept_until: UnixMs,
    /// Raised by each login and each renewal.
    pub generation: u64,
}

/// By what a session is found: of its issuer and name, then of its subject. It tells nothing and
/// gives no right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub(super) [u8; 20]);

/// A renewal.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The generation that it renews: of a session that has another, nothing is changed.
    pub from: u64,
    pub token: TokenId,
    pub issued_at: Option<UnixMs>,
    pub expires_at: UnixMs,
    pub now: UnixMs,
    pub address: Option<IpAddr>,
}

/// What became of a renewal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advanced {
    /// On disk, as it is now: its generation is one more.
    Done(SessionRecord),
    /// Somebody was there before, or this is an old one: the session as it stands.
    Otherwise(SessionRecord),
    /// There is no such session, or none any more.
    Unknown,
}

impl SessionRecord {
    pub fn id(&self) -> SessionId {
        SessionId::of(&self.issuer, &self.session, self.subject.as_deref())
    }
}

impl SessionId {
    pub fn of(issuer: &IssuerId, session: &str, subject: Option<&str>) -> Self {
        let mut id = [0; 20];
        let named = hash(issuer, &Selector::Session(session.to_owned()));
        let subject = subject.map(|subject| hash(issuer, &Selector::Subject(subject.to_owned())));
        let (of_session, of_subject) = id.split_at_mut(SESSION_BYTES);
        of_session.iter_mut().zip(named).for_each(|(to, from)| *to = from);
        of_subject.iter_mut().zip(subject.unwrap_or_default()).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// As people see it.
    pub fn text(self) -> String {
        format!("{ID_BEGIN}{}", base64url::encode(&self.0))
    }

    pub fn parse(text: &str) -> Option<Self> {
        let id = base64url::decode(text.strip_prefix(ID_BEGIN)?).ok()?;
        id.try_into().ok().map(Self)
    }

    /// The ids of all subjects' sessions of this name.
    fn same_session(self) -> std::ops::RangeInclusive<[u8; 20]> {
        let (mut low, mut high) = (self.0, self.0);
        low.iter_mut().skip(SESSION_BYTES).for_each(|byte| *byte = 0);
        high.iter_mut().skip(SESSION_BYTES).for_each(|byte| *byte = 0xff);
        low..=high
    }
}

/// So that no id begins like a flag of a command.
const ID_BEGIN: &str = "se_";
/// Of the id, those that say issuer and session.
const SESSION_BYTES: usize = 12;

fn hash(issuer: &IssuerId, selector: &Selector) -> [u8; 32] {
    sha256(&canonical::of_selector(issuer, selector))
}

/// Changes sessions within a transaction, and answers when it is on disk.
pub(super) trait SessionJob: Send {
    fn work(&mut self, rows: &mut SessionRows<'_>, clock: UnixMs) -> Result<(), Fault>;
    /// A caller that has gone away does not matter.
    fn end(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Job<F, T> {
    change: Option<F>,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> SessionJob for Job<F, T>
where
    F: FnOnce(&mut SessionRows<'_>, UnixMs) -> Result<T, Fault> + Send,
    T: Send,
{
    fn work(&mut self, rows: &mut SessionRows<'_>, clock: UnixMs) -> Result<(), Fault> {
        if let Some(change) = self.change.take() {
            self.done = Some(change(rows, clock)?);
        }
        Ok(())
    }

    fn end(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { done, reply, .. } = *self;
        reply.send(outcome.and_then(|()| done.ok_or(StoreError::Closed))).ok();
    }
}

impl Store {
    /// Returns when it is on disk; the record as it then is. A session that is there already goes on
    /// with the new token, under the next generation.
    pub async fn begin_session(&self, record: SessionRecord) -> Result<SessionRecord, StoreError> {
        self.change_sessions(move |rows, _| rows.begin(record)).await
    }

    /// Compares the generation and takes the new token, in one step.
    pub async fn advance_session(
        &self,
        id: SessionId,
        advance: Advance,
    ) -> Result<Advanced, StoreError> {
        self.change_sessions(move |rows, _| rows.advance(id, &advance)).await
    }

    pub async fn forget_sessions(&self, ids: Vec<SessionId>) -> Result<(), StoreError> {
        self.change_sessions(move |rows, _| ids.iter().try_for_each(|id| rows.forget(*id))).await
    }

    /// Notes when they were last seen, and forgets some that can be used no more.
    pub async fn touch_sessions(&self, seen: Vec<(SessionId, UnixMs)>) -> Result<(), StoreError> {
        self.change_sessions(move |rows, clock| {
            seen.into_iter().try_for_each(|(id, at)| rows.touch(id, at))?;
            rows.purge(clock, PURGE_MAX)
        })
        .await
    }

    pub fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.read(|transaction| {
            let Some(table) = present(transaction.open_table(schema::SESSIONS))? else {
                return Ok(None);
            };
            let row = table.get(&id.0)?;
            Ok(row.and_then(|row| codec::decode_session(id, row.value()).ok()))
        })
    }

    /// The sessions of this name, one for each subject.
    pub fn sessions_named(
        &self,
        issuer: &IssuerId,
        session: &str,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let ids = SessionId::of(issuer, session, None).same_session();
        self.read(|transaction| {
            let Some(table) = present(transaction.open_table(schema::SESSIONS))? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for entry in table.range::<&[u8; 20]>(ids.start()..=ids.end())?.take(OF_SUBJECT_MAX) {
                let (id, row) = entry?;
                found.extend(codec::decode_session(SessionId(*id.value()), row.value()).ok());
            }
            Ok(found)
        })
    }

    /// In no order.
    pub fn sessions_of(
        &self,
        issuer: &IssuerId,
        subject: &str,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let index_key = self.handle.shared.index_key;
        self.read(|transaction| {
            let index = present(transaction.open_table(schema::SESSIONS_BY_SUBJECT))?;
            let table = present(transaction.open_table(schema::SESSIONS))?;
            match (index, table) {
                (Some(index), Some(table)) => {
                    rows::of_subject(&index, &table, (issuer, subject), &index_key)
                }
                (None, _) | (_, None) => Ok(Vec::new()),
            }
        })
    }

    pub fn session_count(&self) -> u64 {
        self.read(count).unwrap_or(0)
    }

    /// When the next one can be used no more.
    pub fn sessions_due(&self) -> Result<Option<UnixMs>, StoreError> {
        self.read(|transaction| {
            let Some(due) = present(transaction.open_table(schema::SESSIONS_DUE))? else {
                return Ok(None);
            };
            Ok(due.first()?.map(|(key, _)| rows::due_at(key.value())))
        })
    }

    async fn change_sessions<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut SessionRows<'_>, UnixMs) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Job { change: Some(change), done: None, reply });
        self.ask(Command::Session(job), answer).await
    }
}

/// How many there are.
pub(super) fn count(transaction: &ReadTransaction) -> Result<u64, Fault> {
    match present(transaction.open_table(schema::SESSIONS))? {
        Some(table) => Ok(table.len()?),
        None => Ok(0),
    }
}

/// A table that a file in which no session ever began does not have.
pub(super) fn present<T>(opened: Result<T, TableError>) -> Result<Option<T>, Fault> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
