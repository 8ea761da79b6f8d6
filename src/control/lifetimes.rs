//! How long tokens of each issuer may have lived, remembered beside the store. A denial is kept for
//! as long as a token that it matches may live; when that is raised, denials made before were kept
//! for the old time and may be forgotten. So a raise holds for tokens issued after it only, across
//! restarts too: the mark says "issued before then: at most so long". So it is with sessions that
//! are renewed, by when their login was: while renewing is off, cutoffs are kept for the tokens only,
//! and no login of that time may be renewed later.
//!
//! Where tokens come to be taken without `iat`, no mark can say which of them are older. What stands
//! then is held in the store until it is lifted ([`Settled::hold`]).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::denylist::IssuerId;
use crate::verify::{LifetimeMark, Policy};

const FILE: &str = "lifetimes.json";
/// A cutoff may lie this far, and the issuer's skew, after the moment at which it is accepted.
const CUTOFF_AHEAD: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize, Default)]
struct Document {
    /// By the issuer's identity.
    issuers: BTreeMap<String, Lifetime>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lifetime {
    max_lifetime_ms: u64,
    marks: Vec<Mark>,
    /// How long a session may be renewed; 0: not at all. Absent in a file of an earlier version.
    #[serde(default)]
    session_ms: Option<u64>,
    #[serde(default)]
    session_marks: Vec<Mark>,
    #[serde(default)]
    iat_optional: bool,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    issued_before_ms: i64,
    max_lifetime_ms: u64,
}

/// What is left to do after the marks are given.
#[must_use]
#[derive(Debug)]
pub struct Settled {
    directory: PathBuf,
    /// Issuers whose records are to be held before it counts as done.
    unheld: Vec<IssuerId>,
}

impl Settled {
    /// Holds what is to be held, by `hold`, and remembers that it is. Until then a restart does it
    /// again.
    pub fn hold<E: std::fmt::Display>(
        self,
        hold: impl Fn(&IssuerId) -> Result<(), E>,
    ) -> Result<(), String> {
        if self.unheld.is_empty() {
            return Ok(());
        }
        let path = self.directory.join(FILE);
        let mut document = read(&path)?;
        for issuer in &self.unheld {
            hold(issuer).map_err(|why| {
                format!("what is denied of {} cannot be kept for longer: {why}", issuer.as_str())
            })?;
            tracing::info!(
                issuer = issuer.as_str(),
                "its tokens may lack iat from now on: what is denied of it is kept until undone"
            );
            if let Some(lifetime) = document.issuers.get_mut(issuer.as_str()) {
                lifetime.iat_optional = true;
            }
        }
        write(&self.directory, &path, &document).map_err(|why| cannot("written", &path, &why))
    }
}

fn cannot(what: &str, path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{} cannot be {what}: {why}", path.display())
}

fn read(path: &Path) -> Result<Document, String> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|why| cannot("understood", path, &why)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Document::default()),
        Err(why) => Err(cannot("read", path, &why)),
    }
}

/// Gives each policy its marks and remembers what it says now. The text of an error names the file.
pub fn settle<'p>(
    directory: &Path,
    policies: impl Iterator<Item = &'p mut Policy>,
    now: UnixMs,
) -> Result<Settled, String> {
    let path = directory.join(FILE);
    let mut document = read(&path)?;
    let mut unheld = Vec::new();
    let mut changed = false;
    for policy in policies {
        let before = document.issuers.get(policy.id.as_str());
        let next = match before {
            None => Lifetime::first(policy),
            Some(before) => before.clone().then(policy, now),
        };
        policy.lifetime_marks = next.marks.iter().map(Mark::read).collect();
        policy.session_marks = next.session_marks.iter().map(Mark::read).collect();
        if policy.missing.iat && !next.iat_optional {
            unheld.push(policy.id.clone());
        }
        changed |= before != Some(&next);
        document.issuers.insert(policy.id.as_str().to_owned(), next);
    }
    if changed {
        write(directory, &path, &document).map_err(|why| cannot("written", &path, &why))?;
    }
    Ok(Settled { directory: directory.to_owned(), unheld })
}

/// For how long a session of the issuer may be renewed.
fn session_ms(policy: &Policy) -> u64 {
    if policy.renewed { milliseconds(policy.session_lifetime_max) } else { 0 }
}

impl Lifetime {
    /// Of an issuer that nothing is known of: nothing was denied of it for a shorter time.
    fn first(policy: &Policy) -> Self {
        Self {
            max_lifetime_ms: milliseconds(policy.max_lifetime),
            marks: Vec::new(),
            session_ms: Some(session_ms(policy)),
            session_marks: Vec::new(),
            iat_optional: policy.missing.iat,
        }
    }

    /// With the policy that follows.
    fn then(mut self, policy: &Policy, now: UnixMs) -> Self {
        let ahead = CUTOFF_AHEAD + policy.cutoff_skew;
        let session_ms = session_ms(policy);
        // A program that did not write it renewed nothing.
        let known_ms = self.session_ms.unwrap_or(0);
        if session_ms > known_ms {
            self.session_marks.retain(|mark| {
                UnixMs(mark.issued_before_ms).plus(Duration::from_millis(session_ms)) > now
            });
            let issued_before_ms = now.plus(ahead).0;
            self.session_marks.push(Mark { issued_before_ms, max_lifetime_ms: known_ms });
        }
        self.session_ms = Some(session_ms);
        // What turns it on is remembered when the store holds its records.
        self.iat_optional &= policy.missing.iat;
        let max_lifetime_ms = milliseconds(policy.max_lifetime);
        if max_lifetime_ms > self.max_lifetime_ms {
            // No token issued before such a mark is good any more, whatever comes.
            let longest = Duration::from_millis(self.max_lifetime_ms) + policy.leeway;
            self.marks.retain(|mark| UnixMs(mark.issued_before_ms).plus(longest) > now);
            let mark =
                Mark { issued_before_ms: now.plus(ahead).0, max_lifetime_ms: self.max_lifetime_ms };
            self.marks.push(mark);
        }
        self.max_lifetime_ms = max_lifetime_ms;
        self
    }
}

impl Mark {
    fn read(&self) -> LifetimeMark {
        LifetimeMark {
            issued_before: UnixMs(self.issued_before_ms),
            max_lifetime: Duration::from_millis(self.max_lifetime_ms),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole or not at all, and on disk.
fn write(directory: &Path, path: &Path, document: &Document) -> std::io::Result<()> {
    let draft = path.with_extension("json.new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(document)?)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn policy(max_lifetime: Duration) -> Policy {
        let (session_lifetime_max, leeway) = (HOUR, Duration::ZERO);
        let policy = Policy::new("main", "https://id.example.com/", &[], &[]);
        Policy { max_lifetime, session_lifetime_max, leeway, ..policy }
    }

    #[test]
    fn a_raise_is_remembered_across_starts_and_lowering_before_it_makes_it_stricter() {
        let place = tempfile::tempdir().unwrap();
        let at = |hours: u32, max: u32| {
            let mut policy = policy(HOUR * max);
            let now = UnixMs::from_secs(0).plus(HOUR * hours);
            let settled = settle(place.path(), std::iter::once(&mut policy), now).unwrap();
            settled.hold(|_| -> Result<(), String> { panic!("nothing is to be held") }).unwrap();
            policy.lifetime_marks
        };
        let mark = |hours: u32, max: u32| LifetimeMark {
            issued_before: UnixMs::from_secs(0).plus(HOUR * hours + CUTOFF_AHEAD),
            max_lifetime: HOUR * max,
        };
        assert_eq!(at(100, 24), []);
        assert_eq!(at(101, 24), []);
        assert_eq!(at(102, 1), [], "lowered");
        assert_eq!(at(103, 24), [mark(103, 1)], "raised");
        assert_eq!(at(104, 24), [mark(103, 1)], "and remembered");
        assert_eq!(at(105, 48), [mark(103, 1), mark(105, 24)]);
        assert_eq!(at(200, 72), [mark(200, 48)], "the old ones speak of no living token");
        std::fs::write(place.path().join(FILE), "{").unwrap();
        let fault = settle(place.path(), std::iter::empty(), UnixMs::from_secs(0)).unwrap_err();
        assert!(fault.contains("lifetimes.json cannot be understood"), "{fault}");
    }

    #[test]
    fn tokens_without_iat_are_taken_only_when_what_stands_is_held_and_that_is_done_once() {
        let place = tempfile::tempdir().unwrap();
        let now = UnixMs::from_secs(0);
        let settled = |optional: bool| {
            let mut policy = policy(HOUR);
            policy.missing.iat = optional;
            settle(place.path(), std::iter::once(&mut policy), now).unwrap()
        };
        let held = |settled: Settled| {
            let count = std::cell::Cell::new(0);
            let hold = |id: &IssuerId| -> Result<(), String> {
                assert_eq!(id.as_str(), "https://id.example.com/");
                count.set(count.get() + 1);
                Ok(())
            };
            settled.hold(hold).unwrap();
            count.get()
        };
        assert_eq!(held(settled(false)), 0);
        let failed = settled(true).hold(|_| Err("the disk failed")).unwrap_err();
        assert!(failed.contains("the disk failed"), "{failed}");
        drop(settled(true));
        assert_eq!(held(settled(true)), 1, "a start that died before is done again");
        assert_eq!(held(settled(true)), 0);
        assert_eq!(held(settled(false)), 0);
        assert_eq!(held(settled(true)), 1, "what was made meanwhile was kept for the short time");
        // An issuer that was so from its first day has nothing that was kept shorter.
        let mut first = policy(HOUR);
        first.id = IssuerId::new("another");
        first.missing.iat = true;
        let settled = settle(place.path(), std::iter::once(&mut first), now).unwrap();
        assert_eq!(held(settled), 0);
    }

    #[test]
    fn a_login_of_the_time_before_renewing_was_on_is_not_renewed_and_a_raise_counts_from_then_on() {
        let place = tempfile::tempdir().unwrap();
        let at = |hours: u32, renewed: bool, max: u32| {
            let mut policy = policy(HOUR);
            (policy.renewed, policy.session_lifetime_max) = (renewed, HOUR * max);
            let now = UnixMs::from_secs(0).plus(HOUR * hours);
            let settled = settle(place.path(), std::iter::once(&mut policy), now).unwrap();
            settled.hold(|_| -> Result<(), String> { panic!("nothing is to be held") }).unwrap();
            policy
        };
        let login = |hours: u32| UnixMs::from_secs(60).plus(HOUR * hours);
        assert_eq!(at(100, false, 720).session_lifetime(login(99)), Duration::ZERO);
        let on = at(101, true, 720);
        assert_eq!(on.session_lifetime(login(100)), Duration::ZERO);
        assert_eq!(on.session_lifetime(login(101)), HOUR * 720);
        let off = at(110, false, 720);
        assert_eq!(off.session_lifetime(login(105)), Duration::ZERO);
        let again = at(120, true, 720);
        assert_eq!(again.session_lifetime(login(105)), Duration::ZERO, "cutoffs are gone by now");
        assert_eq!(again.session_lifetime(login(120)), HOUR * 720);
        let raised = at(130, true, 1000);
        assert_eq!(raised.session_lifetime(login(121)), HOUR * 720);
        assert_eq!(raised.session_lifetime(login(130)), HOUR * 1000);
        let lowered = at(140, true, 10);
        assert_eq!(lowered.session_lifetime(login(139)), HOUR * 10);
    }
}
