//! The audit: who did what, when, why and from where. Acts are rows of their own, written in the
//! transaction of what they tell of, so that they outlive it: a denial is forgotten when no token
//! can match it any more, who made it is not.
//!
//! Bounded in time and in number, in three parts that do not push each other out: what single
//! calls did, what calls of many did, and what people did with their own sessions. An act lies at
//! a sequence of the log, its own where it changed nothing there.

use std::iter::Peekable;
use std::time::Duration;

use redb::{ReadTransaction, TableDefinition};

use crate::clock::UnixMs;
use crate::denylist::{Actor, Condition, Denial, DenialId, Except, IssuerId, Selector};

use super::rows::Fault;
use super::{Store, StoreError, codec, schema};

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    Denied,
    /// A denial was taken back.
    Undone,
    /// By itself: a timed block whose time was over, or a log-out that a wider one took the place
    /// of.
    Ended,
    Registered,
    /// A registration was taken away.
    Removed,
    /// Many lines in one call; each that made a denial is an act besides.
    Batch,
    Imported,
    Reloaded,
    /// An open stream.
    Cut,
}

impl Deed {
    pub const ALL: [Self; 9] = [
        Self::Denied,
        Self::Undone,
        Self::Ended,
        Self::Registered,
        Self::Removed,
        Self::Batch,
        Self::Imported,
        Self::Reloaded,
        Self::Cut,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Undone => "undone",
            Self::Ended => "ended",
            Self::Registered => "registered",
            Self::Removed => "removed",
            Self::Batch => "batch",
            Self::Imported => "imported",
            Self::Reloaded => "reloaded",
            Self::Cut => "cut",
        }
    }

    /// On disk.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Denied => 0,
            Self::Undone => 1,
            Self::Ended => 2,
            Self::Registered => 3,
            Self::Removed => 4,
            Self::Batch => 5,
            Self::Imported => 6,
            Self::Reloaded => 7,
            Self::Cut => 8,
        }
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Something that was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    pub sequence: u64,
    pub at: UnixMs,
    pub deed: Deed,
    pub by: Actor,
    /// The denial or registration that it was done with.
    pub denial: Option<DenialId>,
    pub what: Option<What>,
    pub reason: Option<String>,
    /// How many of what, of a call of many.
    pub counts: Vec<(String, u64)>,
}

impl Act {
    /// The making of it.
    pub(super) fn of_denial(sequence: u64, denial: &Denial) -> Self {
        Self {
            sequence,
            at: denial.created_at,
            deed: Deed::Denied,
            by: denial.created_by.clone(),
            denial: Some(denial.id),
            what: Some(What::of(denial)),
            reason: Some(denial.reason.clone()).filter(|reason| !reason.is_empty()),
            counts: Vec::new(),
        }
    }
}

/// What a denial or registration said, for when it is forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct What {
    pub issuer: IssuerId,
    pub selector: Selector,
    pub condition: Condition,
    pub except: Option<Except>,
    pub reference: Option<String>,
    pub ends_at: Option<UnixMs>,
}

/// An act that changes no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAct {
    pub deed: Deed,
    pub by: Actor,
    pub what: Option<What>,
    pub reason: Option<String>,
    pub counts: Vec<(String, u64)>,
}

impl What {
    pub(super) fn of(denial: &Denial) -> Self {
        Self {
            issuer: denial.issuer.clone(),
            selector: denial.selector.clone(),
            condition: denial.condition,
            except: denial.except.clone(),
            reference: denial.reference.clone(),
            ends_at: denial.ends_at,
        }
    }
}

/// How long acts are kept, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    pub keep: Duration,
    pub entries_max: u64,
}

impl Default for Retention {
    /// A year and a month: last year's can be looked at.
    fn default() -> Self {
        Self { keep: Duration::from_secs(400 * 86_400), entries_max: 1_000_000 }
    }
}

/// Which part of the audit an act is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Single,
    Many,
    Own,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Single, Self::Many, Self::Own];

    pub(super) fn table(self) -> TableDefinition<'static, u64, &'static [u8]> {
        match self {
            Self::Single => schema::ACTS,
            Self::Many => schema::ACTS_OF_MANY,
            Self::Own => schema::ACTS_OF_PEOPLE,
        }
    }

    /// Half is for single calls.
    pub(super) fn entries_max(self, retention: &Retention) -> u64 {
        match self {
            Self::Single => retention.entries_max.div_ceil(2),
            Self::Many | Self::Own => retention.entries_max.div_ceil(4),
        }
    }
}

impl Store {
    /// Acts before a sequence, newest first, at most so many.
    pub fn acts_before(&self, sequence: u64, limit: usize) -> Result<Vec<Act>, StoreError> {
        self.read(|transaction| {
            let tables = tables(transaction)?;
            let mut parts = Vec::new();
            for table in &tables {
                parts.push(table.range(..sequence)?.rev().peekable());
            }
            merged(parts, limit, |one, other| one > other)
        })
    }

    /// Acts after a sequence, oldest first, at most so many.
    pub fn acts_after(&self, sequence: u64, limit: usize) -> Result<Vec<Act>, StoreError> {
        self.read(|transaction| {
            let tables = tables(transaction)?;
            let mut parts = Vec::new();
            for table in &tables {
                parts.push(table.range(sequence.saturating_add(1)..)?.peekable());
            }
            merged(parts, limit, |one, other| one < other)
        })
    }
}

type Acts = redb::ReadOnlyTable<u64, &'static [u8]>;

fn tables(transaction: &ReadTransaction) -> Result<Vec<Acts>, Fault> {
    Part::ALL.into_iter().map(|part| Ok(transaction.open_table(part.table())?)).collect()
}

type Row = Result<
    (redb::AccessGuard<'static, u64>, redb::AccessGuard<'static, &'static [u8]>),
    redb::StorageError,
>;

/// The parts as one, each in order already.
fn merged<I: Iterator<Item = Row>>(
    mut parts: Vec<Peekable<I>>,
    limit: usize,
    is_before: impl Fn(u64, u64) -> bool,
) -> Result<Vec<Act>, Fault> {
    let mut acts = Vec::new();
    while acts.len() < limit {
        let mut first: Option<(u64, &mut Peekable<I>)> = None;
        for part in &mut parts {
            let sequence = match part.peek() {
                None => continue,
                // An error is told by the taking of it.
                Some(Err(_)) => None,
                Some(Ok((sequence, _))) => Some(sequence.value()),
            };
            let Some(sequence) = sequence else {
                first = Some((0, part));
                break;
            };
            if first.as_ref().is_none_or(|(known, _)| is_before(sequence, *known)) {
                first = Some((sequence, part));
            }
        }
        let Some(entry) = first.and_then(|(_, part)| part.next()) else { break };
        let (sequence, row) = entry?;
        acts.push(codec::acts::decode(sequence.value(), row.value())?.1);
    }
    Ok(acts)
}
