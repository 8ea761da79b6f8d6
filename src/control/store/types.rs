//! What callers give to the store and get from it.

use crate::clock::UnixMs;
use crate::denylist::{
    Actor, Condition, ConditionKind, Denial, Except, IssuerId, Lift, Selector, SelectorKind,
};

use super::acts::Retention;

/// A denial with what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Position in the store's ordered log.
    pub sequence: u64,
    pub denial: Denial,
    pub lift: Option<Lift>,
}

/// What a caller asks to be denied; the store adds id and creation time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDenial {
    pub issuer: IssuerId,
    pub selector: Selector,
    pub condition: Condition,
    pub except: Option<Except>,
    pub kept_until: Option<UnixMs>,
    pub ends_at: Option<UnixMs>,
    pub reason: String,
    pub reference: Option<String>,
    pub created_by: Actor,
}

/// A person ends some of their own access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnDenial {
    pub denial: NewDenial,
    /// What is denied in its place where too many of the same person stand already: a cutoff of the
    /// whole subject that covers it. `None`: nothing does.
    pub instead: Option<NewDenial>,
}

/// The denial is on disk and in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    pub record: Record,
    /// It stood already: same selector, condition, exception, reference and credential.
    pub already: bool,
}

/// Which records to list, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    pub issuer: Option<IssuerId>,
    pub selector: Option<Selector>,
    pub kind: Option<SelectorKind>,
    pub created_by: Option<String>,
    pub reason_contains: Option<String>,
    pub reference: Option<String>,
    pub since: Option<UnixMs>,
    /// `true`: registrations instead of denials.
    pub registrations: bool,
    /// `true`: lifted ones too.
    pub with_lifted: bool,
    /// Only records of a lower sequence: the cursor.
    pub before: Option<u64>,
    pub limit: usize,
}

/// A page of records; `next` is the cursor of the following page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    pub records: Vec<Record>,
    pub next: Option<u64>,
}

/// Why the store could not do it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The configured limit of denials is reached.
    Full {
        limit: u64,
        /// All but the tenth that is kept for admins: one of them would still be taken.
        reserved: bool,
    },
    /// The disk is full, or the quota on it is used up; nothing was changed.
    NoSpace(String),
    /// The disk failed; nothing was changed.
    Disk(String),
    /// The store's thread has ended.
    Closed,
    /// The file exists and cannot be used; the text says what to do.
    Open(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full { limit, reserved: false } => {
                write!(out, "the limit of {limit} denials is reached")
            }
            Self::Full { limit, reserved: true } => {
                write!(out, "the limit of {limit} denials is reached but for the admins' tenth")
            }
            Self::NoSpace(why) => write!(out, "the store's disk is full: {why}"),
            Self::Disk(why) => write!(out, "the store's disk failed: {why}"),
            Self::Closed => out.write_str("the store is closed"),
            Self::Open(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// The metrics' label of a create that came to this; `None`: nothing was refused, the gateway
    /// ends.
    pub(super) fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Full { reserved: false, .. } => Some("limit"),
            Self::Full { reserved: true, .. } => Some("reserve"),
            Self::NoSpace(_) => Some("no_space"),
            Self::Disk(_) | Self::Open(_) => Some("disk"),
            Self::Closed => None,
        }
    }
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Denials in force at the most; a tenth is kept for admins.
    pub limit: u64,
    pub audit: Retention,
}

impl Options {
    pub fn of_limit(limit: u64) -> Self {
        Self { limit, audit: Retention::default() }
    }
}

/// Which store, with its history, this is: random, made with the file. Sequences are comparable
/// only within one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(pub [u8; 16]);

/// A change of the state. Changes commute, and one that comes twice does nothing the second time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Denied(Denial),
    Lifted(Lift),
}

/// What of a selector is to be lifted: all that is in force, or what has this condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matching {
    pub issuer: IssuerId,
    pub selector: Selector,
    pub condition: Option<ConditionKind>,
    pub most: usize,
}

impl Matching {
    pub fn takes(&self, denial: &Denial) -> bool {
        denial.selector == self.selector
            && denial.issuer == self.issuer
            && self.condition.is_none_or(|kind| kind == denial.condition.kind())
    }
}

/// What became of a change that was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    New,
    Known,
    /// It could be forgotten already, and was not taken.
    Expired,
    /// A different denial has this id; it was not taken.
    Conflict,
}
