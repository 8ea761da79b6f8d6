//! Lasting streams by id, by every mark of their tokens, and by when something is due: an expiry, a
//! postponed cut, a look whether anything moved.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::clock::UnixMs;
use crate::denylist::Fingerprint;

use super::Stream;

/// See the module.
#[derive(Default)]
pub struct Index {
    pub all: BTreeMap<u64, Rc<Stream>>,
    by_mark: BTreeSet<([u8; 12], u64)>,
    due: BTreeSet<(UnixMs, u64)>,
}

impl Index {
    pub fn insert(&mut self, stream: &Rc<Stream>) {
        self.mark(stream);
        self.all.insert(stream.id(), Rc::clone(stream));
    }

    pub fn remove(&mut self, stream: &Stream) {
        self.unmark(stream);
        self.due_at(stream, None);
        self.all.remove(&stream.id());
    }

    /// Enters its marks: at first, and when it has others.
    pub fn mark(&mut self, stream: &Stream) {
        stream.held.each_mark(|mark| {
            self.by_mark.insert((mark.0, stream.id()));
        });
    }

    /// Before its marks change.
    pub fn unmark(&mut self, stream: &Stream) {
        stream.held.each_mark(|mark| {
            self.by_mark.remove(&(mark.0, stream.id()));
        });
    }

    /// Ids that a mark selects, oldest first, after one.
    pub fn marked(&self, mark: &Fingerprint, after: Option<u64>) -> impl Iterator<Item = u64> {
        let first = after.map_or(0, |after| after.saturating_add(1));
        self.by_mark.range((mark.0, first)..=(mark.0, u64::MAX)).map(|(_, id)| *id)
    }

    pub fn due_at(&mut self, stream: &Stream, at: Option<UnixMs>) {
        if let Some(old) = stream.due.replace(at) {
            self.due.remove(&(old, stream.id()));
        }
        if let Some(at) = at {
            self.due.insert((at, stream.id()));
        }
    }

    /// The next that is due by then, which is due no longer.
    pub fn take_due(&mut self, now: UnixMs) -> Option<u64> {
        let &(at, id) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, id));
        if let Some(stream) = self.all.get(&id) {
            stream.due.set(None);
        }
        Some(id)
    }
}
