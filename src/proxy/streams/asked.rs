//! Answers to the control plane's questions about the streams of one core.

use std::sync::Arc;

use crate::telemetry::streams::{Listed, OpenStream, Question, StreamId, Wanted};

use super::turns::{Counting, SLICE, Task};
use super::{Cause, Stream, Streams};

/// Streams that are looked at for one answer.
const LOOKED_AT: usize = 2_000;
/// Streams in one answer.
const ITEMS: usize = 250;

impl Streams {
    pub fn answer(&self, question: Question) {
        // Whoever asked may have gone.
        match question {
            Question::List(wanted, answer) => {
                answer.send(self.list(&wanted)).ok();
            }
            Question::Count(mark, fold, answer) => {
                let found = Default::default();
                let counting = Counting { mark, fold, after: None, found, answer };
                self.work.borrow_mut().push_back(Task::Count(counting));
            }
            Question::EndedBy(denials, answer) => {
                self.work.borrow_mut().push_back(Task::EndedBy(denials, answer));
            }
            Question::Rebase(token, before, answer) => self.rebase(token, before, answer),
            Question::Cut(id, issuers, answer) => {
                let found = self
                    .find(id.0)
                    .filter(|stream| issuers.as_ref().is_none_or(|issuers| is_of(stream, issuers)));
                match found {
                    Some(stream) => stream.cut_and_tell(Cause::Operator, answer),
                    None => {
                        answer.send(false).ok();
                    }
                }
            }
        }
    }

    fn list(&self, wanted: &Wanted) -> Listed {
        let index = self.index.borrow();
        let after = wanted.after.map(|after| after.0);
        let from = after.map_or(0, |after| after.saturating_add(1));
        let candidates: Vec<u64> = match &wanted.marks {
            None => index.all.range(from..).take(LOOKED_AT).map(|(id, _)| *id).collect(),
            Some(marks) => {
                let of = |mark| index.marked(mark, after).take(LOOKED_AT);
                let mut found: Vec<u64> = marks.iter().flat_map(of).collect();
                found.sort_unstable();
                found.dedup();
                found.truncate(LOOKED_AT);
                found
            }
        };
        let looked_at = candidates.len();
        let mut listed = Listed::default();
        let limit = wanted.limit.min(ITEMS);
        for id in candidates {
            if listed.items.len() == limit {
                // The one before it was the last that was looked at.
                listed.next = listed.items.last().map(|item| item.id);
                return listed;
            }
            listed.next = Some(StreamId(id));
            if let Some(stream) = index.all.get(&id).filter(|one| is_wanted(one, wanted)) {
                listed.items.push(self.shown(stream));
            }
        }
        if looked_at < LOOKED_AT {
            listed.next = None;
        }
        listed
    }

    fn shown(&self, stream: &Stream) -> OpenStream {
        let token = stream.held.current();
        let text = |text: Option<&str>| text.map(str::to_owned);
        OpenStream {
            id: stream.id,
            kind: stream.kind.get(),
            issuer: token.as_ref().map(|token| token.policy().id.clone()),
            subject: token.as_ref().and_then(|token| text(token.subject())),
            session: token.as_ref().and_then(|token| text(token.session())),
            client: token.as_ref().and_then(|token| text(token.client())),
            route: Arc::clone(&stream.policy.borrow().route),
            opened_at: stream.opened_at,
            ends_at: self.expires_at(stream),
            bytes_in: stream.bytes_in.get(),
            bytes_out: stream.bytes_out.get(),
            address: stream.client,
        }
    }

    pub(super) fn count_some(&self, mut counting: Counting) {
        let index = self.index.borrow();
        let some: Vec<u64> = index.marked(&counting.mark, counting.after).take(SLICE * 8).collect();
        for stream in some.iter().filter_map(|id| index.all.get(id)) {
            if stream.cause().is_none()
                && stream.held.would_be_denied(&counting.mark, &counting.fold)
                && let Some(count) = counting.found.get_mut(stream.kind.get().index())
            {
                *count += 1;
            }
        }
        if some.len() < SLICE * 8 || counting.answer.is_closed() {
            counting.answer.send(counting.found).ok();
            return;
        }
        counting.after = some.last().copied();
        self.work.borrow_mut().push_back(Task::Count(counting));
    }
}

fn is_wanted(stream: &Stream, wanted: &Wanted) -> bool {
    if wanted.kind.is_some_and(|kind| kind != stream.kind.get())
        || wanted.route.as_ref().is_some_and(|route| **route != *stream.policy.borrow().route)
        || wanted.issuers.as_ref().is_some_and(|issuers| !is_of(stream, issuers))
    {
        return false;
    }
    let token = stream.held.current();
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_ref().is_none_or(|wanted| found == Some(wanted))
    };
    is(&wanted.subject, token.as_ref().and_then(|token| token.subject()))
        && is(&wanted.session, token.as_ref().and_then(|token| token.session()))
}

fn is_of(stream: &Stream, issuers: &[crate::denylist::IssuerId]) -> bool {
    let token = stream.held.current();
    token.is_some_and(|token| issuers.contains(&token.policy().id))
}
