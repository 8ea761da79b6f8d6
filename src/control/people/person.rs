//! One person of one issuer, and the tokens he was seen with.

use std::net::IpAddr;
use std::sync::Weak;
use std::sync::atomic::Ordering;

use crate::clock::UnixMs;
use crate::denylist::{Condition, Fingerprint, IssuerId, Marks, SelectorKind};
use crate::telemetry::Sighting;
use crate::verify::Signed;

use super::WINDOW;

/// Tokens remembered of one person; the one seen longest ago is forgotten first.
const TOKENS_MAX: usize = 16;

/// What people are kept by. Tokens without a subject each count as somebody.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Subject(IssuerId, String),
    Token(Fingerprint),
}

impl Name {
    pub fn of(token: &Signed) -> Self {
        match token.subject() {
            Some(subject) => Self::Subject(token.policy().id.clone(), subject.to_owned()),
            None => Self::Token(token.marks().token),
        }
    }
}

/// Immutable: a sighting makes a new one.
#[derive(Clone)]
pub struct Person {
    pub issuer: IssuerId,
    pub subject: Option<String>,
    /// What the issuer's display claim says, for example an e-mail address.
    pub display: Option<String>,
    /// Where the last new token came from.
    pub address: Option<IpAddr>,
    tokens: Vec<SeenToken>,
}

#[derive(Clone)]
struct SeenToken {
    marks: Marks,
    session: Option<String>,
    expires_at: UnixMs,
    sighted_at: UnixMs,
    /// Its `last_seen` moves with every request, as long as the signature cache holds it.
    live: Weak<Signed>,
}

/// A denial, as compared with what was seen.
pub(super) struct Reached {
    pub kind: SelectorKind,
    pub mark: Fingerprint,
    pub condition: Condition,
    /// The session or token that it spares.
    pub spared: Option<Fingerprint>,
    pub now: UnixMs,
}

impl Person {
    pub(super) fn new(sighting: &Sighting) -> Self {
        let token = &sighting.token;
        let person = Self {
            issuer: token.policy().id.clone(),
            subject: token.subject().map(str::to_owned),
            display: None,
            address: None,
            tokens: Vec::new(),
        };
        person.with(sighting)
    }

    /// The same person after a sighting.
    pub(super) fn with(&self, sighting: &Sighting) -> Self {
        let token = &sighting.token;
        let mut person = self.clone();
        person.display = token.display().map(bounded).or(person.display);
        person.address = sighting.address.or(person.address);
        person.tokens.retain(|seen| {
            seen.marks.token != token.marks().token && seen.expires_at > sighting.at
        });
        if person.tokens.len() >= TOKENS_MAX {
            person.tokens.remove(0);
        }
        person.tokens.push(SeenToken {
            marks: token.marks().clone(),
            session: token.session().map(str::to_owned),
            expires_at: token.expires_at(),
            sighted_at: sighting.at,
            live: std::sync::Arc::downgrade(token),
        });
        person
    }

    /// What it costs to remember, roughly: a weak reference keeps the token's own allocation, not
    /// what that points to.
    pub(super) fn bytes(&self) -> u32 {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let tokens: usize = self
            .tokens
            .iter()
            .map(|token| {
                size_of::<SeenToken>()
                    + size_of::<Signed>()
                    + text(&token.session)
                    + size_of_val::<[Fingerprint]>(&token.marks.claims)
            })
            .sum();
        // The name is there twice: as the cache's key too. 200: the cache's own nodes.
        let bytes =
            200 + size_of::<Self>() + 2 * text(&self.subject) + text(&self.display) + tokens;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    pub fn last_seen(&self) -> UnixMs {
        self.tokens.iter().map(SeenToken::last_seen).max().unwrap_or_default()
    }

    pub(super) fn is_recent(&self, now: UnixMs) -> bool {
        now.since(self.last_seen()) <= WINDOW
    }

    /// Tokens that have not expired.
    pub fn tokens(&self, now: UnixMs) -> usize {
        self.tokens.iter().filter(|token| token.expires_at > now).count()
    }

    /// Sessions of tokens that have not expired.
    pub fn sessions(&self, now: UnixMs) -> Vec<&str> {
        let mut sessions: Vec<&str> = self
            .tokens
            .iter()
            .filter(|token| token.expires_at > now)
            .filter_map(|token| token.session.as_deref())
            .collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }

    /// Does any of the person's names contain `text`, which is in lower case?
    pub(super) fn contains(&self, text: &str) -> bool {
        let sessions = self.tokens.iter().filter_map(|token| token.session.as_deref());
        self.subject
            .as_deref()
            .into_iter()
            .chain(self.display.as_deref())
            .chain(sessions)
            .any(|name| name.to_lowercase().contains(text))
    }

    /// What the person could have been called by, and the identifier that it stands for.
    pub(super) fn names(&self, sessions: bool) -> Vec<(&str, &str)> {
        if sessions {
            let ids = self.tokens.iter().filter_map(|token| token.session.as_deref());
            return ids.map(|id| (id, id)).collect();
        }
        let Some(subject) = self.subject.as_deref() else { return Vec::new() };
        let display = self.display.as_deref().map(|display| (display, subject));
        std::iter::once((subject, subject)).chain(display).collect()
    }

    /// How many tokens the denial's selector names, and how many of them it reaches.
    pub(super) fn tokens_reached(&self, denial: &Reached) -> (u64, u64) {
        let named = self.tokens.iter().filter(|token| token.is_named(denial));
        named.fold((0, 0), |(named, reached), token| {
            (named + 1, reached + u64::from(token.is_reached(denial)))
        })
    }
}

impl Person {
    /// When a token that the denial names was last seen.
    pub(super) fn last_seen_with(&self, denial: &Reached) -> Option<UnixMs> {
        let named = self.tokens.iter().filter(|token| token.is_named(denial));
        named.map(SeenToken::last_seen).max()
    }
}

impl SeenToken {
    fn last_seen(&self) -> UnixMs {
        let live = self.live.upgrade().map(|token| UnixMs(token.last_seen.load(Ordering::Relaxed)));
        live.map_or(self.sighted_at, |live| live.max(self.sighted_at))
    }

    fn is_named(&self, denial: &Reached) -> bool {
        let marks = &self.marks;
        let named = match denial.kind {
            SelectorKind::Token => marks.token == denial.mark,
            SelectorKind::Session => marks.session == Some(denial.mark),
            SelectorKind::Subject => marks.subject == Some(denial.mark),
            SelectorKind::Client => marks.client == Some(denial.mark),
            SelectorKind::Key => marks.key == denial.mark,
            SelectorKind::Claim => marks.claims.contains(&denial.mark),
            SelectorKind::Issuer => marks.issuer == denial.mark,
            SelectorKind::Registration => false,
        };
        named && self.expires_at > denial.now
    }

    /// Of a token that is named.
    fn is_reached(&self, denial: &Reached) -> bool {
        let marks = &self.marks;
        let spared = denial
            .spared
            .is_some_and(|spared| marks.token == spared || marks.session == Some(spared));
        !spared
            && match denial.condition {
                Condition::Always => true,
                Condition::IssuedBefore(at) => marks.issued_at.is_none_or(|issued| issued < at),
                Condition::VersionBelow(number) => {
                    marks.version.is_none_or(|version| version < number)
                }
            }
    }
}

/// A display name is for people; a longer one is cut.
fn bounded(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(128).collect()
}
