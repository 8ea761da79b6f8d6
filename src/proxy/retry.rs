//! Delivery: a place where places are limited, a server, a connection, the request, its answer. And
//! the one page that says when a request is sent once more.
//!
//! - Nothing of it was written: always, for no server can have acted. A connection that could not be
//!   made, or that the server had closed while it was idle.
//! - It was written, there is no answer, and it is safe and has no body (RFC 9110 section 9.2.1; the
//!   config may add PUT and DELETE): on another server, within the budget. On the same one only
//!   where the connection was an old one that may have been closed behind our back.
//! - The answer has a status that the config names: as above, if there is another server.
//!
//! A timeout is never repeated: the server is at work. What waited asks the denylist again before
//! anything is sent. On HTTP/2 ([`http2`]) a server can also say that it did not look at a request.

mod ask;
mod http2;
mod spare;
mod upload;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, UPGRADE};
use http::{Method, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::upstreams::{Busy, Endpoint, Pick, Repeat, Tried};

use super::answer::{Fault, Rejection, UpstreamFault};
use super::answer_body::AnswerBody;
use super::balance;
use super::body::{Moved, RequestBody};
use super::core::Core;
use super::grpc;
use super::outgoing::{Added, Outgoing};
use super::permit::{Permit, Recheck};
use super::published::Published;
use super::upstream::{self, Upstream};
use ask::{Unanswered, ask};
use http2::Http2Outcome;
use spare::Spare;
use upload::within;

/// What a request takes of what is limited or counted, until its exchange has ended.
#[derive(Default)]
pub struct Occupied {
    place: Option<OwnedSemaphorePermit>,
    busy: Option<Busy>,
    repeat: Option<Repeat>,
}

/// An answer, and what it came by.
pub struct Delivered {
    pub response: Response<AnswerBody>,
    /// Its connection had been there before the request.
    pub reused: bool,
    pub occupied: Occupied,
}

/// The answer of a server.
struct Answered {
    response: Response<AnswerBody>,
    reused: bool,
}

/// Why a server gave no answer that counts.
enum Missed {
    /// It may not be sent to any server.
    Rejected(Rejection),
    Fault {
        fault: Fault,
        /// What may be sent to another server.
        again: Option<Box<Outgoing>>,
        /// Something of it was written.
        sent: bool,
    },
}

/// Sends the request to one of the upstream's servers, or to one after the other.
pub async fn deliver(
    core: &Rc<Core>,
    permit: Permit<'_>,
    added: Added,
    upstream: &Upstream,
    key: Option<u64>,
    published: &Published,
) -> Result<Delivered, Rejection> {
    let check = permit.recheck();
    let mut occupied = Occupied::default();
    if let Some(places) = &upstream.group.places {
        occupied.place = Some(place(places, upstream, &check, published).await?);
    }
    let request = Outgoing::new(permit, added, published);
    let upload = request.request.body().moved();
    let (tried, elsewhere) = (Tried::default(), false);
    let mut delivery =
        Delivery { core, upstream, published, check, upload, occupied, tried, elsewhere };
    let outcome = match upstream.group.sole() {
        Some(sole) => delivery.deliver_to_the_only_one(sole, request).await,
        None => delivery.deliver_to_one_of_several(request, key).await,
    };
    let outcome = outcome.map_err(|rejection| upload::whose(rejection, delivery.upload.as_ref()));
    if let Err(Rejection::Upstream(fault)) = &outcome
        && fault.is_theirs()
        && !delivery.is_clients()
    {
        core.counters.upstream_failed(&upstream.name, fault.reason());
    }
    let Answered { response, reused } = outcome?;
    Ok(Delivered { response, reused, occupied: delivery.occupied })
}

/// A place among the requests that may be under way, perhaps after a wait in a bounded queue.
async fn place(
    places: &Arc<Semaphore>,
    upstream: &Upstream,
    check: &Recheck,
    published: &Published,
) -> Result<OwnedSemaphorePermit, Rejection> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Ok(place);
    }
    let Some(limit) = &upstream.config().concurrency else {
        return Err(UpstreamFault::Overloaded.into());
    };
    let Some(_waiting) = upstream.group.queue(limit.queue) else {
        return Err(UpstreamFault::Overloaded.into());
    };
    match tokio::time::timeout(limit.wait, Arc::clone(places).acquire_owned()).await {
        Ok(Ok(place)) => {
            check.still_holds(published)?;
            Ok(place)
        }
        Ok(Err(_)) | Err(_) => Err(UpstreamFault::Overloaded.into()),
    }
}

struct Delivery<'d> {
    core: &'d Rc<Core>,
    upstream: &'d Upstream,
    published: &'d Published,
    check: Recheck,
    upload: Option<Moved>,
    occupied: Occupied,
    tried: Tried,
    /// There is another server to which it could go after this one.
    elsewhere: bool,
}

impl Delivery<'_> {
    async fn deliver_to_the_only_one(
        &mut self,
        sole: &Arc<Endpoint>,
        request: Box<Outgoing>,
    ) -> Result<Answered, Rejection> {
        self.occupied.busy = self.occupied.place.as_ref().map(|_| self.upstream.group.begin(sole));
        self.on(sole, request).await.map_err(|missed| match missed {
            Missed::Rejected(rejection) => rejection,
            Missed::Fault { fault, .. } => fault.into(),
        })
    }

    async fn deliver_to_one_of_several(
        &mut self,
        mut request: Box<Outgoing>,
        key: Option<u64>,
    ) -> Result<Answered, Rejection> {
        let group = &self.upstream.group;
        let mut left = group.config.retry.attempts;
        let first = self.choose(group.pick(key)).ok_or_else(|| self.nobody())?;
        let mut next = first;
        loop {
            self.occupied.busy = Some(group.begin(&next));
            self.tried.add(&next);
            self.elsewhere = left > 0 && group.set().all().len() > self.tried.count();
            let missed = match self.on(&next, request).await {
                Ok(answer) => return Ok(answer),
                Err(missed) => missed,
            };
            let (fault, again, sent) = match missed {
                Missed::Rejected(rejection) => return Err(rejection),
                Missed::Fault { fault, again, sent } => (fault, again, sent),
            };
            let Some(again) = again else { return Err(fault.into()) };
            let Some(other) = self.other(key) else { return Err(fault.into()) };
            // The other address family of the same server is no further attempt.
            let same = other.server == next.server && other.backup != next.backup;
            if !same && left == 0 {
                return Err(fault.into());
            }
            if sent && self.occupied.repeat.is_none() {
                let Some(repeat) = group.repeat() else { return Err(fault.into()) };
                self.occupied.repeat = Some(repeat);
            }
            left = left.saturating_sub(u32::from(!same));
            group.retried();
            self.check.still_holds(self.published)?;
            (request, next) = (again, other);
        }
    }

    fn choose(&self, pick: Pick) -> Option<Arc<Endpoint>> {
        let group = &self.upstream.group;
        let now = group.moment(Instant::now());
        let random = balance::random();
        let set = group.set();
        set.choose(pick, &self.tried, now, group.config.slow_start, random).map(Arc::clone)
    }

    /// One that was not tried. It takes nobody's turn.
    fn other(&self, key: Option<u64>) -> Option<Arc<Endpoint>> {
        self.choose(match self.upstream.group.hash_key().and(key) {
            Some(key) => Pick::Hash { key, in_flight: self.upstream.group.in_flight() },
            None => Pick::LeastRequest,
        })
    }

    fn nobody(&self) -> Rejection {
        let kind = match self.upstream.group.set().all().is_empty() {
            true => UpstreamFault::Unresolved,
            false => UpstreamFault::NoneUp,
        };
        Fault::because(kind, format_args!("upstream {}", self.upstream.name)).into()
    }

    /// Sends it on an idle connection, or on a new one.
    async fn on(
        &mut self,
        endpoint: &Endpoint,
        mut outgoing: Box<Outgoing>,
    ) -> Result<Answered, Missed> {
        let request = &mut outgoing.request;
        if let Some(host) = self.upstream.own_host(endpoint) {
            request.headers_mut().insert(HOST, host.clone());
        }
        let timeout = self.patience(request);
        if self.upstream.config().http2 && !request.headers().contains_key(UPGRADE) {
            match Box::pin(self.on_http2(endpoint, outgoing.whole())).await {
                Http2Outcome::Done(outcome) => return *outcome,
                Http2Outcome::Http1(unsent) => outgoing = unsent,
            }
        }
        if let Some(wire) = self.core.pool.take(endpoint.key()) {
            let safe = is_safe(&outgoing.request);
            match ask(self.core, wire, outgoing, timeout).await {
                Ok((response, asked)) => {
                    let again = safe.then_some(Again::Request(asked));
                    return self.judge(endpoint, Answered { response, reused: true }, again);
                }
                Err(Unanswered { request: Some(unsent), sent: false, .. }) => outgoing = unsent,
                Err(Unanswered { request: Some(asked), fault, .. })
                    if safe && fault.kind == UpstreamFault::Broken =>
                {
                    self.upstream.group.retried();
                    outgoing = asked;
                }
                Err(Unanswered { fault, .. }) => {
                    return Err(self.failed(endpoint, fault, None, true));
                }
            }
        }
        // On the heap, as all that few requests come to: each would carry its size.
        let connecting = upstream::connect(self.core, &self.upstream.group, endpoint);
        let connected = Box::pin(connecting).await;
        let wire = match connected {
            Ok(wire) => wire,
            Err(fault) => return Err(self.failed(endpoint, fault, Some(outgoing), false)),
        };
        self.check.still_holds(self.published).map_err(Missed::Rejected)?;
        let repeatable = self.elsewhere && self.is_repeatable(&outgoing.request);
        match ask(self.core, wire, outgoing, timeout).await {
            Ok((response, asked)) => {
                let again = repeatable.then_some(Again::Request(asked));
                self.judge(endpoint, Answered { response, reused: false }, again)
            }
            Err(Unanswered { fault, request, sent }) => {
                let may_go = !sent || repeatable && fault.kind == UpstreamFault::Broken;
                let again = request.filter(|_| may_go);
                Err(self.failed(endpoint, fault, again, sent))
            }
        }
    }

    /// An answer came: what does it say of the server, and is it one to pass on?
    fn judge(
        &mut self,
        endpoint: &Endpoint,
        answered: Answered,
        again: Option<Again>,
    ) -> Result<Answered, Missed> {
        let group = &self.upstream.group;
        if group.sole().is_some() {
            return Ok(answered);
        }
        let status = answered.response.status().as_u16();
        if !matches!(status, 502..=504) {
            group.succeeded(endpoint);
        } else {
            group.failed(endpoint, group.moment(Instant::now()));
        }
        if !(self.elsewhere && again.is_some() && group.config.retry.status.contains(&status)) {
            return Ok(answered);
        }
        // The answer that there is is better than none: without room in the budget, or another
        // server, it is passed on.
        if self.occupied.repeat.is_none() {
            self.occupied.repeat = group.repeat();
        }
        if self.occupied.repeat.is_none() || self.choose(Pick::LeastRequest).is_none() {
            return Ok(answered);
        }
        let again = again.and_then(Again::into_request);
        let fault = Fault::because(UpstreamFault::Broken, format_args!("it answered {status}"));
        Err(Missed::Fault { fault: fault.at(&endpoint.address), again, sent: true })
    }

    /// How long the head of the answer may take.
    fn patience(&self, request: &Request<RequestBody>) -> Duration {
        let config = self.upstream.config();
        // Whoever sends its type to another server waits as everybody does.
        let of_call = grpc::patience(request.headers()).filter(|_| config.http2);
        of_call.unwrap_or(config.response_timeout)
    }

    fn failed(
        &self,
        endpoint: &Endpoint,
        fault: Fault,
        again: Option<Box<Outgoing>>,
        sent: bool,
    ) -> Missed {
        let group = &self.upstream.group;
        let ours = fault.kind == UpstreamFault::NoDescriptors;
        if group.sole().is_none() && !ours && !self.is_clients() {
            group.failed(endpoint, group.moment(Instant::now()));
        }
        Missed::Fault { fault: fault.at(&endpoint.address), again, sent }
    }

    /// While its client owes the rest of the request, nothing is a fault of a server.
    fn is_clients(&self) -> bool {
        self.upload.as_ref().is_some_and(Moved::is_owed)
    }

    /// It may be sent to another server although this one may have read it.
    fn is_repeatable(&self, request: &Request<RequestBody>) -> bool {
        let idempotent = self.upstream.config().retry.idempotent
            && matches!(*request.method(), Method::PUT | Method::DELETE)
            && request.body().is_none();
        idempotent || is_safe(request)
    }
}

/// What may be asked once more, of another server.
enum Again {
    Request(Box<Outgoing>),
    Spare(Spare),
}

impl Again {
    fn into_request(self) -> Option<Box<Outgoing>> {
        match self {
            Self::Request(request) => Some(request),
            Self::Spare(spare) => spare.into_request().map(|whole| Box::new(whole.into())),
        }
    }
}

/// Safe methods without a body (RFC 9110 section 9.2.1).
fn is_safe(request: &Request<RequestBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && request.body().is_none()
}
