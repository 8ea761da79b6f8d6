//! Recently seen people: operators know an e-mail address, not a `sub`, and want to know what a
//! denial would reach before they make it.
//!
//! Fed by the data plane's observations, which may be dropped, and bounded in bytes (least
//! recently sighted people leave): so every count means "at least", and nothing here decides
//! whether a request passes. Can be off; then only each issuer's tally is kept, which names nobody.

mod person;
mod refusals;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::clock::UnixMs;
use crate::control::sessions::Records;
use crate::denylist::{Condition, Except, Fingerprint, Fingerprinter, IssuerId, Selector};
use crate::telemetry::{Observation, Report, Sighting};

pub use person::Person;
use person::{Name, Reached};
pub use refusals::Refusals;
use values::{Values, likeness, shorten};

/// Memory for people.
const BYTES_MAX: u64 = 64 << 20;
/// Sessions and tokens by which a person can be found without asking everybody.
const MARKS_MAX: u64 = 100_000;
/// Whoever was not seen for this long does not count as recently seen.
pub const WINDOW: Duration = Duration::from_secs(24 * 3_600);
/// How long an issuer's clock is remembered to have been ahead.
const AHEAD_KEPT: Duration = Duration::from_secs(300);
/// A walk over everybody takes tens of milliseconds when there are many. People who ask by hand
/// get one whenever they like; a program that makes a thousand denials a second gets this many at
/// once and then one in each interval.
const WALKS_AT_ONCE: u32 = 50;
const WALK_INTERVAL: Duration = Duration::from_millis(250);

/// See the module.
pub struct People {
    seen: Option<Seen>,
    tallies: Mutex<HashMap<IssuerId, Tally>>,
    by: Fingerprinter,
    since: UnixMs,
}

struct Seen {
    people: Cache<Name, Arc<Person>>,
    by_mark: Cache<Fingerprint, Name>,
    /// Clients and values of indexed claims, for whoever mistypes one.
    values: Values,
    /// When the walks made so far are paid off.
    walks_paid_at: Mutex<UnixMs>,
}

/// What the tokens of an issuer were seen to carry. Counts sightings: a token that left the
/// signature cache and came again counts twice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub sightings: u64,
    pub without_jti: u64,
    pub without_session: u64,
    pub without_issued_at: u64,
    pub without_client: u64,
    pub without_version: u64,
    pub without_subject: u64,
    /// How many carried each of the indexed claims that any carried.
    pub with_claim: BTreeMap<String, u64>,
    /// How far ahead of ours its clock was at the most, in [`AHEAD_KEPT`]: `iat` less the time at
    /// which a token was first seen.
    pub ahead: Duration,
    ahead_at: UnixMs,
}

/// What a denial would reach, as far as was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    pub subjects: u64,
    pub tokens: u64,
    /// Tokens that the selector names, also those that condition or exception let pass.
    pub named: u64,
    /// People of the issuer in all, where everybody was looked at.
    pub of: Option<u64>,
    /// How far back was looked.
    pub window: Duration,
    /// When, and from where, somebody with such a token was last seen.
    pub last: Option<(UnixMs, Option<IpAddr>)>,
}

impl People {
    /// `remember: false`: nobody is remembered.
    pub fn new(remember: bool, by: Fingerprinter, now: UnixMs) -> Self {
        let seen = remember.then(|| Seen {
            people: Cache::builder()
                .max_capacity(BYTES_MAX)
                .weigher(|_, person: &Arc<Person>| person.bytes())
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            by_mark: Cache::builder()
                .max_capacity(MARKS_MAX)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            values: Values::default(),
            walks_paid_at: Mutex::default(),
        });
        Self { seen, tallies: Mutex::default(), by, since: now }
    }

    pub fn is_on(&self) -> bool {
        self.seen.is_some()
    }

    /// Takes note of a token. Called by one task only.
    pub fn sight(&self, sighting: &Sighting) {
        let token = &sighting.token;
        let issuer = &token.policy().id;
        let mut tallies = self.tallies.lock();
        tallies.entry(issuer.clone()).or_default().add(token, sighting.at);
        drop(tallies);
        let Some(seen) = &self.seen else { return };
        let name = Name::of(token);
        let person = match seen.people.get(&name) {
            Some(person) => person.with(sighting),
            None => Person::new(sighting),
        };
        for mark in std::iter::once(token.marks().token).chain(token.marks().session) {
            seen.by_mark.insert(mark, name.clone());
        }
        seen.people.insert(name, Arc::new(person));
        seen.values.note(token);
    }

    /// Whose session or token it is, as far as was seen.
    pub fn holder(&self, issuer: &IssuerId, selector: &Selector) -> Option<String> {
        let name = self.seen.as_ref()?.by_mark.get(&self.by.selector(issuer, selector))?;
        match name {
            Name::Subject(of, subject) if of == *issuer => Some(subject),
            Name::Subject(..) | Name::Token(_) => None,
        }
    }

    /// How far back counts look: no further than this process is old.
    pub fn window(&self, now: UnixMs) -> Duration {
        now.since(self.since).min(WINDOW)
    }

    /// At least this much would be reached; `None` when people are off, or when so many walks were
    /// asked for that this one was not made.
    pub fn reach(
        &self,
        issuer: &IssuerId,
        selector: &Selector,
        condition: Condition,
        except: Option<&Except>,
        now: UnixMs,
    ) -> Option<Reach> {
        let seen = self.seen.as_ref()?;
        let denial = Reached {
            kind: selector.kind(),
            mark: self.by.selector(issuer, selector),
            condition,
            spared: except.map(|except| match except {
                Except::Session(id) => self.by.selector(issuer, &Selector::Session(id.clone())),
                Except::Token(id) => self.by.token(issuer, id),
            }),
            now,
        };
        let window = self.window(now);
        let mut reach = Reach { subjects: 0, tokens: 0, named: 0, of: None, window, last: None };
        let mut count = |person: &Person| {
            let (named, tokens) = person.tokens_reached(&denial);
            reach.named += named;
            reach.tokens += tokens;
            reach.subjects += u64::from(tokens > 0);
            if let Some(at) = person.last_seen_with(&denial) {
                let later = reach.last.is_none_or(|(known, _)| known < at);
                reach.last = if later { Some((at, person.address)) } else { reach.last };
            }
        };
        match selector {
            Selector::Subject(subject) => {
                let name = Name::Subject(issuer.clone(), subject.clone());
                seen.people.get(&name).iter().for_each(|person| count(person));
            }
            Selector::Session(_) | Selector::Token(_) => {
                let name = seen.by_mark.get(&denial.mark);
                let person = name.and_then(|name| seen.people.get(&name));
                person.iter().for_each(|person| count(person));
            }
            Selector::Client(_)
            | Selector::Key(_)
            | Selector::Claim { .. }
            | Selector::Issuer
            | Selector::Registration(_) => {
                if !seen.may_walk(now) {
                    return None;
                }
                let mut of = 0;
                for (_, person) in &seen.people {
                    of += u64::from(person.issuer == *issuer && person.is_recent(now));
                    count(&person);
                }
                reach.of = Some(of);
            }
        }
        Some(reach)
    }

    /// Names that were seen and are like the one that was not.
    pub fn close(&self, issuer: &IssuerId, selector: &Selector, now: UnixMs) -> Vec<String> {
        let Some(seen) = &self.seen else { return Vec::new() };
        let asked = match selector {
            Selector::Subject(asked) | Selector::Session(asked) => asked,
            Selector::Client(asked) => return seen.values.close(issuer, None, asked),
            Selector::Claim { name, value } => {
                return seen.values.close(issuer, Some(name), value);
            }
            Selector::Token(_)
            | Selector::Key(_)
            | Selector::Issuer
            | Selector::Registration(_) => return Vec::new(),
        };
        if !seen.may_walk(now) {
            return Vec::new();
        }
        let asked = asked.to_lowercase();
        let sessions = matches!(selector, Selector::Session(_));
        let mut found: Vec<(usize, String)> = Vec::new();
        for (_, person) in &seen.people {
            if person.issuer != *issuer || !person.is_recent(now) {
                continue;
            }
            for (shown, name) in person.names(sessions) {
                let Some(far) = likeness(&asked, &shown.to_lowercase()) else { continue };
                found.push((far, name.to_owned()));
            }
            // Keeps the list short while everybody is asked.
            if found.len() > 256 {
                shorten(&mut found);
            }
        }
        shorten(&mut found);
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// People whose subject, display name or session contains `text`, last seen first.
    pub fn search(
        &self,
        text: &str,
        limit: usize,
        may_see: impl Fn(&IssuerId) -> bool,
        now: UnixMs,
    ) -> Vec<Arc<Person>> {
        let Some(seen) = &self.seen else { return Vec::new() };
        let text = text.to_lowercase();
        let mut found: Vec<(UnixMs, Arc<Person>)> = Vec::new();
        let cut = |found: &mut Vec<(UnixMs, Arc<Person>)>| {
            found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
            found.truncate(limit);
        };
        for (_, person) in &seen.people {
            if !person.is_recent(now) || !may_see(&person.issuer) || !person.contains(&text) {
                continue;
            }
            found.push((person.last_seen(), person));
            if found.len() > limit.saturating_mul(4) {
                cut(&mut found);
            }
        }
        cut(&mut found);
        found.into_iter().map(|(_, person)| person).collect()
    }

    /// Somebody of this issuer, by the subject of his tokens.
    pub fn find(&self, issuer: &IssuerId, subject: &str) -> Option<Arc<Person>> {
        let name = Name::Subject(issuer.clone(), subject.to_owned());
        self.seen.as_ref()?.people.get(&name)
    }

    pub fn tally(&self, issuer: &IssuerId) -> Tally {
        self.tallies.lock().get(issuer).cloned().unwrap_or_default()
    }
}

impl Seen {
    fn may_walk(&self, now: UnixMs) -> bool {
        let most = now.plus(WALK_INTERVAL * WALKS_AT_ONCE);
        let mut paid_at = self.walks_paid_at.lock();
        // A clock that jumped back must not stop walks for long.
        *paid_at = (*paid_at).clamp(now, most);
        let next = paid_at.plus(WALK_INTERVAL);
        let may = next <= most;
        if may {
            *paid_at = next;
        }
        may
    }
}

impl Tally {
    fn add(&mut self, token: &crate::verify::Signed, now: UnixMs) {
        let ahead = token.issued_at().map_or(Duration::ZERO, |issued| issued.since(now));
        if ahead >= self.ahead || now.since(self.ahead_at) > AHEAD_KEPT {
            (self.ahead, self.ahead_at) = (ahead, now);
        }
        self.sightings += 1;
        self.without_jti += u64::from(token.jti().is_none());
        self.without_session += u64::from(token.session().is_none());
        self.without_issued_at += u64::from(token.issued_at().is_none());
        self.without_client += u64::from(token.client().is_none());
        self.without_version += u64::from(token.marks().version.is_none());
        self.without_subject += u64::from(token.subject().is_none());
        for (name, _) in token.indexed() {
            match self.with_claim.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(self.with_claim.insert(name.to_owned(), 1)),
            }
        }
    }
}

/// Feeds people, sessions and refusals until the data plane is gone.
pub async fn watch(
    mut reports: mpsc::Receiver<Report>,
    people: Arc<People>,
    sessions: Arc<Records>,
    refusals: Arc<Refusals>,
) {
    while let Some(report) = reports.recv().await {
        for observation in report.observations {
            match observation {
                Observation::Sighting(sighting) => {
                    sessions.sight(&sighting);
                    people.sight(&sighting);
                }
                Observation::Refusal(refusal) => refusals.add(refusal),
            }
        }
        if let Some(remembered) = report.remembered {
            // Whoever waits for it may have given up.
            remembered.send(()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_asks_without_end_walks_rarely_and_a_person_whenever_he_likes() {
        let now = UnixMs::from_secs(1_000_000);
        let people = People::new(true, Fingerprinter::random(), now);
        let issuer = IssuerId::new("i");
        let ask = |at: UnixMs| {
            people.reach(&issuer, &Selector::Issuer, Condition::Always, None, at).is_some()
        };
        let walked = (0..1_000).filter(|_| ask(now)).count();
        assert_eq!(walked, 50);
        let later = now.plus(Duration::from_secs(1));
        assert_eq!((0..1_000).filter(|_| ask(later)).count(), 4);
        // A name is looked up, not walked to.
        let alice = Selector::Subject("alice".to_owned());
        assert!(people.reach(&issuer, &alice, Condition::Always, None, later).is_some());
        // A clock that jumped back does not stop them for long.
        assert!(!ask(UnixMs::from_secs(10)));
        assert!(ask(UnixMs::from_secs(11)));
    }

    #[test]
    fn likeness_finds_misspelt_and_partial_names_and_no_others() {
        for (asked, name) in
            [("alice", "alice@example.com"), ("alcie", "alice"), ("auth0|alice", "alice")]
        {
            assert!(likeness(asked, name).is_some(), "{asked} {name}");
        }
        for (asked, name) in [("al", "alice"), ("alice", "bob"), ("alice", "malcolm")] {
            assert!(likeness(asked, name).is_none(), "{asked} {name}");
        }
    }
}
