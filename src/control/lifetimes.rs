//! How long tokens of each issuer may have lived, remembered beside the store. A denial is kept for
//! as long as a token that it matches may live; when that is raised, denials made before were kept
//! for the old time and may be forgotten. So a raise holds for tokens issued after it only, across
//! restarts too: the mark says "issued before then: at most so long". The same holds for sessions that
//! are renewed, which live as long as cutoffs of their logins are kept.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::verify::{LifetimeMark, Policy};

const FILE: &str = "lifetimes.json";
/// A cutoff may lie this far, and the issuer's skew, after the moment at which it is accepted.
const CUTOFF_AHEAD: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize, Default)]
struct Document {
    /// By the issuer's identity.
    issuers: BTreeMap<String, Lifetime>,
    /// Of sessions, by the same.
    #[serde(default)]
    sessions: BTreeMap<String, Lifetime>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lifetime {
    max_lifetime_ms: u64,
    marks: Vec<Mark>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    issued_before_ms: i64,
    max_lifetime_ms: u64,
}

/// Gives each policy its marks and remembers what it says now. The text of an error names the file.
pub fn settle<'p>(
    directory: &Path,
    policies: impl Iterator<Item = &'p mut Policy>,
    now: UnixMs,
) -> Result<(), String> {
    let path = directory.join(FILE);
    let cannot = |what: &str, why: &dyn std::fmt::Display| {
        format!("{} cannot be {what}: {why}", path.display())
    };
    let mut document = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|why| cannot("understood", &why))?,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Document::default(),
        Err(why) => return Err(cannot("read", &why)),
    };
    let mut changed = false;
    for policy in policies {
        let (tokens, sessions) = (&mut document.issuers, &mut document.sessions);
        let (marks, one) = follow(tokens, policy, policy.max_lifetime, now);
        policy.lifetime_marks = marks;
        let (marks, other) = follow(sessions, policy, of_sessions(policy), now);
        policy.session_marks = marks;
        changed |= one || other;
    }
    if changed {
        write(directory, &path, &document).map_err(|why| cannot("written", &why))?;
    }
    Ok(())
}

/// What holds with this policy, and whether it is news.
fn follow(
    known: &mut BTreeMap<String, Lifetime>,
    policy: &Policy,
    lifetime: Duration,
    now: UnixMs,
) -> (Vec<LifetimeMark>, bool) {
    let first = Lifetime { max_lifetime_ms: milliseconds(lifetime), marks: Vec::new() };
    let before = known.get(policy.id.as_str());
    let next = before.map_or(first, |before| before.clone().then(policy, lifetime, now));
    let marks = next.marks.iter().map(Mark::read).collect();
    let changed = before != Some(&next);
    known.insert(policy.id.as_str().to_owned(), next);
    (marks, changed)
}

/// For how long a cutoff holds against a login.
fn of_sessions(policy: &Policy) -> Duration {
    match policy.renewed {
        true => policy.session_lifetime_max.max(policy.max_lifetime),
        false => policy.max_lifetime,
    }
}

impl Lifetime {
    /// With the policy that follows.
    fn then(mut self, policy: &Policy, lifetime: Duration, now: UnixMs) -> Self {
        let max_lifetime_ms = milliseconds(lifetime);
        if max_lifetime_ms > self.max_lifetime_ms {
            // No token issued before such a mark is good any more, whatever comes.
            let longest = Duration::from_millis(self.max_lifetime_ms) + policy.leeway;
            self.marks.retain(|mark| UnixMs(mark.issued_before_ms).plus(longest) > now);
            let ahead = CUTOFF_AHEAD + policy.cutoff_skew;
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
    use crate::denylist::IssuerId;
    use crate::verify::{ClaimNames, Missing};

    const HOUR: Duration = Duration::from_secs(3600);

    fn policy(max_lifetime: Duration) -> Policy {
        let claim = |name: &str| crate::token::ClaimPath::parse(name).unwrap();
        Policy {
            name: "main".into(),
            id: IssuerId::new("https://id.example.com/"),
            iss: None,
            audiences: Vec::new(),
            algorithms: Vec::new(),
            types: Vec::new(),
            max_lifetime,
            lifetime_marks: Vec::new(),
            session_marks: Vec::new(),
            mode: crate::verify::Mode::default(),
            session_lifetime_max: HOUR,
            renewed: false,
            leeway: Duration::ZERO,
            cutoff_skew: Duration::ZERO,
            missing: Missing::default(),
            claims: ClaimNames {
                subject: claim("sub"),
                session: claim("sid"),
                client: Vec::new(),
                version: claim("ver"),
                indexed: Vec::new(),
            },
            required: Vec::new(),
            display: None,
        }
    }

    #[test]
    fn a_raise_is_remembered_across_starts_and_lowering_before_it_makes_it_stricter() {
        let place = tempfile::tempdir().unwrap();
        let at = |hours: u32, max: u32| {
            let mut policy = policy(HOUR * max);
            let now = UnixMs::from_secs(0).plus(HOUR * hours);
            settle(place.path(), std::iter::once(&mut policy), now).unwrap();
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
        let session = |hours: u32, renewed: bool| {
            let mut policy = Policy { renewed, session_lifetime_max: HOUR * 200, ..policy(HOUR) };
            let now = UnixMs::from_secs(0).plus(HOUR * hours);
            settle(place.path(), std::iter::once(&mut policy), now).unwrap();
            policy.session_marks
        };
        assert_eq!(session(1001, true).last(), Some(&mark(1001, 72)), "sessions outlive tokens");
        session(1002, false);
        let again = session(1003, true);
        assert_eq!(again.last(), Some(&mark(1003, 1)), "cutoffs were kept for an hour meanwhile");
        std::fs::write(place.path().join(FILE), "{").unwrap();
        let fault = settle(place.path(), std::iter::empty(), UnixMs::from_secs(0)).unwrap_err();
        assert!(fault.contains("lifetimes.json cannot be understood"), "{fault}");
    }
}
