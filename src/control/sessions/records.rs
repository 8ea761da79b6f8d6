//! The sessions that began with a captured login: on disk, so that a person can list and end them
//! after a restart too, and so that a renewal knows which refresh token is the current one.
//!
//! What always holds: a beginning, a renewal's step and an end are on disk before they are answered.
//! When a session was last seen is not: it is noted every few seconds, for a bounded number of
//! sessions, and an end of the process loses what was not noted. No request is decided here; what
//! ends a session is a denial.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::UnixMs;
use crate::control::store::{Store, StoreError};
use crate::denylist::{Denylist, Except, Identity, IssuerId, Marks};
use crate::desk::{By, End, Ending};
use crate::keys::Thumbprint;
use crate::telemetry::Sighting;
use crate::verify::Signed;

pub use crate::control::store::{Advance, Advanced, SessionId, SessionRecord as Record};

/// How often what was seen goes to the disk.
const INTERVAL: Duration = Duration::from_secs(10);
/// Rows written at once, in one commit.
const WRITTEN_MAX: usize = 4_096;
/// Sessions whose last use is followed.
const FOLLOWED_MAX: usize = 100_000;

/// See the module.
pub struct Records {
    store: Store,
    denylist: Arc<Denylist>,
    /// There may be one: without any, a sighting costs nothing.
    any: AtomicBool,
    followed: Mutex<HashMap<SessionId, Followed>>,
}

impl Record {
    /// What ends it.
    pub(super) fn end(&self, by: By, reason: Cow<'static, str>) -> End {
        End {
            issuer: self.issuer.clone(),
            what: Ending::of_session(self.session.clone(), self.named_here),
            subject: self.subject.clone(),
            issued_at: self.issued_at,
            by,
            reason,
        }
    }
}

/// A session whose current token this process has seen.
struct Followed {
    /// Its `last_seen` moves with every request, as long as the signature cache holds it.
    token: Weak<Signed>,
    last_seen: UnixMs,
    written: UnixMs,
}

impl Records {
    pub fn new(store: Store, denylist: Arc<Denylist>) -> Self {
        let any = AtomicBool::new(store.session_count() > 0);
        Self { store, denylist, any, followed: Mutex::default() }
    }

    /// Remembers a session; what was known of one of the same name goes on, under the next
    /// generation.
    pub async fn begin(&self, record: Record, token: &Arc<Signed>) -> Result<Record, StoreError> {
        self.any.store(true, Ordering::Release);
        let begun = self.store.begin_session(record).await?;
        self.follow(begun.id(), token, begun.last_seen);
        Ok(begun)
    }

    /// The session of this name and subject, as it is on disk.
    pub fn find(
        &self,
        issuer: &IssuerId,
        session: &str,
        subject: Option<&str>,
    ) -> Result<Option<Record>, StoreError> {
        self.store.session(SessionId::of(issuer, session, subject))
    }

    /// The session of this id, where it can still be used.
    pub fn of_id(&self, id: SessionId, now: UnixMs) -> Result<Option<Record>, StoreError> {
        Ok(self.store.session(id)?.filter(|record| record.kept_until > now))
    }

    /// Sessions of the same issuer and name, one for each subject.
    pub fn named_as(&self, record: &Record) -> Result<Vec<SessionId>, StoreError> {
        let named = self.store.sessions_named(&record.issuer, &record.session)?;
        Ok(named.iter().map(Record::id).collect())
    }

    /// A renewal takes its place, on disk when this returns, or is told who did.
    pub async fn advance(
        &self,
        id: SessionId,
        advance: Advance,
        token: &Arc<Signed>,
    ) -> Result<Advanced, StoreError> {
        let advanced = self.store.advance_session(id, advance).await?;
        if let Advanced::Done(record) = &advanced {
            self.follow(id, token, record.last_seen);
        }
        Ok(advanced)
    }

    /// What must end as well: of a session whose tokens do not say its name, the name and the token
    /// of this moment end together, whichever of them was proved.
    pub fn whole(&self, ends: &[End]) -> Result<Vec<End>, StoreError> {
        let mut all = ends.to_vec();
        for end in ends {
            let only_one = matches!(end.what, Ending::Token { .. } | Ending::NamedHere(_));
            let reached = if only_one { self.reached(end)? } else { Vec::new() };
            for record in reached.into_iter().filter(|record| record.named_here) {
                let token = Ending::Token { id: record.token, expires_at: record.expires_at };
                for what in [Ending::NamedHere(record.session), token] {
                    if !all.iter().any(|end| end.issuer == record.issuer && end.what == what) {
                        all.push(End { what, ..end.clone() });
                    }
                }
            }
        }
        Ok(all)
    }

    /// What was denied is forgotten: it does not come back.
    pub async fn ended(&self, ends: &[End]) -> Result<(), StoreError> {
        let mut ids = Vec::new();
        for end in ends {
            ids.extend(self.reached(end)?.iter().map(Record::id));
        }
        if ids.is_empty() {
            return Ok(());
        }
        ids.iter().for_each(|id| drop(self.followed.lock().remove(id)));
        self.store.forget_sessions(ids).await
    }

    /// A person's sessions that can still be used, the one used last first.
    pub fn of_subject(
        &self,
        issuer: &IssuerId,
        subject: &str,
        now: UnixMs,
    ) -> Result<Vec<Record>, StoreError> {
        let mut found = self.store.sessions_of(issuer, subject)?;
        found.retain(|record| record.kept_until > now && !self.is_denied(record));
        let followed = self.followed.lock();
        for record in &mut found {
            let seen = followed.get(&record.id()).map(Followed::last_seen);
            record.last_seen = record.last_seen.max(seen.unwrap_or_default());
        }
        found.sort_unstable_by_key(|record| std::cmp::Reverse(record.last_seen));
        Ok(found)
    }

    /// Takes note of a token, if it is a session's.
    pub fn sight(&self, sighting: &Sighting) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let token = &sighting.token;
        // A disk that fails costs a list a time of day.
        if let Ok(Some(id)) = self.session_of(token) {
            self.follow(id, token, sighting.at);
        }
    }

    /// Writes what was seen and forgets what is over, until nobody is there any more.
    pub async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.note(UnixMs::now()).await {
                // Another process has the store.
                Ok(()) | Err(StoreError::Closed) => {}
                Err(fault) => tracing::warn!(
                    target: "portcullis::session", %fault,
                    "when sessions were last seen could not be noted"
                ),
            }
        }
    }

    async fn note(&self, now: UnixMs) -> Result<(), StoreError> {
        let seen = self.moved();
        let due = self.store.sessions_due()?.is_some_and(|due| due <= now);
        if seen.is_empty() && !due {
            return Ok(());
        }
        self.store.touch_sessions(seen).await
    }

    /// Sessions that were seen since that was written; those whose token is gone are followed no
    /// longer.
    fn moved(&self) -> Vec<(SessionId, UnixMs)> {
        let mut moved = Vec::new();
        self.followed.lock().retain(|id, followed| {
            let last_seen = followed.last_seen();
            followed.last_seen = last_seen;
            let writes = last_seen > followed.written && moved.len() < WRITTEN_MAX;
            if writes {
                moved.push((*id, last_seen));
                followed.written = last_seen;
            }
            followed.token.strong_count() > 0 || last_seen > followed.written
        });
        moved
    }

    fn follow(&self, id: SessionId, token: &Arc<Signed>, at: UnixMs) {
        let mut followed = self.followed.lock();
        if followed.len() >= FOLLOWED_MAX && !followed.contains_key(&id) {
            return;
        }
        let written = followed.get(&id).map_or(UnixMs::default(), |before| before.written);
        followed.insert(id, Followed { token: Arc::downgrade(token), last_seen: at, written });
    }

    /// The session that a token belongs to, by its name or as the session's current token.
    fn session_of(&self, token: &Signed) -> Result<Option<SessionId>, StoreError> {
        let issuer = &token.policy().id;
        if let Some(session) = token.session() {
            let id = SessionId::of(issuer, session, token.subject());
            return Ok(self.store.session(id)?.map(|record| record.id()));
        }
        let Some(subject) = token.subject() else { return Ok(None) };
        let mut own = self.store.sessions_of(issuer, subject)?.into_iter();
        let own = own.find(|record| record.named_here && record.token == *token.token_id());
        Ok(own.map(|record| record.id()))
    }

    /// The sessions that an end reaches.
    pub(super) fn reached(&self, end: &End) -> Result<Vec<Record>, StoreError> {
        match &end.what {
            Ending::Session(session) | Ending::NamedHere(session) => {
                self.store.sessions_named(&end.issuer, session)
            }
            Ending::Token { id, .. } => {
                let Some(subject) = &end.subject else { return Ok(Vec::new()) };
                let mut own = self.store.sessions_of(&end.issuer, subject)?;
                own.retain(|record| record.named_here && record.token == *id);
                Ok(own)
            }
            Ending::Subject(subject, except) => {
                let mut own = self.store.sessions_of(&end.issuer, subject)?;
                own.retain(|record| !except.as_ref().is_some_and(|except| spares(except, record)));
                Ok(own)
            }
        }
    }

    /// Somebody denied it, in whatever way its current token shows.
    fn is_denied(&self, record: &Record) -> bool {
        let identity = Identity {
            issuer: &record.issuer,
            token: record.token.clone(),
            session: Some(&record.session),
            subject: record.subject.as_deref(),
            // What else a token says is not remembered here: a denial by it is left to the request.
            client: None,
            key: &Thumbprint([0; 32]),
            claims: Vec::new(),
            issued_at: record.issued_at,
            version: Some(u64::MAX),
            must_be_registered: false,
        };
        self.denylist.check(&Marks::of(&identity, self.denylist.fingerprinter())).is_some()
    }
}

fn spares(except: &Except, record: &Record) -> bool {
    match except {
        Except::Session(session) => record.session == *session,
        Except::Token(token) => record.token == *token,
    }
}

impl Followed {
    fn last_seen(&self) -> UnixMs {
        let live =
            self.token.upgrade().map(|token| UnixMs(token.last_seen.load(Ordering::Relaxed)));
        live.map_or(self.last_seen, |live| live.max(self.last_seen))
    }
}
