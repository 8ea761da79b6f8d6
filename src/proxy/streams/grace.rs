//! A cut that is put off for the grace of its route. When the grace is over all that may forbid the stream
//! is asked again, whatever the cut was put off for.

use crate::clock::UnixMs;

use super::super::published::Published;
use super::recheck::objection;
use super::{Stream, Streams};

impl Streams {
    /// The cut is off where nothing forbids the stream any more. A lift does not say so by itself.
    pub(super) fn spare(&self, stream: &Stream, published: &Published, now: UnixMs) {
        if stream.doom.get().is_some() && objection(stream, published, now).is_none() {
            stream.doom.set(None);
            self.schedule(stream, now);
        }
    }

    /// The route's rules may be others: what is left of the grace is no more than theirs.
    pub(super) fn hasten(&self, stream: &Stream, now: UnixMs) {
        let latest = now.plus(stream.policy.borrow().revoked_grace);
        if stream.doom.get().is_some_and(|at| at > latest) {
            stream.doom.set(Some(latest));
            self.schedule(stream, now);
        }
    }
}
