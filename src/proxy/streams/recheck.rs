//! New routes, policies or keys are published: every lasting stream is asked whether it could still
//! begin. What an answer of small known size, or a request, began under, it ends under.

use std::sync::Arc;

use http::header::UPGRADE;

use crate::clock::UnixMs;
use crate::config::Access;
use crate::telemetry::counters::CoreCounters;
use crate::telemetry::streams::StreamKind;
use crate::verify::{Signed, Verifier};

use super::super::published::Published;
use super::super::route::{Route, Wanted};
use super::super::upgrade::Upgrade;
use super::super::{canonical, credential, requirements};
use super::turns::{SLICE, Task};
use super::{Cause, Stream, Streams};

impl Streams {
    /// Other state is published: all streams are looked at, in turns.
    pub fn republished(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        let mut work = self.work.borrow_mut();
        if !work.iter().any(|task| matches!(task, Task::Recheck(None))) {
            work.push_back(Task::Recheck(None));
        }
    }

    /// Looks whether the key sets are others than last time.
    pub fn look_at_keys(&self, verifier: &Verifier) {
        let ids = verifier.issuers().iter().map(|issuer| issuer.keys.load().id());
        let now = ids.fold(1, |sum: u64, id| sum.wrapping_mul(0x100_0000_01b3) ^ id);
        let before = self.keys.replace(now);
        if before != now && before != 0 {
            self.republished();
        }
    }

    pub(super) fn recheck_some(
        &self,
        after: Option<u64>,
        published: &Published,
        counters: &CoreCounters,
        now: UnixMs,
    ) {
        let from = after.map_or(0, |after| after.saturating_add(1));
        let some: Vec<_> =
            self.index.borrow().all.range(from..).take(SLICE).map(|(_, one)| one.clone()).collect();
        for stream in &some {
            self.recheck(stream, published, counters, now);
        }
        if let Some(last) = some.last().filter(|_| some.len() == SLICE) {
            self.work.borrow_mut().push_back(Task::Recheck(Some(last.id())));
        }
    }

    pub(super) fn recheck(
        &self,
        stream: &Stream,
        published: &Published,
        counters: &CoreCounters,
        now: UnixMs,
    ) {
        // What it asked for is known when it turns out to last: it is asked again then.
        if stream.origin.get().is_some() {
            stream.generation.set(self.generation.get());
        }
        let read = self.read_again(stream, published, now);
        let route = route_of(stream, stream.held.current().as_ref(), published);
        // Also where its token is taken no more: how long its grace is, the route says.
        if let Ok(route) = route {
            self.follow(stream, route, counters);
        }
        self.hasten(stream, now);
        match read.err().or(route.err()) {
            Some(cause) => self.end_for(stream, cause, None, now),
            None => {
                self.spare(stream, published, now);
                self.schedule(stream, now);
                self.examine(stream, published, None, now);
            }
        }
    }

    /// Its tokens as the issuers in force read them: other claims may be indexed, and the marks by
    /// which denials find it are others then.
    fn read_again(&self, stream: &Stream, published: &Published, now: UnixMs) -> Result<(), Cause> {
        let (new_first, new_last) = read(stream, published, now)?;
        if same(&stream.held.first(), &new_first) && same(&stream.held.last(), &new_last) {
            return Ok(());
        }
        let mut index = self.index.borrow_mut();
        index.unmark(stream);
        stream.held.replace(new_first, new_last);
        index.mark(stream);
        Ok(())
    }

    /// The route's rules of now are the stream's.
    fn follow(&self, stream: &Stream, route: Option<&Route>, counters: &CoreCounters) {
        let Some(route) = route else { return };
        if !Arc::ptr_eq(&stream.policy.borrow(), &route.streams) {
            counters.stream_ended(&stream.policy.borrow().route, stream.kind());
            counters.stream_opened(&route.streams.route, stream.kind());
            *stream.policy.borrow_mut() = Arc::clone(&route.streams);
        }
    }
}

/// The first and the last.
type Tokens = (Option<Arc<Signed>>, Option<Arc<Signed>>);

/// Both of its tokens, as the issuers in force read them.
fn read(stream: &Stream, published: &Published, now: UnixMs) -> Result<Tokens, Cause> {
    let read = |token: Option<Arc<Signed>>| {
        token.map(|token| published.verifier.read_again(&token, now)).transpose()
    };
    match (read(stream.held.first()), read(stream.held.last())) {
        (Ok(first), Ok(last)) => Ok((first, last)),
        (Err(_), _) | (_, Err(_)) => Err(Cause::KeyRemoved),
    }
}

/// What forbids the stream, of all that could; `None`: it may go on.
pub(super) fn objection(stream: &Stream, published: &Published, now: UnixMs) -> Option<Cause> {
    if let Some(hit) = stream.held.denied_by(&published.denylist) {
        return Some(Cause::Denied(hit));
    }
    let route = read(stream, published, now)
        .and_then(|(first, last)| route_of(stream, last.or(first).as_ref(), published));
    match route {
        Err(cause) => Some(cause),
        Ok(_) => (!stream.held.key_is_published()).then_some(Cause::KeyRemoved),
    }
}

fn same(one: &Option<Arc<Signed>>, other: &Option<Arc<Signed>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The route that it would get now, where the token would let it in. `None`: it is not known what
/// was asked for, since it was no lasting stream when it began.
pub(super) fn route_of<'p>(
    stream: &Stream,
    token: Option<&Arc<Signed>>,
    published: &'p Published,
) -> Result<Option<&'p Route>, Cause> {
    let Some(origin) = stream.origin.get() else { return Ok(None) };
    let host = origin.host.as_ref().and_then(|host| canonical::host_name(host.to_str().ok()?));
    let wanted = Wanted {
        host: &host.unwrap_or_default(),
        path: origin.target.as_ref().map_or("/", http::uri::PathAndQuery::path),
        method: &origin.method,
        headers: &origin.headers,
    };
    let route = published.routes.select_wanted(wanted).map(|route| &**route);
    let route = route.map_err(|_| Cause::RouteChanged)?;
    if route.upstream().is_none() {
        return Err(Cause::RouteChanged);
    }
    if stream.kind() == StreamKind::Tunnel {
        let switched = origin.headers.get(UPGRADE).cloned().map(Upgrade::Other);
        if !switched.is_some_and(|to| to.is_granted(&route.upgrades)) {
            return Err(Cause::RouteChanged);
        }
    }
    match token {
        None if route.access == Access::Required => Err(Cause::RouteChanged),
        // A route that looks at no token asks nothing of one.
        Some(_) if route.credentials.is_empty() => Ok(Some(route)),
        None => Ok(Some(route)),
        Some(token) => {
            let taken = credential::issuer_taken(route, token);
            // How old the login may be was asked when it began.
            let permitted =
                taken.and_then(|()| requirements::check(token, route, stream.opened_at));
            permitted.map(|()| Some(route)).map_err(|_| Cause::RouteChanged)
        }
    }
}
