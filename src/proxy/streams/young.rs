//! The first moments of a stream. It is in a queue only, so that a short request pays for no index; when
//! it has lasted, or somebody looks for it in the index before that, it is entered, and the table is
//! asked then.

use std::rc::Rc;

use crate::clock::UnixMs;
use crate::denylist::Fingerprint;
use crate::telemetry::counters::CoreCounters;

use super::super::published::Published;
use super::{State, Stream, Streams, YOUTH};

/// Young ones that one look goes through; most were opened by others, or have ended.
const AT_ONCE: usize = 512;

impl Streams {
    /// Enters those that have lasted.
    pub fn enter_lasting(&self, published: &Published, counters: &CoreCounters, now: UnixMs) {
        loop {
            let mut young = self.young.borrow_mut();
            let Some(first) = young.front() else { return };
            let waits = first.state.get() == State::Young;
            if waits && is_young(first.opened_at, now) {
                return;
            }
            let Some(stream) = young.pop_front() else { return };
            drop(young);
            if waits {
                self.enter(&stream, published, counters, now);
            }
        }
    }

    /// Enters some of those that have not lasted yet, where their tokens bear the mark, for whoever
    /// looks for streams in the index. They are looked at in their order, after one; the last of them
    /// is returned where there may be more.
    pub(super) fn enter_young(
        &self,
        (mark, after): (&Fingerprint, Option<u64>),
        published: &Published,
        counters: &CoreCounters,
        now: UnixMs,
    ) -> Option<u64> {
        let young = self.young.borrow();
        let passed = |after| young.partition_point(|stream| stream.id() <= after);
        let some = young.range(after.map_or(0, passed)..).take(AT_ONCE);
        let last = some.clone().nth(AT_ONCE - 1).map(|stream| stream.id());
        let is_meant = |stream: &&Rc<Stream>| {
            stream.state.get() == State::Young && stream.held.is_marked(mark)
        };
        let meant: Vec<_> = some.filter(is_meant).map(Rc::clone).collect();
        drop(young);
        meant.iter().for_each(|stream| self.enter(stream, published, counters, now));
        last
    }

    /// First into the index, then the table is asked.
    fn enter(
        &self,
        stream: &Rc<Stream>,
        published: &Published,
        counters: &CoreCounters,
        now: UnixMs,
    ) {
        stream.state.set(State::Indexed);
        self.index.borrow_mut().insert(stream);
        counters.stream_opened(&stream.policy.borrow().route, stream.kind.get());
        self.schedule(stream, now);
        if stream.generation.get() == self.generation.get() {
            self.examine(stream, published, None, now);
        } else {
            self.recheck(stream, published, counters, now);
        }
        self.tell_of_drain(stream);
    }
}

/// Opened in the future means that the clock was set back: that must not keep a stream young, and
/// all behind it in the queue with it.
fn is_young(opened_at: UnixMs, now: UnixMs) -> bool {
    opened_at <= now && now.since(opened_at) < YOUTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_keeps_no_stream_young() {
        let opened = UnixMs::from_secs(1_000);
        assert!(is_young(opened, opened));
        assert!(!is_young(opened, opened.plus(YOUTH)));
        assert!(!is_young(opened, UnixMs::from_secs(500)));
    }
}
